"""The attendant: one thread per server, for work that must not wait for a handler.

It sends batches and pings that are due, and judges silent peers. It also reads for connections
whose own thread is away in user code: it answers pings, notices a close, and keeps lines in order.
It never blocks on a peer, runs no user code (no hook, callback or log handler), and survives any
error of one connection.
"""

from __future__ import annotations

import logging
import selectors
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from ..connection.connection import Connection
from ..limits import Limits

_log = logging.getLogger("mmdagent_remote.attendant")

#: Interval of scans for threads that are away: 50 ms, or 0.1 ms per connection, at most 250 ms.
_SCAN = 0.05
_SCAN_EACH = 0.0001
_SCAN_MOST = 0.25
#: Interval of checks on pings and stuck sends; or a quarter of the shortest timeout, if less.
_TICK = 1.0
_NEVER = float("inf")
#: Windows' select() takes 512 sockets. Connections beyond this number are checked in each scan.
_MOST_WATCHED = 400 if sys.platform == "win32" else 100_000


class Attendant:
    """Looks after the connections that `connections` returns.

    Args:
        connections: a snapshot of the open connections; called in the attendant's thread.
        limits: their times set how often it checks for pings and stuck sends.
        tell_number: called in each scan with the number of connections.
    """

    def __init__(self, connections: Callable[[], list[Connection]], limits: Limits,
                 tell_number: Callable[[int], None]) -> None:
        self._connections = connections
        self._tell_number = tell_number
        times = [limits.ping_interval, limits.ping_timeout, limits.send_timeout,
                 limits.close_timeout or None]
        self._tick_every = max(0.02, min([_TICK, *(t / 4 for t in times if t is not None)]))
        self._called: deque[Connection] = deque()
        # Connections with something to send later. Only this thread changes it.
        self._pending: dict[Connection, None] = {}
        # Watched descriptors by connection, since a number can belong to another socket by now.
        self._watched: dict[Connection, tuple[int, int]] = {}
        self._selector = selectors.DefaultSelector()
        self._waker, self._wake_end = socket.socketpair()
        self._waker.setblocking(False)
        self._wake_end.setblocking(False)
        self._selector.register(self._wake_end, selectors.EVENT_READ)
        self._stopping = False
        self._thread = threading.Thread(
            target=self._run, name="mmdagent-remote-attendant", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End the thread and wait at most `timeout` seconds for it; any thread but its own."""
        self._stopping = True
        self._wake()
        self._thread.join(timeout)

    def call(self, connection: Connection, *, urgent: bool = False) -> None:
        """Have this connection attended to soon; any thread. Free while it is already on the list.

        Args:
            urgent: a thread waits for a message, so read at once if no other thread reads.
        """
        # The attendant removes a connection from its list *before* it checks it a last time. So if
        # the caller still finds it there, that check sees the caller's work.
        if connection in self._pending and not urgent:
            return
        self._called.append(connection)
        self._wake()

    def _wake(self) -> None:
        try:
            self._waker.send(b"\0")
        except OSError:
            pass  # Full: it wakes anyway. Closed: it has stopped.

    # The thread

    def _run(self) -> None:
        next_scan = next_tick = time.monotonic()
        try:
            while not self._stopping:
                self._wait(min(next_scan, next_tick))
                now = time.monotonic()
                self._see_to_called()
                if now >= next_scan:
                    next_scan = now + self._scan(self._connections())
                if now >= next_tick:
                    self._tick_all(self._connections())
                    next_tick = now + self._tick_every
        finally:
            self._selector.close()
            self._waker.close()
            self._wake_end.close()

    # Separate methods, so that no local variable keeps a connection alive until the next round.

    def _see_to_called(self) -> None:
        for connection in self._take_called():
            self._pending[connection] = None
            if connection.is_awaited:
                self._guard(self._read, connection)
        for connection in list(self._pending):
            self._guard(self._send_due, connection)

    def _scan(self, connections: list[Connection]) -> float:
        """Read for connections whose thread is away; returns the seconds until the next scan."""
        self._forget_ended()
        self._tell_number(len(connections))
        for connection in connections:
            if connection.is_away:
                self._guard(self._read, connection)
        return min(_SCAN_MOST, max(_SCAN, _SCAN_EACH * len(connections)))

    def _tick_all(self, connections: list[Connection]) -> None:
        for connection in connections:
            self._guard(self._tick, connection)

    def _wait(self, until: float) -> None:
        for connection in self._pending:
            if not connection.wire.is_stuck:
                until = min(until, connection.wire.next_due)
        try:
            events = self._selector.select(max(0.0, until - time.monotonic()))
        except (OSError, ValueError):
            # Without epoll: a descriptor was closed during select(), or there are too many.
            self._forget_ended()
            time.sleep(_SCAN)
            return
        for key, mask in events:
            if key.fileobj is self._wake_end:
                self._drain_wake()
                continue
            if mask & selectors.EVENT_WRITE:
                self._pending[key.data] = None
            if mask & selectors.EVENT_READ:
                self._guard(self._read, key.data)

    def _drain_wake(self) -> None:
        try:
            self._wake_end.recv(4096)
        except BlockingIOError:
            pass

    def _take_called(self) -> list[Connection]:
        taken = []
        while self._called:
            taken.append(self._called.popleft())
        return taken

    def _send_due(self, connection: Connection) -> None:
        connection.pump()
        wire = connection.wire
        self._watch(connection, selectors.EVENT_WRITE, wire.is_stuck)
        if not self._has_plans(connection):
            del self._pending[connection]
            # Check again after the removal, since call() may have found it here before: see there.
            if self._has_plans(connection):
                self._pending[connection] = None

    @staticmethod
    def _has_plans(connection: Connection) -> bool:
        return connection.fileno() >= 0 and (
            connection.wire.is_busy or connection.wire.next_due != _NEVER)

    def _read(self, connection: Connection) -> None:
        self._watch(connection, selectors.EVENT_READ, connection.attend())

    def _tick(self, connection: Connection) -> None:
        connection.tick(time.monotonic())

    # Watching descriptors

    def _watch(self, connection: Connection, event: int, wanted: bool) -> None:
        fd, before = self._watched.get(connection, (-1, 0))
        mask = before | event if wanted else before & ~event
        if mask == before:
            return
        try:
            if not before:
                fd = connection.fileno()
                if fd < 0 or len(self._watched) >= _MOST_WATCHED:
                    return  # The next scan covers it.
                self._drop_stale(fd)
                self._selector.register(fd, mask, connection)
            elif mask:
                self._selector.modify(fd, mask, connection)
            else:
                self._selector.unregister(fd)
        except (OSError, KeyError):
            mask = 0  # Its own thread has closed the descriptor meanwhile.
        if mask:
            self._watched[connection] = (fd, mask)
        else:
            self._watched.pop(connection, None)

    def _drop_stale(self, fd: int) -> None:
        key = self._selector.get_map().get(fd)
        if key is not None:
            self._watched.pop(key.data, None)
            self._selector.unregister(fd)

    def _forget_ended(self) -> None:
        for connection in list(self._watched):
            if connection.end is not None and not connection.wire.is_busy:
                self._watch(connection, selectors.EVENT_READ | selectors.EVENT_WRITE, False)

    def _guard(self, step: Callable[[Connection], None], connection: Connection) -> None:
        try:
            step(connection)
        except Exception as error:  # No fault of one connection may end this thread.
            self._pending.pop(connection, None)
            with suppress(Exception):  # A user's log handler may raise as well.
                _log.error("%s: internal error", connection.name, exc_info=error)
