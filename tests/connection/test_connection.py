"""``connection.py``: what the attendant does to a connection that closes."""

from __future__ import annotations

import logging
import time
import unittest
from contextlib import suppress
from dataclasses import replace
from unittest import mock

from mmdagent_remote import ConnectionClosed, Handler
from mmdagent_remote.connection import connection, parting
from mmdagent_remote.profile import MMDAGENT_EX
from mmdagent_remote.testing.receiver import Receiver

from ..client import Client
from ..peers.test_promises import frames_of
from ..support import DEADLINE, Recorder, TestCase, wait_until


class TickTest(TestCase):
    """The attendant's look once a second."""

    def setUp(self) -> None:
        logger = logging.getLogger("mmdagent_remote")
        self.addCleanup(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL)  # What could not be sent before the close.

    def flood(self, handler: Handler) -> None:
        """Send lines in many frames each, until the connection closes."""
        with suppress(ConnectionClosed, TimeoutError):
            while True:
                handler.send("LINE", "x" * 2000)

    def close_amid_a_line(self, last_parts: float) -> tuple[connection.Connection, Client]:
        """A connection that closed while its peer did not read, in the middle of a line."""
        for module in (connection, parting):
            patched = mock.patch.object(module, "LAST_PARTS", last_parts)
            patched.start()
            self.addCleanup(patched.stop)
        profile = replace(MMDAGENT_EX, max_frame=100, gap=0.001, first_line_hold=0.0)
        server = self.serve(Recorder, profile=profile, close_timeout=0, max_send_queue=50_000)
        client = Client(server, "/chat", mmdagent=True)
        self.addCleanup(client.sock.close)
        handler = server.wait_connected(DEADLINE)
        self.in_thread(self.flood, handler)
        wire = handler._connection.wire
        wait_until(lambda: wire.is_stuck and not wire.next_due > time.monotonic(), "the kernel is full")
        handler.close()
        return handler._connection, client

    def test_the_rest_of_a_line_has_its_time(self) -> None:
        """A close whose time is over is not cut off while the rest of a line may still leave."""
        closing, client = self.close_amid_a_line(DEADLINE)
        closing.tick(time.monotonic())
        receiver = Receiver()
        for data in frames_of(client):
            receiver.feed(data)
        self.assertEqual(receiver.held, b"", "no half line is left")

    def test_not_for_ever(self) -> None:
        """After that time a connection with a peer that does not read is cut off."""
        closing, _ = self.close_amid_a_line(0.0)
        closing.tick(time.monotonic())
        wait_until(lambda: closing.fileno() < 0)


if __name__ == "__main__":
    unittest.main()
