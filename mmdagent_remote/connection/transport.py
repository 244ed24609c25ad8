"""One TCP socket: reads and writes with deadlines, waking a blocked reader, the end of TCP.

Everything that differs per operating system is in this module and in ``listener.py``. TLS is bytes
to bytes (:class:`TLSCodec`), above the plain socket: one ``ssl.SSLSocket`` shared by a reading and
a writing thread is a trap (python/cpython#137583, #151508). This module knows nothing of WebSocket.
"""

from __future__ import annotations

import select
import socket
import ssl
import sys
import threading
import time
from concurrent.futures import Future, wait
from typing import Any, Optional, Union

from ..limits import FIRST_RECV_SIZE, RECV_SIZE
from .turnstile import Turnstile, Waiter

# True on systems other than Linux. This is decided here and nowhere else; the test suite also runs
# once with it on. On Linux a thread blocks in plain recv() and shutdown() wakes it, which saves a
# system call per read. On macOS and Windows neither is reliable (python/cpython#154224, #91913).
# Windows has no MSG_DONTWAIT, and Ctrl-C does not interrupt a blocking call of its main thread. So
# there sockets do not block, and every wait is cut into slices.
SLICED_WAITS = not sys.platform.startswith("linux")
SLICE = 0.1

_LINUX_TCP_CLOSE_WAIT = 8
_LINUX_TCP_CLOSE = 7

#: A TLS record holds no more (RFC 8446, 5.1), and one read returns at most one record.
_RECORD_SIZE = 16 * 1024
#: Seconds after which a blocked send tries again by itself.
_SEND_SLICE = 0.2


class DeadlinePassed(TimeoutError):
    """Our own deadline has passed; the kernel's ETIMEDOUT is a TimeoutError too. Internal."""


class Deadline:
    """A point in time that all steps of one operation share.

    Args:
        timeout: seconds from now, or None for never.
    """

    __slots__ = ("_end", "is_never")

    def __init__(self, timeout: Optional[float]) -> None:
        self.is_never = timeout is None
        self._end = None if timeout is None else time.monotonic() + timeout

    def remaining(self) -> Optional[float]:
        """Seconds left, not below 0; None: without limit."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether the time has come."""
        return self.is_over_since(0.0)

    def is_over_since(self, seconds: float) -> bool:
        """Whether the time came at least `seconds` ago."""
        return self._end is not None and time.monotonic() >= self._end + seconds


def sliced(left: Optional[float]) -> Optional[float]:
    """How long one wait may take, of the seconds that are left."""
    # The main thread on every system: Python checks for signals before it waits. A Ctrl-C that
    # comes in between, on a busy machine, is seen only when this wait returns.
    if not SLICED_WAITS and threading.current_thread() is not threading.main_thread():
        return left
    return SLICE if left is None else min(left, SLICE)


