"""Peers that do not read: nothing else waits for them, and their own end comes in time."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Optional

from mmdagent_remote import ConnectionClosed, Server
from mmdagent_remote.profile import STRICT
from mmdagent_remote.websocket.lines import prepare_line

from ...attack import LATE, Echo, HostileCase, wait_done
from ...client import PING, Client, frame
from ...support import DEADLINE, Recorder, client_context, server_context, wait_until

#: A few thousand of these fill the kernel's buffers.
_LINE = "x" * 1000


class Sending(Recorder):
    """Sends without end in its own thread once a line comes, and notes how that ended."""

    def __init__(self) -> None:
        super().__init__()
        self.sent_at = 0.0
        self.failed_at = 0.0
        self.failure: Optional[Exception] = None

    def on_message(self, message: str) -> None:
        try:
            while True:
                self.sent_at = time.monotonic()
                self.send(_LINE)
        except (TimeoutError, ConnectionClosed) as error:
            self.failed_at = time.monotonic()
            self.failure = error
            raise


class NeverReadsTests(HostileCase):
    """Clients that never read what we send."""

    def stuck(self, server: Server, client: Client) -> Sending:
        """The handler whose send to this client, which does not read, is stuck."""
        client.text("go\n")
        handler = server.wait_connected(DEADLINE)
        assert isinstance(handler, Sending)
        wait_until(lambda: handler.sent_at and time.monotonic() - handler.sent_at > 0.1,
                   "a send is stuck")
        return handler

    def test_send_gives_up(self) -> None:
        """send raises TimeoutError after send_timeout; the connection is dropped soon after."""
        for tls in (False, True):
            with self.subTest(tls=tls):
                context = server_context() if tls else None
                with self.logged():
                    server = self.serve(Sending, send_timeout=0.5, ssl_context=context)
                    with Client(server, tls=client_context() if tls else None) as client:
                        handler = self.stuck(server, client)
                        wait_done(handler)
                        ended = time.monotonic()
                # ConnectionClosed if on a loaded machine the attendant is quicker.
                self.assertIsInstance(handler.failure, (TimeoutError, ConnectionClosed))
                self.assertGreater(handler.failed_at - handler.sent_at, 0.45)
                self.assertLess(handler.failed_at - handler.sent_at, LATE)
                self.assertLess(ended - handler.failed_at, LATE)
                self.assertEqual(handler.closes, [(1006, "send timeout")])

    def test_others_go_on(self) -> None:
        """While a send is stuck, others are served, and memory does not grow."""
        server = self.serve({"/stuck": Sending, "/": Echo}, send_timeout=DEADLINE)
        with Client(server, "/stuck") as client:
            with self.memory_bounded():
                handler = self.stuck(server, client)
                with Client(server) as other:
                    for _ in range(20):
                        self.assert_served(other)
            self.assertFalse(handler.closed)
            self.assert_idle()
        wait_done(handler)

    def test_drop_by_drop(self) -> None:
        """A client that reads a few bytes now and then does not stretch send_timeout."""
        server = self.serve(send_timeout=0.5)
        with Client(server) as client:
            agent, stop = server.accept(DEADLINE), threading.Event()

            def drip() -> None:
                while not stop.wait(0.01) and client.sock.recv(20_000):
                    pass
            dripping = self.in_thread(drip)
            began = time.monotonic()
            # The sender and the attendant race to end it.
            with suppress(TimeoutError, ConnectionClosed):
                agent.send_binary(bytes(40_000_000))  # Takes the client 20 s to read.
            self.assertTrue(agent.wait_closed(DEADLINE))
            self.assertLess(time.monotonic() - began, LATE)
            stop.set()
            dripping.join(DEADLINE)

    def test_broadcast_does_not_wait(self) -> None:
        """While a send is stuck, broadcast returns at once, and reports a full, bounded queue."""
        server = self.serve(Sending, send_timeout=DEADLINE)
        with Client(server) as client:
            handler = self.stuck(server, client)
            with self.memory_bounded(4_000_000):
                began = time.monotonic()
                failed = [server.broadcast(_LINE)]
                while not failed[-1] and len(failed) < 20_000:
                    failed.append(server.broadcast(_LINE))
                self.assertLess(time.monotonic() - began, LATE)
            self.assertEqual((failed[0], failed[-1]), ([], [handler]))
        wait_done(handler)

    def test_second_sender(self) -> None:
        """A second thread that waits to send to a stuck peer waits until the connection ends."""
        server = self.serve(Sending, send_timeout=0.7)
        with Client(server) as client:
            handler = self.stuck(server, client)

            def send() -> None:
                try:
                    handler.send("me too")
                except (TimeoutError, ConnectionClosed):
                    pass
            second = self.in_thread(send)
            wait_done(handler)
            second.join(LATE)
            self.assertFalse(second.is_alive())

    def test_close_does_not_wait(self) -> None:
        """close() and shutdown() wait for a stuck send no longer than close_timeout."""
        server = self.serve(Sending, send_timeout=DEADLINE)
        with Client(server) as one, Client(server) as two:
            handler = self.stuck(server, one)
            began = time.monotonic()
            handler.close()
            wait_done(handler)
            self.assertLess(time.monotonic() - began, LATE)
            self.stuck(server, two)
            began = time.monotonic()
            self.assertEqual(server.shutdown(DEADLINE), [])
            self.assertLess(time.monotonic() - began, LATE)

    def test_pongs_that_nobody_reads(self) -> None:
        """A flood of pings by a client that reads no pongs takes no memory, and is ended."""
        server = self.serve(Echo, send_timeout=3.0, max_send_queue=50_000)
        with Client(server) as client, Client(server) as other:
            wait_until(lambda: len(server.connections) == 2)
            handler = next(each for each in server.connections
                           if each.remote_address == client.sock.getsockname())
            # The kernel's buffers are filled beforehand: pongs alone, of which the last one of each read
            # is sent, take a minute for that on a busy machine.
            connection, line = handler._connected(), prepare_line("x" * 10_000, STRICT)
            wait_until(lambda: not connection.post([line]) and connection.wire.is_stuck)
            with self.memory_bounded():
                self.in_thread(self.flood, client, frame(b"p" * 125, PING) * 500, 10_000)
                self.assert_served(other)
                wait_done(handler)
            self.assertEqual(handler.closes, [(1006, "send timeout")])
