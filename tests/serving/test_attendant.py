"""The attendant: what happens while a handler is away, silent or stuck."""

from __future__ import annotations

import threading
import time

from mmdagent_remote import ConnectionClosed, Message

from ..client import CLOSE, PING, PONG, TEXT, Client, frame
from ..support import DEADLINE, Recorder, TestCase, wait_until


class Busy(Recorder):
    """Blocks in user code from its first message until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.away = threading.Event()
        self.release = threading.Event()

    def on_message(self, message: Message) -> None:
        super().on_message(message)
        if len(self.messages_seen) == 1:
            self.away.set()
            self.release.wait(DEADLINE)


class AwayTests(TestCase):
    """A handler is busy in a hook."""

    def start_away(self, **options: object) -> tuple[Client, Busy]:
        """A client whose handler is in user code."""
        server = self.serve(Busy, **options)
        client = Client(server)
        self.addCleanup(client.sock.close)
        client.text("first")
        handler = server.wait_connected(DEADLINE)
        assert isinstance(handler, Busy)
        self.addCleanup(handler.release.set)
        self.assertTrue(handler.away.wait(DEADLINE))
        return client, handler

    def test_pings_are_answered(self) -> None:
        """While a hook is busy, a ping is answered within a second."""
        client, _ = self.start_away()
        for number in range(5):
            began = time.monotonic()
            client.send(frame(b"%d" % number, PING))
            self.assertEqual(client.frame()[1:3], (PONG, b"%d" % number))
            self.assertLess(time.monotonic() - began, 1.0)

    def test_close_is_noticed(self) -> None:
        """While a hook is busy, the peer's Close is noticed and answered; lines still arrive."""
        client, handler = self.start_away()
        client.text("a\nb\n")
        client.send(frame(b"\x03\xe8", CLOSE))
        self.assertEqual(client.close_code(), 1000)
        self.assertTrue(handler.wait_closed(DEADLINE))
        with self.assertRaises(ConnectionClosed):
            handler.send("TOO_LATE")
        handler.release.set()
        self.assertTrue(handler.done.wait(DEADLINE))
        self.assertEqual(handler.messages_seen, ["first", "a", "b"])
        self.assertEqual(handler.closes, [(1000, "")])

    def test_fin_is_noticed(self) -> None:
        """While a hook is busy, the peer's FIN is noticed; lines before it still arrive."""
        client, handler = self.start_away()
        client.text("a")
        client.sock.close()
        self.assertTrue(handler.wait_closed(DEADLINE))
        handler.release.set()
        self.assertTrue(handler.done.wait(DEADLINE))
        self.assertEqual(handler.messages_seen, ["first", "a"])

    def test_order_is_kept(self) -> None:
        """Lines taken by the attendant and lines read by the handler keep their order."""
        client, handler = self.start_away()
        for number in range(300):
            client.text(f"{number}\n")
            if number == 150:
                handler.release.set()
        wait_until(lambda: len(handler.messages_seen) == 301)
        self.assertEqual(handler.messages_seen[1:], [str(number) for number in range(300)])

    def test_queue_is_bounded(self) -> None:
        """A full queue stops reading, and nothing is lost when the handler comes back."""
        client, handler = self.start_away(max_queue=10)
        count = 2000
        self.in_thread(lambda: [client.text(f"{i} " + "x" * 5000) for i in range(count)])
        connection = handler._connected()
        wait_until(lambda: len(connection._queue.waiting) >= 10)
        self.assertLessEqual(len(connection._queue.waiting), 10)
        handler.release.set()
        wait_until(lambda: len(handler.messages_seen) == count + 1)
        self.assertEqual([line.split()[0] for line in handler.messages_seen[1:]],
                         [str(i) for i in range(count)])

    def test_paused_reading_is_no_silence(self) -> None:
        """While reading is paused by a full queue, the ping timeout does not run."""
        client, handler = self.start_away(max_queue=2, ping_interval=0.1, ping_timeout=0.1)
        client.text("a\nb\nc\nd\n")
        self.assertFalse(handler.wait_closed(1.0))
        handler.release.set()
        wait_until(lambda: len(handler.messages_seen) == 5)

    def test_silence_after_a_pause(self) -> None:
        """Once the handler has caught up, the ping timeout runs again."""
        client, handler = self.start_away(max_queue=4, ping_interval=0.2, ping_timeout=0.2)
        client.text("".join(f"{i}\n" for i in range(50)))
        connection = handler._connected()
        wait_until(lambda: connection._queue.is_paused)
        handler.release.set()
        wait_until(lambda: len(handler.messages_seen) == 51)
        self.assertTrue(handler.done.wait(DEADLINE))
        self.assertEqual(handler.closes[0][0], 1011)

    def test_working_off_lines_is_away(self) -> None:
        """While a handler works through lines that came in one message, pings are answered."""
        class Slow(Recorder):
            def on_message(self, message: Message) -> None:
                self.wait_closed(0.02)
                super().on_message(message)

        server = self.serve(Slow)
        with Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            client.text("".join(f"{i}\n" for i in range(100)))
            wait_until(lambda: handler.messages_seen)
            client.send(frame(b"now", PING))
            self.assertEqual(client.frame()[1:3], (PONG, b"now"))
            self.assertLess(len(handler.messages_seen), 90)
        self.assertTrue(handler.done.wait(DEADLINE))
        self.assertEqual(handler.messages_seen, [str(i) for i in range(100)])

    def test_fault_is_answered(self) -> None:
        """While a hook is busy, a protocol error is answered with its code."""
        client, handler = self.start_away()
        client.send(frame("x", mask=False))
        self.assertEqual(client.close_code(), 1002)
        handler.release.set()
        self.assertTrue(handler.done.wait(DEADLINE))
        self.assertEqual(handler.closes[0][0], 1002)

    def test_close_reaches_a_busy_connection(self) -> None:
        """close() from another thread sends the Close and ends TCP although the hook is busy."""
        client, handler = self.start_away()
        handler.close(4000)
        self.assertEqual(client.close_code(), 4000)
        with self.assertRaises(EOFError):
            client.frame()


