"""Hooks that raise, and hooks that block: the effects on everything else."""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from collections.abc import Callable

from mmdagent_remote import Handler, Message, Server
from mmdagent_remote.limits import MAX_QUEUE_BYTES

from ..client import BINARY, CLOSE, PING, PONG, Client, frame, request
from ..support import DEADLINE, Recorder, TestCase, client_context, server_context, wait_until

#: One second is promised; this allows for a loaded machine.
SOON = 3.0


class Failing(Recorder):
    """One of its hooks raises after its work; on_error is the default one."""

    on_error = Handler.on_error

    def on_message(self, message: Message) -> None:
        super().on_message(message)
        self.send("GOT", message)


def failing(hook: str) -> type[Failing]:
    """A class whose hook of this name raises, except for the line "good"."""
    def raise_after(handler: Failing, *args: object) -> None:
        getattr(Failing, hook)(handler, *args)
        if args != ("good",):
            raise ValueError(f"from {hook}")
    return type("Broken", (Failing,), {hook: raise_after})


class RaisingTests(TestCase):
    """An exception in a hook is logged, and has no other effect."""

    def test_each_hook(self) -> None:
        """An exception in any hook is logged once, and its connection and others go on."""
        for hook, data in (("on_open", b""), ("on_message", frame("bad\n")),
                           ("on_text", frame("bad\n")), ("on_binary", frame("bad\n", BINARY)),
                           ("on_close", b"")):
            with self.subTest(hook):
                server = self.serve({"/": failing(hook), "/other": Failing})
                with self.assertLogs("mmdagent_remote", logging.ERROR) as logs:
                    self.check_goes_on(server, data)
                self.assertEqual(len(logs.records), 1)
                self.assertEqual(str(logs.records[0].exc_info[1]), f"from {hook}")

    def check_goes_on(self, server: Server, data: bytes) -> None:
        """A connection whose hook raises at `data`, and another, answer before and after."""
        with Client(server, "/other") as other, Client(server) as client:
            wait_until(lambda: len(server.connections) == 2)
            handler = next(each for each in server.connections if each.path == "/")
            assert isinstance(handler, Failing)
            other.text("before\n")
            client.send(data)
            if data:
                self.assertEqual(client.lines(1), ["GOT|bad"])
            client.text("good")
            self.assertEqual(client.lines(1), ["GOT|good"])
            client.send(frame(b"\x03\xe8", CLOSE))
            self.assertEqual(client.close_code(), 1000)
            self.assertTrue(handler.done.wait(DEADLINE))
            other.text("after\n")
            self.assertEqual(other.lines(2), ["GOT|before", "GOT|after"])
        self.assertEqual(handler.closes, [(1000, "")])

    def test_every_line(self) -> None:
        """A hook that raises at each of many lines sees each, in order, and is logged for each."""
        server = self.serve(failing("on_message"))
        with self.assertLogs("mmdagent_remote", logging.ERROR) as logs, Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            client.text("".join(f"{number}\n" for number in range(50)))
            self.assertEqual(client.lines(50), [f"GOT|{number}" for number in range(50)])
            client.send(frame(b"\x03\xe8", CLOSE))
            self.assertTrue(handler.done.wait(DEADLINE))
        self.assertEqual(handler.messages_seen, [str(number) for number in range(50)])
        self.assertEqual(len(logs.records), 50)

    def test_agent_is_not_disconnected(self) -> None:
        """MMDAgent-EX, which a disconnect could kill, stays connected when every hook raises."""
        class Broken(Failing):
            def on_open(self) -> None:
                raise ValueError

            def on_text(self, text: str) -> None:
                super().on_text(text)
                raise ValueError

            def on_message(self, message: Message) -> None:
                super().on_message(message)
                raise ValueError

        server = self.serve(Broken)
        with self.assertLogs("mmdagent_remote", logging.ERROR), Client(server, mmdagent=True) as client:
            for number in range(5):
                client.text(f"{number}\n")
                self.assertEqual(client.lines(1), [f"GOT|{number}"])
            self.assertFalse(server.connections[0].closed)


