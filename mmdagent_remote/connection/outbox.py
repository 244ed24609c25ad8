"""What leaves next on one connection, and when. Pure: the time is an argument.

Lines and messages wait in one first-in-first-out queue. :meth:`Outbox.next_bytes` makes the frames
that are due now. Only a ping or a pong may come between two data frames, and only where no long
line is in the middle of its frames. Towards MMDAgent-EX the lines that wait are joined into one
frame for each gap, the first frame is held back, and pings push it out of the peer's HTTP buffer.

Not thread-safe. ``wire.py`` calls it. Methods that change the queue need the state lock, and
:meth:`next_bytes` the wire as well; :meth:`has_left` needs the wire. Methods that only look need
neither.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Optional, Union

from ..limits import SEND_SIZE
from ..profile import Profile
from ..websocket.lines import EchoMemory, Outgoing, next_payload, size_of
from ..websocket.protocol import ServerProtocol

#: A time that never comes.
NEVER = float("inf")

#: Seconds between pings that push a first frame out, at which they stop: some two seconds after it.
_LAST_NUDGE = 1.0
#: Stands in for a queue that was not needed yet: an empty deque takes 760 bytes. Never appended to.
_EMPTY: deque[Outgoing] = deque()

#: Called with each line as the user wrote it, without newline, or the bytes of a binary message.
Tap = Callable[[Union[str, bytes]], None]


class OutboxSealed(Exception):
    """Nothing more may be queued: the connection is closing or has ended. Internal."""


class Outbox:
    """The queue of one connection, and its control frames.

    All times are seconds of one clock, that of the caller.

    Args:
        protocol: makes the frames.
        echoes: is told each line that the peer will send back, before it leaves; None: none are.
        max_frame: where lines are joined, the most bytes of one frame's payload.
        max_size: bytes that may wait; a single larger item may wait alone.
        now: the hold of the first frame counts from here, and anew from when the 101 has left.
    """

    __slots__ = ("waiting", "taken", "is_sealed", "ping_at", "taps", "_protocol", "_gap", "_hold",
                 "_echoes", "_max_frame", "_max_size", "_size", "_binaries", "_followers", "_pong",
                 "_pings", "_nudge", "_is_opening", "_is_first", "_hold_until", "_last_left",
                 "_dropped", "_close")

    def __init__(self, protocol: ServerProtocol, profile: Profile, echoes: Optional[EchoMemory],
                 max_frame: Optional[int], max_size: int, now: float) -> None:
        self._protocol = protocol
        self._gap = profile.gap
        self._hold = profile.first_line_hold
        self._echoes = echoes
        self._max_frame = max_frame
        self._max_size = max_size
        #: Lines and messages that have not left yet, oldest first.
        self.waiting = _EMPTY
        self._size = 0
        self._binaries = 0
        #: How many items have left the queue, so that a writer sees when its own have.
        self.taken = 0
        # The other frames of a long line or chunk that has begun to leave.
        self._followers: list[tuple[bytes, bool]] = []
        #: Functions called with what leaves. Both locks are held then, so they only append to a
        #: bounded collection of their own.
        self.taps: tuple[Tap, ...] = ()
        self._pong: Optional[bytes] = None
        self._pings = 0
        #: When the next ping may leave; 0: as soon as possible.
        self.ping_at = NEVER
        self._nudge = 0.0
        self.is_sealed = False
        self._dropped = 0
        self._close: Optional[tuple[int, str]] = None
        self._last_left = 0.0
        # The 101 has not left yet.
        self._is_opening = True
        self._is_first = bool(self._hold)
        self._hold_until = now + self._hold

    # Into the queue

    def put_all(self, items: Iterable[Outgoing]) -> None:
        """Queue items, however many wait; see :meth:`put`."""
        for item in items:
            self.put(item, size_of(item))

    def put(self, item: Outgoing, size: int) -> None:
        """Queue an item, however many wait.

        Args:
            size: of the item, in bytes.

        Raises:
            OutboxSealed: the connection is closing.
        """
        if self.is_sealed:
            raise OutboxSealed
        if self.waiting is _EMPTY:
            self.waiting = deque()
        self.waiting.append(item)
        self._size += size
        if isinstance(item, bytes):
            self._binaries += 1

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes may wait."""
        return not self.waiting or self._size + size <= self._max_size

    def pong(self, payload: bytes) -> None:
        """Answer a ping. Of several unanswered ones only the last is kept (RFC 6455, 5.5.3)."""
        self._pong = payload

    def ping(self) -> None:
        """Send a ping as soon as possible, with its own number as payload."""
        self.ping_at = 0.0

    def seal(self) -> None:
        """Let nothing more be queued. Called before a Close frame, since nothing may follow it."""
        self.is_sealed = True

    def close(self, code: int, reason: str, *, drop: bool) -> None:
        """Send a Close frame behind what waits; with `drop`, instead. The first call counts."""
        self.is_sealed = True
        if self._close is None:
            self._close = (code, reason)
        if drop:
            self._drop()

    # What is in it

    @property
    def is_clear(self) -> bool:
        """Whether whole data frames may leave at once, past the queue."""
        return not (self.waiting or self.is_sealed or self.ping_at != NEVER or self._followers
                    or self._pong is not None)

    @property
    def is_busy(self) -> bool:
        """Whether data or a Close frame waits."""
        return bool(self.waiting or self._followers or self._close)

    @property
    def is_amid_a_line(self) -> bool:
        """Whether a line or chunk has begun to leave, and its other frames wait."""
        return bool(self._followers)

    @property
    def has_binary(self) -> bool:
        """Whether a binary message waits: sound."""
        return bool(self._binaries)

    @property
    def unsent(self) -> int:
        """How many lines and messages wait, or were dropped by a close."""
        return self._dropped + len(self.waiting)

    @property
    def batch_due(self) -> float:
        """When a frame of lines may leave."""
        return max(self._hold_until, self._last_left + self._gap)

    @property
    def next_due(self) -> float:
        """When a frame or a ping may leave; :data:`NEVER`, if none waits."""
        due = self.batch_due if self.waiting else self._hold_until if self._close else NEVER
        return min(due, max(self.ping_at, self._last_left + self._gap))

    def has_work(self, now: float) -> bool:
        """Whether something may leave now."""
        # Asked once or twice for each line, so it is written for speed.
        if self._followers or self._pong is not None:
            return True
        if self._close and self._close_is_due(now):
            return True
        if now < self._last_left + self._gap:
            return False
        return now >= self.ping_at or bool(self.waiting) and (not self._gap or now >= self._hold_until)

    def _close_is_due(self, now: float) -> bool:
        # A Close right behind the 101 would be stuck like any other first frame.
        return not self.waiting and not self._followers and now >= self._hold_until

    # Out of the queue

    def next_bytes(self, now: float) -> bytes:
        """The frames that leave next, as one; empty: nothing is due."""
        if self._followers and self._protocol.can_send:
            # No frame may come between the frames of one line, and no gap is needed.
            return self._frame(*self._followers.pop(0))
        frames: list[bytes] = []
        if self._pong is not None or now >= self.ping_at:
            frames = self._control_frames(now)
        if not self._protocol.can_send:
            self._followers.clear()
            self._drop()
        elif not self._gap:
            frames += self._joined_frames()
        elif self.waiting and now >= self.batch_due:
            frames.append(self._batch(now))
        if self._close and self._close_is_due(now):
            frames.append(self._protocol.close_frame(*self._close))
            self._close = None
        return b"".join(frames)

    def has_left(self, now: float) -> None:
        """Note that the kernel took all of the last bytes. The gap begins at the end of a send."""
        if self._gap:
            self._last_left = now
            if self._is_opening:
                self._is_opening = False
                self._hold_until = now + self._hold

    def _control_frames(self, now: float) -> list[bytes]:
        frames = []
        if self._pong is not None:
            frames.append(self._protocol.pong_frame(self._pong))
            self._pong = None
        if now >= self.ping_at and now >= self._last_left + self._gap:
            # A nudge (its time is not 0) is needless once a pong has come.
            is_needless = self.ping_at and self._protocol.has_pong
            self.ping_at = self._next_nudge(now)
            if self._protocol.can_send and not is_needless:
                self._pings += 1
                frames.append(self._protocol.ping_frame(self._pings.to_bytes(4, "big")))
        return frames

    def _batch(self, now: float) -> bytes:
        payload, text, rest = self._take()
        self._followers.extend((part, text) for part in rest)
        if self._is_first:
            self._is_first = False
            self._nudge = self._hold
            self.ping_at = now + self._nudge
        return self._frame(payload, text)

    def _next_nudge(self, now: float) -> float:
        # A ping pushes the first frame out of the peer's HTTP buffer, if it is stuck there. A busy
        # peer can hold both there. So more follow, at growing intervals, until one is answered.
        if not 0.0 < self._nudge < _LAST_NUDGE or self._protocol.has_pong:
            return NEVER
        self._nudge *= 2
        return now + self._nudge

    def _joined_frames(self) -> list[bytes]:
        frames, size = [], 0
        while self.waiting and size < SEND_SIZE:
            payload, text, rest = self._take()
            frames += [self._frame(part, text) for part in (payload, *rest)]
            size += len(payload)
        return frames

    def _take(self) -> tuple[bytes, bool, list[bytes]]:
        number = len(self.waiting)
        if self._echoes is None and not self.taps:
            payload, text, rest = next_payload(self.waiting, self._max_frame)
        else:
            items: list[Outgoing] = []
            payload, text, rest = next_payload(self.waiting, self._max_frame, items)
            self._tell(items)
        self.taken += number - len(self.waiting)
        self._size -= len(payload)
        if rest:
            self._size -= sum(map(len, rest))
        if not text:
            self._binaries -= 1
        return payload, text, rest

    def _tell(self, items: list[Outgoing]) -> None:
        # Before the lines leave, since an echo can be faster than the next statement. Not when they
        # are queued, since the queue holds far more lines than are remembered.
        for item in items:
            if self._echoes is not None and not isinstance(item, bytes) and item.echo is not None:
                self._echoes.sent(item.echo)
            for tap in self.taps:
                tap(item if isinstance(item, bytes) else item.text)

    def _frame(self, payload: bytes, text: bool) -> bytes:
        return self._protocol.data_frame(payload, text=text)

    def _drop(self) -> None:
        # The rest of a line that has begun to leave stays: half a line would spoil the first line
        # after a reconnect.
        self._dropped += len(self.waiting)
        self.taken += len(self.waiting)
        self.waiting.clear()
        self._binaries = 0
        self._size = 0
