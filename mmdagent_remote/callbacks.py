"""The interface of the ``websocket-server`` package: its scripts run with one changed import.

::

    from mmdagent_remote.callbacks import WebsocketServer

    def message_received(client, server, message):
        server.send_message(client, "You said " + message)

    server = WebsocketServer(port=9001)
    server.set_fn_message_received(message_received)
    server.run_forever()

The class has that package's ``API``, and the engine of :class:`~mmdagent_remote.Server`.
``docs/websocket-server.md`` lists the differences from the package, and their reasons.

Callbacks run in the thread of their client, at most one per client at a time. The exception is
``client_left`` of a client that a ``disconnect_...`` or ``shutdown_...`` call ends: it runs in the
calling thread, so that the list of clients is up to date when the call returns.
"""

from __future__ import annotations

import errno
import io
import logging
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from socket import socket as Socket
from typing import Any, NoReturn, Optional, TypedDict, Union

from .connection.connection import Connection
from .connection.transport import load_certificate
from .errors import ConnectionClosed, HandshakeRejected, InvalidMessage
from .handler import Handler, check_close
from .profile import Profile
from .server import Server
from .serving.run import close_all
from .websocket.lines import Outgoing, cut_lines, prepare_line, prepare_text

# The package calls logging.basicConfig() on import, which does nothing if the root logger has a
# handler. So it gets one during the import, and an import of this module changes nothing.
_root, _nobody = logging.getLogger(), logging.NullHandler()
_root.addHandler(_nobody)
try:
    from websocket_server import API  # type: ignore[import-untyped]
    from websocket_server import WebSocketHandler as _PackageHandler
finally:
    _root.removeHandler(_nobody)

__all__ = ["API", "Client", "ClientLeft", "WebSocketHandler", "WebsocketServer"]

_log = logging.getLogger("mmdagent_remote.callbacks")

#: Seconds that a client has to answer our Close. If it goes on sending, its connection is closed
#: soon, as in the package.
_LINGER = 0.1
#: Seconds within which a client that was disconnected abruptly may send its last message.
_LAST_MESSAGE_TIME = 5.0

Message = Union[str, bytes]


class Client(TypedDict):
    """The dict that callbacks get for a client."""

    id: int
    handler: WebSocketHandler
    address: tuple[str, int]


class ClientLeft(ConnectionClosed, BrokenPipeError):
    """A message was sent to a client that has left; a ``BrokenPipeError``, as from a socket."""

    def __init__(self, code: int, reason: str = "", *, connection: str = "") -> None:
        super().__init__(code, reason, connection=connection)
        self.errno = errno.EPIPE


