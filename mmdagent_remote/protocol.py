"""One WebSocket connection without its socket: bytes in, events out. Pure.

:class:`ServerProtocol` is wsproto with what wsproto leaves to its user: messages put
together from their pieces, sizes counted, pings and Close frames answered, and whose
fault an error is. :class:`Inbound` makes lines from its messages.

Events are pulled **one at a time**. What lies behind an event is not looked at
before the event was handled, so that the echo of one message is on the wire before
the Close that answers a fault in the next frame.
"""

from __future__ import annotations

from codecs import IncrementalDecoder, getincrementaldecoder
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, Optional, Union

from wsproto import WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (AcceptConnection, BytesMessage, CloseConnection, Event, Ping, Pong,
                            TextMessage)
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from .deflate import Deflate
from .handshake import Request
from .limits import COMPRESSED_STEP, Limits
from .lines import EchoMemory, cut_lines
from .message import Message
from .profile import Profile


class PingReceived(NamedTuple):
    """The peer wants a pong with this body."""

    payload: bytes


class PeerClosed(NamedTuple):
    """The peer sent a Close frame (1005: without a code). It waits for ours."""

    code: int
    reason: str


class PeerFault(NamedTuple):
    """The peer broke the protocol or a bound; the Close frame to send has this code."""

    code: int
    reason: str


class WholeText(str):
    """A text message that is not to be cut into lines here."""

    __slots__ = ()


#: What :meth:`ServerProtocol.next_event` returns: whole messages are plain str and bytes.
ProtocolEvent = Union[str, bytes, PingReceived, PeerClosed, PeerFault]
#: What :meth:`Inbound.next_item` returns: what a handler gets, or what ends or answers.
Item = Union[Message, WholeText, bytes]
Control = Union[PingReceived, PeerClosed, PeerFault]


class LenientText(Extension):
    """Replaces what is no UTF-8 in text frames, before wsproto would close for it (1007).

    Never offered nor negotiated: wsproto's door for extensions is the public place
    where a frame's payload can be seen before it is decoded.
    """

    name = "mmdagent-remote-lenient-text"

    def __init__(self) -> None:
        self._decoder: Optional[IncrementalDecoder] = None
        self._is_control = False

    def enabled(self) -> bool:
        """Always: it is not negotiated."""
        return True

    def offer(self) -> bool:
        """Never: it is not on the wire."""
        return False

    def frame_inbound_header(self, proto: Union[FrameDecoder, FrameProtocol], opcode: Opcode,
                             rsv: RsvBits, payload_length: int) -> RsvBits:
        """Note what the frame is; a control frame may stand between a text's fragments."""
        self._is_control = opcode.iscontrol()
        if opcode is Opcode.TEXT:
            self._decoder = getincrementaldecoder("utf-8")("replace")
        elif opcode is Opcode.BINARY:
            self._decoder = None
        return RsvBits(False, False, False)

    def frame_inbound_payload_data(
            self, proto: Union[FrameDecoder, FrameProtocol], data: bytes) -> bytes:
        """Mend a piece of text."""
        if self._is_control or self._decoder is None:
            return data
        return self._decoder.decode(data).encode()

    def frame_inbound_complete(
            self, proto: Union[FrameDecoder, FrameProtocol], fin: bool) -> Optional[bytes]:
        """A character that the end of the message cuts is replaced as well."""
        if self._is_control or self._decoder is None or not fin:
            return None
        return self._decoder.decode(b"", True).encode()


