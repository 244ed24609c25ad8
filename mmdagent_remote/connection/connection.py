"""One open connection: its parts, its locks, and what may be asked of it.

Its parts, each in a module of its own: what leaves (``wire.py``), what comes in (``reading.py``) and
waits to be read (``linequeue.py``), who waits for which line (``waits.py``, ``delivery.py``), the
end (``ending.py``), and what is done for the last bytes (``parting.py``).

Threads that meet here: the connection's own thread (or, after ``accept()``, the
user's), which reads; any user thread, which sends and closes; the attendant, which
reads while the reader is away and keeps the connection alive.

Locks, in this order, none held over user code, a join or a wait for another thread:

1. the reading right (in ``reading.py``): held in a blocking ``recv``. Whoever reads has it; the
   attendant only tries it, and gives it back after each step.
2. the wire (in ``wire.py``): held in a blocking send. The holder of the reading right
   only tries it.
3. the state, one lock for all parts: queue, end, wsproto and TLS. Never held round a system call.

The end is the last thing in the queue: every line that came before it is read first.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn, Optional

from ..errors import ConnectionClosed
from ..limits import BATCH_SIZE, Limits
from ..message import Message
from ..websocket.fastlane import data_frame, line_frame, line_frames
from ..websocket.handshake import Request
from ..websocket.keepalive import KeepAlive, Verdict
from ..websocket.lines import Outgoing, encode_line
from ..websocket.protocol import Inbound, Item
from .courier import Courier
from .delivery import look_back
from .ending import End, Ending
from .linequeue import LineQueue
from .naming import ConnectionLogger
from .outbox import OutboxSealed, Tap
from .parting import LAST_PARTS, Parting
from .reading import Reading
from .transport import Deadline, DeadlinePassed, TLSCodec, Transport, acquire_lock, wait_future
from .waits import Wait, Waits
from .wire import Wire

#: Steps of 16 KiB that a newcomer on an occupied path reads ahead of its verdict.
_PROBE_STEPS = 64

_SEND_TIMEOUT = "send timeout"


class Connection:
    """One connection from the 101 to the end.

    Args:
        inbound: the pure side, which makes lines from bytes.
        response: the 101 for the peer, which is sent by :meth:`open`.
        leftover: bytes that came right behind the request.
        call_attendant: asks the attendant to see to this connection soon; with ``urgent`` set, to
            read at once if nobody does.
    """

    __slots__ = ("name", "log", "request", "profile", "limits", "_transport", "_tls", "_protocol",
                 "_state", "_queue", "_ending", "_reading", "ready", "read", "_keepalive",
                 "_seen_progress", "linger", "wire", "_sends_plainly", "owner", "_user_reads",
                 "spawned", "waits", "courier", "callbacks", "_call_attendant", "opened_at")

    def __init__(self, name: str, transport: Transport, tls: Optional[TLSCodec], request: Request,
                 inbound: Inbound, limits: Limits, log: ConnectionLogger, *, is_remote: bool,
                 response: bytes, leftover: bytes, call_attendant: Callable[..., None]) -> None:
        profile = request.profile
        self.name = name
        self.log = log
        self.request = request
        self.profile = profile
        self.limits = limits
        self._transport = transport
        self._tls = tls
        self._protocol = inbound.protocol
        self._state = threading.Lock()
        self._queue = LineQueue(limits.max_queue)
        self.waits = Waits()
        self.wire = Wire(transport, tls, inbound.protocol, profile, limits, self._state,
                         inbound.echoes, profile.max_frame_remote if is_remote else profile.max_frame,
                         response, self._call_soon)
        self._sends_plainly = profile.sends_as_is and inbound.protocol.has_lane
        self._ending = Ending(name, profile, limits, self._state, self._queue, self.wire, self.waits)
        self._reading = Reading(name, transport, tls, inbound, limits, self._state, self._queue,
                                self.wire, self.waits, self._ending, self.attend_soon)
        # Here, too, since a call for each line would be felt.
        self.ready = self._queue.ready
        self.read = self._reading.read
        self._keepalive = KeepAlive(limits, time.monotonic())
        self._seen_progress = (0, time.monotonic())
        #: Seconds that the peer has to answer a Close of ours, at most close_timeout.
        self.linger = limits.close_timeout
        # The connection's thread; None where the reading thread is the user's (after accept()).
        self.owner: Optional[int] = None
        self._user_reads = threading.Lock()
        # Threads made by spawn(), and the courier's, for shutdown() to wait for.
        self.spawned: set[threading.Thread] = set()
        self.courier = Courier(f"{name}-courier", log, self.spawned.add, self.spawned.discard)
        self.callbacks = Courier(f"{name}-futures", log, self.spawned.add, self.spawned.discard,
                                 "a callback raised")
        self._call_attendant = call_attendant
        self.opened_at = time.monotonic()
        if leftover:
            inbound.protocol.receive_data(leftover)

    def _call_soon(self) -> None:
        self._call_attendant(self)

    def attend_soon(self) -> None:
        """Have lines read at once, if nobody else does."""
        self._call_attendant(self, urgent=True)

    def open(self, deadline: Deadline) -> None:
        """Send the 101. A peer that is gone by now is found at the first read."""
        try:
            self.wire.open(deadline)
        except DeadlinePassed:
            self.fail(1006, "the peer did not take its 101")
        except OSError:
            self.wire.abandon()

    # Reading: the connection's own thread, or the user's after accept(). `read` is Reading.read()

    def read_for_user(self, deadline: Deadline) -> Item:
        """:meth:`read`, for calls that any thread might make: one reader at a time.

        Raises:
            RuntimeError: this thread is not the one that may read, or another reads just now.
        """
        if self.owner is not None and self.owner != threading.get_ident():
            raise RuntimeError(
                f"only {self.name}, the connection's own thread, may read its lines")
        if not self._user_reads.acquire(blocking=False):
            raise RuntimeError(f"another thread is reading the lines of {self.name}")
        try:
            return self.read(deadline)
        finally:
            self._user_reads.release()

    def push(self, text: str) -> None:
        """Cut a text into lines that are read before anything else; one by one, as they are read."""
        self._reading.push(text)

    @property
    def has_unread(self) -> bool:
        """Whether lines wait in the queue."""
        return self._queue.has_any()

    # Waiting for a message: any thread

    def look_back(self, wait: Wait) -> Optional[Message]:
        """Take the oldest line that matches out of the queue; if there is none, register the wait."""
        return look_back(wait, self._queue, self.waits, self._state)

    def wait(self, wait: Wait, deadline: Deadline) -> bool:
        """Wait for the end of a registered wait; False: the deadline came first.

        The connection's own thread reads meanwhile. Others leave that to whoever reads, or to the
        attendant.
        """
        try:
            if self.owner == threading.get_ident():
                self._reading.read_for(wait, deadline)
            else:
                self.see_to(wait)
                wait_future(wait.future, deadline)
        except DeadlinePassed:
            return not self.waits.claim(wait)
        finally:
            self._reading.leave()
        return True

    def see_to(self, wait: Wait) -> None:
        """After registering: have lines read for it, and end it if there will be none."""
        self.attend_soon()
        self._ending.fail_if_ended(wait)

    # Taps: from any thread. While a connection has none, nothing of this is on the path of a line.

    def tap_received(self, tap: Callable[[Message], None]) -> None:
        """Have each line shown to a function where it is read, echoes included.

        It is called under the state lock, in the order of the lines, before they are delivered. So it
        must take no lock and only append to a bounded collection of its own, a deque say.
        """
        self._reading.tap(tap)

    def tap_sent(self, tap: Tap) -> None:
        """Have each line shown to a function where it leaves, as the user wrote it; see above.

        Binary messages are shown too, as bytes. What a close drops is not shown.
        """
        # The plain path makes frames past the outbox, where the taps are.
        self._sends_plainly = False
        self.wire.tap(tap)

    def read_eagerly(self, is_eager: Callable[[], bool]) -> None:
        """Have lines read at once as long as `is_eager` says so, though no reader asks for them.

        It must return at once and take no lock but leaves.
        """
        self._reading.read_eagerly(is_eager)

    def on_end(self, farewell: Callable[[], None]) -> None:
        """Have the end told, also one that was already. It must be quick and take no lock but leaves."""
        self._ending.on_end(farewell)

    # Sending: any thread

    def send_line(self, line: str) -> None:
        """Send one line that was checked; see :meth:`send`.

        Raises:
            InvalidMessage: it cannot be carried to this peer.
            TimeoutError, ConnectionClosed: as :meth:`send` does.
        """
        if self._sends_plainly:
            # The frame and the error written out, as everything that one line passes: calls are
            # what it costs.
            try:
                if self.wire.send_at_once(line_frame(line)):
                    return
            except OSError as error:
                self._send_failed(error)
        self._send_queued([encode_line(line, self.profile)])

    def send_lines(self, lines: list[str]) -> None:
        """Send lines that were checked, with as few system calls as can be; see :meth:`send_line`."""
        if self._sends_plainly:
            frames = line_frames(lines)
            if len(frames) <= BATCH_SIZE and self._send_at_once(frames):
                return
        self._send_queued([encode_line(line, self.profile) for line in lines])

    def send(self, items: Sequence[Outgoing]) -> None:
        """Send checked lines and messages, in order.

        Raises:
            TimeoutError: the peer did not read within ``send_timeout``; the connection is dead.
            ConnectionClosed: the connection has ended or is closing.
        """
        if self._sends_plainly and len(items) == 1:
            item = items[0]
            frame = (data_frame(item, text=False) if isinstance(item, bytes)
                     else data_frame(item.data, text=True))
            if self._send_at_once(frame):
                return
        self._send_queued(items)

    def _send_at_once(self, frames: bytes) -> bool:
        try:
            return self.wire.send_at_once(frames)
        except OSError as error:
            self._send_failed(error)

    def _send_queued(self, items: Sequence[Outgoing]) -> None:
        try:
            self.wire.send(items, Deadline(self.limits.send_timeout))
        except OutboxSealed:
            self.raise_closed()
        except OSError as error:
            self._send_failed(error)

    def _send_failed(self, error: OSError) -> NoReturn:
        if isinstance(error, DeadlinePassed):
            self.fail(1006, _SEND_TIMEOUT)
            self._raise_send_timeout()
        if self.end is not None and self.end.reason is _SEND_TIMEOUT:
            self._raise_send_timeout()  # The attendant was a little faster.
        # The reader, not the writer, tells the end: it comes behind what was received.
        self.wire.abandon()
        self.raise_closed()

    def _raise_send_timeout(self) -> NoReturn:
        raise TimeoutError(f"{self.name}: the peer did not read for "
                           f"{self.limits.send_timeout} s; the connection is dead") from None

    def post(self, items: list[Outgoing]) -> bool:
        """Queue without waiting for the peer; False when that is not possible."""
        try:
            return self.wire.post(items)
        except OSError:
            self.wire.abandon()
            return False

    # Ending: any thread

    def close(self, code: int, reason: str) -> None:
        """Flush, send a Close frame, wake the reader. The connection's thread closes the socket."""
        if not self.begin_close(code, reason):
            return
        deadline = self._ending.closing or Deadline(self.limits.close_timeout)
        self.wire.attempt(lambda: self.wire.close(code, reason, drop=False))
        self.wire.flush(deadline)
        self.end_close(code, reason)

    def begin_close(self, code: int, reason: str) -> bool:
        """Take no more lines; the time to close runs. False when somebody else closes already."""
        return self._ending.begin(code, reason)

    def end_close(self, code: int, reason: str) -> None:
        """Give up what has not left, send the Close frame if it has not, and publish the end."""
        self.wire.attempt(lambda: self.wire.close(code, reason, drop=True))
        self._ending.finish(code, reason, ours=True)
        # Whoever took the reading right before the end was published is blocked now or about to be;
        # whoever takes it later sees the end first.
        if self._reading.right.locked():
            self._transport.wake_reader()

    def forsake(self, timeout: float) -> bool:
        """Say nothing more, not even a Close, but read on for so many seconds.

        The caller ends it before, with :meth:`end_close`, or the attendant does then. False
        when it has ended, or somebody closes it already.
        """
        return self._ending.forsake(timeout)

    def fail(self, code: int, reason: str) -> None:
        """Give the connection up: the reason first, then whatever blocks on the socket is released."""
        self.attend()  # What was received until now is not lost.
        self._ending.finish(code, reason)
        self._transport.abort()

    # The end: read by any thread

    @property
    def end(self) -> Optional[End]:
        """How it ended, or None."""
        return self._ending.end

    @property
    def is_open(self) -> bool:
        """Whether neither side has begun to end it."""
        return self._ending.is_open

    def wait_ended(self, timeout: Optional[float]) -> bool:
        """Wait for the end."""
        return self._ending.wait(timeout)

    def raise_closed(self) -> NoReturn:
        """Raise how it ended."""
        self._ending.raise_closed()

    def closed_error(self) -> ConnectionClosed:
        """How it ended, for a future."""
        return self._ending.error()

    # The attendant

    @property
    def is_awaited(self) -> bool:
        """Whether somebody wants lines read at once, whatever the reader does."""
        return self._reading.is_awaited

    @property
    def is_away(self) -> bool:
        """Whether nobody has read since the last call; to be asked in intervals."""
        return self._reading.is_away

    def attend(self) -> bool:
        """Read one step for a reader that is away; never waits. False: not to be watched now."""
        return self._reading.attend()

    def tick(self, now: float) -> None:
        """Look after pings, stuck sends and the close's deadline; about once a second."""
        if self.end is not None or self._ending.closing is not None:
            # The rest of a line has its time first: half a line spoils the first line after a
            # reconnect.
            if self._ending.closing is not None and self._ending.closing.is_over_since(LAST_PARTS):
                self._transport.abort()
            return
        progress, since = self._seen_progress
        if not self.wire.is_stuck or self.wire.progress != progress:
            # A peer that reads slowly is alive, though our ping waits behind what it reads.
            self._reading.was_alive |= self.wire.is_stuck
            self._seen_progress = (self.wire.progress, now)
        elif self.limits.send_timeout is not None and now - since >= self.limits.send_timeout:
            self.fail(1006, _SEND_TIMEOUT)
            return
        reading = self._reading
        is_alive, reading.was_alive = reading.was_alive or self._queue.is_paused, False
        verdict = self._keepalive.judge(now, is_alive=is_alive)
        if verdict is Verdict.PING:
            self.wire.attempt(self.wire.ping)
        elif verdict is Verdict.DEAD:
            # Read first: the pong may be in the kernel, behind a busy handler.
            if self._transport.is_readable():
                self.attend()
            elif not reading.was_alive:
                self.fail(1011, "keepalive ping timeout")

    def probe(self, timeout: float) -> bool:
        """Look at once whether the peer is still there, and ask it. True: it has ended."""
        for _ in range(_PROBE_STEPS):
            if not (self.attend() and self._transport.is_readable()):
                break
        if self.end is None:
            self.wire.attempt(self.wire.ping)
            self.wait_ended(timeout)
        return self.end is not None

    def pump(self) -> None:
        """Send what is due, without waiting."""
        self.wire.attempt(self.wire.pump)

    def fileno(self) -> int:
        """The socket's descriptor, for a selector; -1 once closed."""
        return self._transport.fileno()

    def abort(self) -> None:
        """Release every thread that is blocked on the socket."""
        self._transport.abort()

    # Teardown: the connection's own thread

    def teardown(self) -> None:
        """Let the last bytes arrive, then give the descriptor back."""
        deadline = self._ending.closing or Deadline(self.limits.close_timeout)
        end = self.end or End(1006, "", False, False)
        Parting(self._transport, self._tls, self._protocol, self.wire, self._state).part(
            end, deadline, self.linger)
        # Releases a thread that still blocks in a send, which then lets go of the wire.
        self._transport.abort()
        self.courier.stop()
        self.callbacks.stop()
        # A thread that does not let go within a second is stuck outside of our calls.
        has_right = acquire_lock(self._reading.right, Deadline(1.0))
        try:
            with suppress(DeadlinePassed):
                self.wire.end(Deadline(1.0))
        finally:
            # A user's thread may be waiting for it, and then finds the end.
            if has_right:
                self._reading.right.release()
        if self.wire.unsent:
            # After the peer's own end it is the peer that does not want them.
            self.log.log(logging.WARNING if end.ours else logging.INFO,
                         "%d lines could not be sent before the end", self.wire.unsent)
