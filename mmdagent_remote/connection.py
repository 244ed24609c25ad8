"""One open connection: its socket, its protocol, its line queue and its end.

Threads that meet here: the connection's own thread (or, after ``accept()``, the
user's), which reads; any user thread, which sends and closes; the attendant, which
reads while the reader is away and keeps the connection alive.

Locks, in this order, none held over user code, a join or a wait for another thread:

1. the reading right: held in a blocking ``recv``. Whoever reads has it; the attendant only
   tries it, and gives it back after each step.
2. the wire (in ``wire.py``): held in a blocking send. The holder of the reading right
   only tries it.
3. the state: queue, end, wsproto and TLS. Never held round a system call.

The end is the last thing in the queue: every line that came before it is read first.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, NamedTuple, NoReturn, Optional, Union

from .courier import Courier
from .errors import ConnectionClosed, QueueFull
from .fastlane import data_frame, line_frame, line_frames
from .handshake import Request
from .keepalive import KeepAlive, Verdict
from .limits import BATCH_SIZE, MAX_QUEUE_BYTES, READ_AHEAD, TAKEOVER_SIZE, Limits
from .lines import Outgoing, encode_line
from .message import Message
from .protocol import Control, Inbound, Item, PeerClosed, PeerFault, PingReceived
from .transport import (Deadline, DeadlinePassed, Latch, TLSCodec, Transport, acquire_lock,
                        wait_event, wait_future)
from .waits import Wait, Waits
from .wire import Wire, WireSealed

_numbers = count(1)

#: In the place of a queue that was not needed yet: an empty deque takes 760 bytes. Nothing is put in.
_EMPTY: deque[Item] = deque()

#: Steps of 16 KiB that a newcomer on an occupied path reads ahead of its verdict.
_PROBE_STEPS = 64

_SEND_TIMEOUT = "send timeout"

#: Seconds beyond close_timeout for the rest of a line that has begun.
_LAST_PARTS = 0.4

#: Ends that are no error for ``lines()``: normal, going away, no code at all.
_NORMAL_CODES = frozenset({1000, 1001, 1005})


class End(NamedTuple):
    """How a connection ended."""

    code: int
    reason: str
    #: Our own close: lines that were not delivered yet are dropped.
    ours: bool
    #: Iteration ends quietly.
    is_normal: bool


class ConnectionLogger(logging.LoggerAdapter[logging.Logger]):
    """Puts the connection's name and the peer's address in front of, and into, each record."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]
                ) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the two fields to a record."""
        extra = dict(self.extra or {})
        kwargs["extra"] = {**extra, **kwargs.get("extra", {})}
        return f"{extra['connection']} {extra['remote_address']}: {msg}", kwargs


def new_name() -> str:
    """A name for a connection and its thread, unique in this process."""
    return f"mmdagent-remote-{next(_numbers)}"


class Connection:
    """One connection from the 101 to the end.

    Args:
        inbound: the pure side, which makes lines from bytes.
        response: the 101 for the peer, which is sent by :meth:`open`.
        leftover: bytes that came right behind the request.
        call_attendant: asks the attendant to see to this connection soon; with ``urgent`` set, to
            read at once if nobody does.
    """

    __slots__ = ("name", "log", "request", "profile", "limits", "_transport", "_tls", "_reading",
                 "_state", "_inbound", "ready", "_read_ahead", "_queue", "_queue_bytes", "_counted",
                 "_pushed", "_uncut", "_end", "_ended", "_closing", "_own_close", "_was_read",
                 "_was_alive", "_keepalive", "_seen_progress", "_paused", "_stream_is_over",
                 "_peer_closed", "linger", "wire", "_sends_plainly", "owner", "_user_reads",
                 "spawned", "waits", "courier", "callbacks", "_farewells", "_is_eager",
                 "_call_attendant", "opened_at")

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
        self._reading = threading.Lock()
        self._state = threading.Lock()
        self._inbound = inbound
        #: What one read brought, on its way to the reader, which alone takes from its left, without a
        #: lock; the state lock guards all else. It is older than the queue, and filled only while
        #: that is empty and nothing was pushed.
        self.ready: deque[Item] = deque()
        self._read_ahead = min(READ_AHEAD, limits.max_queue)
        self._queue = _EMPTY
        self._queue_bytes = 0
        self._counted = 0
        # Of a handler's on_text: lines, and texts that are still to be cut.
        self._pushed: Optional[deque[Union[Message, PeerFault]]] = None
        self._uncut: list[Iterator[Union[Message, PeerFault]]] = []
        self._end: Optional[End] = None
        self._ended = Latch()
        self._closing: Optional[Deadline] = None
        self._own_close: Optional[tuple[int, str]] = None
        # Set by every read and every byte, looked at and cleared by the attendant: an attribute
        # costs a message nothing, a clock would.
        self._was_read = True
        self._was_alive = True
        self._keepalive = KeepAlive(limits, time.monotonic())
        self._seen_progress = (0, time.monotonic())
        self._paused = False
        # TLS said goodbye; what came before may still have to be told.
        self._stream_is_over = False
        self._peer_closed = False
        #: Seconds that the peer has to answer a Close of ours, at most close_timeout.
        self.linger = limits.close_timeout
        self.wire = Wire(transport, tls, inbound.protocol, profile, limits, self._state,
                         inbound.echoes, profile.max_frame_remote if is_remote else profile.max_frame,
                         response, self._call_soon)
        self._sends_plainly = profile.sends_as_is and inbound.protocol.has_lane
        # The connection's thread; None where the reading thread is the user's (after accept()).
        self.owner: Optional[int] = None
        self._user_reads = threading.Lock()
        # Threads made by spawn(), and the courier's, for shutdown() to wait for.
        self.spawned: set[threading.Thread] = set()
        self.waits = Waits()
        self.courier = Courier(f"{name}-courier", log, self.spawned.add, self.spawned.discard)
        self.callbacks = Courier(f"{name}-futures", log, self.spawned.add, self.spawned.discard,
                                 "a callback raised")
        self._farewells: list[Callable[[], None]] = []
        self._is_eager: Optional[Callable[[], bool]] = None
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

    # Reading: the connection's own thread, or the user's after accept()

    def read(self, deadline: Deadline) -> Item:
        """Wait for the next line or whole message.

        Raises:
            TimeoutError: the deadline has passed.
            ConnectionClosed: the end, after all that was received.
        """
        try:
            if self.ready:
                return self.ready.popleft()
        except IndexError:
            pass  # It was taken out, or dropped, just now.
        try:
            while True:
                item: Optional[Item] = None
                if self._pushed or self._uncut:
                    item = self._next_pushed()
                if item is None and (self.ready or self._queue or self._end is not None):
                    with self._state:
                        item = self._take()
                if item is None:
                    if not (self._reading.acquire(False) or acquire_lock(self._reading, deadline)):
                        raise TimeoutError("no line came in time")
                    try:
                        item = self._pull(deadline)
                    finally:
                        self._reading.release()
                if item is not None:
                    return item
        finally:
            # The reader goes away, and others wait. Who waits from now on finds the reading right free.
            if self.waits.pending or self._is_eager is not None:
                self._leave_reading()

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
        with self._state:
            # What is ready comes behind it, and is not to be taken without a look at this.
            for item in self._take_ready():
                if self._queue is _EMPTY:
                    self._queue = deque()
                self._queue.appendleft(item)
                self._count(item, 1)
            self._uncut.append(self._inbound.cut(text))

    def _take_ready(self) -> Iterator[Item]:
        # The newest first: the reader may take the oldest meanwhile, and still has them in order.
        while True:
            try:
                yield self.ready.pop()
            except IndexError:
                return

    def _next_pushed(self) -> Optional[Message]:
        while True:
            with self._state:
                item: Union[Message, PeerFault, None] = None
                if self._end is not None and self._end.ours:
                    return None  # As with the queue: what was not delivered is dropped.
                if self._pushed:
                    item = self._pushed.popleft()
                elif self._uncut:
                    item = next(self._uncut[0], None)
                    if item is None:
                        del self._uncut[0]
                        continue
            if isinstance(item, PeerFault):
                self._obey(item)
            elif item is None or not (self.waits.pending and self.waits.offer(item)):
                return item

    def _take(self) -> Optional[Item]:
        end = self._end
        if end is not None and end.ours:
            self._raise(end)
        if self.ready:
            return self.ready.popleft()
        if self._queue:
            item = self._queue.popleft()
            self._count(item, -1)
            if self._paused:
                self._is_full()
            return item
        if end is not None:
            self._raise(end)
        return None

    def _pull(self, deadline: Deadline) -> Optional[Item]:
        # With the reading right. None: look at the queue and the end again.
        inbound, fresh = self._inbound, b""
        while True:
            item = None
            if fresh or not inbound.is_dry:
                with self._state:
                    if fresh:
                        inbound.protocol.receive_data(fresh)
                        fresh = b""
                    if self._has_something():
                        return None
                    if not self.waits.pending:
                        items = inbound.next_items(self._read_ahead)
                        if items:
                            self.ready.extend(items)
                            return self.ready.popleft()
                    item = inbound.next_item()
            elif self._has_something():
                # Without the lock: only who reads puts a line there, and an end from now on wakes us.
                return None
            if item is None:
                try:
                    fresh = self._receive(deadline)
                except DeadlinePassed:
                    raise TimeoutError("no line came in time") from None
            elif isinstance(item, (str, bytes)):
                if not (self.waits.pending and isinstance(item, Message) and self.waits.offer(item)):
                    return item
            else:
                self._obey(item)

    def _has_something(self) -> bool:
        return bool(self._queue or self.ready or self._pushed or self._uncut) or self._end is not None

    def _receive(self, deadline: Deadline) -> bytes:
        # With the reading right, without the state lock. Returns what the protocol is to be given.
        if self._stream_is_over:
            self._end_of_stream()
            return b""
        # Only this is a sign that the reader is there: who works off lines that wait
        # in memory would else leave pings and the peer's end unseen for as long.
        self._was_read = True
        try:
            data = self._transport.recv(deadline)
        except DeadlinePassed:
            raise
        except OSError as error:
            data = self._lost(error)
        if self._tls is None and data:
            self._was_alive = True
            return data
        self._feed(data)
        return b""

    def _feed(self, data: bytes) -> None:
        # With the reading right, without the state lock.
        if not data:
            self._end_of_stream()
            return
        self._was_alive = True
        if self._tls is None:
            with self._state:
                self._inbound.protocol.receive_data(data)
            return
        try:
            with self._state:
                plain, is_over = self._tls.decrypt(data)
                if plain:
                    self._inbound.protocol.receive_data(plain)
        except ssl.SSLError as error:
            self._finish(1006, f"TLS: {error.reason or error}")
            return
        self.pump()
        # After the bytes that came with it; next_item() has not told them yet.
        self._stream_is_over = is_over

    def _obey(self, event: Control) -> None:
        if isinstance(event, PingReceived):
            self._guarded(lambda: self.wire.pong(event.payload))
        elif isinstance(event, PeerClosed):
            # Before the answer: a client that has it may look at once whether it is still listed.
            self._peer_closed = True
            # The answer first, then the news: whoever wakes may end the process.
            self._guarded(lambda: self.wire.close(event.code, event.reason, drop=True))
            self._finish(event.code, event.reason)
        elif isinstance(event, PeerFault):
            self._guarded(lambda: self.wire.close(event.code, event.reason, drop=True))
            self._finish(event.code, event.reason, fault=True)

    def _end_of_stream(self) -> None:
        if self._end is None:
            self._finish(1006, "")

    def _lost(self, error: OSError) -> bytes:
        self._finish(1006, error.strerror or str(error))
        return b""

    # Waiting for a message: any thread

    def look_back(self, wait: Wait) -> Optional[Message]:
        """Take the oldest line that matches out of the queue; if there is none, register the wait."""
        seen: list[object] = []  # Kept, so that no other object can get the identity of one.
        known: set[int] = set()
        while True:
            with self._state:
                if self._uncut:
                    self._pushed = self._pushed or deque()
                    while self._uncut:
                        self._pushed.extend(self._uncut.pop(0))
                received = (*(self._pushed or ()), *self.ready.copy(), *self._queue)
                new = [item for item in received if id(item) not in known]
                if not new:
                    # In the same hold of the lock in which nothing new was there: see _offer_or_obey().
                    self.waits.add(wait)
                    return None
            seen += new
            known.update(map(id, new))
            for item in new:
                if (isinstance(item, Message) and not item.is_echo and wait.matches(item)
                        and self._take_out(item)):
                    return item

    def _take_out(self, message: Message) -> bool:
        with self._state:
            for lines in (self._pushed, self._queue):
                for place, item in enumerate(lines or ()):
                    if item is message:
                        del (lines or self._queue)[place]
                        if lines is self._queue:
                            self._count(message, -1)
                        return True
            # Not searched in its place: the reader may take from it meanwhile, without the lock.
            taken = list(self._take_ready())
            self.ready.extend(item for item in reversed(taken) if item is not message)
            return any(item is message for item in taken)

    def wait(self, wait: Wait, deadline: Deadline) -> bool:
        """Wait for the end of a registered wait; False: the deadline came first.

        The connection's own thread reads meanwhile. Others leave that to whoever reads, or to the
        attendant.
        """
        try:
            if self.owner != threading.get_ident():
                self.see_to(wait)
                wait_future(wait.future, deadline)
                return True
            while not wait.future.done():
                if not acquire_lock(self._reading, deadline):
                    raise DeadlinePassed("nothing came in time")
                try:
                    self._read_for(wait, deadline)
                finally:
                    self._reading.release()
        except DeadlinePassed:
            return not self.waits.claim(wait)
        finally:
            self._leave_reading()
        return True

    def see_to(self, wait: Wait) -> None:
        """After registering: have lines read for it, and end it if there will be none."""
        self.attend_soon()
        self._fail_if_ended(wait)

    def _read_for(self, wait: Wait, deadline: Deadline) -> None:
        # With the reading right: one step. Lines for others go into the queue.
        is_full, item = False, None
        with self._state:
            if self._end is None:
                is_full = self._is_full()
                item = None if is_full else self._inbound.next_item()
        self._fail_if_ended(wait)
        if is_full:
            self._refuse_waits()
        elif item is not None:
            self._offer_or_obey(item)
        elif not wait.future.done():
            fresh = self._receive(deadline)
            if fresh:
                self._feed(fresh)

    def _leave_reading(self) -> None:
        if self.is_awaited:
            self.attend_soon()

    def _fail_if_ended(self, wait: Wait) -> None:
        end = self._end
        if end is not None and self.waits.claim(wait):
            wait.fail(ConnectionClosed(end.code, end.reason, connection=self.name))

    def watch(self, observe: Callable[[Message], None], farewell: Callable[[], None],
              is_eager: Callable[[], bool]) -> None:
        """Have every line shown to `observe` where it is read, echoes included, and the end told.

        `is_eager` tells whether lines shall be read for that, though nobody else wants one. All must
        be quick and take no lock but leaves.
        """
        with self._state:
            self._inbound.observe = observe
            self._is_eager = is_eager
        self.on_end(farewell)

    def on_end(self, farewell: Callable[[], None]) -> None:
        """Have the end told, also one that was already. It must be quick and take no lock but leaves."""
        with self._state:
            self._farewells.append(farewell)
        if self._end is not None:
            farewell()

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
        except WireSealed:
            self.raise_closed()
        except OSError as error:
            self._send_failed(error)

    def _send_failed(self, error: OSError) -> NoReturn:
        if isinstance(error, DeadlinePassed):
            self.fail(1006, _SEND_TIMEOUT)
            self._raise_send_timeout()
        if self._end is not None and self._end.reason is _SEND_TIMEOUT:
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
        deadline = self._closing or Deadline(self.limits.close_timeout)
        self._guarded(lambda: self.wire.close(code, reason, drop=False))
        self.wire.flush(deadline)
        self.end_close(code, reason)

    def begin_close(self, code: int, reason: str) -> bool:
        """Take no more lines; the time to close runs. False when somebody else closes already."""
        with self._state:
            if self._closing is not None or self._end is not None:
                return False
            self._closing = Deadline(self.limits.close_timeout)
            self._own_close = (code, reason)
        self.wire.seal()
        return True

    def end_close(self, code: int, reason: str) -> None:
        """Give up what has not left, send the Close frame if it has not, and publish the end."""
        self._guarded(lambda: self.wire.close(code, reason, drop=True))
        self._finish(code, reason, ours=True)
        # Whoever took the reading right before the end was published is blocked now or about to be;
        # whoever takes it later sees the end first.
        if self._reading.locked():
            self._transport.wake_reader()

    def forsake(self, timeout: float) -> bool:
        """Say nothing more, not even a Close, but read on for so many seconds.

        The caller ends it before, with :meth:`end_close`, or the attendant does then. False
        when it has ended, or somebody closes it already.
        """
        with self._state:
            if self._closing is not None or self._end is not None:
                return False
            self._closing = Deadline(timeout)
        self.wire.abandon()
        return True

    def fail(self, code: int, reason: str) -> None:
        """Give the connection up: the reason first, then whatever blocks on the socket is released."""
        self.attend()  # What was received until now is not lost.
        self._finish(code, reason)
        self._transport.abort()

    def _finish(self, code: int, reason: str, *, ours: bool = False, fault: bool = False) -> None:
        is_lost = code == 1006
        with self._state:
            if self._end is not None:
                return
            if self._own_close is not None:
                # The peer can answer our Close, and be gone, before we come to say that it was ours.
                code, reason = self._own_close
                ours = True
            by_peer = not (ours or fault)
            normal = code in _NORMAL_CODES or by_peer and self.profile.ends_without_close
            self._end = End(code, reason, ours, normal)
            if ours:
                self.ready.clear()  # As the queue: what was not delivered is dropped.
            if self._closing is None:
                self._closing = Deadline(self.limits.close_timeout)
        if is_lost:
            self.wire.abandon()
        self.wire.seal()
        self._ended.set()
        # Behind the end: who registers later finds that.
        if self.waits.pending:
            self.waits.fail_all(lambda: ConnectionClosed(code, reason, connection=self.name))
        for farewell in self._farewells:
            farewell()

    # The end: read by any thread

    @property
    def end(self) -> Optional[End]:
        """How it ended, or None."""
        return self._end

    @property
    def is_open(self) -> bool:
        """Whether neither side has begun to end it."""
        return not (self._peer_closed or self._closing is not None or self._end is not None)

    @property
    def has_unread(self) -> bool:
        """Whether lines wait in the queue."""
        return bool(self.ready or self._queue or self.has_pushed)

    @property
    def has_pushed(self) -> bool:
        """Whether a handler's on_text has handed on what was not read yet."""
        return bool(self._pushed or self._uncut)

    def wait_ended(self, timeout: Optional[float]) -> bool:
        """Wait for the end."""
        return wait_event(self._ended, timeout)

    def raise_closed(self) -> NoReturn:
        """Raise how it ended."""
        if self._end is not None:
            self._raise(self._end)
        gone = self.wire.is_abandoned
        raise ConnectionClosed(1006 if gone else 1000, "the peer is gone" if gone else "closing",
                               connection=self.name)

    def closed_error(self) -> ConnectionClosed:
        """How it ended, for a future."""
        end = self._end
        code, reason = (end.code, end.reason) if end is not None else (1006, "")
        return ConnectionClosed(code, reason, connection=self.name)

    def _raise(self, end: End) -> NoReturn:
        raise ConnectionClosed(end.code, end.reason, connection=self.name)

    # The attendant

    @property
    def is_awaited(self) -> bool:
        """Whether somebody wants lines read at once, whatever the reader does."""
        return bool(self.waits.pending) or self._is_eager is not None and self._is_eager()

    @property
    def is_away(self) -> bool:
        """Whether nobody has read since the last call; to be asked in intervals."""
        if self._end is not None or self._reading.locked():
            return False
        was_read, self._was_read = self._was_read, False
        return not was_read or self.is_awaited

    def attend(self) -> bool:
        """Read one step for a reader that is away; never waits. False: not to be watched now.

        Bounded: one small ``recv``, and what is in it.
        """
        if self._end is not None or not self._reading.acquire(blocking=False):
            return False
        try:
            if not self._drain():
                return False
            if self._stream_is_over:
                self._end_of_stream()
                return False
            try:
                data = self._transport.try_recv(TAKEOVER_SIZE)
            except OSError as error:
                data = self._lost(error)
            if data is None:
                return True
            self._feed(data)
            return self._drain()
        finally:
            self._reading.release()

    def _drain(self) -> bool:
        # Into the queue whatever was received. False: the queue is full, or the end is there.
        while True:
            with self._state:
                if self._end is not None:
                    return False
                if self._is_full():
                    break
                item = self._inbound.next_item()
                if isinstance(item, (str, bytes)) and not self.waits.pending:
                    self._enqueue(item)
                    continue
            if item is None:
                return True
            self._offer_or_obey(item)
        self._refuse_waits()
        return False

    def _offer_or_obey(self, item: Union[Item, Control]) -> None:
        # With the reading right: nobody else puts anything behind the queue.
        if not isinstance(item, (str, bytes)):
            self._obey(item)
            return
        while True:
            version = self.waits.version
            if isinstance(item, Message) and self.waits.offer(item):
                return
            with self._state:
                # A wait that was registered meanwhile has looked at the queue, where this was not yet.
                if version == self.waits.version:
                    self._enqueue(item)
                    return

    def _enqueue(self, item: Item) -> None:
        if self._queue is _EMPTY:
            self._queue = deque()
        self._queue.append(item)
        self._count(item, 1)

    def _count(self, item: Item, change: int) -> None:
        size = _weight(item)
        if size:
            self._queue_bytes += change * size
            self._counted += change

    def _refuse_waits(self) -> None:
        if self.waits.pending:
            self.waits.fail_all(lambda: QueueFull(
                f"{self.name}: the line queue is full, so the answer cannot be read"))

    def _is_full(self) -> bool:
        # Full at the bound, and full no more only at half, so that reading does not stutter.
        share = 2 if self._paused else 1
        self._paused = (self._counted + len(self.ready) >= max(1, self.limits.max_queue // share)
                        or self._queue_bytes >= MAX_QUEUE_BYTES // share)
        return self._paused

    def tick(self, now: float) -> None:
        """Look after pings, stuck sends and the close's deadline; about once a second."""
        if self._end is not None or self._closing is not None:
            if self._closing is not None and self._closing.is_over:
                self._transport.abort()
            return
        progress, since = self._seen_progress
        if not self.wire.is_stuck or self.wire.progress != progress:
            # A peer that reads slowly is alive, though our ping waits behind what it reads.
            self._was_alive |= self.wire.is_stuck
            self._seen_progress = (self.wire.progress, now)
        elif self.limits.send_timeout is not None and now - since >= self.limits.send_timeout:
            self.fail(1006, _SEND_TIMEOUT)
            return
        is_alive, self._was_alive = self._was_alive or self._paused, False
        verdict = self._keepalive.judge(now, is_alive=is_alive)
        if verdict is Verdict.PING:
            self._guarded(self.wire.ping)
        elif verdict is Verdict.DEAD:
            # Read first: the pong may be in the kernel, behind a busy handler.
            if self._transport.is_readable():
                self.attend()
            elif not self._was_alive:
                self.fail(1011, "keepalive ping timeout")

    def probe(self, timeout: float) -> bool:
        """Look at once whether the peer is still there, and ask it. True: it has ended."""
        for _ in range(_PROBE_STEPS):
            if not (self.attend() and self._transport.is_readable()):
                break
        if self._end is None:
            self._guarded(self.wire.ping)
            self._ended.wait(timeout)
        return self._end is not None

    def pump(self) -> None:
        """Send what is due, without waiting."""
        self._guarded(self.wire.pump)

    def fileno(self) -> int:
        """The socket's descriptor, for a selector; -1 once closed."""
        return self._transport.fileno()

    def abort(self) -> None:
        """Release every thread that is blocked on the socket."""
        self._transport.abort()

    def _guarded(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError:
            # The kernel knows that the peer is gone. What was received before is still read,
            # so the reader, not the writer, tells the end. Not logged: log handlers are user
            # code, and this may be the attendant.
            self.wire.abandon()

    # Teardown: the connection's own thread

    def teardown(self) -> None:
        """Let the last bytes arrive, then give the descriptor back."""
        deadline = self._closing or Deadline(self.limits.close_timeout)
        end = self._end or End(1006, "", False, False)
        try:
            # When its time is over only the rest of a line and the Close are left; half a line would
            # spoil the first one after a reconnect.
            is_told = end.code != 1006 and (
                self.wire.flush(deadline) or self.wire.flush(Deadline(_LAST_PARTS)))
            if is_told:
                self._linger(end, Deadline(min(deadline.remaining() or 0.0, self.linger)))
        except OSError:
            pass  # It is broken: there is nobody left to wait for.
        # Releases a thread that still blocks in a send, which then lets go of the wire.
        self._transport.abort()
        self.courier.stop()
        self.callbacks.stop()
        # A thread that does not let go within a second is stuck outside of our calls.
        has_right = acquire_lock(self._reading, Deadline(1.0))
        try:
            with suppress(DeadlinePassed):
                self.wire.end(Deadline(1.0))
        finally:
            # A user's thread may be waiting for it, and then finds the end.
            if has_right:
                self._reading.release()
        if self.wire.unsent:
            # After the peer's own end it is the peer that does not want them.
            self.log.log(logging.WARNING if end.ours else logging.INFO,
                         "%d lines could not be sent before the end", self.wire.unsent)

    def _linger(self, end: End, deadline: Deadline) -> None:
        # A close() with unread bytes in the kernel is a reset, which can destroy the Close frame and
        # the lines before it on their way. So read until the peer has ended too.
        saw_close = False
        if not end.ours:
            self._say_goodbye()
        while not deadline.is_over:
            try:
                data = self._transport.read_rest(deadline)
            except DeadlinePassed:
                return
            if not data:
                return
            if end.ours and not saw_close and self._saw_close(data):
                saw_close = True
                self._say_goodbye()

    def _saw_close(self, data: bytes) -> bool:
        with self._state:
            try:
                plain = self._tls.decrypt(data)[0] if self._tls else data
            except ssl.SSLError:
                return True
            self._inbound.protocol.receive_data(plain)
            while True:
                event = self._inbound.protocol.next_event()
                if event is None:
                    return False
                if isinstance(event, (PeerClosed, PeerFault)):
                    return True

    def _say_goodbye(self) -> None:
        if self._tls is not None:
            with self._state:
                alert = self._tls.goodbye()
            if not self.wire.is_stuck:
                self._transport.try_send(memoryview(alert))
        self._transport.finish()


def _weight(item: Item) -> int:
    # What an item counts in the queue: echoes nothing, since their number is our own doing.
    if isinstance(item, Message) and item.is_echo:
        return 0
    return len(item) + 1
