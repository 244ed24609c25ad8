"""When a silent peer is pinged, and when it is given up. Pure: the clock is the caller's."""

from __future__ import annotations

from enum import Enum

from ..limits import Limits


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

    __slots__ = ("_interval", "_timeout", "_since", "_asked", "_pings")

    def __init__(self, limits: Limits, now: float) -> None:
        self._interval = limits.ping_interval
        self._timeout = limits.ping_timeout
        self._since = self._asked = now
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
        if self._pings == 0:
            is_due = now - self._since >= self._interval
        else:
            # From the ping, not from the silence: after a stall of our own, a suspended laptop
            # for example, the peer still gets its time to answer.
            pause = self._interval if self._timeout is None else self._timeout / 2
            is_due = now - self._asked >= pause
        if not is_due:
            return Verdict.WAIT
        if self._timeout is not None and self._pings == 2:
            return Verdict.DEAD
        self._pings += 1
        self._asked = now
        return Verdict.PING