class Latch:
    """An event that is set once, by one thread. :class:`threading.Event` takes a kilobyte more."""

    __slots__ = ("_lock", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Release all threads that wait now or later. Call it only once."""
        self._is_set = True
        self._lock.release()

    def wait(self, timeout: Optional[float]) -> bool:
        """Wait until it is set; False if the timeout, in seconds and not below 0, came first."""
        if self._is_set:
            return True
        if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
            return False
        self._lock.release()  # For the next waiter.
        return True


def wait_event(event: Union[threading.Event, Latch], timeout: Optional[float]) -> bool:
    """``event.wait``, in slices where Ctrl-C cannot interrupt it whole (python/cpython#80116)."""
    deadline = Deadline(timeout)
    while True:
        left = deadline.remaining()
        if event.wait(sliced(left)):
            return True
        if left is not None and deadline.is_over:
            return False


def wait_future(future: Future[Any], deadline: Deadline) -> None:
    """Wait until a future is done, in slices as in :func:`wait_event`.

    Raises:
        DeadlinePassed: the deadline came first.
    """
    while not wait([future], sliced(deadline.remaining())).done:
        if deadline.is_over:
            raise DeadlinePassed("nothing came in time")


def acquire_lock(lock: threading.Lock, deadline: Deadline) -> bool:
    """Acquire a lock, in slices as in :func:`wait_event`; False if the deadline came first."""
    if lock.acquire(blocking=False):
        return True
    while True:
        left = sliced(deadline.remaining())
        if lock.acquire(timeout=-1 if left is None else left):
            return True
        if deadline.is_over:
            return False


class Transport:
    """A connected TCP socket.

    One thread may read while another writes; the connection's locks allow no more than that.
    Only the connection's own thread may call :meth:`close`.

    Args:
        turnstile: where readers wait when there are many connections; None: nowhere.
    """

    __slots__ = ("_socket", "_flags", "_woken", "_aborted", "_recv_size", "_turnstile", "_waiter")

    def __init__(self, sock: socket.socket, turnstile: Optional[Turnstile] = None) -> None:
        self._socket = sock
        self._turnstile = turnstile or Turnstile()
        self._waiter: Optional[Waiter] = None
        self._woken = False
        self._aborted = False
        self._flags = 0
        self._recv_size = FIRST_RECV_SIZE
        if SLICED_WAITS:
            sock.setblocking(False)
        else:
            sock.setblocking(True)
            self._flags = socket.MSG_DONTWAIT
        # Two lines in answer to one request took 43 ms without this, 0.17 ms with it.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        """The descriptor, for a selector; -1 once closed."""
        return self._socket.fileno()

    def recv(self, deadline: Deadline) -> bytes:
        """Wait for bytes; ``b""`` is the end.

        Raises:
            DeadlinePassed: the deadline came first.
            OSError: the connection is broken.
        """
        if SLICED_WAITS or not deadline.is_never:
            data = self._recv_before(deadline)
        else:
            if self._turnstile.is_engaged:
                self._wait_turn()
            data = self._socket.recv(self._recv_size)
        # A peer that sends much gets a large buffer for the next read, for as long as it does.
        self._recv_size = RECV_SIZE if len(data) >= FIRST_RECV_SIZE else FIRST_RECV_SIZE
        return data

    def _recv_before(self, deadline: Deadline) -> bytes:
        self._leave_turnstile()
        while True:
            data = self.try_recv(self._recv_size)
            if data is not None:
                return data
            if self._woken:
                return b""
            self._wait(deadline, for_reading=True)

    def _wait_turn(self) -> None:
        # Not in the main thread, where Ctrl-C could not interrupt it.
        if threading.current_thread() is not threading.main_thread():
            if self._waiter is None:
                self._waiter = Waiter(self._socket.fileno())
            self._turnstile.wait(self._waiter)

    def _leave_turnstile(self) -> None:
        if self._waiter is not None:
            self._turnstile.leave(self._waiter)

    def try_recv(self, size: int) -> Optional[bytes]:
        """Bytes that are there, ``b""`` at the end, or None: nothing now. Does not wait."""
        try:
            return self._socket.recv(size, self._flags)
        except (BlockingIOError, InterruptedError):
            return None

    def try_send(self, data: Union[bytes, memoryview]) -> int:
        """Give the kernel what it takes now, and return how many bytes that was."""
        try:
            return self._socket.send(data, self._flags)
        except (BlockingIOError, InterruptedError):
            return 0

    def send(self, data: memoryview, deadline: Deadline) -> int:
        """Wait until the kernel takes some bytes, and return how many.

        Raises:
            DeadlinePassed: the deadline came first.
            OSError: the connection is broken.
        """
        while True:
            sent = self.try_send(data)
            if sent:
                return sent
            self._wait(deadline, for_reading=False)

    def is_readable(self) -> bool:
        """Whether bytes, or the end, have arrived and were not read yet."""
        return self._ready(0.0, for_reading=True)

    def _wait(self, deadline: Deadline, *, for_reading: bool) -> None:
        left = deadline.remaining()
        if left == 0.0:
            raise DeadlinePassed("the deadline has passed")
        timeout = sliced(left)
        if not for_reading:
            # Linux reports a socket as writable only when a third of its buffer is free. With a
            # peer that reads slowly this can take longer than the deadline, though there is room.
            timeout = _SEND_SLICE if timeout is None else min(timeout, _SEND_SLICE)
        self._ready(timeout, for_reading=for_reading)

    def _ready(self, timeout: Optional[float], *, for_reading: bool) -> bool:
        if self._socket.fileno() < 0:
            raise OSError("the socket is closed")
        if not hasattr(select, "poll"):
            one, none = [self._socket], list[socket.socket]()
            readers, writers = (one, none) if for_reading else (none, one)
            return any(select.select(readers, writers, [], timeout))
        poll = select.poll()
        poll.register(self._socket, select.POLLIN if for_reading else select.POLLOUT)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    def wake_reader(self) -> None:
        """Release a thread that is blocked in :meth:`recv`; what arrives can still be read.

        On systems other than Linux the reader sees the flag within one slice.
        """
        self._woken = True
        if not SLICED_WAITS:
            self._shutdown(socket.SHUT_RD)

    def peer_has_finished(self) -> bool:
        """Whether nothing more can come, although no read shows it.

        After ``SHUT_RD`` an empty read means nothing, but Linux still reports the TCP state.
        """
        if self._aborted:
            return True
        if SLICED_WAITS or not self._woken:
            return False
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        except OSError:
            return True
        return info[0] in (_LINUX_TCP_CLOSE_WAIT, _LINUX_TCP_CLOSE)

    def read_rest(self, deadline: Deadline) -> bytes:
        """:meth:`recv` that works after :meth:`wake_reader` too: ``b""`` is the real end.

        Raises:
            DeadlinePassed: the deadline came first.
            OSError: the connection is broken.
        """
        self._leave_turnstile()
        while self._woken and not self._aborted:
            data = self.try_recv(RECV_SIZE)
            # After SHUT_RD an empty read on Linux means nothing. Other systems shut nothing down.
            if data or data is not None and (SLICED_WAITS or self.peer_has_finished()):
                return data
            if deadline.is_over:
                raise DeadlinePassed("the deadline has passed")
            time.sleep(0.002)
        return b"" if self._aborted else self.recv(deadline)

    def finish(self) -> None:
        """Send FIN behind what was sent; reading goes on."""
        self._shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """End both directions, which releases every thread blocked on this socket. Any thread."""
        self._aborted = self._woken = True
        self._shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the descriptor. The connection's own thread only."""
        if self._waiter is not None:
            self._turnstile.forget(self._waiter)
        self._socket.close()

    def _shutdown(self, how: int) -> None:
        try:
            self._socket.shutdown(how)
        except OSError:
            pass  # Not connected any more, so there is nothing to shut down.


def load_certificate(cert: str, key: Optional[str]) -> ssl.SSLContext:
    """A context for a server with this certificate.

    Args:
        cert: a PEM file.
        key: a PEM file with its key; None: it is in the same file.

    Raises:
        OSError: a file cannot be read.
        ValueError: they hold no certificate with its key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name in filter(None, (cert, key)):
        open(name, "rb").close()
    try:
        # Without a password callback OpenSSL would ask on the terminal.
        context.load_cert_chain(cert, key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        names = f"{cert}, {key}" if key else cert
        raise ValueError(f"no certificate with its key, in PEM: {names}") from error
    return context


class TLSCodec:
    """TLS as bytes to bytes. Not thread-safe: used under the connection's state lock."""

    __slots__ = ("_incoming", "_outgoing", "_tls")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def handshake(self, data: bytes) -> bool:
        """Take the peer's bytes; True when the handshake is done.

        Raises:
            ssl.SSLError: it failed; :meth:`pending` has the alert for the peer.
        """
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    @property
    def has_pending(self) -> bool:
        """Whether :meth:`pending` has something."""
        return self._outgoing.pending > 0

    def pending(self) -> bytes:
        """What must go to the peer: handshake messages, tickets, alerts, data."""
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> tuple[bytes, bool]:
        """The plain bytes in all complete records so far, and whether the peer ended TLS.

        Raises:
            ssl.SSLError: the peer broke the protocol.
        """
        self._incoming.write(data)
        plain: list[bytes] = []
        while True:
            try:
                piece = self._tls.read(_RECORD_SIZE)
            except ssl.SSLWantReadError:
                return b"".join(plain), False
            except ssl.SSLZeroReturnError:
                return b"".join(plain), True
            if not piece:
                return b"".join(plain), True
            plain.append(piece)
            # No further read, which could only fail: it takes a third of the whole time.
            if not self._incoming.pending and not self._tls.pending():
                return b"".join(plain), False

    def encrypt(self, data: bytes) -> bytes:
        """Records for these bytes, with whatever was pending before them."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view):]
        return self.pending()

    def goodbye(self) -> bytes:
        """The close_notify alert, without waiting for the peer's."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # It wants the peer's close_notify, or the peer broke TLS. Ours is written anyway.
        return self._outgoing.read()
