"""``ending.py``: the end is set once, and everything that waits is told."""

from __future__ import annotations

import threading
import unittest
from typing import Any

from mmdagent_remote import ConnectionClosed, Message
from mmdagent_remote.connection.ending import End, Ending
from mmdagent_remote.connection.linequeue import LineQueue
from mmdagent_remote.connection.outbox import OutboxSealed
from mmdagent_remote.connection.transport import Deadline
from mmdagent_remote.connection.waits import Wait, Waits
from mmdagent_remote.connection.wire import Wire
from mmdagent_remote.limits import Limits
from mmdagent_remote.profile import MMDAGENT_EX, STRICT, Profile
from mmdagent_remote.websocket.lines import prepare_line

from ..support import DEADLINE, TestCase
from ..websocket.test_protocol import opened
from .test_transport import pair


class EndingTest(TestCase):
    """The end of a connection that has all its other parts, but no reader."""

    def setUp(self) -> None:
        self.ending = self.make(STRICT)

    def make(self, profile: Profile) -> Ending:
        """An ending with all the parts that it uses."""
        transport, self.peer = pair()
        self.addCleanup(self.peer.close)
        self.addCleanup(transport.close)
        limits, state = Limits(close_timeout=DEADLINE), threading.Lock()
        self.queue, self.waits = LineQueue(10), Waits()
        self.wire = Wire(transport, None, opened(profile)[0], profile, limits, state, None, None, b"101",
                         lambda: None)
        return Ending("name", profile, limits, state, self.queue, self.wire, self.waits)

    def send(self) -> None:
        """Send a line."""
        self.wire.send([prepare_line("A", STRICT)], Deadline(DEADLINE))

    def test_set_once(self) -> None:
        """The first end counts, and wakes every thread that waits for it, then or later."""
        self.assertFalse(self.ending.wait(0))
        waiter = self.in_thread(self.ending.wait, None)
        self.ending.finish(1001, "away")
        waiter.join(DEADLINE)
        self.ending.finish(1006, "lost", ours=True)
        self.assertEqual(self.ending.end, End(1001, "away", False, True))
        self.assertTrue(self.ending.wait(0))
        self.assertFalse(self.ending.is_open)

    def test_nothing_is_sent_behind_it(self) -> None:
        """After the end, or once a close of ours has begun, no line is accepted."""
        for end in (lambda ending: ending.begin(1000, ""), lambda ending: ending.finish(1000, ""),
                    lambda ending: ending.forsake(1.0)):
            ending = self.make(STRICT)
            self.send()
            self.assertTrue(ending.is_open)
            end(ending)
            self.assertFalse(ending.is_open)
            with self.assertRaises(OutboxSealed):
                self.send()

    def test_a_close_is_begun_once(self) -> None:
        """Only the first of several closes begins, and none begins after the end."""
        self.assertTrue(self.ending.begin(1000, ""))
        self.assertFalse(self.ending.begin(1001, ""))
        self.assertFalse(self.ending.forsake(1.0))
        other = self.make(STRICT)
        other.finish(1000, "")
        self.assertFalse(other.begin(1000, ""))

    def test_our_close_stays_ours(self) -> None:
        """If the peer ends the connection before our Close is sent, the end is still ours."""
        self.ending.begin(4000, "ours")
        self.ending.finish(1006, "reset by peer")
        self.assertEqual(self.ending.end, End(4000, "ours", True, False))

    def test_time_to_close(self) -> None:
        """The close deadline runs from the start of the close, or from the end if none started."""
        self.assertIsNone(self.ending.closing)
        self.ending.begin(1000, "")
        closing = self.ending.closing
        self.ending.finish(1000, "")
        self.assertIs(self.ending.closing, closing)
        other = self.make(STRICT)
        other.finish(1000, "")
        assert other.closing is not None
        self.assertFalse(other.closing.is_over)

    def test_what_is_normal(self) -> None:
        """Normal ends are 1000, 1001, no code, and 1006 from a peer that never sends a Close."""
        for profile, code, ours, fault, expected in (
                (STRICT, 1000, False, False, True), (STRICT, 1005, False, False, True),
                (STRICT, 1006, False, False, False), (STRICT, 4000, True, False, False),
                (MMDAGENT_EX, 1006, False, False, True), (MMDAGENT_EX, 1011, True, False, False),
                (MMDAGENT_EX, 1002, False, True, False)):
            ending = self.make(profile)
            ending.finish(code, "", ours=ours, fault=fault)
            assert ending.end is not None
            self.assertIs(ending.end.is_normal, expected, (profile.name, code))

    def test_lines_before_it(self) -> None:
        """Lines received before the peer's end stay; our own end drops those that are ready."""
        for ours in (False, True):
            ending = self.make(STRICT)
            self.queue.ready.append(Message("A"))
            ending.finish(1000, "", ours=ours)
            self.assertEqual(self.queue.has_any(), not ours)

    def test_waits_are_told(self) -> None:
        """Waits fail with the end, even those registered after it."""
        early, late = Wait(("KEY",)), Wait(("KEY",))
        self.waits.add(early)
        self.ending.fail_if_ended(early)
        self.assertFalse(early.future.done())
        self.ending.finish(1001, "away")
        self.waits.add(late)
        self.ending.fail_if_ended(late)
        for wait in (early, late):
            error: Any = wait.future.exception(0)
            self.assertIsInstance(error, ConnectionClosed)
            self.assertEqual((error.code, error.reason, error.connection), (1001, "away", "name"))

    def test_farewells(self) -> None:
        """Each farewell is called once, after the end, even one that is registered later."""
        told: list[tuple[str, bool]] = []
        self.ending.on_end(lambda: told.append(("early", self.ending.wait(0))))
        self.assertEqual(told, [])
        self.ending.finish(1000, "")
        self.ending.finish(1000, "")
        self.ending.on_end(lambda: told.append(("late", self.ending.wait(0))))
        self.assertEqual(told, [("early", True), ("late", True)])

    def closed(self, ending: Ending) -> tuple[int, str]:
        """The code and the reason that raise_closed() reports."""
        with self.assertRaises(ConnectionClosed) as caught:
            ending.raise_closed()
        return caught.exception.code, caught.exception.reason

    def test_a_farewell_amid_the_end(self) -> None:
        """A farewell that is registered while the end is published is also called once."""
        told: list[str] = []
        wait = Wait(["A"])
        self.waits.add(wait)
        # Its callbacks run after the end is set and before the farewells.
        wait.future.add_done_callback(lambda _: self.ending.on_end(lambda: told.append("told")))
        self.ending.finish(1001, "away")
        self.assertEqual(told, ["told"])

    def test_what_callers_are_told(self) -> None:
        """Before the end is set, callers are told that it is closing or that the peer is gone."""
        self.ending.begin(1001, "")
        self.assertEqual(self.closed(self.ending), (1000, "closing"))
        self.wire.abandon()
        self.assertEqual(self.closed(self.ending), (1006, "the peer is gone"))
        self.ending.finish(1006, "")
        self.assertEqual(self.closed(self.ending), (1001, ""))
        self.assertEqual(self.ending.error().code, 1001)

    def test_a_lost_peer_gets_nothing(self) -> None:
        """After a lost connection no queued line is sent."""
        with self.wire._wire:
            self.wire.post([prepare_line("A", STRICT)])
            self.ending.finish(1006, "lost")
        self.wire.pump()
        self.peer.setblocking(False)
        with self.assertRaises(BlockingIOError):
            self.peer.recv(10)


if __name__ == "__main__":
    unittest.main()