class WebSocketHandler(Handler):
    """One client: ``client["handler"]``. It is a :class:`~mmdagent_remote.Handler`, too."""

    def __init__(self, front: WebsocketServer) -> None:
        self._front = front
        self._is_last_message = False
        self.client: Optional[Client] = None

    # The package's names

    def send_message(self, message: Message) -> None:
        """Do what ``server.send_message()`` does for this client."""
        text = _text_of(message)
        if text is None:
            return
        connection = self._connected()
        try:
            connection.send(_prepare(text, connection.profile))
        except ConnectionClosed as error:
            raise ClientLeft(error.code, error.reason, connection=error.connection) from None

    def send_close(self, status: int = 1000, reason: Message = b"") -> None:
        """Send what waits, then a Close frame, and close this connection."""
        self.close(status, _reason_of(reason))

    @property
    def server(self) -> WebsocketServer:
        """The server that this client connected to."""
        return self._front

    @property
    def client_address(self) -> tuple[str, int]:
        """The client's address and port."""
        return self.remote_address

    @property
    def connection(self) -> SocketView:
        """The part of the client's socket that may be used."""
        return SocketView(self)

    request = connection

    @classmethod
    def calculate_response_key(cls, key: str) -> str:
        """Return the value of Sec-WebSocket-Accept for a request's key."""
        return str(_PackageHandler.calculate_response_key(key))

    @classmethod
    def make_handshake_response(cls, key: str) -> str:
        """Return a 101 response as the package would send it. Nothing here calls it."""
        return str(_PackageHandler.make_handshake_response(key))

    # Hooks

    def on_request(self) -> None:
        """Refuse MMDAgent-EX early: its Linux build may not survive a connection that ends."""
        if self.is_mmdagent and self._front._denied is not None:
            raise HandshakeRejected(503)

    def on_open(self) -> None:
        """Call ``new_client``, or turn the client away."""
        if self.client is None:
            self.close(*self._front._denied or (1000, ""))
        else:
            self._front.new_client(self.client, self._front)

    def on_text(self, text: str) -> None:
        """Call ``message_received``."""
        self._received(text)

    def on_binary(self, data: bytes) -> None:
        """Call ``message_received``, with bytes."""
        self._received(data)

    def on_close(self, code: int, reason: str) -> None:
        """Call ``client_left``, unless it was called already."""
        self._front._left(self)

    # For WebsocketServer

    def _attach(self, connection: Connection) -> None:
        super()._attach(connection)
        connection.linger = min(connection.linger, _LINGER)
        # The client is in the list before its request is answered, as in the package.
        self.client = self._front._arrived(self)

    def _received(self, message: Message) -> None:
        try:
            self._front.message_received(self.client, self._front, message)
        finally:
            if self._is_last_message:
                self._connected().end_close(1006, "disconnected abruptly")

    def _forsake(self) -> None:
        # Set first: a message that comes during forsake() is already the last one.
        self._is_last_message = True
        self._connected().forsake(_LAST_MESSAGE_TIME)