class KeepAliveTests(TestCase):
    """When pings are sent, and when a peer is given up."""

    def test_silence_is_pinged(self) -> None:
        """After ping_interval of silence a ping with a body is sent."""
        server = self.serve(Recorder, ping_interval=0.1, ping_timeout=DEADLINE)
        with Client(server) as client:
            found = client.frame()
            self.assertEqual(found.opcode, PING)
            self.assertGreater(len(found.payload), 0)

    def test_dead_peer(self) -> None:
        """A peer silent for ping_interval and ping_timeout, with two pings sent, is given up."""
        server = self.serve(Recorder, ping_interval=0.2, ping_timeout=0.2)
        with Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            self.assertEqual([client.frame().opcode for _ in range(2)], [PING, PING])
            self.assertTrue(handler.done.wait(DEADLINE))
            self.assertEqual(handler.closes, [(1011, "keepalive ping timeout")])

    def test_any_byte_is_life(self) -> None:
        """Any byte is a sign of life, whether of a pong or of half a frame."""
        server = self.serve(Recorder, ping_interval=0.2, ping_timeout=0.2)
        with Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            for byte in frame("x" * 20):
                client.send(bytes([byte]))
                self.assertFalse(handler.wait_closed(0.05))
            wait_until(lambda: handler.messages_seen)

    def test_no_pings(self) -> None:
        """With ping_interval=None no ping is sent; with ping_timeout=None no peer is given up."""
        server = self.serve(Recorder, ping_interval=0.05, ping_timeout=None)
        with Client(server) as client:
            self.assertEqual({client.frame().opcode for _ in range(6)}, {PING})
        server = self.serve(Recorder, ping_interval=None, ping_timeout=0.05)
        with Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            self.assertFalse(handler.wait_closed(0.4))
            handler.send("A")
            self.assertEqual(client.frame().opcode, TEXT)

    def test_dead_peer_with_stuck_send(self) -> None:
        """A vanished peer is given up even while a send to it is stuck."""
        server = self.serve(Recorder, ping_interval=0.2, ping_timeout=0.2, send_timeout=DEADLINE)
        with Client(server):
            handler, ends = server.wait_connected(DEADLINE), []

            def flood() -> None:
                try:
                    while True:
                        handler.send_binary(bytes(1 << 20))
                except ConnectionClosed as error:
                    ends.append(error.code)
            self.in_thread(flood)
            wait_until(lambda: ends)
            self.assertEqual(ends, [1011])

    def test_stuck_queue(self) -> None:
        """A peer that never reads what broadcast queued for it is ended after send_timeout."""
        server = self.serve(Recorder, send_timeout=0.3)
        with Client(server):
            handler = server.wait_connected(DEADLINE)
            line = "x" * 60000
            wait_until(lambda: bool(server.broadcast(line)) or handler.closed)
            self.assertTrue(handler.done.wait(DEADLINE))
            self.assertEqual(handler.closes, [(1006, "send timeout")])
