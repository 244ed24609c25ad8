"""How one connection ends: the end is begun once, published once, and told to all that wait for it.

The end is one value, set once by :meth:`Ending.finish`. It comes behind the line queue: every line
received before it is read first. Only a close of ours drops the queue.

``wire.py`` sends what is left at the end. ``parting.py`` handles the socket after that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple, NoReturn, Optional

from ..errors import ConnectionClosed
from ..limits import Limits
from ..profile import Profile
from .linequeue import LineQueue
from .transport import Deadline, Latch, wait_event
from .waits import Wait, Waits
from .wire import Wire

#: Ends that are no error for ``lines()``: normal, going away, no code at all.
_NORMAL_CODES = frozenset({1000, 1001, 1005})


class End(NamedTuple):
    """How a connection ended."""

    code: int
    reason: str
    #: Our own close: lines that were not delivered yet are dropped.
    ours: bool
    #: Iteration ends without an error.
    is_normal: bool


class Ending:
    """The end of one connection, before and after it is published. Any thread may call any method.

    Args:
        name: the connection's, for the errors.
        state: the connection's state lock. It guards all changes here; reading needs no lock.
    """

    __slots__ = ("end", "closing", "peer_closed", "_name", "_profile", "_limits", "_state", "_queue",
                 "_wire", "_waits", "_published", "_own_close", "_farewells")

    def __init__(self, name: str, profile: Profile, limits: Limits, state: threading.Lock,
                 queue: LineQueue, wire: Wire, waits: Waits) -> None:
        #: How it ended, or None.
        self.end: Optional[End] = None
        #: Once the end has begun: the deadline for all that is done for it.
        self.closing: Optional[Deadline] = None
        #: Whether the peer has sent its Close. Set by the thread that reads, before the end.
        self.peer_closed = False
        self._name = name
        self._profile = profile
        self._limits = limits
        self._state = state
        self._queue = queue
        self._wire = wire
        self._waits = waits
        self._published = Latch()
        self._own_close: Optional[tuple[int, str]] = None
        self._farewells: list[Callable[[], None]] = []

    @property
    def is_open(self) -> bool:
        """Whether neither side has begun to end it."""
        return not (self.peer_closed or self.closing is not None or self.end is not None)

    def begin(self, code: int, reason: str) -> bool:
        """Let no more lines be sent, and start the close's deadline. False if it ends already."""
        with self._state:
            if self.closing is not None or self.end is not None:
                return False
            self.closing = Deadline(self._limits.close_timeout)
            self._own_close = (code, reason)
        self._wire.seal()
        return True

    def forsake(self, timeout: float) -> bool:
        """Send nothing more, not even a Close; the attendant ends it after `timeout` seconds.

        False if it has ended or is closing already.
        """
        with self._state:
            if self.closing is not None or self.end is not None:
                return False
            self.closing = Deadline(timeout)
        self._wire.abandon()
        return True

    def finish(self, code: int, reason: str, *, ours: bool = False, fault: bool = False) -> None:
        """Publish the end, unless there is one already.

        Args:
            ours: we close it.
            fault: we end it for a fault of the peer. With neither, the peer ended it.
        """
        is_lost = code == 1006
        with self._state:
            if self.end is not None:
                return
            if self._own_close is not None:
                # The peer can answer our Close, and be gone, before end_close() publishes our end.
                code, reason = self._own_close
                ours = True
            by_peer = not (ours or fault)
            normal = code in _NORMAL_CODES or by_peer and self._profile.ends_without_close
            self.end = End(code, reason, ours, normal)
            if ours:
                # Undelivered lines are dropped; read() takes from this without checking the end.
                self._queue.ready.clear()
            if self.closing is None:
                self.closing = Deadline(self._limits.close_timeout)
        if is_lost:
            self._wire.abandon()
        self._wire.seal()
        self._published.set()
        # After the end is set: a wait registered later finds it, see fail_if_ended().
        if self._waits.pending:
            self._waits.fail_all(lambda: ConnectionClosed(code, reason, connection=self._name))
        for farewell in self._farewells:
            farewell()

    # Learning of the end

    def wait(self, timeout: Optional[float]) -> bool:
        """Wait for the end; False if the timeout, in seconds, came first."""
        return wait_event(self._published, timeout)

    def on_end(self, farewell: Callable[[], None]) -> None:
        """Have a function called at the end, or now if it has ended already.

        It must be quick and acquire only leaf locks.
        """
        with self._state:
            if self.end is None:
                self._farewells.append(farewell)
                return
        farewell()

    def fail_if_ended(self, wait: Wait) -> None:
        """Call after registering a wait: fail it if the connection has ended."""
        if self.end is not None and self._waits.claim(wait):
            wait.fail(self.error())

    def error(self) -> ConnectionClosed:
        """An error that says how it ended, for a future."""
        end = self.end
        code, reason = (end.code, end.reason) if end is not None else (1006, "")
        return ConnectionClosed(code, reason, connection=self._name)

    def raise_closed(self) -> NoReturn:
        """Raise an error that says how it ended, or that it is about to end."""
        if self.end is not None:
            raise self.error()
        gone = self._wire.is_abandoned
        raise ConnectionClosed(1006 if gone else 1000, "the peer is gone" if gone else "closing",
                               connection=self._name)
