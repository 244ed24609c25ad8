"""When to ping a silent peer, and when to give it up. Pure: the caller passes the time."""

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

    Any byte is a sign of life. A peer is dead when no byte came for `ping_interval` plus
    `ping_timeout`, with two pings sent meanwhile. Two, because a busy peer can send one pong late.

    Args:
        now: the time on the caller's clock, in seconds.
    """

    __slots__ = ("_interval", "_timeout", "_since", "_asked", "_pings")

    def __init__(self, limits: Limits, now: float) -> None:
        self._interval = limits.ping_interval
        self._timeout = limits.ping_timeout
        self._since = self._asked = now
        self._pings = 0

    def judge(self, now: float, *, is_alive: bool) -> Verdict:
        """Decide what to do about the peer now.

        Args:
            is_alive: whether a byte came since the last call.
        """
        if is_alive:
            self._since = now
            self._pings = 0
        if self._interval is None:
            return Verdict.WAIT
        if self._pings == 0:
            is_due = now - self._since >= self._interval
        else:
            # Measured from the ping, not from the start of the silence. So after a stall on our
            # side, for example a suspended laptop, the peer still has its time to answer.
            pause = self._interval if self._timeout is None else self._timeout / 2
            is_due = now - self._asked >= pause
        if not is_due:
            return Verdict.WAIT
        if self._timeout is not None and self._pings == 2:
            return Verdict.DEAD
        self._pings += 1
        self._asked = now
        return Verdict.PING
