"""What leaves on one connection, and in which order.

Everything that goes to the peer passes through one :class:`Wire`: user lines, batches,
pings, pongs and the Close frame. One first-in-first-out queue; nothing overtakes,
except that a pong or ping may slip in between two frames.

Two locks. *The wire* is held in a send, also a blocking one, and belongs to whoever
moves bytes to the kernel. *The state lock*, shared with the connection, is below
it: it guards the queue, wsproto and TLS, and is never held round a system call.
With one lock for both, a flood in both directions deadlocked after 3.2 MB.

Who cannot get the wire leaves the work in the queue, and **whoever lets go of the wire
looks again** (:meth:`Wire.pump`), so that nothing is left behind.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Optional

from ..limits import SEND_SIZE, Limits
from ..profile import Profile
from ..websocket.lines import EchoMemory, Outgoing, next_payload, size_of
from ..websocket.protocol import ServerProtocol
from .transport import Deadline, DeadlinePassed, TLSCodec, Transport, acquire_lock

_NEVER = float("inf")

#: Seconds between the last two pings that push a first frame out; some two seconds after it.
_LAST_NUDGE = 1.0
#: How often somebody who does not wait sends for others, before the attendant goes on.
_MOST_TURNS = 16
_NOTHING = memoryview(b"")
#: In the place of a queue that was not needed yet: an empty deque takes 760 bytes. Nothing is put in.
_EMPTY: deque[Outgoing] = deque()


class WireSealed(Exception):
    """Nothing more may be queued: the connection is closing or has ended. Internal."""


class Wire:
    """The outgoing side of one open connection.

    Args:
        state: the connection's state lock.
        max_frame: where lines are joined, the most bytes of one frame's payload.
        response: the 101, which goes before anything else.
        call_attendant: asks the attendant to see to this connection soon; any thread.
    """

    __slots__ = ("_transport", "_tls", "_protocol", "_profile", "_limits", "_state", "_wire",
                 "_echoes", "_max_frame", "_call_attendant", "_waiting", "_waiting_size", "_taken",
                 "_binaries", "_tail", "_followers", "_pong", "_pings", "_ping_at", "_nudge",
                 "_is_opening", "_first", "_hold_until", "_last_sent", "_sealed", "_dropped",
                 "_abandoned", "_close", "_is_clear", "_progress")

    def __init__(self, transport: Transport, tls: Optional[TLSCodec], protocol: ServerProtocol,
                 profile: Profile, limits: Limits, state: threading.Lock,
                 echoes: Optional[EchoMemory], max_frame: Optional[int], response: bytes,
                 call_attendant: Callable[[], None]) -> None:
        self._transport = transport
        self._tls = tls
        self._protocol = protocol
        self._profile = profile
        self._limits = limits
        # Guards what is below up to the blank line. Order: the wire, then the state.
        self._state = state
        self._echoes = echoes
        self._waiting = _EMPTY
        self._waiting_size = 0
        # Items that have left the queue.
        self._taken = 0
        self._binaries = 0
        self._pong: Optional[bytes] = None
        self._pings = 0
        self._ping_at = _NEVER
        self._nudge = 0.0
        self._sealed = False
        self._dropped = 0
        self._abandoned = False
        self._close: Optional[tuple[int, str]] = None
        # Nothing but whole data frames is to be sent, and those may be: one look for send_at_once().
        # Cleared by whatever changes one of the above; set again when all of it has been seen to.
        self._is_clear = False

        # Held while bytes go to the kernel; guards what is below.
        self._wire = threading.Lock()
        self._tail = memoryview(tls.encrypt(response) if tls else response)
        self._followers: list[tuple[bytes, bool]] = []
        self._progress = 0
        self._last_sent = 0.0
        self._is_opening = True
        self._first = bool(profile.first_line_hold)
        self._hold_until = time.monotonic() + profile.first_line_hold
        self._max_frame = max_frame
        self._call_attendant = call_attendant

    def open(self, deadline: Deadline) -> None:
        """Send the 101, unless a writer who came first has done so.

        Raises:
            DeadlinePassed, OSError: as :meth:`send` does.
        """
        self._write_once(deadline)
        self.pump()

    # For user threads

    def send(self, items: Sequence[Outgoing], deadline: Deadline) -> None:
        """Queue or send; returns when every item is in the kernel or in the queue.

        Raises:
            WireSealed: the connection is closing.
            DeadlinePassed: the peer did not read in time; part of a frame may be out.
            OSError: the connection is broken.
        """
        if self._profile.gap:
            self._send_paced(deque(items), deadline)
            return
        if not self._wire.acquire(False):
            # Flat combining: whoever sends just now sends this, too, and nobody waits for him.
            if self._queue(items, most=SEND_SIZE):
                self.pump()
                return
            self._acquire(deadline)
        try:
            with self._state:
                self._put_all(items)
                last = self._taken + len(self._waiting)
            # Not until nothing waits: other threads may go on for ever.
            self._finish_tail(deadline, last)
        finally:
            self._wire.release()
        self.pump()

    def send_at_once(self, frames: bytes) -> bool:
        """Send whole data frames, if nothing waits and nobody sends. False: :meth:`send` is to do it.

        The hot path of a line: one system call, and a deadline only when the kernel is full.
        Without the state lock, but for TLS, since nothing else it guards is changed: what is queued at
        the same moment comes behind, and a Close needs the wire. Only where
        :attr:`Profile.sends_as_is` holds, and where frames need not go through wsproto.

        Raises:
            DeadlinePassed, OSError: as :meth:`send` does.
        """
        if not self._wire.acquire(False):
            return False
        try:
            if not self._is_clear or self._tail or not self._protocol.can_send:
                return False
            if self._tls is not None:
                with self._state:
                    frames = self._tls.encrypt(frames)
            sent = self._transport.try_send(frames)
            self._progress += sent
            if sent < len(frames):
                self._tail = memoryview(frames)[sent:]
                self._finish_tail(Deadline(self._limits.send_timeout), self._taken)
        finally:
            self._wire.release()
        # Whoever lets go of the wire looks again; but most often at a glance.
        if not self._is_clear:
            self.pump()
        return True

    def _finish_tail(self, deadline: Deadline, last: int) -> None:
        self._write(deadline, last)
        if self._tail:
            raise BrokenPipeError("the connection was given up in the middle of a frame")

    def post(self, items: list[Outgoing]) -> bool:
        """Queue without waiting for anybody; False when the queue is full or sealed."""
        if not self._queue(items):
            return False
        self.pump()
        self._leave_rest()
        return True

    def _queue(self, items: Sequence[Outgoing], most: Optional[int] = None) -> bool:
        size = sum(map(size_of, items))
        with self._state:
            if self._sealed or most is not None and size > most or not self._has_room(size):
                return False
            self._put_all(items)
        return True

    def _send_paced(self, items: deque[Outgoing], deadline: Deadline) -> None:
        # The attendant sends what waits, a frame in each gap. Only when the queue is full
        # does the writer itself sleep out the gap and send.
        while True:
            with self._state:
                while items and self._has_room(size_of(items[0])):
                    self._put(items.popleft())
                if self._sealed:
                    raise WireSealed
            if not items:
                break
            self._sleep_gap(deadline)
            self._write_once(deadline)
        self.pump()
        self._leave_rest()

    def _leave_rest(self) -> None:
        # What is not due yet, the ping behind a first frame included, is the attendant's.
        if self._waiting or self._ping_at != _NEVER:
            self._call_attendant()

    def _sleep_gap(self, deadline: Deadline) -> None:
        left, pause = deadline.remaining(), self._due() - time.monotonic()
        if left == 0.0:
            raise DeadlinePassed("the send queue is full")
        if pause > 0:
            time.sleep(pause if left is None else min(pause, left))

    # For whoever happens to be there: these never wait

    def attempt(self, write: Callable[[], object]) -> None:
        """Do one of these where nobody is to be told that the connection is broken."""
        try:
            write()
        except OSError:
            # The kernel knows that the peer is gone. What was received before is still read,
            # so the reader, not the writer, tells the end. Not logged: log handlers are user
            # code, and this may be the attendant.
            self.abandon()

    def pump(self) -> bool:
        """Send what can be sent now. False when the kernel takes no more.

        Raises:
            OSError: the connection is broken.
        """
        while self._has_work() and self._wire.acquire(blocking=False):
            try:
                if not self._write(None):
                    # The kernel is full, or others keep us at it: somebody must come back, and most
                    # callers will not.
                    self._call_attendant()
                    return False
            finally:
                self._wire.release()
        return True

    def pong(self, payload: bytes) -> None:
        """Answer a ping. Of several unanswered ones only the last is kept (RFC 6455, 5.5.3)."""
        with self._state:
            self._pong = payload
            self._is_clear = False
        self.pump()

    def ping(self) -> None:
        """Send a ping as soon as the wire is free, with a body of its own number."""
        with self._state:
            self._ping_at = 0.0
            self._is_clear = False
        self.pump()
        self._leave_rest()

    def seal(self) -> None:
        """From now on nothing can be queued. Before a Close frame: nothing may follow it."""
        with self._state:
            self._sealed = True
            self._is_clear = False

    def close(self, code: int, reason: str, *, drop: bool) -> None:
        """Send the Close frame behind what waits, or instead of it when `drop` is set."""
        with self._state:
            self._sealed = True
            self._is_clear = False
            if self._close is None:
                self._close = (code, reason)
            if drop:
                self._drop()
        self.pump()

    def flush(self, deadline: Deadline) -> bool:
        """Wait until all has left; False when the deadline came first or the peer is gone."""
        try:
            while self.is_busy:
                self._sleep_gap(deadline)
                self._write_once(deadline)
        except OSError:  # Of the peer, or of the deadline.
            return False
        return True

    def abandon(self) -> None:
        """The peer is gone: what waits here will never leave, and nobody shall try."""
        self._abandoned = True
        with self._state:
            self._sealed = True
            self._is_clear = False

    # For the attendant

    @property
    def is_busy(self) -> bool:
        """Whether anything waits that can still leave."""
        return not self._abandoned and bool(
            self._waiting or self._tail or self._followers or self._close)

    @property
    def is_abandoned(self) -> bool:
        """Whether the peer was found to be gone."""
        return self._abandoned

    @property
    def is_stuck(self) -> bool:
        """Whether the kernel refused bytes that still wait."""
        return bool(self._tail) and not self._abandoned

    @property
    def progress(self) -> int:
        """Bytes taken by the kernel so far."""
        return self._progress

    @property
    def next_due(self) -> float:
        """When the next batch or ping may leave, on the monotonic clock; infinite for never."""
        if self._abandoned:
            return _NEVER
        due = self._due() if self._waiting else self._hold_until if self._close else _NEVER
        return min(due, max(self._ping_at, self._last_sent + self._profile.gap))

    @property
    def has_binary(self) -> bool:
        """Whether a binary message waits: sound, which is not given faster than it leaves."""
        return bool(self._binaries) or self.is_stuck

    @property
    def unsent(self) -> int:
        """How many lines and messages wait, or were dropped by a close."""
        return self._dropped + len(self._waiting)

    def end(self, deadline: Deadline) -> None:
        """Close the transport once nobody sends; afterwards nobody will.

        Raises:
            DeadlinePassed: somebody still sends.
        """
        self.abandon()
        self._acquire(deadline)
        try:
            self._transport.close()
        finally:
            self._wire.release()

    def _write_once(self, deadline: Deadline) -> None:
        self._acquire(deadline)
        try:
            self._write(deadline)
        finally:
            self._wire.release()

    # With the wire held

    def _write(self, deadline: Optional[Deadline], last: Optional[int] = None) -> bool:
        """Move bytes to the kernel until nothing is due, waiting only with a deadline.

        Args:
            last: the number of an item, as `_taken` counts, behind which it is enough.

        Returns False, without a deadline only, when the kernel takes no more, or other threads fill
        the queue as fast as this one empties it.
        """
        turns = 0
        while True:
            if not self._tail:
                if last is not None and self._taken >= last:
                    return True
                turns += 1
                if deadline is None and turns > _MOST_TURNS:
                    return False
                # A line that has begun is sent to its end, as long as the kernel takes it.
                if self._abandoned and not self._followers:
                    return True
                data = self._next_bytes()
                if not data:
                    return True
                self._tail = memoryview(data)
            if deadline is None:
                sent = self._transport.try_send(self._tail)
                if not sent:
                    return False
            else:
                sent = self._transport.send(self._tail, deadline)
            self._progress += sent
            # Not an empty view, which would keep all that was sent.
            self._tail = self._tail[sent:] if sent < len(self._tail) else _NOTHING
            # The gap is measured from the end of a send, not from its beginning.
            if self._profile.gap and not self._tail:
                self._last_sent = time.monotonic()
                if self._is_opening:
                    self._is_opening = False
                    self._hold_until = self._last_sent + self._profile.first_line_hold

    def _next_bytes(self) -> bytes:
        with self._state:
            if self._followers and self._protocol.can_send:
                # The rest of a long line or chunk: nothing may come between, and no gap.
                return self._seal_bytes(self._frame(*self._followers.pop(0)))
            frames = self._control_frames()
            if self._protocol.can_send:
                if self._profile.gap:
                    if self._waiting and time.monotonic() >= self._due():
                        frames.append(self._batch())
                else:
                    frames += self._joined_frames()
            else:
                self._followers.clear()
                self._drop()
            if self._close and self._close_is_due():
                frames.append(self._protocol.close_frame(*self._close))
                self._close = None
            # What is returned is the tail by then, at which they look, too.
            self._is_clear = not (self._waiting or self._sealed or self._ping_at != _NEVER)
            return self._seal_bytes(b"".join(frames))

    # With the state lock held

    def _control_frames(self) -> list[bytes]:
        frames = []
        if self._pong is not None:
            frames.append(self._protocol.pong_frame(self._pong))
            self._pong = None
        if self._ping_at != _NEVER and time.monotonic() >= max(
                self._ping_at, self._last_sent + self._profile.gap):
            is_needless = self._ping_at and self._protocol.has_pong  # It is a nudge.
            self._ping_at = self._next_nudge()
            if self._protocol.can_send and not is_needless:
                self._pings += 1
                frames.append(self._protocol.ping_frame(self._pings.to_bytes(4, "big")))
        return frames

    def _batch(self) -> bytes:
        payload, text, rest = self._take()
        self._followers.extend((part, text) for part in rest)
        if self._first:
            self._first = False
            self._nudge = self._profile.first_line_hold
            self._ping_at = time.monotonic() + self._nudge
        return self._frame(payload, text)

    def _next_nudge(self) -> float:
        # A ping pushes the first frame out of the peer's HTTP buffer, should it be stuck there. A peer
        # that was too busy to look has both in there: so another, later and later, until it answers.
        if not 0.0 < self._nudge < _LAST_NUDGE or self._protocol.has_pong:
            return _NEVER
        self._nudge *= 2
        return time.monotonic() + self._nudge

    def _joined_frames(self) -> list[bytes]:
        frames, size = [], 0
        while self._waiting and size < SEND_SIZE:
            payload, text, rest = self._take()
            frames += [self._frame(part, text) for part in (payload, *rest)]
            size += len(payload)
        return frames

    def _take(self) -> tuple[bytes, bool, list[bytes]]:
        number = len(self._waiting)
        if self._echoes is None:
            payload, text, rest = next_payload(self._waiting, self._max_frame)
        else:
            taken: list[Outgoing] = []
            payload, text, rest = next_payload(self._waiting, self._max_frame, taken)
            # Before the lines leave, since an echo can be faster than the next statement; and not when
            # they are queued, since the queue holds far more lines than are remembered.
            for item in taken:
                if not isinstance(item, bytes) and item.echo is not None:
                    self._echoes.sent(item.echo)
        self._taken += number - len(self._waiting)
        self._waiting_size -= len(payload) + sum(map(len, rest))
        self._binaries -= not text
        return payload, text, rest

    def _frame(self, payload: bytes, text: bool) -> bytes:
        return self._protocol.data_frame(payload, text=text)

    def _seal_bytes(self, data: bytes) -> bytes:
        return self._tls.encrypt(data) if self._tls else data

    def _put_all(self, items: Iterable[Outgoing]) -> None:
        for item in items:
            self._put(item)

    def _put(self, item: Outgoing) -> None:
        if self._sealed:
            raise WireSealed
        if self._waiting is _EMPTY:
            self._waiting = deque()
        self._waiting.append(item)
        self._is_clear = False
        self._binaries += isinstance(item, bytes)
        self._waiting_size += size_of(item)

    def _has_room(self, size: int) -> bool:
        return not self._waiting or self._waiting_size + size <= self._limits.max_send_queue

    def _drop(self) -> None:
        # Not the rest of a line whose beginning is out: it would spoil the first line after a reconnect.
        self._dropped += len(self._waiting)
        self._taken += len(self._waiting)
        self._waiting.clear()
        self._binaries = 0
        self._waiting_size = 0

    # Without a lock

    def _has_work(self) -> bool:
        if self._abandoned:
            return False
        if self._tail or self._followers or self._pong is not None or self._tls_pending():
            return True
        if self._close and self._close_is_due():
            return True
        if self._waiting and not self._profile.gap:
            return True
        return self.next_due <= time.monotonic()

    def _close_is_due(self) -> bool:
        # A Close right behind the 101 would be stuck like any other first frame.
        return not self._waiting and not self._followers and time.monotonic() >= self._hold_until

    def _tls_pending(self) -> bool:
        return self._tls is not None and self._tls.has_pending

    def _due(self) -> float:
        return max(self._hold_until, self._last_sent + self._profile.gap)

    def _acquire(self, deadline: Deadline) -> None:
        if not acquire_lock(self._wire, deadline):
            raise DeadlinePassed("another thread's send is still waiting for the peer")
