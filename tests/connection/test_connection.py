"""``connection.py``: taps, and what the attendant does to a connection that closes."""

from __future__ import annotations

import logging
import time
import unittest
from contextlib import suppress
from dataclasses import replace
from typing import Any
from unittest import mock

from mmdagent_remote import ConnectionClosed, Handler
from mmdagent_remote.connection import connection, parting
from mmdagent_remote.profile import MMDAGENT_EX
from mmdagent_remote.testing.receiver import Receiver

from ..client import Client
from ..peers.test_promises import frames_of
from ..support import DEADLINE, Recorder, TestCase, wait_until


class TapTest(TestCase):
    """Functions that are shown each line."""

    def open(self, *, mmdagent: bool, **options: Any) -> tuple[Handler, Client]:
        """A connection, at both ends."""
        server = self.serve(Recorder, **options)
        client = self.enterContext(Client(server, mmdagent=mmdagent))
        return server.wait_connected(DEADLINE), client

    def test_sent(self) -> None:
        """From any way to send, each line is shown to all taps, as it was written and in order."""
        for options in ({}, {"fast_lane": False}):
            handler, client = self.open(mmdagent=False, **options)
            handler.send("BEFORE")
            client.data_frame()
            seen: list[tuple[int, str | bytes]] = []
            for number in (1, 2):
                handler._connection.tap_sent(lambda item, number=number: seen.append((number, item)))
            handler.send("A", 1)
            handler.write_line("B\n")
            handler.send_lines(["C", "D"])
            handler.send_text("E\nF")
            handler.send_binary(b"\0")
            handler.server.broadcast("G")
            for _ in range(7):
                client.data_frame()
            sent = ["A|1", "B", "C", "D", "E\nF", b"\0", "G"]
            self.assertEqual(seen, [(number, item) for item in sent for number in (1, 2)])

    def test_received(self) -> None:
        """Each line is shown to all taps, echoes too, before it is delivered."""
        handler, client = self.open(mmdagent=True)
        seen: list[tuple[int, str, bool]] = []
        for number in (1, 2):
            handler._connection.tap_received(
                lambda line, number=number: seen.append((number, line, line.is_echo)))
        handler.send("STOP")
        self.assertEqual(client.data_frame().payload, b"__AV_MESSAGE,STOP\n")
        client.text("STOP\n")
        client.text("A|1\nB\n")
        wait_until(lambda: handler.messages_seen == ["STOP", "A|1", "B"])
        lines = [("STOP", True), ("A|1", False), ("B", False)]
        self.assertEqual(seen, [(number, *line) for line in lines for number in (1, 2)])


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
