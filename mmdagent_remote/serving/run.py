"""One run of a server, from start to shutdown: listeners, threads, connections.

Threads: one per connection (``session.py``), one that accepts, one attendant
(``attendant.py``).
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..connection.connection import Connection
from ..connection.transport import Deadline
from ..connection.turnstile import Turnstile
from .attendant import Attendant
from .registry import Registry
from .session import Session
from .settings import Settings

if TYPE_CHECKING:
    from ..server import Server

_log = logging.getLogger("mmdagent_remote.server")

#: Seconds for threads to end after their sockets were aborted.
_GRACE = 0.25
#: Seconds between two attempts to accept when the process is out of descriptors.
_ACCEPT_PAUSE = 0.1


class Run:
    """One run of a server.

    Args:
        server: for ``handler.server`` only.
        listeners: its listening sockets, which are closed at the end.
        for_accept: there is no handler; ``accept()`` returns the connections.
    """

    def __init__(self, server: Server, settings: Settings, listeners: list[socket.socket], *,
                 for_accept: bool) -> None:
        self.registry = Registry(settings)
        self.stopped = threading.Event()
        self._server = server
        self._settings = settings
        self._for_accept = for_accept
        self._listeners = listeners
        self._turnstile = Turnstile()
        self._attendant = Attendant(lambda: self.registry.connections, settings.limits,
                                    self._turnstile.adapt)
        self._waker, self._wake_end = socket.socketpair()
        self._stopping = False
        self._is_short = False
        self._acceptor = threading.Thread(
            target=self._accept_all, name="mmdagent-remote-accept", daemon=True)

    def start(self) -> None:
        """Start the two threads."""
        self._attendant.start()
        self._acceptor.start()

    def owns(self, thread: threading.Thread) -> bool:
        """Whether a thread belongs to a connection: it runs the hooks, or spawn() made it."""
        for session in self.registry.sessions:
            connection = session.connection
            if thread is session.thread or connection is not None and thread in connection.spawned:
                return True
        return False

    # The accepting thread

    def _accept_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            for listener in self._listeners:
                selector.register(listener, selectors.EVENT_READ)
            selector.register(self._wake_end, selectors.EVENT_READ)
            while not self._stopping:
                for key, _ in selector.select():
                    if key.fileobj is not self._wake_end and not self._stopping:
                        self._guarded_accept(key.fileobj)
        for each in (*self._listeners, self._waker, self._wake_end):
            each.close()

    def _guarded_accept(self, listener: Any) -> None:
        try:
            self._accept(listener)
        except Exception as error:  # Not even a log handler that raises may end this thread.
            with suppress(Exception):
                _log.error("internal error in accepting", exc_info=error)
            time.sleep(_ACCEPT_PAUSE)

    def _accept(self, listener: Any) -> None:
        try:
            sock, address = listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # The peer left before accept().
        except OSError as error:
            # Out of descriptors or memory. The listener stays readable, so pause and continue. Log
            # it once, not ten times a second.
            if not self._is_short:
                self._is_short = True
                _log.error("cannot accept a connection: %s", error)
            time.sleep(_ACCEPT_PAUSE)
            return
        self._is_short = False
        try:
            session = Session(sock, address, self._server, self._settings, self.registry,
                              self._attendant.call, self._turnstile, for_accept=self._for_accept)
            if not self.registry.add(session):
                sock.close()
                return
        except OSError:
            sock.close()  # Reset already.
            return
        try:
            session.thread.start()
        except RuntimeError as error:
            _log.error("cannot start a thread for a connection: %s", error)
            self.registry.remove(session)
            sock.close()

    # Shutdown, in the caller's thread

    def stop_listening(self) -> None:
        """Stop listening, while connections go on; call it once, before :meth:`stop`."""
        self._stopping = True
        self.registry.stop_accepting()
        with suppress(OSError):  # The thread may have seen the flag and ended.
            self._waker.send(b"\0")
        # On a loaded machine it may end later. It closes all its sockets itself.
        _join(self._acceptor, Deadline(1.0))

    def stop(self, deadline: Deadline) -> list[str]:
        """End everything, and return the names of threads that are still in user code."""
        sessions = self.registry.sessions
        # This snapshot decides: a session that attaches its connection after it is aborted.
        taken = {session: session.connection for session in sessions}
        close_all([each for each in taken.values() if each is not None],
                  1001, "the server is shutting down")
        for session, connection in taken.items():
            if connection is None:
                session.abort()
        threads = [session.thread for session in sessions]
        for session in sessions:
            if session.connection is not None:
                threads += list(session.connection.spawned)
        threads = [thread for thread in threads if not _join(thread, deadline)]
        # Threads that only wait for a peer end now. The rest are in user code.
        for session in self.registry.sessions:
            session.abort()
        grace = Deadline(_GRACE)
        busy = [thread.name for thread in threads if not _join(thread, grace)]
        self._attendant.stop(1.0)
        self._turnstile.stop(1.0)
        self.stopped.set()
        return busy

    def stop_later(self, timeout: float) -> None:
        """Wake the waiters for the end at once; connections have `timeout` seconds to end."""
        self.stopped.set()
        threading.Thread(target=self.stop, args=(Deadline(timeout),), daemon=True,
                         name="mmdagent-remote-stop").start()


def close_all(connections: list[Connection], code: int, reason: str) -> None:
    """Close connections side by side, so that ten slow ones take no longer than one."""
    closing = [each for each in connections if each.begin_close(code, reason)]
    deadline = Deadline(max((each.limits.close_timeout for each in closing), default=0.0))
    while not deadline.is_over:
        for connection in closing:
            connection.pump()
        busy = [each.wire.next_due for each in closing if each.wire.is_busy]
        if not busy:
            break
        pause = min(busy) - time.monotonic()
        time.sleep(min(max(0.001, pause), 0.012, deadline.remaining() or 0.0))
    for connection in closing:
        connection.end_close(code, reason)


def _join(thread: threading.Thread, deadline: Deadline) -> bool:
    """Wait for a thread's end, unless it is this one; False when it has not ended."""
    if thread is threading.current_thread():
        return True
    try:
        thread.join(deadline.remaining())
    except RuntimeError:
        return True  # spawn() has not started it yet. It will find its connection closed.
    return not thread.is_alive()
