"""A server whose reading threads all go through the turnstile."""

from __future__ import annotations

import threading
import unittest
from typing import Any
from unittest import mock

from mmdagent_remote import Handler, Message

from mmdagent_remote.connection import turnstile
from mmdagent_remote.limits import TURNSTILE_PLACES

from ..client import CLOSE, Client, frame
from ..support import DEADLINE, Recorder, TestCase, wait_until
from .test_turnstile import HAS_EPOLL, needs_plain_waits


class Echo(Recorder):
    """Sends back what it gets."""

    def on_message(self, message: Message) -> None:
        self.send(message)


@needs_plain_waits
@unittest.skipUnless(HAS_EPOLL, "there is no epoll here, and so no turnstile")
class ServerTests(TestCase):
    """A server with the turnstile engaged for any number of connections."""

    def setUp(self) -> None:
        patch = mock.patch.object(turnstile, "TURNSTILE_FROM", -1)
        patch.start()
        self.addCleanup(patch.stop)

    def clients(self, handler: type[Handler], number: int, **options: Any) -> list[Client]:
        """Clients whose handlers wait at the turnstile; the server is ``self.server``."""
        self.server = self.serve(handler, **options)
        gate = self.server._running()._turnstile
        wait_until(lambda: gate.is_engaged)
        clients = [self.enterContext(Client(self.server)) for _ in range(number)]
        wait_until(lambda: len(gate._waiting) == number)
        return clients

    def test_all_are_answered(self) -> None:
        """Each of many connections gets its answers, in order."""
        clients = self.clients(Echo, 40)
        for first in range(0, 30, 10):
            for client in clients:
                client.text("".join(f"{number}\n" for number in range(first, first + 10)))
            for client in clients:
                self.assertEqual(client.lines(10), [str(n) for n in range(first, first + 10)])

    def test_hooks_that_wait_for_each_other(self) -> None:
        """As many hooks run at once as there are connections."""
        barrier = threading.Barrier(30, timeout=DEADLINE)

        class Meeting(Handler):
            def on_message(self, message: Message) -> None:
                barrier.wait()
                self.send(message)

        clients = self.clients(Meeting, 30)
        for client in clients:
            client.text("a\n")
        for client in clients:
            self.assertEqual(client.lines(1), ["a"])

    def test_close_wakes(self) -> None:
        """close() from another thread ends a connection that waits at the turnstile."""
        clients = self.clients(Echo, 3)
        for handler in self.server.connections:
            handler.close()
        for client in clients:
            self.assertEqual(client.close_code(), 1000)

    def test_closing_takes_no_place(self) -> None:
        """Connections that wait for the end of their peers take no place."""
        with mock.patch.object(turnstile, "TURNSTILE_PATIENCE", 10 * DEADLINE):
            clients = self.clients(Echo, TURNSTILE_PLACES + 1, close_timeout=2 * DEADLINE)
            gate = self.server._running()._turnstile
            for handler in self.server.connections[:TURNSTILE_PLACES]:
                handler.close()
            wait_until(lambda: len(gate._waiting) == 1)
            clients[-1].text("a\n")
            self.assertEqual(clients[-1].lines(1), ["a"])
            for client in clients:
                client.sock.close()
            wait_until(lambda: not self.server.connections)

    def test_peers_leave(self) -> None:
        """A peer that closes or vanishes is noticed, and its descriptor can be reused."""
        for _ in range(3):
            clients = self.clients(Recorder, 3)
            recorders = self.server.connections
            clients[0].send(frame(b"\x03\xe8", CLOSE))
            self.assertEqual(clients[0].close_code(), 1000)
            for client in clients:
                client.sock.close()
            for recorder in recorders:
                assert isinstance(recorder, Recorder)
                self.assertTrue(recorder.done.wait(DEADLINE))
            with Client(self.server) as client:
                client.text("a\n")
                last = self.server.wait_connected(DEADLINE)
                assert isinstance(last, Recorder)
                wait_until(lambda: last.messages_seen == ["a"])

    def test_shutdown(self) -> None:
        """A shutdown ends all connections that wait at the turnstile, each with 1001."""
        clients = self.clients(Echo, 5)
        self.assertEqual(self.server.shutdown(DEADLINE), [])
        for client in clients:
            self.assertEqual(client.close_code(), 1001)
