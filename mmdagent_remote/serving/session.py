"""The life of one connection's thread: handshake, hooks, end.

This is the thread that runs ``on_message``. Call flow::

    run
     +-- _open               TLS, the request, routing, on_request, the 101
     |    +-- Opening         bytes of the handshake under open_timeout
     +-- _serve              on_open, handle() and with it the hooks
     +-- Connection.teardown  flush, wait for the peer's end, close the socket
     +-- on_close
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Optional

from ..connection.connection import Connection
from ..connection.naming import ConnectionLogger, new_name
from ..connection.transport import Deadline, DeadlinePassed, TLSCodec, Transport
from ..connection.turnstile import Turnstile
from ..errors import ConnectionClosed, HandshakeRejected
from ..handler import Handler, is_default
from ..limits import MAX_DRAIN, SHORTEST_HANDLE
from ..websocket.handshake import BadRequest, Request, parse_request, split_head
from ..websocket.protocol import Inbound, ServerProtocol
from .registry import Registry
from .settings import Settings

if TYPE_CHECKING:
    from ..server import Server

_log = logging.getLogger("mmdagent_remote.connection")


class HandshakeAbandoned(Exception):
    """The peer ended, or failed in TLS, before there was a request to answer. Internal."""


class Opening:
    """The bytes of an opening handshake, with one deadline for all of it."""

    def __init__(self, transport: Transport, context: Optional[ssl.SSLContext],
                 timeout: Optional[float]) -> None:
        self.transport = transport
        self.tls = TLSCodec(context) if context else None
        self.deadline = Deadline(timeout)

    def negotiate_tls(self) -> None:
        """Do the TLS handshake, if the server uses TLS."""
        if self.tls is None:
            return
        data = b""
        try:
            while not self.tls.handshake(data):
                self._send_raw(self.tls.pending())
                data = self._recv_raw()
        except ssl.SSLError as error:
            self._send_raw(self.tls.pending())
            raise HandshakeAbandoned(f"TLS: {error.reason or error}") from error
        self._send_raw(self.tls.pending())

    def read_head(self) -> tuple[bytes, bytes]:
        """Read the request's head, and the bytes that came right after it."""
        data, searched = self._plain(b""), 0
        while True:
            parts = split_head(data, searched)
            if parts is not None:
                return parts
            searched = len(data)
            data += self._plain(self._recv_raw())

    def _plain(self, data: bytes) -> bytes:
        if self.tls is None:
            return data
        plain, is_over = self.tls.decrypt(data)
        if is_over and not plain:
            raise HandshakeAbandoned("ended TLS before its request")
        return plain

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._send_raw(self.tls.encrypt(data) if self.tls else data)

    def refuse(self, error: BadRequest) -> None:
        """Send a refusal, then read on: a reset, caused by unread bytes, could destroy it."""
        self.send(error.response())
        if self.tls is not None:
            self._send_raw(self.tls.goodbye())
        self.transport.finish()
        deadline, left = Deadline(0.5), MAX_DRAIN
        while left > 0:
            data = self.transport.recv(deadline)
            if not data:
                return
            left -= len(data)

    def _send_raw(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self.transport.send(view, self.deadline):]

    def _recv_raw(self) -> bytes:
        data = self.transport.recv(self.deadline)
        if not data:
            raise HandshakeAbandoned("ended before its request")
        return data


