"""``Handler``: what a user subclasses. One instance per connection.

Its hooks run in the connection's own thread, never two at once; ``session.py`` calls them.
Its other methods may be called from any thread, except that only the own thread reads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Optional, Union

from .connection.connection import Connection
from .connection.transport import Deadline
from .errors import ConnectionClosed
from .message import Field, Message, check_line, check_lines, compose
from .websocket.handshake import Headers, Request
from .websocket.lines import prepare_binary, prepare_text
from .websocket.protocol import Item

if TYPE_CHECKING:
    from .server import Server

_FOREVER = Deadline(None)

#: A Close frame's payload is at most 125 bytes, two of them the code (RFC 6455, 5.5).
_MAX_REASON = 123
_SENDABLE_CODES = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})


class Handler:
    """One connection of MMDAgent-EX, or of any other WebSocket client.

    Methods that may be overridden, all in the connection's own thread:
    ``on_request``, ``on_open``, ``on_message``, ``on_text``, ``on_binary``, ``on_close``,
    ``on_error`` and ``handle``.

    Methods for the caller, from any thread: ``send``, ``write_line``, ``send_lines``,
    ``send_text``, ``send_binary``, ``close``, ``spawn``, ``wait_closed``. From the connection's
    own thread (after ``Server.accept()``, from one thread of yours): ``read_line``, ``lines``,
    ``messages``.

    ``__init__`` may be overridden freely, takes no arguments and needs no ``super()``: the
    connection is attached after it.

    Attributes:
        echoes: False drops the echoes of what this connection sent; MMDAgent-EX
            sends back every command.
    """

    echoes: bool = True

    # Class attributes, since __init__ is the user's.
    _request: Optional[Request] = None
    _connection: Optional[Connection] = None
    _server: Optional[Server] = None
    _remote_address: tuple[str, int] = ("", 0)
    #: Whether messages may go elsewhere than to on_message. If so, _dispatch() decides.
    _has_takers: bool = False

    # Hooks

    def on_request(self) -> None:
        """Called before the connection opens; ``path``, ``query`` and ``headers`` are set.

        Raise :class:`HandshakeRejected` to refuse the client.
        """

    def on_open(self) -> None:
        """Called once, when the connection is open."""

    def on_message(self, message: Message) -> None:
        """Called once for each line received, in order."""

    def on_text(self, text: str) -> None:
        """Called for each whole text message. The default cuts it into lines for ``on_message``."""
        self._connected().push(text)

    def on_binary(self, data: bytes) -> None:
        """Called for each whole binary message. The default takes UTF-8 as text."""
        self.on_text(data.decode("utf-8"))

    def on_close(self, code: int, reason: str) -> None:
        """Called exactly once after ``on_open``, however the connection ended."""

    def on_error(self, error: Exception) -> None:
        """Called when a hook raised. The default logs the traceback; the connection goes on.

        Ending it could end the user's MMDAgent-EX, whose Linux build does not survive
        the loss of its connection.
        """
        self._connected().log.error("a hook of %s raised", type(self).__name__, exc_info=error)

    def handle(self) -> None:
        """The connection's loop. The default feeds the hooks until the connection ends.

        Override it to own the thread and block in ``read_line()``. When it returns, the
        connection closes with 1000; when it raises, ``on_error`` is called and it closes with 1011.
        """
        connection = self._connected()
        ready, has_takers = connection.ready, self._has_takers
        while True:
            # What was read already, which is nearly all of a flood, is taken without a call.
            if ready:
                try:
                    item = ready.popleft()
                except IndexError:
                    continue  # Another thread has dropped or taken it just now.
            else:
                item = connection.read(_FOREVER)
            try:
                if type(item) is Message and not has_takers:
                    self.on_message(item)
                else:
                    self._hand_over(item)
            except Exception as error:  # Whatever the user's hook raises.
                self._report(error)

    # Sending: any thread

    def send(self, *fields: Union[Field, Message]) -> None:
        """Send one line: ``send("MOTION_ADD", "0", "wave", "wave.vmd")`` or ``send("A|b")``.

        Args:
            fields: two or more are the fields of a message; one is a whole line, of which
                one trailing newline is accepted.

        Returns when the line is in the kernel or in the send queue. Whether the peer has received
        it is not known.

        Raises:
            TypeError: a field is not ``str``, ``int`` or ``float``.
            InvalidMessage: the line cannot be carried; no byte of it was sent.
            ConnectionClosed: the connection has ended.
            TimeoutError: the peer did not read for ``send_timeout``; the connection is dead.
        """
        # Without calling _connected() and compose() where possible: each call takes a fiftieth of
        # the time of a line.
        (self._connection or self._connected()).send_line(
            check_line(fields[0]) if len(fields) == 1 else compose(fields))

    def write_line(self, line: str) -> None:
        """Send a whole line; the newline is added. Raises what :meth:`send` raises."""
        self._connected().send_line(check_line(line))

    def send_lines(self, lines: Iterable[str]) -> None:
        """Send several whole lines with as few system calls as the peer's kind allows.

        All are checked before the first one leaves. Raises what :meth:`send` raises.
        """
        if isinstance(lines, str):
            raise TypeError("send_lines() takes several lines; for one there is write_line()")
        connection = self._connected()
        checked = check_lines(lines)
        if checked:
            connection.send_lines(checked)

    def send_text(self, text: str) -> None:
        """Send one text message as it is; to MMDAgent-EX whole lines only."""
        connection = self._connected()
        connection.send(prepare_text(text, connection.profile))

    def send_binary(self, data: bytes) -> None:
        """Send one binary message as it is; to MMDAgent-EX whole audio chunks only."""
        connection = self._connected()
        connection.send(prepare_binary(data, connection.profile))

    # Reading: one thread

    def read_line(self, timeout: Optional[float] = None) -> str:
        """Wait for the next line and return it without its newline.

        Args:
            timeout: seconds; None waits for ever, 0 polls.

        Raises:
            TimeoutError: no line came in time.
            ConnectionClosed: the connection has ended, and every line was delivered.
            RuntimeError: another thread reads this connection.
        """
        return self._read_message(timeout)

    def lines(self, timeout: Optional[float] = None) -> Iterator[str]:
        """Iterate over the lines; the iteration stops when the connection ends normally.

        Args:
            timeout: seconds to wait for each line; None waits for ever.

        Raises:
            TimeoutError: no line came in time.
            ConnectionClosed: the connection ended with an error.
        """
        return self.messages(timeout)

    def messages(self, timeout: Optional[float] = None) -> Iterator[Message]:
        """Iterate as :meth:`lines` does, over :class:`Message` objects."""
        while True:
            try:
                message = self._read_message(timeout)
            except ConnectionClosed as error:
                if self._is_own(error) and self._ended_normally():
                    return
                raise
            yield message

    # Life: any thread

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send what waits, then close. Idempotent; wakes a blocked reader at once.

        Args:
            code: 1000 to 1003, 1007 to 1014 or 3000 to 4999. MMDAgent-EX cannot take
                a code, so there it appears in ``on_close`` only.
            reason: at most 123 bytes in UTF-8.

        Waits at most ``close_timeout`` for what is still in the send queue.

        Raises:
            ValueError: the code may not be sent, or the reason is too long.
        """
        check_close(code, reason)
        self._connected().close(code, reason)

    def spawn(self, function: Callable[..., object], *args: Any) -> threading.Thread:
        """Run a function in a daemon thread named after this connection.

        ``ConnectionClosed`` of this connection ends it quietly; any other exception is logged.
        For a loop use ``while not self.wait_closed(2)``.

        Raises:
            ConnectionClosed: the connection has ended already.
        """
        connection = self._connected()
        if self.closed:
            connection.raise_closed()
        label = getattr(function, "__name__", type(function).__name__)
        thread = threading.Thread(target=self._run_spawned, args=(function, *args), daemon=True,
                                  name=f"{connection.name}-{label}")
        # Added before it starts, so that a shutdown() right after this waits for it.
        connection.spawned.add(thread)
        try:
            thread.start()
        except RuntimeError:
            connection.spawned.discard(thread)
            raise
        return thread

    @property
    def closed(self) -> bool:
        """Whether the connection has ended. Lines that came before may still be read."""
        return self._connected().end is not None

    def wait_closed(self, timeout: Optional[float] = None) -> bool:
        """Wait until the connection has ended; False if the timeout (seconds) passed first."""
        return self._connected().wait_ended(timeout)

    # About the connection

    @property
    def path(self) -> str:
        """The request's path, decoded, without its query."""
        return self._requested().path

    @property
    def query(self) -> dict[str, list[str]]:
        """The request's query, with all values of each name."""
        return self._requested().query

    @property
    def headers(self) -> Headers:
        """The request's headers, by case-insensitive name."""
        return self._requested().headers

    @property
    def remote_address(self) -> tuple[str, int]:
        """The peer's address and port."""
        return self._remote_address

    @property
    def server(self) -> Server:
        """The server of this connection."""
        if self._server is None:
            raise RuntimeError("no connection is attached yet: use on_open(), not __init__()")
        return self._server

    @property
    def is_mmdagent(self) -> bool:
        """Whether the peer is MMDAgent-EX, or is treated as MMDAgent-EX."""
        return self._requested().profile.wraps

    def __repr__(self) -> str:
        if self._connection is None:
            return f"<{type(self).__name__}, not connected>"
        state = "closed" if self.closed else "open"
        return f"<{type(self).__name__} {self._connection.name} {self.path} {state}>"

    # For session.py

    def _attach_request(self, server: Server, request: Request, address: tuple[str, int]) -> None:
        self._server = server
        self._request = request
        self._remote_address = address

    def _attach(self, connection: Connection) -> None:
        self._connection = connection

    def _report(self, error: Exception) -> None:
        """Call on_error, unless the error is only the end of this connection."""
        if isinstance(error, ConnectionClosed) and self._is_own(error):
            return
        try:
            self.on_error(error)
        except Exception as second:  # on_error is a user's hook, too.
            self._connected().log.error("on_error itself raised", exc_info=second)

    # Private

    def _connected(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("the connection is not open yet: use on_open(), not __init__() "
                               "or on_request()")
        return self._connection

    def _requested(self) -> Request:
        if self._request is None:
            raise RuntimeError("no connection is attached yet: use on_open(), not __init__()")
        return self._request

    def _read_message(self, timeout: Optional[float]) -> Message:
        connection, deadline = self._connected(), _FOREVER if timeout is None else Deadline(timeout)
        while True:
            item = connection.read_for_user(deadline)
            if isinstance(item, Message):
                return item
            self._hand_over(item)

    def _hand_over(self, item: Item) -> None:
        # Whole messages come only to a handler with its own on_text or on_binary.
        if isinstance(item, bytes):
            self.on_binary(item)
        elif isinstance(item, Message):
            self._dispatch(item)
        else:
            self.on_text(item)

    def _dispatch(self, message: Message) -> None:
        self.on_message(message)

    def _is_own(self, error: ConnectionClosed) -> bool:
        return error.connection == self._connected().name

    def _ended_normally(self) -> bool:
        end = self._connected().end
        return end is not None and end.is_normal

    def _run_spawned(self, function: Callable[..., object], *args: Any) -> None:
        connection = self._connected()
        try:
            function(*args)
        except ConnectionClosed as error:
            if not self._is_own(error):
                connection.log.error("a spawned function raised", exc_info=error)
        except Exception as error:  # User code: the error would be lost.
            connection.log.error("a spawned function raised", exc_info=error)
        finally:
            connection.spawned.discard(threading.current_thread())


def check_close(code: int, reason: str) -> None:
    """Check the code and the reason of a Close frame that is to be sent.

    Raises:
        ValueError: the code may not be sent, or the reason is too long.
    """
    if code not in _SENDABLE_CODES:
        raise ValueError(f"{code} is not a close code that may be sent (RFC 6455, section 7.4)")
    if len(reason.encode()) > _MAX_REASON:
        raise ValueError(f"a reason has at most {_MAX_REASON} bytes in UTF-8")


def is_default(handler: Handler, hook: str) -> bool:
    """Whether a handler does not override a hook."""
    return getattr(getattr(handler, hook), "__func__", None) is getattr(Handler, hook)