class ServerProtocol:
    """The server's side of one connection after a valid request. Not thread-safe."""

    __slots__ = ("_ws", "_limits", "_lenient", "_events", "_pieces", "_fragments",
                 "_unfed", "_step", "_over", "_empty_close")

    def __init__(self, ws: WSConnection, profile: Profile, limits: Limits) -> None:
        self._ws = ws
        self._limits = limits
        self._empty_close = profile.empty_close
        self._lenient = profile.lenient_text
        self._events: Optional[Iterator[Event]] = None
        self._pieces = bytearray()
        self._fragments = 0
        self._unfed: deque[bytes] = deque()
        self._step = 0
        self._over = False

    def accept(self, request: Request, subprotocol: Optional[str], *, compression: bool) -> bytes:
        """The bytes of the 101 response, which opens the connection."""
        extensions: list[Extension] = []
        if self._lenient:
            # It would mend compressed bytes; and MMDAgent-EX offers no compression.
            extensions = [LenientText()]
        elif compression:
            extensions = [Deflate()]
        data = self._ws.send(AcceptConnection(subprotocol=subprotocol, extensions=extensions))
        if any(isinstance(each, Deflate) and each.enabled() for each in extensions):
            self._step = COMPRESSED_STEP
        return data

    # What comes in

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer; :meth:`next_event` then tells what they say."""
        if self._over:
            return  # After a fault or a Close nothing more is looked at (RFC 6455, section 7.1.7).
        if not self._step:
            self._unfed.append(data)
            return
        for start in range(0, len(data), self._step):
            self._unfed.append(data[start:start + self._step])

    def next_event(self) -> Optional[ProtocolEvent]:
        """The next thing that the peer said, or None when more bytes are needed."""
        while not self._over:
            event = self._next_raw_event()
            if event is None:
                return None
            if isinstance(event, (TextMessage, BytesMessage)):
                message = self._add_piece(event)
                if message is not None:
                    return message
            elif isinstance(event, Ping):
                return PingReceived(bytes(event.payload))
            elif isinstance(event, CloseConnection):
                return self._end(event)
        return None

    def _next_raw_event(self) -> Optional[Event]:
        while True:
            if self._events is None:
                if not self._unfed:
                    return None
                self._ws.receive_data(self._unfed.popleft())
                self._events = self._ws.events()
            event = next(self._events, None)
            if event is not None:
                return event
            self._events = None

    def _add_piece(self, event: Union[TextMessage, BytesMessage]) -> Optional[ProtocolEvent]:
        limits, data, pieces = self._limits, event.data, self._pieces
        if event.message_finished and not pieces and not self._fragments:
            # The common case, a message in one piece, is not copied.
            if len(data) * 4 <= limits.max_message_size:
                return data if isinstance(data, str) else bytes(data)
        pieces += data.encode() if isinstance(data, str) else data
        if len(pieces) > limits.max_message_size:
            return self._fault(1009, f"message of more than {limits.max_message_size} bytes")
        # An empty last fragment only marks the end; some senders always send one.
        if event.frame_finished and (data or not event.message_finished):
            self._fragments += 1
            if self._fragments > limits.max_fragments:
                return self._fault(1009, f"message of more than {limits.max_fragments} fragments")
        if not event.message_finished:
            return None
        whole = bytes(pieces)
        pieces.clear()
        self._fragments = 0
        return whole.decode() if isinstance(event, TextMessage) else whole

    def _end(self, event: CloseConnection) -> ProtocolEvent:
        code, reason = int(event.code), event.reason or ""
        # A parse failure is the same event as the peer's Close, but leaves wsproto's state as it was.
        if self._ws.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            return self._fault(code, reason)
        self._over = True
        return PeerClosed(code, reason)

    def _fault(self, code: int, reason: str) -> PeerFault:
        self._over = True
        self._pieces.clear()
        self._unfed.clear()
        return PeerFault(code, reason)

    # What goes out

    @property
    def can_send(self) -> bool:
        """Whether data frames may still be made."""
        return self._ws.state is ConnectionState.OPEN

    def data_frame(self, payload: bytes, *, text: bool) -> bytes:
        """One whole message; `payload` of a text is valid UTF-8. This is where a frame is made."""
        if text:
            return self._ws.send(TextMessage(data=payload.decode()))
        return self._ws.send(BytesMessage(data=payload))

    def ping_frame(self, payload: bytes) -> bytes:
        """A ping. Never without a body: MMDAgent-EX answers an empty one wrongly."""
        return self._ws.send(Ping(payload=payload))

    def pong_frame(self, payload: bytes) -> bytes:
        """The answer to a ping, or nothing once a Close frame was made or received."""
        return self._ws.send(Pong(payload=payload)) if self.can_send else b""

    def close_frame(self, code: int, reason: str) -> bytes:
        """Our Close frame, which begins or answers a close; empty when it was made already."""
        if self._ws.state not in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            return b""
        if self._empty_close or code == 1005:
            # The enum member, not the number, makes an empty Close.
            return self._ws.send(CloseConnection(code=CloseReason.NO_STATUS_RCVD))
        return self._ws.send(CloseConnection(code=code, reason=reason))


class Inbound:
    """Lines from a connection's messages, echoes marked. Not thread-safe.

    Args:
        cut_text: False hands whole texts on, for a handler with its own ``on_text``.
        cut_binary: likewise for binary messages.
        keep_echoes: False drops echoes here, so that nobody ever sees one.
    """

    __slots__ = ("protocol", "echoes", "_limits", "_lenient", "_cut_text", "_cut_binary",
                 "_keep_echoes", "_lines", "_check_size", "observe")

    def __init__(self, protocol: ServerProtocol, profile: Profile, limits: Limits, *,
                 cut_text: bool = True, cut_binary: bool = True, keep_echoes: bool = True) -> None:
        self.protocol = protocol
        self.echoes = EchoMemory() if profile.echoes else None
        self._limits = limits
        self._lenient = profile.lenient_text
        self._cut_text = cut_text
        self._cut_binary = cut_binary
        self._keep_echoes = keep_echoes
        self._lines: Optional[Iterator[str]] = None
        self._check_size = False
        #: Is shown every line, echoes too.
        self.observe: Optional[Callable[[Message], None]] = None

    def next_item(self) -> Union[Item, Control, None]:
        """The next line or whole message, a control event, or None: more bytes are needed."""
        while True:
            if self._lines is not None:
                line = next(self._lines, None)
                if line is None:
                    self._lines = None
                    continue
                item = self._line(line, check_size=self._check_size)
                if isinstance(item, PeerFault):
                    self._lines = None
                if item is not None:
                    return item
                continue
            event = self.protocol.next_event()
            if isinstance(event, bytes):
                if not self._cut_binary:
                    return event
                text = self._text_of(event)
                if text is None:
                    return PeerFault(1003, "a binary message that is no text")
                event = text
            if not isinstance(event, str):
                return event
            if not self._cut_text:
                return WholeText(event)
            self._begin(event)

    def cut(self, text: str) -> Iterator[Union[Message, PeerFault]]:
        """The lines of a text that a handler was given whole, echoes marked, up to a fault."""
        for line in cut_lines(text):
            item = self._line(line, check_size=True)
            if item is not None:
                yield item
            if isinstance(item, PeerFault):
                return

    def _begin(self, text: str) -> None:
        self._lines = cut_lines(text)
        self._check_size = len(text) * 4 > self._limits.max_line_size

    def _line(self, line: str, *, check_size: bool) -> Union[Message, PeerFault, None]:
        # A text of the user's own may hold what has no UTF-8 form.
        if check_size and len(line.encode("utf-8", "surrogatepass")) > self._limits.max_line_size:
            return PeerFault(1009, f"line of more than {self._limits.max_line_size} bytes")
        is_echo = self.echoes is not None and self.echoes.claim(line)
        message = Message(line, is_echo=is_echo)
        if self.observe is not None:
            self.observe(message)
        return None if is_echo and not self._keep_echoes else message

    def _text_of(self, data: bytes) -> Optional[str]:
        try:
            return data.decode("utf-8", "replace" if self._lenient else "strict")
        except UnicodeDecodeError:
            return None
