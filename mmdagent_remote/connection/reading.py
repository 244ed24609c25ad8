"""What comes in on one connection, and which thread reads it.

The *reader* is the thread that wants the next line. While it is away the attendant reads, one
bounded step at a time. The thread that reads holds the *reading right*, the first lock in the lock
order (see ``connection.py``). Lines are returned to the reader or go into the line queue. Pings and
a Close are answered in between.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from typing import Optional, Union

from ..errors import QueueFull
from ..limits import READ_AHEAD, TAKEOVER_SIZE, Limits
from ..message import Message
from ..websocket.protocol import Control, Inbound, Item, PeerClosed, PeerFault, PingReceived
from .delivery import offer_or_put
from .ending import Ending
from .linequeue import LineQueue
from .transport import Deadline, DeadlinePassed, TLSCodec, Transport, acquire_lock
from .waits import Wait, Waits
from .wire import Wire


class Reading:
    """The incoming side of one open connection.

    Args:
        name: the connection's, for the errors.
        inbound: the pure side, which makes lines from bytes.
        state: the connection's state lock.
        attend_soon: has the attendant read at once, unless another thread reads.
    """

    __slots__ = ("right", "was_alive", "_name", "_transport", "_tls", "_inbound", "_state", "_queue",
                 "_wire", "_waits", "_ending", "_attend_soon", "_read_ahead", "_was_read",
                 "_stream_is_over", "_is_eager")

    def __init__(self, name: str, transport: Transport, tls: Optional[TLSCodec], inbound: Inbound,
                 limits: Limits, state: threading.Lock, queue: LineQueue, wire: Wire, waits: Waits,
                 ending: Ending, attend_soon: Callable[[], None]) -> None:
        #: Held by the thread that reads, also in a blocking ``recv``.
        self.right = threading.Lock()
        self._name = name
        self._transport = transport
        self._tls = tls
        self._inbound = inbound
        self._state = state
        self._queue = queue
        self._wire = wire
        self._waits = waits
        self._ending = ending
        self._attend_soon = attend_soon
        self._read_ahead = min(READ_AHEAD, limits.max_queue)
        # This and the next are set by every read and every byte, and checked and cleared by the
        # attendant. Setting an attribute costs a message nothing; reading a clock would.
        self._was_read = True
        #: Whether bytes came since it was last cleared.
        self.was_alive = True
        # The peer has ended TLS. What came before that may not have been delivered yet.
        self._stream_is_over = False
        self._is_eager: Optional[Callable[[], bool]] = None

    # The reader

    def read(self, deadline: Deadline) -> Item:
        """Wait for the next line or whole message.

        Raises:
            TimeoutError: the deadline has passed.
            ConnectionClosed: it has ended, and all that was received before was read.
        """
        queue = self._queue
        try:
            if queue.ready:
                return queue.ready.popleft()
        except IndexError:
            pass  # It was taken out, or dropped, meanwhile.
        try:
            while True:
                item: Optional[Item] = None
                if queue.pushed or queue.uncut:
                    item = self._next_pushed()
                if item is None and (queue.ready or queue.waiting or self._ending.end is not None):
                    with self._state:
                        item = self._take()
                if item is None:
                    if not (self.right.acquire(False) or acquire_lock(self.right, deadline)):
                        raise TimeoutError("no line came in time")
                    try:
                        item = self._pull(deadline)
                    finally:
                        self.right.release()
                if item is not None:
                    return item
        finally:
            # The reader goes away while others wait. A later wait calls the attendant itself, which
            # finds the reading right free.
            if self._waits.pending or self._is_eager is not None:
                self.leave()

    def leave(self) -> None:
        """Call when the reader goes away: if lines are awaited, the attendant reads on."""
        if self.is_awaited:
            self._attend_soon()

    def push(self, text: str) -> None:
        """Cut a text into lines that are read before all others; each is cut when it is read."""
        with self._state:
            self._queue.push(self._inbound.cut(text))

    def _next_pushed(self) -> Optional[Message]:
        while True:
            with self._state:
                if self._ending.end is not None and self._ending.end.ours:
                    return None  # What was not delivered is dropped, as with received lines.
                item = self._queue.take_pushed()
            if isinstance(item, PeerFault):
                self._obey(item)
            elif item is None or not (self._waits.pending and self._waits.offer(item)):
                return item

    def _take(self) -> Optional[Item]:
        end = self._ending.end
        if end is not None and end.ours:
            self._ending.raise_closed()
        item = self._queue.take()
        if item is None and end is not None:
            self._ending.raise_closed()
        return item

    def _pull(self, deadline: Deadline) -> Optional[Item]:
        # With the reading right held. None: the caller checks the queue and the end again.
        inbound, queue, ending, fresh = self._inbound, self._queue, self._ending, b""
        while True:
            item = None
            if fresh or not inbound.is_dry:
                with self._state:
                    if fresh:
                        inbound.protocol.receive_data(fresh)
                        fresh = b""
                    if queue.has_any() or ending.end is not None:
                        return None
                    if not self._waits.pending:
                        items = inbound.next_items(self._read_ahead)
                        if items:
                            queue.ready.extend(items)
                            return queue.ready.popleft()
                    item = inbound.next_item()
            elif queue.has_any() or ending.end is not None:
                # No lock needed: only the thread that reads adds lines, and a later end wakes it.
                return None
            if item is None:
                try:
                    fresh = self._receive(deadline)
                except DeadlinePassed:
                    raise TimeoutError("no line came in time") from None
            elif isinstance(item, (str, bytes)):
                if not (self._waits.pending and isinstance(item, Message) and self._waits.offer(item)):
                    return item
            else:
                self._obey(item)

    # With the reading right held, without the state lock

    def _receive(self, deadline: Deadline) -> bytes:
        # Returns what the caller must give to the protocol.
        if self._stream_is_over:
            self._end_of_stream()
            return b""
        # Only this shows that the reader is there. If taking lines from memory counted too, pings
        # and the peer's end would stay unseen for as long as that takes.
        self._was_read = True
        try:
            data = self._transport.recv(deadline)
        except DeadlinePassed:
            raise
        except OSError as error:
            data = self._lost(error)
        if self._tls is None and data:
            self.was_alive = True
            return data
        self._feed(data)
        return b""

    def _feed(self, data: bytes) -> None:
        if not data:
            self._end_of_stream()
            return
        self.was_alive = True
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
            self._ending.finish(1006, f"TLS: {error.reason or error}")
            return
        self._wire.attempt(self._wire.pump)
        # Acted on after the bytes that came with it: next_item() has not returned them yet.
        self._stream_is_over = is_over

    def _obey(self, event: Control) -> None:
        wire, ending = self._wire, self._ending
        if isinstance(event, PingReceived):
            wire.attempt(lambda: wire.pong(event.payload))
        elif isinstance(event, PeerClosed):
            # Before the answer: a client that gets it may check at once whether it is still listed.
            ending.peer_closed = True
            # The answer first, then the end: a thread that the end wakes may end the process.
            wire.attempt(lambda: wire.close(event.code, event.reason, drop=True))
            ending.finish(event.code, event.reason)
        elif isinstance(event, PeerFault):
            wire.attempt(lambda: wire.close(event.code, event.reason, drop=True))
            ending.finish(event.code, event.reason, fault=True)

    def _end_of_stream(self) -> None:
        if self._ending.end is None:
            self._ending.finish(1006, "")

    def _lost(self, error: OSError) -> bytes:
        self._ending.finish(1006, error.strerror or str(error))
        return b""

    # For a wait, in the connection's own thread

    def read_for(self, wait: Wait, deadline: Deadline) -> None:
        """Read until a registered wait has ended. Lines for others go into the queue.

        Raises:
            DeadlinePassed: the deadline came first.
        """
        while not wait.future.done():
            if not acquire_lock(self.right, deadline):
                raise DeadlinePassed("nothing came in time")
            try:
                self._step_for(wait, deadline)
            finally:
                self.right.release()

    def _step_for(self, wait: Wait, deadline: Deadline) -> None:
        # With the reading right held.
        is_full, item = False, None
        with self._state:
            if self._ending.end is None:
                is_full = self._queue.is_full()
                item = None if is_full else self._inbound.next_item()
        self._ending.fail_if_ended(wait)
        if is_full:
            self._refuse_waits()
        elif item is not None:
            self._offer_or_obey(item)
        elif not wait.future.done():
            fresh = self._receive(deadline)
            if fresh:
                self._feed(fresh)

    # The attendant

    def tap(self, tap: Callable[[Message], None]) -> None:
        """Have a function called with each line; see :meth:`Connection.tap_received`."""
        with self._state:
            self._inbound.taps += (tap,)

    def read_eagerly(self, is_eager: Callable[[], bool]) -> None:
        """Have lines read at once while `is_eager()`; see :meth:`Connection.read_eagerly`."""
        self._is_eager = is_eager

    @property
    def is_awaited(self) -> bool:
        """Whether a wait or :meth:`read_eagerly` wants lines at once, whatever the reader does."""
        return bool(self._waits.pending) or self._is_eager is not None and self._is_eager()

    @property
    def is_away(self) -> bool:
        """Whether no thread read since the last call, or lines are awaited; ask at intervals."""
        if self._ending.end is not None or self.right.locked():
            return False
        was_read, self._was_read = self._was_read, False
        return not was_read or self.is_awaited

    def attend(self) -> bool:
        """Read one step for a reader that is away; never waits. False: do not watch the socket.

        The step is bounded: one small ``recv``, and what is in it.
        """
        if self._ending.end is not None or not self.right.acquire(blocking=False):
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
            self.right.release()

    def _drain(self) -> bool:
        # Puts what was received into the queue. False: the queue is full, or the connection ended.
        while True:
            with self._state:
                if self._ending.end is not None:
                    return False
                if self._queue.is_full():
                    break
                item = self._inbound.next_item()
                if isinstance(item, (str, bytes)) and not self._waits.pending:
                    self._queue.put(item)
                    continue
            if item is None:
                return True
            self._offer_or_obey(item)
        self._refuse_waits()
        return False

    def _offer_or_obey(self, item: Union[Item, Control]) -> None:
        if isinstance(item, (str, bytes)):
            offer_or_put(item, self._queue, self._waits, self._state)
        else:
            self._obey(item)

    def _refuse_waits(self) -> None:
        if self._waits.pending:
            self._waits.fail_all(lambda: QueueFull(
                f"{self._name}: the line queue is full, so the answer cannot be read"))
