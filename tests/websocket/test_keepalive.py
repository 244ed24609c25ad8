"""KeepAlive, with times given as numbers."""

from __future__ import annotations

import unittest

from mmdagent_remote.limits import Limits
from mmdagent_remote.websocket.keepalive import KeepAlive, Verdict


class KeepAliveTests(unittest.TestCase):
    """judge() at given times."""

    def verdicts(self, limits: Limits, alive: dict[float, bool], *times: float) -> list[str]:
        """The verdict at each time."""
        keepalive = KeepAlive(limits, 0.0)
        return [keepalive.judge(now, is_alive=alive.get(now, False)).value for now in times]

    def test_two_pings_then_dead(self) -> None:
        """A silent peer is pinged after the interval and at half the timeout; then it is dead."""
        self.assertEqual(self.verdicts(Limits(), {}, 19.9, 20, 21, 29.9, 30, 39.9, 40), [
            "wait", "ping", "wait", "wait", "ping", "wait", "dead"])

    def test_never_dead_without_two_pings(self) -> None:
        """Even when called late, judge() says dead only after two pings and time to answer."""
        self.assertEqual(self.verdicts(Limits(), {}, 1000, 1001, 1009.9, 1010, 1019.9, 1020),
                         ["ping", "wait", "wait", "ping", "wait", "dead"])

    def test_any_byte_is_life(self) -> None:
        """Any byte restarts the time."""
        self.assertEqual(self.verdicts(Limits(), {39.0: True}, 20, 30, 39.0, 58.9, 59, 69, 79),
                         ["ping", "ping", "wait", "wait", "ping", "ping", "dead"])

    def test_switched_off(self) -> None:
        """Without an interval no ping is sent; without a timeout no peer is given up."""
        self.assertEqual(self.verdicts(Limits(ping_interval=None), {}, 1e6), ["wait"])
        self.assertEqual(self.verdicts(Limits(ping_timeout=None), {}, 20, 30, 40, 60, 1e6),
                         ["ping", "wait", "ping", "ping", "ping"])

    def test_verdict_values(self) -> None:
        """There are three verdicts."""
        self.assertEqual(len(Verdict), 3)
