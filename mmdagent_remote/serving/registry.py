"""Who is connected: sessions, open handlers, occupied paths, and those who wait for one."""

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
    """The connections of one server. Every method from any thread.

    Its lock guards its collections, is a leaf, and is held for a few statements only:
    never over user code, a system call or a wait for a peer.
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
        """Take in a new session; False when even a refusal would be too much, or at the end."""
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
                    raise BadRequest(503, "The server has as many connections as it may have.")
                old = self._paths.get(path) if self._settings.exclusive else None
                if old is None or old.has_ended:
                    self._admitted.add(session)
                    if self._settings.exclusive:
                        self._paths[path] = session
                    return
            # The old one may be gone without our knowing yet: look, and ping it.
            if is_last or not old.probe(PROBE_TIME):
                # MMDAgent-EX reads exactly this phrase, and tries the path with -1.
                raise BadRequest(429, "This path has its one connection already.",
                                 reason="Too Many Requests")

    def opened(self, session: Session, handler: Handler, *, for_accept: bool) -> None:
        """A handshake is done."""
        with self._changed:
            self._open[session] = handler
            if for_accept:
                self._forget_ended()
                self._unaccepted.append(handler)
            self._changed.notify_all()

    def _forget_ended(self) -> None:
        # One that came and went unseen is of use only for its lines; and an agent that
        # reconnects while nobody accepts must not fill the memory with those.
        kept: deque[Handler] = deque()
        places = MAX_ENDED_UNACCEPTED
        for handler in reversed(self._unaccepted):
            # Asked once for each: one that ends meanwhile still has its lines.
            if handler.closed:
                if not places or not _is_of_use(handler):
                    continue
                places -= 1
            kept.appendleft(handler)
        self._unaccepted = kept

    def remove(self, session: Session) -> None:
        """A session's thread is about to end."""
        with self._changed:
            self._sessions.pop(session, None)
            self._open.pop(session, None)
            self._admitted.discard(session)
            for path in [path for path, other in self._paths.items() if other is session]:
                del self._paths[path]
            self._changed.notify_all()

    def stop_accepting(self) -> None:
        """No newcomer from now on; waits for one end."""
        with self._changed:
            self._accepting = False
            self._changed.notify_all()

    @property
    def is_stopping(self) -> bool:
        """Whether :meth:`stop_accepting` was called."""
        return not self._accepting

    # Who is there

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
        """The open ones, oldest first."""
        with self._lock:
            return tuple(self._in_order())

    def wait_open(self, timeout: Optional[float]) -> Optional[Handler]:
        """Wait for an open handler, the oldest; None: the server was shut down.

        Raises:
            TimeoutError: none came in time.
        """
        return self._wait(lambda: next(self._in_order(), None), timeout)

    def _in_order(self) -> Iterator[Handler]:
        # With the lock. In the order in which they were accepted, not in which their threads got on.
        for session in self._sessions:
            handler = self._open.get(session)
            if handler is not None and not handler.closed:
                yield handler

    def take_unaccepted(self, timeout: Optional[float]) -> Optional[Handler]:
        """Take a connection for ``accept()``; None: the server was shut down.

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
