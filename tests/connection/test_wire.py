"""The wire towards MMDAgent-EX: hold, gap, batches, wrapping, echoes, Close; over real sockets."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import Union
from unittest import mock

from mmdagent_remote import (MMDAGENT_EX, STRICT, ConnectionClosed, Handler, InvalidMessage, Message)
from mmdagent_remote.connection.transport import Transport
from mmdagent_remote.websocket.lines import prepare_line

from ..client import BINARY, CLOSE, PING, PONG, TEXT, Client, Frame, frame
from ..support import DATA, DEADLINE, Recorder, TestCase, wait_until


class MMDAgentTests(TestCase):
    """One simulated MMDAgent-EX is connected."""

    def connect(self, handler: object = None, **options: object) -> tuple[Client, Handler]:
        """A client that identifies itself as MMDAgent-EX, and its handler."""
        server = self.serve(handler or Recorder, **options)
        client = Client(server, "/chat", mmdagent=True)
        self.addCleanup(client.sock.close)
        return client, server.wait_connected(DEADLINE)

    def check_gaps(self, began: float, frames: list[Frame]) -> None:
        """Check the time of all frames together: on a loaded machine single arrivals vary."""
        frames = [each for each in frames if each.opcode != PING]  # One may leave with a batch.
        self.assertGreater(frames[-1].time - began, (len(frames) - 1) * 0.0119)

    def test_first_line_is_held(self) -> None:
        """A line sent in on_open leaves 20 ms after the 101, and a ping with a body follows."""
        class Eager(Recorder):
            def on_open(self) -> None:
                self.send("FIRST", "line")

        began = time.monotonic()
        client, _ = self.connect(Eager)
        first, second = client.frame(), client.frame()
        self.assertGreaterEqual(first.time - began, 0.020)
        self.assertEqual((first.opcode, first.payload), (TEXT, b"FIRST|line\n"))
        self.assertEqual(second.opcode, PING)
        self.assertGreater(len(second.payload), 0)

    def test_pings_until_a_pong(self) -> None:
        """Pings follow at growing intervals until one is answered; after a pong none follows."""
        client, handler = self.connect()
        handler.send("FIRST")
        self.assertEqual(client.frame().opcode, TEXT)
        pings = [client.frame() for _ in range(4)]
        self.assertEqual({each.opcode for each in pings}, {PING})
        self.assertGreaterEqual(pings[-1].time - pings[0].time, 0.28)
        client.send(frame(pings[-1].payload, PONG))
        wait_until(lambda: handler._connected().wire.next_due == float("inf"), "no ping is to come")

    def test_first_broadcast(self) -> None:
        """A first line that broadcast sends is followed by the ping as well."""
        client, handler = self.connect()
        handler.server.broadcast("FIRST")
        self.assertEqual([client.frame().opcode, client.frame().opcode], [TEXT, PING])

    def test_hundred_lines_from_on_open(self) -> None:
        """A hundred lines sent in on_open arrive, in order."""
        class Eager(Recorder):
            def on_open(self) -> None:
                for number in range(100):
                    self.send("L", number)

        client, _ = self.connect(Eager)
        self.assertEqual(client.lines(100), [f"L|{number}" for number in range(100)])

    def test_batches_and_gaps(self) -> None:
        """Many lines leave in frames of whole lines, of at most 8191 bytes, over 10 ms apart."""
        client, handler = self.connect()
        lines = [f"TEXTAREA_SET|clock|{number} " + "x" * (number % 90) for number in range(3000)]
        began = time.monotonic()
        self.in_thread(lambda: [handler.send(line) for line in lines])
        frames, text = [], ""
        while text.count("\n") < len(lines):
            frames.append(client.frame())
            if frames[-1].opcode == TEXT:
                self.assertTrue(frames[-1].payload.endswith(b"\n"))
                self.assertLessEqual(len(frames[-1].payload), 8191)
                text += frames[-1].payload.decode()
        self.assertEqual(text.split("\n")[:-1], lines)
        self.assertLess(len(frames), 200)
        self.check_gaps(began, frames)

    def test_lone_line_leaves_at_once(self) -> None:
        """A line on a quiet connection does not wait for a gap."""
        client, handler = self.connect()
        handler.send("WARM", "up")
        client.lines(1)
        client.send(frame(client.frame().payload, PONG))
        for number in range(10):
            time.sleep(0.05)  # Quiet.
            handler.send("N", number)
            self.assertFalse(handler._connected().wire.is_busy)
            client.lines(1)

    def test_wrapping(self) -> None:
        """Lines that would be misread leave inside __AV_MESSAGE; wire words leave as they are."""
        client, handler = self.connect()
        lines = ["STOP", "S", "SNDHELLO", "SND1234|x", "SNDSTRM", "SNDFILE", "SNDBRKS", "STOPIT",
                 "__AV_START", "__AV_SETMODEL,0", "__peer_disconnected__", "SYNTH_STOP|0"]
        handler.send_lines(lines)
        wrapped = {"STOP", "S", "SNDHELLO", "SND1234|x", "__peer_disconnected__"}
        self.assertEqual(client.lines(len(lines)),
                         [("__AV_MESSAGE," if line in wrapped else "") + line for line in lines])

    def test_longest_line(self) -> None:
        """The longest line has 2047 bytes, newline and wrapper included."""
        client, handler = self.connect()
        handler.send("A" * 2046)
        handler.send("SND" + "x" * (2046 - 3 - 13))
        self.assertEqual([len(line) for line in client.lines(2)], [2046, 2046])
        for line in ("A" * 2047, "\u3042" * 683, "SND" + "x" * (2047 - 3 - 13)):
            with self.assertRaises(InvalidMessage):
                handler.send(line)

    def test_raw_messages(self) -> None:
        """send_text takes whole lines only, send_binary whole audio chunks only."""
        client, handler = self.connect()
        for text in ("no newline", "", "\n", "a\n\nb\n"):
            with self.subTest(text), self.assertRaises(InvalidMessage):
                handler.send_text(text)
        for data in (b"", b"SND", b"SND0004abc", b"SND0003abc", b"SND0002ab\n", b"SND0000",
                     b"xSND0002ab", b"SND9998" + bytes(9998)):
            with self.subTest(data), self.assertRaises(InvalidMessage):
                handler.send_binary(data)
        handler.send_text("A|1\nB|2\n")
        self.assertEqual(client.lines(2), ["A|1", "B|2"])
        chunk = b"SND1280" + bytes(1280)
        handler.send_binary(chunk * 2)
        for _ in range(2):
            self.assertEqual(client.data_frame()[1:3], (BINARY, chunk))

    def test_parts_touch(self) -> None:
        """A line or a chunk longer than a frame leaves in parts, with nothing between them."""
        chunk = b"SND1280" + bytes(1280)
        for gap in (MMDAGENT_EX.gap, 0.0):
            client, handler = self.connect(profile=replace(MMDAGENT_EX, max_frame=1000, gap=gap))
            for _ in range(2):
                handler.send("A" * 1500)
                handler.send_binary(chunk)
            handler.close()
            frames: list[Frame] = []
            while not frames or frames[-1].opcode != CLOSE:
                frames.append(client.data_frame())
            wanted = [(TEXT, 1000), (TEXT, 501), (BINARY, 1000), (BINARY, 287)]
            self.assertEqual([(each.opcode, len(each.payload)) for each in frames],
                             [*wanted, *wanted, (CLOSE, 0)])

    def test_a_cut_echo_is_marked(self) -> None:
        """The recorded echo of a line that was too long is one line, marked as an echo."""
        payload = bytes.fromhex((DATA / "cut-echo.hex").read_text())
        client, handler = self.connect(profile=replace(MMDAGENT_EX, max_line=4000))
        handler.send("TEST|" + "\u3042" * 682)
        client.lines(1)
        client.send(frame(payload) + frame("KEY|a\n"))
        wait_until(lambda: len(handler.messages_seen) == 2)
        self.assertEqual([message.is_echo for message in handler.messages_seen], [True, False])

    def test_echoes_are_marked(self) -> None:
        """A line that comes back is an echo once for each time it was sent."""
        client, handler = self.connect()
        handler.send("A", 1)
        handler.send("STOP")
        handler.send("SNDSTRM")
        client.lines(3)
        client.text("A|1\n")
        client.text("STOP\n")
        client.text("SNDSTRM\n")
        client.text("A|1\n")
        wait_until(lambda: len(handler.messages_seen) == 4)
        self.assertEqual([message.is_echo for message in handler.messages_seen],
                         [True, True, False, False])

    def test_echoes_can_be_dropped(self) -> None:
        """With echoes = False no echo is delivered."""
        class NoEcho(Recorder):
            echoes = False

        client, handler = self.connect(NoEcho)
        handler.send("A", 1)
        client.lines(1)
        client.text("A|1\n")
        client.text("B\n")
        wait_until(lambda: handler.messages_seen)
        self.assertEqual(handler.messages_seen, ["B"])

    def test_empty_close(self) -> None:
        """Every Close is empty on the wire; only on_close gets the code."""
        client, handler = self.connect()
        handler.send("LAST")
        handler.close(4000, "because")
        self.assertEqual(client.lines(1), ["LAST"])
        self.assertIsNone(client.close_code())
        self.assertTrue(handler.done.wait(DEADLINE))
        self.assertEqual(handler.closes, [(4000, "because")])

    def test_empty_close_for_faults(self) -> None:
        """A fault of the peer is also answered with an empty Close."""
        client, handler = self.connect()
        client.send(frame("x", rsv=4))
        self.assertIsNone(client.close_code())
        self.assertTrue(handler.done.wait(DEADLINE))
        self.assertEqual(handler.closes[0][0], 1002)

    def test_close_right_after_open(self) -> None:
        """A Close in on_open is held like a first line, so that the agent does not overlook it."""
        class Closing(Recorder):
            def on_open(self) -> None:
                self.close()

        client, _ = self.connect_closing(Closing)
        found = client.frame()
        self.assertEqual((found.opcode, found.payload), (CLOSE, b""))
        self.assertGreaterEqual(found.time - client.opened_at, 0.015)

    def connect_closing(self, handler: object) -> tuple[Client, None]:
        """As connect(), for a handler that may have ended already."""
        client = Client(self.serve(handler), mmdagent=True)
        self.addCleanup(client.sock.close)
        return client, None

    def test_lenient_text(self) -> None:
        """Text that is not UTF-8 is decoded with replacements, and the connection goes on."""
        client, handler = self.connect()
        client.send(frame("\u3042".encode()[:2] + b"\n"))
        client.text("B\n")
        wait_until(lambda: len(handler.messages_seen) == 2)
        self.assertEqual(handler.messages_seen, ["\ufffd", "B"])

    def test_has_binary(self) -> None:
        """has_binary says whether a binary message is queued, until it is sent or dropped."""
        client, handler = self.connect()
        wire = handler._connected().wire
        with wire._wire:  # So that no thread sends meanwhile.
            handler.send("WARM", "up")
            self.assertFalse(wire.has_binary)
            handler.send_binary(b"SND0002ab")
            handler.send("A", "line")
            self.assertTrue(wire.has_binary)
        client.lines(1)
        wait_until(lambda: not wire.has_binary)
        with wire._wire:
            handler.send_binary(b"SND0002ab")
            wire.close(1000, "", drop=True)
            self.assertFalse(wire.has_binary)

    def test_has_binary_where_nothing_is_read(self) -> None:
        """has_binary is true while the kernel does not take the data, whatever the data is."""
        server = self.serve(send_timeout=0.5)
        with Client(server):
            handler = server.accept(DEADLINE)

            def flood() -> None:
                with suppress(TimeoutError, ConnectionClosed):
                    while True:
                        handler.send("x" * 60000)
            self.in_thread(flood)
            wait_until(lambda: handler._connected().wire.has_binary)

    def test_full_queue_waits(self) -> None:
        """A send to a full queue waits for the gaps instead of failing, and keeps the order."""
        client, handler = self.connect(max_send_queue=4000)
        lines = [f"{number}|" + "x" * 100 for number in range(500)]
        self.in_thread(lambda: handler.send_lines(lines))
        self.assertEqual(client.lines(500), lines)

    def test_agent_that_does_not_read(self) -> None:
        """A send to an agent that does not read raises TimeoutError after send_timeout."""
        client, handler = self.connect(max_send_queue=20000, send_timeout=0.5)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with self.assertRaises((TimeoutError, ConnectionClosed)):
            while True:
                handler.send("X", "y" * 2000)
        self.assertTrue(handler.done.wait(DEADLINE))

    def test_agent_can_talk_meanwhile(self) -> None:
        """Two flooding threads do not close the gaps that the agent needs."""
        client, handler = self.connect()
        stop = threading.Event()

        def flood(name: str) -> None:
            while not stop.is_set():
                handler.send("FLOOD", name)
                time.sleep(0.001)  # Lets the main thread have the GIL.
        began = time.monotonic()
        for name in ("a", "b"):
            self.in_thread(flood, name)
        self.addCleanup(stop.set)
        frames = [client.frame() for _ in range(60)]
        stop.set()
        self.check_gaps(began, frames)

    def test_pong_is_no_data(self) -> None:
        """A ping from the agent is answered, though the real agent never sends one."""
        client, _ = self.connect()
        client.send(frame(b"", PING))
        self.assertEqual(client.frame().opcode, 10)


class StrictTests(TestCase):
    """Any other client."""

    def test_nothing_is_held(self) -> None:
        """To any other client, lines leave at once, one message each, unwrapped."""
        server = self.serve()
        with Client(server) as client:
            agent = server.accept(DEADLINE)
            agent.send_lines(["STOP", "A"])
            self.assertEqual([client.frame().payload for _ in range(2)], [b"STOP\n", b"A\n"])

    def test_messages_are_echoes_of_nothing(self) -> None:
        """No line of another client is marked as an echo."""
        class Echo(Recorder):
            def on_message(self, message: Message) -> None:
                super().on_message(message)

        server = self.serve(Echo)
        with Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            handler.send("A")
            client.lines(1)
            client.text("A")
            wait_until(lambda: handler.messages_seen)
            self.assertFalse(handler.messages_seen[0].is_echo)

    def test_nobody_waits_for_another_send(self) -> None:
        """While another thread's send waits for the peer, a line is queued behind its data."""
        server = self.serve(Recorder)
        with Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            sender = self.in_thread(handler.send_binary, bytes(1 << 24))
            wire = handler._connected().wire
            wait_until(lambda: wire.is_stuck and wire.progress > 10_000)
            for line in ("A", "B"):
                handler.send(line)
            self.assertTrue(sender.is_alive())
            self.assertEqual(client.frame().opcode, BINARY)
            self.assertEqual(client.lines(2), ["A", "B"])

    def test_back_to_at_once(self) -> None:
        """After data that had to go through the queue, a line can leave at once again."""
        server = self.serve(Recorder)
        with Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            wire = handler._connected().wire
            for send in (lambda: handler.send_lines(["x" * 1000] * 300),  # Too much for one send.
                         lambda: server.broadcast("A"), wire.ping):
                reader = self.in_thread(client.lines, 300)
                send()
                wait_until(lambda: wire._is_clear)
                handler.send_lines(["A"] * 300)
                self._join(reader)

    def test_others_that_never_stop(self) -> None:
        """A send ends even if other threads queue a line each time that it writes."""
        sends, plain_send, this_thread = 0, Transport.try_send, threading.get_ident()

        def try_send(transport: Transport, data: Union[bytes, memoryview]) -> int:
            nonlocal sends
            if threading.get_ident() == this_thread and sends < 1000:
                sends += 1
                self.assertTrue(wire._queue([prepare_line("B", STRICT)]))
            return plain_send(transport, data)

        server = self.serve(Recorder)
        with Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            wire = handler._connected().wire
            with mock.patch.object(Transport, "try_send", try_send):
                wire._queue([prepare_line("B", STRICT)])
                handler.send("A")
            self.assertLess(sends, 100)
            lines = client.lines(sends + 2)
            self.assertEqual((lines.count("A"), lines.count("B")), (1, sends + 1))
