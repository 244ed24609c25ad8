"""What users of threaded servers complain about: sending, slow clients, broadcast."""

from __future__ import annotations

import random
import threading
import time

from ..attack import HostileCase, reset
from ..client import BINARY, CLOSE, TEXT, Client, frame
from ..support import DEADLINE, Recorder, wait_until


class SendTests(HostileCase):
    """Frames that arrive torn, and clients that come and go."""

    def test_large_frames_are_whole(self) -> None:
        """28, simple-websocket #45: a frame of 4 MB reaches a slow reader whole, as does the next."""
        server, data = self.serve(send_timeout=DEADLINE), random.Random(1).randbytes(4_000_000)
        with Client(server) as client:
            agent = server.accept(DEADLINE)

            def send() -> None:
                agent.send_binary(data)
                agent.send_text("\u4f1a\u8a71" * 500_000)
                agent.send("END")
            self.in_thread(send)
            for _ in range(20):
                client.data += client.sock.recv(1000)
                time.sleep(0.005)  # Slow.
            self.assertEqual(client.frame()[:3], (True, BINARY, data))
            self.assertEqual(client.frame()[:3], (True, TEXT, ("\u4f1a\u8a71" * 500_000).encode()))
            self.assertEqual(client.lines(1), ["END"])

    def test_large_messages_keep_their_content(self) -> None:
        """29, simple-websocket #34: 4 MB arrive byte for byte if allowed, else it is 1009."""
        data, got = random.Random(2).randbytes(4_000_000), []

        class Whole(Recorder):
            def on_binary(self, data: bytes) -> None:
                got.append(data)
                self.send_binary(data[::-1])

        server = self.serve(Whole, max_message_size=4_000_000)
        mask = b"\1\2\3\4"
        packed = (int.from_bytes(data) ^ int.from_bytes(mask * 1_000_000)).to_bytes(len(data))
        head = b"\x82\xff" + len(data).to_bytes(8) + mask
        with Client(server) as client:
            self.in_thread(client.send, head + packed)
            self.assertEqual(client.frame().payload, data[::-1])
        self.assertEqual(got, [data])
        with Client(self.serve(Whole)) as client:
            self.in_thread(self.flood, client, head + packed, 1)
            self.assertEqual(client.close_code(), 1009)

    def test_broadcast_while_pages_reload(self) -> None:
        """33, websocket-server #108: clients that leave during broadcasts harm nothing else."""
        server, stop, failures = self.serve(Recorder), threading.Event(), []

        def reload() -> None:
            for number in range(100):
                with Client(server) as client:
                    if number % 3 == 0:
                        reset(client)
                    elif number % 3 == 1:
                        client.send(frame(b"\x03\xe9", CLOSE))

        def broadcast() -> None:
            number = 0
            while not stop.is_set():
                failures.extend(server.broadcast("TICK", number))
                number += 1
                time.sleep(0.001)  # Leave the other threads some of the interpreter.
            server.broadcast("LAST", number)

        with self.logged() as lines, Client(server) as stays:
            wait_until(lambda: server.connections)
            broadcasting = self.in_thread(broadcast)
            self.addCleanup(stop.set)
            pages = [self.in_thread(reload) for _ in range(2)]
            seen: list[str] = []
            while any(page.is_alive() for page in pages):
                seen += stays.lines(1)
            stop.set()
            while not seen[-1].startswith("LAST"):
                seen += stays.lines(1)
            broadcasting.join(DEADLINE)
        self.assertEqual(seen[:-1], [f"TICK|{number}" for number in range(len(seen) - 1)])
        # A connection that is ending may be reported as failed, one that stays may not.
        self.assertTrue(all(each.wait_closed(DEADLINE) for each in failures))
        self.assertEqual(lines.at(30), [])

    def test_a_stuck_send_freezes_nobody(self) -> None:
        """32, websocket-server #77: while one send hangs, other clients connect, talk and leave."""
        class Talk(Recorder):
            def on_message(self, message: str) -> None:
                while message == "flood":
                    self.send("x" * 1000)
                self.send(message)

        server = self.serve(Talk, send_timeout=1.0)
        with Client(server) as stuck:
            stuck.text("flood")
            first = server.wait_connected(DEADLINE)
            wait_until(lambda: first._connected().wire.is_stuck)
            for _ in range(10):
                with Client(server) as other:
                    self.assert_served(other)
            self.assertTrue(first.wait_closed(DEADLINE))
