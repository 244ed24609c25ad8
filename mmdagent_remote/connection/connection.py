"""One open connection: its parts, its locks, and the calls that the rest of the package makes.

Each part has a module of its own: what leaves (``wire.py``), what comes in (``reading.py``) and
waits to be read (``linequeue.py``), the waits for lines (``waits.py``, ``delivery.py``), the end
(``ending.py``), and the delivery of the last bytes (``parting.py``).

Threads: the connection's own thread (or, after ``accept()``, a user thread) reads. Any user thread
sends and closes. The attendant reads while the reader is away, and keeps the connection alive.

Locks, in the order in which they are acquired. None is held during a join, a wait for another
thread, or user code, except that predicates of waits may run under the reading right:

1. the reading right (``reading.py``): held by the thread that reads, also in a blocking ``recv``.
   The attendant only tries to acquire it, and releases it after each step.
2. the wire (``wire.py``): held in a send, also in a blocking one. A thread that holds the reading
   right only tries to acquire it; only the teardown waits for it, at most a second.
3. the state lock, one for all parts: guards queue, end, wsproto and TLS. Not held in system calls.

The end comes behind the queue: every line received before it is read first.
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
from ..profile import full_width
from ..websocket.fastlane import data_frame, line_frame, line_frames
from ..websocket.handshake import Request
from ..websocket.keepalive import KeepAlive, Verdict
from ..websocket.lines import Outgoing, OutgoingLine, encode_line
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

#: Steps of 16 KiB that probe() reads before it decides, for a newcomer on an occupied path.
_PROBE_STEPS = 64

_SEND_TIMEOUT = "send timeout"

#: Voices whose text left in full-width letters: one line of the log for each, in this process.
_told_voices: set[str] = set()
_MOST_TOLD = 100


class Connection:
    """One connection from the 101 to the end.

    Args:
        inbound: the pure side, which makes lines from bytes.
        response: the 101 for the peer, which is sent by :meth:`open`.
        leftover: bytes that came right behind the request.
        call_attendant: asks the attendant to look after this connection soon; with ``urgent`` set,
            to read at once unless another thread reads.
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
        # Kept here too, since one more call for each line would be noticeable.
        self.ready = self._queue.ready
        self.read = self._reading.read
        self._keepalive = KeepAlive(limits, time.monotonic())
        self._seen_progress = (0, time.monotonic())
        #: Seconds that the peer has to answer a Close of ours, at most close_timeout.
        self.linger = limits.close_timeout
        # The connection's thread; None where the reading thread is the user's (after accept()).
        self.owner: Optional[int] = None
        self._user_reads = threading.Lock()
        # Threads of spawn(), of sounds and of the two couriers: shutdown() waits for them.
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
        """Have the attendant read at once, unless another thread reads."""
        self._call_attendant(self, urgent=True)

    def open(self, deadline: Deadline) -> None:
        """Send the 101. If the peer is gone already, the first read reports it."""
        try:
            self.wire.open(deadline)
        except DeadlinePassed:
            self.fail(1006, "the peer did not take its 101")
        except OSError:
            self.wire.abandon()

    # Reading: the connection's own thread, or the user's after accept(). `read` is Reading.read()

    def read_for_user(self, deadline: Deadline) -> Item:
        """:meth:`read`, for calls that any thread might make: only one may read at a time.

        Raises:
            RuntimeError: this thread may not read, or another thread is reading.
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
        """Cut a text into lines that are read before all others; each is cut when it is read."""
        self._reading.push(text)

    @property
    def has_unread(self) -> bool:
        """Whether lines wait in the queue."""
        return self._queue.has_any()

    # Waiting for a message: any thread

    def look_back(self, wait: Wait) -> Optional[Message]:
        """Take the oldest line that matches out of the queue; without one, register the wait."""
        return look_back(wait, self._queue, self.waits, self._state)

    def wait(self, wait: Wait, deadline: Deadline) -> bool:
        """Wait for the end of a registered wait; False: the deadline came first.

        The connection's own thread reads meanwhile. Other threads leave the reading to the current
        reader or the attendant.
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
        """Have lines read for a registered wait, or fail it if the connection has ended."""
        self.attend_soon()
        self._ending.fail_if_ended(wait)

    # Taps: any thread. Without taps, none of this is on the path of a line.

    def tap_received(self, tap: Callable[[Message], None]) -> None:
        """Have a function called with each line when it is read, echoes included.

        It is called under the state lock, in the order of the lines, before they are delivered. So
        it must acquire no lock, and only append to a bounded collection of its own, like a deque.
        """
        self._reading.tap(tap)

    def tap_sent(self, tap: Tap) -> None:
        """Have a function called with each line when it leaves, as the user wrote it.

        The rules of :meth:`tap_received` apply. Binary messages are passed too, as bytes. What a
        close drops is not passed.
        """
        # The plain path bypasses the outbox, where the taps are called.
        self._sends_plainly = False
        self.wire.tap(tap)

    def read_eagerly(self, is_eager: Callable[[], bool]) -> None:
        """Have lines read at once while `is_eager()` is true, even if no reader asks for them.

        It must return at once and acquire only leaf locks.
        """
        self._reading.read_eagerly(is_eager)

    def on_end(self, farewell: Callable[[], None]) -> None:
        """Have a function called at the end; see :meth:`Ending.on_end`."""
        self._ending.on_end(farewell)

    # Sending: any thread

    def send_line(self, line: str) -> None:
        """Send one line that was checked; see :meth:`send`.

        Raises:
            InvalidMessage: it cannot be carried to this peer.
            TimeoutError, ConnectionClosed: as :meth:`send` does.
        """
        if self._sends_plainly:
            # Written out, like everything on the path of one line: its cost is the calls.
            try:
                if self.wire.send_at_once(line_frame(line)):
                    return
            except OSError as error:
                self._send_failed(error)
        self._send_queued([encode_line(line, self.profile)])

    def send_lines(self, lines: list[str]) -> None:
        """Send checked lines with as few system calls as possible; see :meth:`send_line`."""
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
        self._tell_voices(items)
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
            self._raise_send_timeout()  # The attendant found it first.
        # The reader publishes the end, not the writer, so that what was received is read first.
        self.wire.abandon()
        self.raise_closed()

    def _raise_send_timeout(self) -> NoReturn:
        raise TimeoutError(f"{self.name}: the peer did not read for "
                           f"{self.limits.send_timeout} s; the connection is dead") from None

    def post(self, items: list[Outgoing]) -> bool:
        """Queue without waiting for the peer; False when that is not possible."""
        self._tell_voices(items)
        try:
            return self.wire.post(items)
        except OSError:
            self.wire.abandon()
            return False

    def _tell_voices(self, items: Sequence[Outgoing]) -> None:
        if self.profile.ascii_voices is None:
            return
        for item in items:
            # The echo is the same object if the line is sent as it was written, as nearly all are.
            if isinstance(item, OutgoingLine) and item.echo is not None and item.echo is not item.text:
                if full_width(item.text, self.profile) != item.text:
                    self.tell_voice(item.echo.split("|")[2])

    def tell_voice(self, voice: str) -> None:
        """Log, once for each voice, that its text leaves in full-width letters."""
        if voice not in _told_voices and len(_told_voices) < _MOST_TOLD:
            _told_voices.add(voice)
            self.log.info("ASCII text for the voice %r is sent in full-width letters, since it would "
                          "end MMDAgent-EX if Open JTalk speaks it; if this voice reads ASCII, name it "
                          "in Server(ascii_voices=...)", voice)

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
        """Let no more lines be sent, and start the close's deadline. False if it ends already."""
        return self._ending.begin(code, reason)

    def end_close(self, code: int, reason: str) -> None:
        """Drop what has not left, send the Close frame unless it has left, and publish the end."""
        self.wire.attempt(lambda: self.wire.close(code, reason, drop=True))
        self._ending.finish(code, reason, ours=True)
        # A thread that acquired the reading right before the end was published is blocked now or
        # about to be. A thread that acquires it later sees the end first.
        if self._reading.right.locked():
            self._transport.wake_reader()

    def forsake(self, timeout: float) -> bool:
        """Send nothing more, not even a Close, but read on for `timeout` seconds.

        The caller ends it sooner with :meth:`end_close`, or else the attendant ends it then. False
        if it has ended or is closing already.
        """
        return self._ending.forsake(timeout)

    def fail(self, code: int, reason: str) -> None:
        """Give the connection up: publish the end, then release threads blocked on the socket."""
        self.attend()  # So that what was received until now is not lost.
        self._ending.finish(code, reason)
        self._transport.abort()

    # The end: any thread

    @property
    def end(self) -> Optional[End]:
        """How it ended, or None."""
        return self._ending.end

    @property
    def is_open(self) -> bool:
        """Whether neither side has begun to end it."""
        return self._ending.is_open

    def wait_ended(self, timeout: Optional[float]) -> bool:
        """Wait for the end; False if the timeout, in seconds, came first."""
        return self._ending.wait(timeout)

    def raise_closed(self) -> NoReturn:
        """Raise an error that says how it ended, or that it is closing."""
        self._ending.raise_closed()

    def closed_error(self) -> ConnectionClosed:
        """An error that says how it ended, for a future."""
        return self._ending.error()

    # The attendant

    @property
    def is_awaited(self) -> bool:
        """Whether a wait or :meth:`read_eagerly` wants lines at once, whatever the reader does."""
        return self._reading.is_awaited

    @property
    def is_away(self) -> bool:
        """Whether no thread read since the last call, or lines are awaited; ask at intervals."""
        return self._reading.is_away

    def attend(self) -> bool:
        """Read one step for a reader that is away; never waits. False: do not watch the socket."""
        return self._reading.attend()

    def tick(self, now: float) -> None:
        """Check pings, stuck sends and the close's deadline; called about once a second."""
        if self.end is not None or self._ending.closing is not None:
            # Only after the time for the rest of a line: half a line spoils the first line after a
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
            # Read first: while the handler is busy the pong may still be in the kernel.
            if self._transport.is_readable():
                self.attend()
            elif not reading.was_alive:
                self.fail(1011, "keepalive ping timeout")

    def probe(self, timeout: float) -> bool:
        """Read what has arrived, then ping and wait up to `timeout` seconds. True: it has ended."""
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
        """Let the last bytes arrive, then close the descriptor."""
        deadline = self._ending.closing or Deadline(self.limits.close_timeout)
        end = self.end or End(1006, "", False, False)
        Parting(self._transport, self._tls, self._protocol, self.wire, self._state).part(
            end, deadline, self.linger)
        # Releases a thread that is still blocked in a send, which then releases the wire.
        self._transport.abort()
        self.courier.stop()
        self.callbacks.stop()
        # A thread that does not release it within a second is stuck outside of our calls.
        has_right = acquire_lock(self._reading.right, Deadline(1.0))
        try:
            with suppress(DeadlinePassed):
                self.wire.end(Deadline(1.0))
        finally:
            # A user thread may be waiting for it; it then finds the end.
            if has_right:
                self._reading.right.release()
        if self.wire.unsent:
            # If the peer ended it, the peer does not want them: that is no warning.
            self.log.log(logging.WARNING if end.ours else logging.INFO,
                         "%d lines could not be sent before the end", self.wire.unsent)
