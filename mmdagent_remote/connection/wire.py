"""The sending side of one connection: from its outbox to the kernel.

Everything that goes to the peer passes through one :class:`Wire`: lines, batches, pings, pongs and
the Close frame. ``outbox.py`` decides what leaves next, and when. Here are the two locks, TLS and
the socket.

- *The wire* is held in a send, also in a blocking one. Its holder moves bytes to the kernel.
- *The state lock*, shared with the connection, is acquired after it. It guards the outbox, wsproto
  and TLS, and is never held during a system call.

With one lock for both, a flood in both directions deadlocked after 3.2 MB. A thread that cannot
acquire the wire leaves its work in the outbox. A thread that releases the wire checks the outbox
again (:meth:`Wire.pump`), so nothing is left behind.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Optional

from ..limits import SEND_SIZE, Limits
from ..profile import Profile
from ..websocket.lines import EchoMemory, Outgoing, size_of
from ..websocket.protocol import ServerProtocol
from .outbox import NEVER, Outbox, OutboxSealed, Tap
from .transport import Deadline, DeadlinePassed, TLSCodec, Transport, acquire_lock

#: Rounds in which a thread that does not wait sends for others. Then the attendant goes on.
_MOST_TURNS = 16
_NOTHING = memoryview(b"")


class Wire:
    """The outgoing side of one open connection.

    Args:
        state: the connection's state lock.
        max_frame: where lines are joined, the most bytes of one frame's payload.
        response: the 101, which goes before anything else.
        call_attendant: asks the attendant to see to this connection soon; any thread.
    """

    __slots__ = ("_transport", "_tls", "_protocol", "_profile", "_limits", "_state", "_wire", "_outbox",
                 "_call_attendant", "_tail", "_abandoned", "_is_clear", "_progress")

    def __init__(self, transport: Transport, tls: Optional[TLSCodec], protocol: ServerProtocol,
                 profile: Profile, limits: Limits, state: threading.Lock,
                 echoes: Optional[EchoMemory], max_frame: Optional[int], response: bytes,
                 call_attendant: Callable[[], None]) -> None:
        self._transport = transport
        self._tls = tls
        self._protocol = protocol
        self._profile = profile
        self._limits = limits
        self._call_attendant = call_attendant
        # Guards the outbox and the two below. Order: the wire, then the state.
        self._state = state
        self._outbox = Outbox(protocol, profile, echoes, max_frame, limits.max_send_queue,
                              time.monotonic())
        self._abandoned = False
        # Whole data frames may bypass the outbox: one attribute for send_at_once(). Cleared with
        # each change of the outbox; set again when everything in it has left.
        self._is_clear = False

        # Held while bytes go to the kernel; guards the two below.
        self._wire = threading.Lock()
        self._tail = memoryview(tls.encrypt(response) if tls else response)
        self._progress = 0

    def open(self, deadline: Deadline) -> None:
        """Send the 101, unless a writer that came first has done so.

        Raises:
            DeadlinePassed, OSError: as :meth:`send` does.
        """
        self._write_once(deadline)
        self.pump()

    def tap(self, tap: Tap) -> None:
        """Have a function called with what leaves the outbox; see :attr:`Outbox.taps`.

        It is not called for what :meth:`send_at_once` sends.
        """
        with self._state:
            self._outbox.taps += (tap,)

    # For user threads

    def send(self, items: Sequence[Outgoing], deadline: Deadline) -> None:
        """Queue or send; returns when every item is in the kernel or in the queue.

        Raises:
            OutboxSealed: the connection is closing.
            DeadlinePassed: the peer did not read in time; part of a frame may be out.
            OSError: the connection is broken.
        """
        if self._profile.gap:
            self._send_paced(deque(items), deadline)
            return
        if not self._wire.acquire(False):
            # Flat combining: the thread that holds the wire sends this too. This one need not wait.
            if self._queue(items, most=SEND_SIZE):
                self.pump()
                return
            self._acquire(deadline)
        try:
            with self._state:
                self._outbox.put_all(items)
                self._is_clear = False
                last = self._outbox.taken + len(self._outbox.waiting)
            # Until these have left, not until nothing waits: other threads may queue without end.
            self._finish_tail(deadline, last)
        finally:
            self._wire.release()
        self.pump()

    def send_at_once(self, frames: bytes) -> bool:
        """Send whole data frames if nothing waits and no thread sends. False: call :meth:`send`.

        The hot path of a line: one system call, and a deadline only when the kernel is full.
        Without the state lock, except for TLS, since nothing else that it guards changes: what is
        queued at the same moment comes behind, and a Close needs the wire. Only where
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
                self._finish_tail(Deadline(self._limits.send_timeout), self._outbox.taken)
        finally:
            self._wire.release()
        # A thread that releases the wire checks the outbox again. Usually one attribute is enough.
        if not self._is_clear:
            self.pump()
        return True

    def _finish_tail(self, deadline: Deadline, last: int) -> None:
        self._write(deadline, last)
        if self._tail:
            raise BrokenPipeError("the connection was given up in the middle of a frame")

    def post(self, items: list[Outgoing]) -> bool:
        """Queue without waiting; False when the queue is full or sealed."""
        if not self._queue(items):
            return False
        self.pump()
        self._leave_rest()
        return True

    def _queue(self, items: Sequence[Outgoing], most: Optional[int] = None) -> bool:
        size = sum(map(size_of, items))
        outbox = self._outbox
        with self._state:
            if outbox.is_sealed or most is not None and size > most or not outbox.has_room(size):
                return False
            outbox.put_all(items)
            self._is_clear = False
        return True

    def _send_paced(self, items: deque[Outgoing], deadline: Deadline) -> None:
        # The attendant sends what waits, one frame in each gap. If the queue is full, the writer
        # itself sleeps until the gap is over and sends.
        outbox = self._outbox
        while True:
            with self._state:
                while items and outbox.has_room(size := size_of(items[0])):
                    outbox.put(items.popleft(), size)
                self._is_clear = False
                if outbox.is_sealed:
                    raise OutboxSealed
            if not items:
                break
            self._sleep_gap(deadline)
            self._write_once(deadline)
        self.pump()
        self._leave_rest()

    def _leave_rest(self) -> None:
        # The attendant sends what is not due yet, including the ping behind a first frame.
        if self._outbox.waiting or self._outbox.ping_at != NEVER:
            self._call_attendant()

    def _sleep_gap(self, deadline: Deadline) -> None:
        left, pause = deadline.remaining(), self._outbox.batch_due - time.monotonic()
        if left == 0.0:
            raise DeadlinePassed("the send queue is full")
        if pause > 0:
            time.sleep(pause if left is None else min(pause, left))

    # For any thread: these never wait

    def attempt(self, write: Callable[[], object]) -> None:
        """Call one of these methods where the caller must not see that the connection is broken."""
        try:
            write()
        except OSError:
            # The kernel knows that the peer is gone. What was received before is still read, so the
            # reader publishes the end, not the writer. Not logged: log handlers are user code, and
            # this may be the attendant.
            self.abandon()

    def pump(self) -> bool:
        """Send what can be sent now. False when the kernel takes no more.

        Raises:
            OSError: the connection is broken.
        """
        while self._has_work() and self._wire.acquire(blocking=False):
            try:
                if not self._write(None):
                    # The kernel is full, or other threads add as fast as this one sends. Most
                    # callers do not come back, so the attendant must.
                    self._call_attendant()
                    return False
            finally:
                self._wire.release()
        return True

    def pong(self, payload: bytes) -> None:
        """Answer a ping; see :meth:`Outbox.pong`."""
        with self._state:
            self._outbox.pong(payload)
            self._is_clear = False
        self.pump()

    def ping(self) -> None:
        """Send a ping as soon as the wire is free."""
        with self._state:
            self._outbox.ping()
            self._is_clear = False
        self.pump()
        self._leave_rest()

    def seal(self) -> None:
        """Let nothing more be queued. Called before a Close frame, since nothing may follow it."""
        with self._state:
            self._outbox.seal()
            self._is_clear = False

    def close(self, code: int, reason: str, *, drop: bool) -> None:
        """Send a Close frame behind what waits; with `drop`, instead of it."""
        with self._state:
            self._outbox.close(code, reason, drop=drop)
            self._is_clear = False
        self.pump()

    def flush(self, deadline: Deadline) -> bool:
        """Wait until everything has left; False if the deadline came first or the peer is gone."""
        try:
            while self.is_busy:
                self._sleep_gap(deadline)
                self._write_once(deadline)
        except OSError:  # The connection is broken, or the deadline has passed.
            return False
        return True

    def abandon(self) -> None:
        """The peer is gone: what waits can never leave, and no thread tries any more."""
        self._abandoned = True
        self.seal()

    # For the attendant

    @property
    def is_busy(self) -> bool:
        """Whether anything waits that can still leave."""
        return not self._abandoned and (bool(self._tail) or self._outbox.is_busy)

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
        return NEVER if self._abandoned else self._outbox.next_due

    @property
    def has_binary(self) -> bool:
        """Whether a binary message waits: sound, which must not be queued faster than it leaves."""
        return self._outbox.has_binary or self.is_stuck

    @property
    def unsent(self) -> int:
        """How many lines and messages wait, or were dropped by a close."""
        return self._outbox.unsent

    def end(self, deadline: Deadline) -> None:
        """Close the transport once no thread sends; afterwards none will.

        Raises:
            DeadlinePassed: a thread still sends.
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
            last: the number of an item, as :attr:`Outbox.taken` counts, behind which it may stop.

        Returns False, without a deadline only, when the kernel takes no more, or other threads fill
        the queue as fast as this one empties it.
        """
        turns = 0
        while True:
            if not self._tail:
                if last is not None and self._outbox.taken >= last:
                    return True
                turns += 1
                if deadline is None and turns > _MOST_TURNS:
                    return False
                # A line that has begun is sent to its end, as long as the kernel takes it.
                if self._abandoned and not self._outbox.is_amid_a_line:
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
            if not self._tail and self._profile.gap:
                self._outbox.has_left(time.monotonic())

    def _next_bytes(self) -> bytes:
        with self._state:
            data = self._outbox.next_bytes(time.monotonic())
            # When send_at_once() can check this, these bytes are the tail, which it checks too.
            self._is_clear = self._outbox.is_clear
            return self._tls.encrypt(data) if self._tls else data

    # Without a lock

    def _has_work(self) -> bool:
        if self._abandoned:
            return False
        return bool(self._tail) or self._tls_pending() or self._outbox.has_work(time.monotonic())

    def _tls_pending(self) -> bool:
        return self._tls is not None and self._tls.has_pending

    def _acquire(self, deadline: Deadline) -> None:
        if not acquire_lock(self._wire, deadline):
            raise DeadlinePassed("another thread's send is still waiting for the peer")