class SocketView:
    """Stands in for the socket that ``client["handler"].connection`` is in the package."""

    def __init__(self, handler: WebSocketHandler) -> None:
        self._handler = handler

    def send(self, data: bytes) -> NoReturn:
        """Raise io.UnsupportedOperation, or BrokenPipeError once the connection has ended."""
        connection = self._handler._connected()
        if not connection.is_open:
            end = connection.end
            raise ClientLeft(end.code if end else 1000, connection=connection.name)
        raise io.UnsupportedOperation(
            "raw bytes would break the frames; use send_message() or send_binary()")

    sendall = send

    def getpeername(self) -> tuple[str, int]:
        """Return the client's address and port."""
        return self._handler.remote_address

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed."""
        return self._handler._connected().fileno()

    def close(self) -> None:
        """Close the connection, with a Close frame."""
        self._handler.close()


class WebsocketServer(API, Server):  # type: ignore[misc]  # The package has no types.
    """A server with callbacks, for scripts written for ``websocket-server``.

    It listens once it is created, and serves from ``run_forever()`` on. Set callbacks with
    ``set_fn_new_client``, ``set_fn_client_left`` (called with client and server) and
    ``set_fn_message_received`` (with client, server and message), or override ``new_client``,
    ``client_left`` and ``message_received``. An exception in one is logged; the connection goes on.

    Methods for the caller, from any thread: ``send_message``, ``send_message_to_all``,
    ``deny_new_connections``, ``allow_new_connections``, ``disconnect_clients_gracefully``,
    ``disconnect_clients_abruptly``, ``shutdown_gracefully``, ``shutdown_abruptly``,
    ``run_forever``, ``server_close``, and those of :class:`~mmdagent_remote.Server`.

    Args:
        host: as for :class:`~mmdagent_remote.Server`.
        port: 0 picks a free one.
        loglevel: of the logger ``mmdagent_remote``.
        key: for TLS, a file with the certificate's key; None: the key is in the file `cert`.
        cert: for TLS, a file with the certificate.
        options: those of :class:`~mmdagent_remote.Server`, for example limits. ``origins``
            defaults to ``"*"`` here: any page may connect, as in the package.

    Raises:
        OSError: the address cannot be used, or a file cannot be read.
        ValueError: the files contain no certificate with its key.

    Attributes:
        host: as given.
        thread: the thread that serves, from ``run_forever()`` on.
        id_counter: the id of the last client.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, loglevel: int = logging.WARNING,
                 key: Optional[str] = None, cert: Optional[str] = None, **options: Any) -> None:
        _show_log(loglevel)
        if key or cert:
            if not cert:
                raise ValueError("key without cert: TLS needs a certificate")
            options.setdefault("ssl_context", load_certificate(cert, key))
        options.setdefault("origins", "*")
        Server.__init__(self, lambda: WebSocketHandler(self), host, port, **options)
        self.host = host
        self.key = key
        self.cert = cert
        self.id_counter = 0
        self.thread: Optional[threading.Thread] = None
        # The thread of run_forever(threaded=True).
        self._own_thread: Optional[threading.Thread] = None
        self._denied: Optional[tuple[int, str]] = None
        # Guards the next two. A leaf lock, held for a few statements.
        self._clients_lock = threading.Lock()
        self._present: dict[WebSocketHandler, Client] = {}
        # Handlers whose client_left is running, and the thread that runs it.
        self._leaving: dict[WebSocketHandler, int] = {}
        # Bound here, not in start(), as in the package: scripts use the port at once.
        self._bound = self._sockets = Server._listen(self)
        self._wanted_port = self.port

    # The package's attributes

    @property
    def clients(self) -> list[Client]:
        """The connected clients, in the order of their ids; a new list each time.

        A client that leaves is no longer in it, except for its own ``client_left``.
        """
        me = threading.get_ident()
        with self._clients_lock:
            return [client for handler, client in self._present.items()
                    if (self._leaving[handler] == me if handler in self._leaving
                        else handler._connected().is_open)]

    @property
    def server_address(self) -> tuple[str, int]:
        """Address and port of the listening socket, of the first if there are two."""
        return self.address

    @property
    def socket(self) -> Socket:
        """The listening socket, the first if there are two."""
        return self._sockets[0]

    # The package's methods. API's methods, which have the public names, call them

    def _run_forever(self, threaded: bool) -> None:
        if not threaded:
            self.thread = threading.current_thread()
            self.serve_forever()
            return
        self.start()
        self.thread = self._own_thread = threading.Thread(
            target=self.serve_forever, name="mmdagent-remote-serve", daemon=True)
        self.thread.start()

    def server_close(self) -> None:
        """Stop listening and end all connections and threads. Idempotent."""
        self.shutdown()
        for each in self._bound:
            each.close()
        self._bound = []

    def shutdown(self, timeout: float = 5.0) -> list[str]:
        """Do :meth:`mmdagent_remote.Server.shutdown`, then wait for the end of :attr:`thread`."""
        names = Server.shutdown(self, timeout)
        self._join_own_thread()
        return names

    def _shutdown_gracefully(self, status: int = 1000, reason: Message = b"") -> None:
        self._disconnect_clients_gracefully(status, reason)
        self.server_close()

    def _shutdown_abruptly(self) -> None:
        run = self._take_run()
        # Before and after listening ends. So no client gets a Close, not even one that came in
        # between, and none can come later.
        self._disconnect_clients_abruptly()
        if run is not None:
            run.stop_listening()
        self._disconnect_clients_abruptly()
        if run is not None:
            run.stop_later(_LAST_MESSAGE_TIME)
            self._join_own_thread()
        self.server_close()

    def _join_own_thread(self) -> None:
        if self._own_thread not in (None, threading.current_thread()):
            self._own_thread.join(1.0)

    def _disconnect_clients_gracefully(self, status: int = 1000, reason: Message = b"") -> None:
        text = _reason_of(reason)
        check_close(status, text)
        clients = self.clients
        close_all([each["handler"]._connected() for each in clients], status, text)
        for client in clients:
            self._left(client["handler"])

    def _disconnect_clients_abruptly(self) -> None:
        for client in self.clients:
            client["handler"]._forsake()
            self._left(client["handler"])

    def _deny_new_connections(self, status: int, reason: Message) -> None:
        text = _reason_of(reason)
        check_close(status, text)
        self._denied = (status, text)

    def _allow_new_connections(self) -> None:
        self._denied = None

    def _unicast(self, receiver_client: Client, msg: Message) -> None:
        receiver_client["handler"].send_message(msg)

    def _multicast(self, msg: Message) -> None:
        text = _text_of(msg)
        if text is None:
            return
        prepared: dict[Profile, Sequence[Outgoing]] = {}
        slow: list[Connection] = []
        # First what can be sent at once, to all clients. Only then wait for the slow ones.
        for client in self.clients:
            connection = client["handler"]._connected()
            profile = connection.profile
            try:
                if profile not in prepared:
                    prepared[profile] = _prepare(text, profile)
            except InvalidMessage as error:
                prepared[profile] = ()
                _log.warning("not sent to %s: %s", profile.name, error)
            if not connection.post(list(prepared[profile])) and connection.is_open:
                slow.append(connection)
        for connection in slow:
            _send_to_slow(connection, prepared[connection.profile])

    # For the handlers

    def _listen(self) -> list[Socket]:
        if self._bound:
            listeners, self._bound = self._bound, []
        else:
            listeners = self._sockets = Server._listen(self)
        return listeners

    def _arrived(self, handler: WebSocketHandler) -> Optional[Client]:
        if self._denied is not None:
            return None
        with self._clients_lock:
            self.id_counter += 1
            client = Client(id=self.id_counter, handler=handler, address=handler.remote_address)
            self._present[handler] = client
        return client

    def _left(self, handler: WebSocketHandler) -> None:
        with self._clients_lock:
            client = self._present.get(handler)
            if client is None or handler in self._leaving:
                return
            self._leaving[handler] = threading.get_ident()
        try:
            self.client_left(client, self)
        except Exception as error:  # The user's callback.
            handler._report(error)
        finally:
            with self._clients_lock:
                del self._present[handler], self._leaving[handler]