class Blocking(Recorder):
    """A hook of its subclasses calls block(), which waits for its release."""

    def __init__(self) -> None:
        super().__init__()
        self.away = threading.Event()
        self.release = threading.Event()

    def block(self) -> None:
        """Wait for the release; after that return at once."""
        self.away.set()
        self.release.wait(DEADLINE)


class InOpen(Blocking):
    """Blocks in on_open."""

    def on_open(self) -> None:
        self.block()


class InMessage(Blocking):
    """Blocks in on_message."""

    def on_message(self, message: Message) -> None:
        super().on_message(message)
        self.block()


class InText(Blocking):
    """Blocks in on_text."""

    def on_text(self, text: str) -> None:
        super().on_text(text)
        self.block()


class InHandle(Blocking):
    """Blocks in handle()."""

    def handle(self) -> None:
        self.on_message(Message(self.read_line()))
        self.block()
        super().handle()


HOOKS = (InOpen, InMessage, InText, InHandle)


class BlockingTests(TestCase):
    """While a hook blocks, the attendant serves the connection."""

    def start(self, kind: type[Blocking], *, tls: bool = False, mmdagent: bool = False,
              **options: object) -> tuple[Client, Blocking]:
        """A client that has sent its first line, and its handler, which blocks."""
        if tls:
            logger = logging.getLogger("mmdagent_remote.server")
            logger.setLevel(logging.ERROR)
            self.addCleanup(logger.setLevel, logging.NOTSET)
            options["ssl_context"] = server_context()
        server = self.serve(kind, **options)
        client = Client(server, mmdagent=mmdagent, tls=client_context() if tls else None)
        self.addCleanup(client.sock.close)
        client.text("first\n")
        handler = server.wait_connected(DEADLINE)
        assert isinstance(handler, kind)
        self.addCleanup(handler.release.set)
        self.assertTrue(handler.away.wait(DEADLINE))
        return client, handler

    def in_time(self, condition: Callable[[], object]) -> None:
        """The condition becomes true within SOON seconds."""
        began = time.monotonic()
        wait_until(condition)
        self.assertLess(time.monotonic() - began, SOON)

    def test_pings(self) -> None:
        """While any hook blocks, pings of any kind of peer are answered within a second."""
        for kind in HOOKS:
            for options in ({}, {"tls": True}, {"mmdagent": True}):
                with self.subTest(kind.__name__, **options):
                    client, handler = self.start(kind, **options)
                    for number in range(3):
                        began = time.monotonic()
                        client.send(frame(b"%d" % number, PING))
                        found = client.data_frame()
                        self.assertEqual(found[1:3], (PONG, b"%d" % number))
                        self.assertLess(found.time - began, SOON)
                    handler.release.set()

    def test_ends(self) -> None:
        """While any hook blocks, Close, FIN and RST are seen in a second; lines stay in order."""
        for kind in HOOKS:
            for end in (self.say_close, self.say_fin, self.say_rst):
                with self.subTest(kind.__name__, end=end.__name__):
                    client, handler = self.start(kind)
                    for number in range(20):
                        client.text(f"{number}\n")
                    if end == self.say_rst:
                        # A reset may discard what the kernel still holds.
                        wait_until(lambda: len(handler._connected()._queue.waiting) >= 20)
                    code = end(client)
                    self.in_time(lambda: handler.closed)
                    self.assertFalse(handler.done.is_set())
                    handler.release.set()
                    self.assertTrue(handler.done.wait(DEADLINE))
                    self.assertEqual(handler.messages_seen, ["first", *map(str, range(20))])
                    self.assertEqual([code for code, _ in handler.closes], [code])

    def say_close(self, client: Client) -> int:
        """Send a Close frame."""
        client.send(frame(b"\x03\xe8", CLOSE))
        return 1000

    def say_fin(self, client: Client) -> int:
        """Send FIN without a Close frame."""
        client.sock.shutdown(socket.SHUT_WR)
        return 1006

    def say_rst(self, client: Client) -> int:
        """Send RST."""
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sock.close()
        return 1006

    def test_in_close(self) -> None:
        """An on_close that blocks keeps no connection open, and no client waiting."""
        class InClose(Blocking):
            def on_message(self, message: Message) -> None:
                self.send("GOT", message)
                self.release.set()

            def on_close(self, code: int, reason: str) -> None:
                self.block()
                super().on_close(code, reason)

        server = self.serve(InClose)
        with Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            self.addCleanup(handler.release.set)
            client.send(frame(b"\x03\xe8", CLOSE))
            self.assertEqual(client.close_code(), 1000)
            # TCP has ended as well, before the hook returns.
            with self.assertRaises(EOFError):
                client.frame()
            self.assertTrue(handler.away.wait(DEADLINE))
            self.assertEqual(server.connections, ())
            with Client(server) as other:
                other.text("x\n")
                self.assertEqual(other.lines(1), ["GOT|x"])
            handler.release.set()
            self.assertTrue(handler.done.wait(DEADLINE))

    def test_in_request(self) -> None:
        """An on_request that blocks delays its own client only."""
        release = threading.Event()
        self.addCleanup(release.set)

        class InRequest(Recorder):
            def on_request(self) -> None:
                if self.path == "/slow":
                    release.wait(DEADLINE)

            def on_message(self, message: Message) -> None:
                self.send("GOT", message)

        server = self.serve(InRequest)
        with Client(server, open=False) as slow:
            slow.send(request("/slow"))
            for _ in range(5):
                with Client(server) as client:
                    client.text("x\n")
                    self.assertEqual(client.lines(1), ["GOT|x"])
            self.assertEqual(slow.data, b"")
            release.set()
            self.assertTrue(slow.read_head().startswith("HTTP/1.1 101 "))

    def test_many_at_once(self) -> None:
        """Pings of forty connections whose handlers all block are answered, each within a second."""
        release, away = threading.Event(), []
        self.addCleanup(release.set)

        class Together(Recorder):
            def on_message(self, message: Message) -> None:
                away.append(message)
                release.wait(DEADLINE)

        server = self.serve(Together)
        clients = [Client(server) for _ in range(40)]
        for client in clients:
            self.addCleanup(client.sock.close)
            client.text("x\n")
        wait_until(lambda: len(away) == 40)
        for _ in range(3):
            began = time.monotonic()
            for client in clients:
                client.send(frame(b"p", PING))
            for client in clients:
                found = client.frame()
                self.assertEqual(found[1:3], (PONG, b"p"))
                self.assertLess(found.time - began, SOON)
        release.set()

    def test_bound_in_bytes(self) -> None:
        """While a hook blocks the queue takes a mebibyte and one line, and loses no line."""
        client, handler = self.start(InMessage, max_queue=100000)
        line, count = "x" * 60000, 100
        self.in_thread(lambda: [client.text(f"{number} {line}\n") for number in range(count)])
        connection = handler._connected()
        wait_until(lambda: connection._queue.is_paused)
        # Reading is paused, so the size stays the same, however much more the peer sends.
        held = connection._queue.size
        self.assertGreaterEqual(held, MAX_QUEUE_BYTES)
        self.assertLessEqual(held, MAX_QUEUE_BYTES + len(line) + 10)
        self.assertFalse(handler.wait_closed(0.3))
        self.assertEqual(connection._queue.size, held)
        handler.release.set()
        wait_until(lambda: len(handler.messages_seen) == count + 1)
        self.assertEqual([seen.split()[0] for seen in handler.messages_seen[1:]],
                         [str(number) for number in range(count)])
