"""``Server`` and ``serve``: the options, and what a user calls.

The threads are in ``run.py``. A server may be started again, and each start makes a new
:class:`~mmdagent_remote.serving.run.Run`. The thread that calls ``serve_forever()`` only waits.
"""

from __future__ import annotations

import atexit
import errno
import logging
import socket
import ssl
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Optional, Union

from .agent import Agent
from .connection.transport import SLICE, Deadline, wait_event
from .errors import ConnectionClosed
from .handler import Handler
from .limits import Limits
from .mdf import start_text
from .message import Field, Message, compose
from .profile import MMDAGENT_EX, STRICT, Profile
from .serving.listener import listen
from .serving.run import Run
from .serving.settings import (Factory, Routes, Settings, host_of, names_of, origins_of, profile_of,
                               ssl_context_of, subprotocols_of)
from .websocket.fastlane import find_unmask
from .websocket.lines import Outgoing, prepare_line

_log = logging.getLogger("mmdagent_remote.server")

#: Seconds that the interpreter waits for handlers at exit.
_ATEXIT_TIMEOUT = 1.0


#: Paths whose state is kept. Bounded, since a peer can request any path.
_MAX_STATES = 1000


class PathStates(dict[str, dict[str, Any]]):
    """A dict for each path, made on first access."""

    def __missing__(self, path: str) -> dict[str, Any]:
        while len(self) >= _MAX_STATES:
            self.pop(next(iter(self)), None)
        return self.setdefault(path, {})