def _prepare(text: str, profile: Profile) -> Sequence[Outgoing]:
    """Prepare one message as it is; for MMDAgent-EX its lines, each with its newline."""
    if profile.max_line is None:
        return prepare_text(text, profile)
    items = [prepare_line(line, profile) for line in cut_lines(text)]
    if not items:
        raise InvalidMessage("no line to send; MMDAgent-EX takes that for a disconnect, or crashes")
    return items


def _send_to_slow(connection: Connection, items: Sequence[Outgoing]) -> None:
    with suppress(ConnectionClosed, TimeoutError):  # It left or was given up: see client_left.
        connection.send(items)


def _text_of(message: object) -> Optional[str]:
    # As in the package, a value that is not text causes a warning, not an exception.
    if isinstance(message, str):
        return message
    if isinstance(message, (bytes, bytearray)):
        try:
            return message.decode()
        except UnicodeDecodeError:
            _log.warning("not sent, since it is not valid UTF-8 (send_binary() takes bytes)")
            return None
    _log.warning("not sent, since a message is str or bytes, not %s", type(message).__name__)
    return None


def _reason_of(reason: Message) -> str:
    return reason if isinstance(reason, str) else reason.decode()


class _Printer(logging.Handler):
    """Prints log records that no other handler shows, as the package does."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print, unless logging is configured."""
        if not _root.handlers and sys.stderr is not None:
            print(self.format(record), file=sys.stderr)


_printer = _Printer()
_printer.setFormatter(logging.Formatter(logging.BASIC_FORMAT))


def _show_log(level: int) -> None:
    logger = logging.getLogger("mmdagent_remote")
    logger.setLevel(level)
    logger.addHandler(_printer)  # No effect if it is there already.
