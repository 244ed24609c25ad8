"""When a silent peer is pinged, and when it is given up. Pure: the clock is the caller's."""

from __future__ import annotations

from enum import Enum

from .limits import Limits


class Verdict(Enum):
    """What to do about a peer."""

    WAIT = "wait"
    PING = "ping"
    DEAD = "dead"


class KeepAlive:
    """Judges one peer by its silence.

    Any byte is life. A peer is dead when not one byte came for `ping_interval` and
    `ping_timeout` together, with two pings meanwhile: one pong can be late in a busy peer.

    Args:
        now: on the caller's clock, in seconds.
    """

    __slots__ = ("_interval", "_timeout", "_since", "_pings")

    def __init__(self, limits: Limits, now: float) -> None:
        self._interval = limits.ping_interval
        self._timeout = limits.ping_timeout
        self._since = now
        self._pings = 0

    def judge(self, now: float, *, is_alive: bool) -> Verdict:
        """Look at the peer once more.

        Args:
            is_alive: whether a byte came since the last look.
        """
        if is_alive:
            self._since = now
            self._pings = 0
        if self._interval is None:
            return Verdict.WAIT
        silence = now - self._since
        if self._timeout is None:
            is_due = silence >= self._interval * (self._pings + 1)
        else:
            is_due = self._pings < 2 and silence >= self._interval + self._pings * self._timeout / 2
        if is_due:
            self._pings += 1
            return Verdict.PING
        if self._timeout is not None and silence >= self._interval + self._timeout:
            return Verdict.DEAD
        return Verdict.WAIT