class Server:
    """A WebSocket server for MMDAgent-EX.

    Methods for the caller, from any thread: ``start``, ``serve_forever``, ``shutdown``,
    ``accept``, ``wait_connected``, ``broadcast``. As a context manager it listens on
    entry and shuts down on exit.

    Args:
        handler: a :class:`Handler` subclass, any callable that returns an instance, or a
            dict ``{path: handler}``. Without one the server is *accepting*: no hooks run, and
            :meth:`accept` returns the connections.
        host: listen on every address that it resolves to; ``""`` or None: all interfaces.
        port: 0 picks one that is free on all of them.
        path: the only path; any other gets 404. None: any path.
        exclusive: one connection per path. A second gets 429. MMDAgent-EX then tries the path
            with ``-1`` appended, which leads to the same handler. This is no identity: after a
            break two can change places. Give each a Directory of its own in its ``.mdf``.
        ssl_context: for TLS. MMDAgent-EX uses TLS on port 443 and nowhere else.
        origins: the web pages that may connect, exactly as in their Origin header; ``"*"`` for all.
        subprotocols: in the server's order of preference.
        compression: accept permessage-deflate.
        profile: treat every client as ``STRICT`` or ``MMDAGENT_EX``, or as the profile of this name;
            None: decide by its request.
        ascii_voices: voices that read ASCII text, as patterns of :mod:`fnmatch`. For any other voice
            such text leaves in full-width letters, since it would end MMDAgent-EX with Open JTalk.
        fast_lane: False sends every frame through wsproto; nothing but the speed changes.
        open_timeout: seconds for TLS and the opening handshake, in total; None: no limit.
        send_timeout: seconds that a send may wait for the peer, in total; None: no limit.
        ping_interval: seconds of silence before a ping; None: no pings.
        ping_timeout: seconds of further silence before the connection is given up; None: never.
        close_timeout: seconds for flushing and for the peer's Close.
        max_message_size: bytes of one message.
        max_line_size: bytes of one line.
        max_fragments: fragments of one message.
        max_queue: lines that may wait for the handler.
        max_send_queue: bytes that may wait for one peer.
        max_connections: connections at once.

    Raises:
        TypeError, ValueError: an option is of a wrong type or value.
    """

    def __init__(
        self,
        handler: Union[Factory, Mapping[str, Factory], None] = None,
        host: Optional[str] = "localhost",
        port: int = 9001,
        *,
        path: Optional[str] = None,
        exclusive: bool = False,
        ssl_context: Optional[ssl.SSLContext] = None,
        origins: Union[str, Iterable[str], None] = None,
        subprotocols: Optional[Sequence[str]] = None,
        compression: bool = False,
        profile: Union[Profile, str, None] = None,
        ascii_voices: Union[str, Iterable[str]] = MMDAGENT_EX.ascii_voices or (),
        fast_lane: bool = True,
        open_timeout: Optional[float] = Limits.open_timeout,
        send_timeout: Optional[float] = Limits.send_timeout,
        ping_interval: Optional[float] = Limits.ping_interval,
        ping_timeout: Optional[float] = Limits.ping_timeout,
        close_timeout: float = Limits.close_timeout,
        max_message_size: int = Limits.max_message_size,
        max_line_size: int = Limits.max_line_size,
        max_fragments: int = Limits.max_fragments,
        max_queue: int = Limits.max_queue,
        max_send_queue: int = Limits.max_send_queue,
        max_connections: int = Limits.max_connections,
    ) -> None:
        if isinstance(port, bool) or not isinstance(port, int):
            raise TypeError(f"port must be a whole number, not {port!r}")
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be from 0 to 65535, not {port}")
        limits = Limits(
            open_timeout, send_timeout, ping_interval, ping_timeout, close_timeout,
            max_message_size, max_line_size, max_fragments, max_queue, max_send_queue,
            max_connections)
        voices = names_of(ascii_voices, "a voice")
        forced = profile_of(profile)
        if forced is not None and forced.ascii_voices is not None:
            forced = replace(forced, ascii_voices=voices)
        self._host = host_of(host)
        self._wanted_port = port
        self._accepts = handler is None
        self._settings = Settings(
            limits=limits,
            routes=Routes(Agent if handler is None else handler, path, follow_suffixes=exclusive),
            exclusive=exclusive, ssl_context=ssl_context_of(ssl_context),
            origins=origins_of(origins), subprotocols=subprotocols_of(subprotocols),
            compression=compression, profile=forced,
            mmdagent=replace(MMDAGENT_EX, ascii_voices=voices),
            fast_lane=fast_lane)
        if fast_lane:
            find_unmask()  # Takes some milliseconds, so not at the first connection.
        # Serializes start() and shutdown(); not held during a join.
        self._lifecycle = threading.Lock()
        self._state = PathStates()
        self._run: Optional[Run] = None
        self._last_run: Optional[Run] = None
        self._addresses: tuple[tuple[str, int], ...] = ()

    # Life

    def start(self) -> Server:
        """Listen, and return at once; no effect if the server runs already.

        Raises:
            OSError: the address cannot be used; the text names it. Nothing is left bound.
        """
        with self._lifecycle:
            if self._run is not None:
                return self
            listeners = self._listen()
            self._run = Run(self, self._settings, listeners, for_accept=self._accepts)
            self._run.start()
        atexit.register(self.shutdown, _ATEXIT_TIMEOUT)
        self._warn_of_tls_and_port()
        _log.info("listening on %s", ", ".join("%s:%d" % each for each in self._addresses))
        return self

    def serve_forever(self) -> None:
        """Serve until :meth:`shutdown` or Ctrl-C; starts the server if needed.

        Raises:
            RuntimeError: the server has no handler; use ``accept()`` instead.
            OSError: as :meth:`start` does.
        """
        if self._accepts:
            raise RuntimeError("this server has no handler; use accept(), or give it a handler")
        self.start()
        run = self._run
        try:
            # In slices on every system: Python checks for signals before it waits. One that comes
            # just between, on a busy machine, is handled only when this thread runs again.
            while run is not None and not run.stopped.wait(SLICE):
                pass
        except KeyboardInterrupt:
            self.shutdown()

    def shutdown(self, timeout: float = 5.0) -> list[str]:
        """Close every connection with 1001 and end every thread. Idempotent; from any thread.

        Args:
            timeout: seconds to wait for user code. If none is running, this takes under 1 s.

        Returns:
            the names of the threads that are still in user code. A hook or spawned
            function that calls this is not waited for.
        """
        deadline = Deadline(timeout)
        run = self._take_run()
        if run is None:
            # Another thread's shutdown() may still run; a start() right after this needs the port.
            if self._last_run is not None and not self._last_run.owns(threading.current_thread()):
                wait_event(self._last_run.stopped, deadline.remaining())
            return []
        run.stop_listening()
        names = run.stop(deadline)
        _log.info("stopped")
        return names

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self.shutdown()

    # Connections

    def accept(self, timeout: Optional[float] = None) -> Agent:
        """Wait for a connection on a server without handler, and return it.

        Args:
            timeout: seconds; None waits for ever.

        Raises:
            TimeoutError: none came in time.
            ConnectionClosed: the server was shut down meanwhile.
            RuntimeError: the server has a handler, or is not started.
        """
        if not self._accepts:
            raise RuntimeError("this server has a handler, which gets every connection")
        agent = self._running().registry.take_unaccepted(timeout)
        if not isinstance(agent, Agent):
            raise ConnectionClosed(1001, "the server was shut down", connection="the server")
        return agent

    def wait_connected(self, timeout: Optional[float] = None) -> Handler:
        """Wait until a client is connected, and return the handler of the oldest open connection.

        Raises:
            TimeoutError: none came in time (seconds).
            ConnectionClosed: the server was shut down meanwhile.
            RuntimeError: the server is not started.
        """
        handler = self._running().registry.wait_open(timeout)
        if handler is None:
            raise ConnectionClosed(1001, "the server was shut down", connection="the server")
        return handler

    def broadcast(self, *fields: Union[Field, Message]) -> list[Handler]:
        """Send one line to every open connection, without waiting for any of them.

        Args:
            fields: as for :meth:`Handler.send`.

        Returns:
            the handlers whose send queue had no room; their connections go on.

        Raises:
            TypeError, InvalidMessage: as for :meth:`Handler.send`; then no connection gets it.
        """
        line = compose(fields)
        prepared: dict[Profile, list[Outgoing]] = {STRICT: [prepare_line(line, STRICT)]}
        handlers = self.connections
        for handler in handlers:
            profile = handler._connected().profile
            if profile not in prepared:
                prepared[profile] = [prepare_line(line, profile)]
        failed = []
        for handler in handlers:
            connection = handler._connected()
            # A connection that is about to end is not a failure: its peer is leaving.
            if not connection.post(prepared[connection.profile]) and connection.is_open:
                failed.append(handler)
        return failed

    @property
    def state(self) -> PathStates:
        """A dict for each path, which outlives connections: ``self.server.state[self.path]``.

        A reconnect makes a new handler instance, which finds here what the last one stored.
        The content is the user's. Beyond 1000 paths the one that was made first is dropped.
        """
        return self._state

    @property
    def connections(self) -> tuple[Handler, ...]:
        """The handlers of all open connections, the oldest first."""
        run = self._run
        return run.registry.handlers if run is not None else ()

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Every address and port that the server listens on, or last did."""
        return self._addresses

    @property
    def address(self) -> tuple[str, int]:
        """The first of :attr:`addresses`."""
        if not self._addresses:
            raise RuntimeError("the server is not started")
        return self._addresses[0]

    @property
    def port(self) -> int:
        """The port; before ``start()`` the requested one, which may be 0."""
        return self._addresses[0][1] if self._addresses else self._wanted_port

    @property
    def url(self) -> str:
        """Where clients connect: ``ws://localhost:9001/``."""
        host = self._host or "localhost"
        if ":" in host:
            host = f"[{host}]"
        scheme = "wss" if self._settings.ssl_context else "ws"
        return f"{scheme}://{host}:{self.port}{self._settings.routes.first_path}"

    def __repr__(self) -> str:
        return f"<Server {self.url} {'listening' if self._run else 'stopped'}>"

    # Private

    def _running(self) -> Run:
        run = self._run
        if run is None:
            raise RuntimeError("the server is not started: use start() or a with statement")
        return run

    def _listen(self) -> list[socket.socket]:
        listeners = listen(self._host, self._wanted_port)
        self._addresses = tuple(
            (str(name[0]), int(name[1])) for name in (each.getsockname() for each in listeners))
        return listeners

    def _take_run(self) -> Optional[Run]:
        """Take the run away, if there is one; the caller that gets it must stop it."""
        with self._lifecycle:
            run, self._run = self._run, None
            if run is not None:
                self._last_run = run
                atexit.unregister(self.shutdown)
        return run

    def _warn_of_tls_and_port(self) -> None:
        has_tls = self._settings.ssl_context is not None
        if has_tls and self.port != 443:
            _log.warning("TLS on port %d: MMDAgent-EX uses TLS on port 443 only", self.port)
        elif not has_tls and self.port == 443:
            _log.warning("no TLS on port 443: MMDAgent-EX uses TLS there")

    def start_text(self) -> str:
        """Return the text to print on listening: the address, and the lines for the .mdf."""
        path = self._settings.routes.first_path
        return start_text(self.url, self._host, self.port, path if path != "/" else "/chat")


def serve(
    handler: Union[Factory, Mapping[str, Factory]],
    host: Optional[str] = "localhost",
    port: int = 9001,
    **options: Any,
) -> None:
    """Serve until Ctrl-C: all that a simple script needs.

    Prints the address and the lines for the ``.mdf`` on standard error. Takes the options
    of :class:`Server`.

    Raises:
        SystemExit: it cannot listen at this address; the text says why, in one line.
    """
    server = Server(handler, host, port, **options)
    try:
        try:
            server.start()
        except OSError as error:
            sys.exit(_cannot_listen(error, port))
        print(server.start_text(), file=sys.stderr, flush=True)
        server.serve_forever()
    except KeyboardInterrupt:
        # Ctrl-C came before serve_forever() could handle it.
        pass
    finally:
        server.shutdown()


def _cannot_listen(error: OSError, port: int) -> str:
    hint = ""
    if error.errno == errno.EADDRINUSE:
        hint = (f". Another program uses port {port}, maybe this one in another terminal: end it, or "
                "choose another port, with port= and in the .mdf")
    elif error.errno == errno.EACCES:
        hint = ". Ports below 1024 need special rights: choose another one"
    return f"{error.strerror or error}{hint}"
