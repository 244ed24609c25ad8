"""A server's connections: sessions, open handlers, occupied paths, and waiters for a connection."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Optional

from ..connection.connection import Connection
from ..connection.transport import Deadline, sliced
from ..handler import Handler
from ..limits import MAX_ENDED_UNACCEPTED, PROBE_TIME, REFUSED_AT_ONCE
from ..websocket.handshake import BadRequest
from .settings import Settings

if TYPE_CHECKING:
    from .session import Session


class Registry:
    """The connections of one server; any thread may call every method.

    Its lock guards its collections and is a leaf. It is held for a few statements only,
    never during user code, a system call or a wait for a peer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._sessions: dict[Session, None] = {}
        self._open: dict[Session, Handler] = {}
        self._admitted: set[Session] = set()
        self._paths: dict[str, Session] = {}
        self._unaccepted: deque[Handler] = deque()
        self._accepting = True

    # Sessions come and go

    def add(self, session: Session) -> bool:
        """Add a new session; False at shutdown, or if there are too many even for a refusal."""
        most = self._settings.limits.max_connections + REFUSED_AT_ONCE
        with self._lock:
            if not self._accepting or len(self._sessions) >= most:
                return False
            self._sessions[session] = None
            return True

    def admit(self, session: Session, path: str) -> None:
        """Reserve a place, and with ``exclusive`` the path.

        Raises:
            BadRequest: 503, the server is full or closes; 429, the path is occupied.
        """
        for is_last in (False, True):
            with self._lock:
                if not self._accepting:
                    raise BadRequest(503, "The server is shutting down.")
                if len(self._admitted) >= self._settings.limits.max_connections:
                    raise BadRequest(503, "The server has its maximum number of connections.")
                old = self._paths.get(path) if self._settings.exclusive else None
                if old is None or old.has_ended:
                    self._admitted.add(session)
                    if self._settings.exclusive:
                        self._paths[path] = session
                    return
            # The old connection may have ended unnoticed, so check it and ping it.
            if is_last or not old.probe(PROBE_TIME):
                # MMDAgent-EX reads exactly this phrase, and tries the path with -1.
                raise BadRequest(429, "This path already has its one connection.",
                                 reason="Too Many Requests")

    def opened(self, session: Session, handler: Handler, *, for_accept: bool) -> None:
        """Register a session whose handshake is done."""
        with self._changed:
            self._open[session] = handler
            if for_accept:
                self._forget_ended()
                self._unaccepted.append(handler)
            self._changed.notify_all()

    def _forget_ended(self) -> None:
        # A connection that ended before accept() returned it is useful only for its lines. An agent
        # that reconnects while no thread accepts must not fill the memory with those.
        kept: deque[Handler] = deque()
        places = MAX_ENDED_UNACCEPTED
        for handler in reversed(self._unaccepted):
            # Read once for each: a connection that ends meanwhile still has its lines.
            if handler.closed:
                if not places or not _is_of_use(handler):
                    continue
                places -= 1
            kept.appendleft(handler)
        self._unaccepted = kept

    def remove(self, session: Session) -> None:
        """Remove a session whose thread is about to end."""
        with self._changed:
            self._sessions.pop(session, None)
            self._open.pop(session, None)
            self._admitted.discard(session)
            for path in [path for path, other in self._paths.items() if other is session]:
                del self._paths[path]
            self._changed.notify_all()

    def stop_accepting(self) -> None:
        """Refuse new connections from now on, and end all waits for one."""
        with self._changed:
            self._accepting = False
            self._changed.notify_all()

    @property
    def is_stopping(self) -> bool:
        """Whether :meth:`stop_accepting` was called."""
        return not self._accepting

    # What is connected

    @property
    def sessions(self) -> list[Session]:
        """All sessions, those in their handshake included."""
        with self._lock:
            return list(self._sessions)

    @property
    def connections(self) -> list[Connection]:
        """All connections after their handshake, ended ones included while their thread runs."""
        with self._lock:
            found = [session.connection for session in self._open]
        return [connection for connection in found if connection is not None]

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """The open handlers, oldest first."""
        with self._lock:
            return tuple(self._in_order())

    def wait_open(self, timeout: Optional[float]) -> Optional[Handler]:
        """Wait up to `timeout` seconds for the oldest open handler; None after a shutdown.

        Raises:
            TimeoutError: none came in time.
        """
        return self._wait(lambda: next(self._in_order(), None), timeout)

    def _in_order(self) -> Iterator[Handler]:
        # With the lock. In the order of acceptance, not in the order in which handshakes were done.
        for session in self._sessions:
            handler = self._open.get(session)
            if handler is not None and not handler.closed:
                yield handler

    def take_unaccepted(self, timeout: Optional[float]) -> Optional[Handler]:
        """Take a connection for ``accept()``; waits up to `timeout` seconds. None after a shutdown.

        Raises:
            TimeoutError: none came in time.
        """
        def take() -> Optional[Handler]:
            while self._unaccepted:
                handler = self._unaccepted.popleft()
                if _is_of_use(handler):
                    return handler
            return None
        return self._wait(take, timeout)

    def _wait(self, look: _Look, timeout: Optional[float]) -> Optional[Handler]:
        deadline = Deadline(timeout)
        with self._changed:
            while True:
                handler = look()
                if handler is not None or not self._accepting:
                    return handler
                left = deadline.remaining()
                if left == 0.0:
                    raise TimeoutError(f"no connection came within {timeout} s")
                self._changed.wait(sliced(left))


if TYPE_CHECKING:
    from collections.abc import Callable
    _Look = Callable[[], Optional[Handler]]


def _is_of_use(handler: Handler) -> bool:
    connection = handler._connection
    return connection is not None and (connection.end is None or connection.has_unread)