class Session:
    """One accepted socket, and the thread that serves it.

    Args:
        server: for ``handler.server`` only.
        call_attendant: given to the connection.
        turnstile: given to the transport.
        for_accept: the server has no handler; ``accept()`` returns the connection.
    """

    def __init__(self, sock: socket.socket, address: Any, server: Server, settings: Settings,
                 registry: Registry, call_attendant: Callable[..., None], turnstile: Turnstile, *,
                 for_accept: bool) -> None:
        self.name = new_name()
        self.connection: Optional[Connection] = None
        self._address = (str(address[0]), int(address[1]))
        self._server = server
        self._settings = settings
        self._registry = registry
        self._call_attendant = call_attendant
        self._for_accept = for_accept
        self._over = False
        # Set when the connection exists, or never will.
        self._attached: Optional[threading.Event] = threading.Event()
        self.log = ConnectionLogger(_log, {
            "connection": self.name, "remote_address": "%s:%d" % self._address})
        self._transport = Transport(sock, turnstile)
        self.thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    # From other threads

    @property
    def has_ended(self) -> bool:
        """Whether the connection's end is known."""
        return self._over or self.connection is not None and self.connection.end is not None

    def probe(self, timeout: float) -> bool:
        """Check whether the peer is still there; True if it has ended."""
        # An agent can leave and come back before the first thread has attached its connection.
        attached = self._attached
        if attached is not None:
            attached.wait(timeout)
        connection = self.connection
        return connection.probe(timeout) if connection is not None else self.has_ended

    def abort(self) -> None:
        """End it without a Close frame; releases the thread from any wait for the peer."""
        self._transport.abort()

    # The thread

    def _tell_attached(self) -> None:
        # Dropped after use, since an event takes a kilobyte for each connection.
        attached, self._attached = self._attached, None
        if attached is not None:
            attached.set()

    def _run(self) -> None:
        try:
            handler = self._open()
            if handler is not None:
                self._serve(handler)
        except Exception as error:  # A safety net: a bug of ours must not be silent.
            self.log.error("internal error", exc_info=error)
        finally:
            self._over = True
            self._tell_attached()
            self._transport.close()
            self._registry.remove(self)

    # The opening handshake

    def _open(self) -> Optional[Handler]:
        opening = Opening(self._transport, self._settings.ssl_context,
                          self._settings.limits.open_timeout)
        try:
            opening.negotiate_tls()
            return self._answer(opening)
        except BadRequest as error:
            self.log.info("refused: %s", error)
            self._refuse(opening, error)
        except HandshakeAbandoned as error:
            # Port scans and health checks do this all day.
            self.log.debug("%s", error)
        except DeadlinePassed:
            self.log.info("no complete request within open_timeout")
        except ssl.SSLError as error:
            self.log.info("TLS: %s", error.reason or error)
        except OSError as error:
            self.log.debug("lost in the opening handshake: %s", error)
        return None

    def _refuse(self, opening: Opening, error: BadRequest) -> None:
        try:
            opening.refuse(error)
        except (OSError, ssl.SSLError) as lost:
            self.log.debug("could not send the refusal: %s", lost)

    def _answer(self, opening: Opening) -> Handler:
        head, leftover = opening.read_head()
        ws, request = parse_request(head, self._settings.profile, self._settings.mmdagent)
        handler = self._find_handler(request)
        self._registry.admit(self, request.path)
        protocol = ServerProtocol(ws, request.profile, self._settings.limits,
                                  fast_lane=self._settings.fast_lane)
        response = protocol.accept(
            request, self._settings.choose_subprotocol(request.subprotocols),
            compression=self._settings.compression)
        connection = self._attach(handler, opening, protocol, request, response, leftover)
        # Registered before its peer gets the 101. So a test that connects, and calls broadcast() in
        # the next statement, reaches this connection too. Writers send the 101 first.
        self._registry.opened(self, handler, for_accept=self._for_accept)
        connection.open(opening.deadline)
        if self._registry.is_stopping:
            # It may be registered too late for shutdown(), which has counted its connections.
            connection.close(1001, "the server is shutting down")
        return handler

    def _find_handler(self, request: Request) -> Handler:
        if not self._settings.allows_origin(request.headers.get("Origin")):
            raise BadRequest(403, "Requests from web pages (with an Origin) are not allowed here.")
        factory = self._settings.routes.find(request.path)
        if factory is None:
            raise BadRequest(404, "There is nothing at this path.")
        try:
            handler = factory()
            if not isinstance(handler, Handler):
                raise TypeError(f"the handler factory returned {handler!r}, which is not a Handler")
            if handler._request is not None:
                raise TypeError("the handler factory returned the same instance again; each connection "
                                "needs its own: give the class, or a function that makes one")
            handler._attach_request(self._server, request, self._address)
            handler.on_request()
        except HandshakeRejected as error:
            raise BadRequest(error.status, "The server refuses this request.",
                             reason=error.reason) from error
        except Exception as error:  # User code: __init__ or on_request.
            self.log.error("the handler failed before the connection opened", exc_info=error)
            raise BadRequest(500, "The handler failed.") from error
        return handler

    def _attach(self, handler: Handler, opening: Opening, protocol: ServerProtocol,
                request: Request, response: bytes, leftover: bytes) -> Connection:
        cut_text = is_default(handler, "on_text")
        inbound = Inbound(protocol, request.profile, self._settings.limits, cut_text=cut_text,
                          cut_binary=is_default(handler, "on_binary"), keep_echoes=handler.echoes)
        connection = Connection(
            self.name, self._transport, opening.tls, request, inbound, self._settings.limits,
            self.log, is_remote=not _is_loopback(self._address[0]), response=response,
            leftover=leftover, call_attendant=self._call_attendant)
        if not self._for_accept:
            connection.owner = threading.get_ident()
        self.connection = connection
        self._tell_attached()
        handler._attach(connection)
        self.log.info("connected to %r (%s)", request.path, request.profile.name)
        return connection

    # The open connection

    def _serve(self, handler: Handler) -> None:
        connection = self.connection
        if connection is None:
            return
        try:
            if self._for_accept:
                connection.wait_ended(None)
            else:
                self._run_hooks(handler, connection)
        finally:
            # Also after SystemExit in the handler, which counts as an exception.
            connection.close(1011, "the handler ended")
            # Another thread's close() may still be flushing.
            connection.wait_ended(self._settings.limits.close_timeout)
            connection.teardown()
            end = connection.end
            code, reason = (end.code, end.reason) if end else (1006, "")
            # The peer's reason is quoted, since it could otherwise write lines into the log.
            self.log.info("closed: %d%s", code, f" {reason!r}" if reason else "")
            if not self._for_accept:
                _call(handler, handler.on_close, code, reason)

    def _run_hooks(self, handler: Handler, connection: Connection) -> None:
        _call(handler, handler.on_open)
        code = 1000
        try:
            handler.handle()
        except ConnectionClosed as error:
            if error.connection != connection.name:
                code = 1011
                handler._report(error)
        except Exception as error:  # User code.
            code = 1011
            handler._report(error)
        # If handle() returned at once, a peer that reconnects at once would cause a storm.
        connection.wait_ended(max(
            0.0, connection.opened_at + SHORTEST_HANDLE - time.monotonic()))
        connection.close(code, "")


def _call(handler: Handler, hook: Callable[..., None], *args: object) -> None:
    try:
        hook(*args)
    except Exception as error:  # User code.
        handler._report(error)


@lru_cache(maxsize=256)
def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
