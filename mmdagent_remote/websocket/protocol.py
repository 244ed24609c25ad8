"""One WebSocket connection without its socket: bytes in, events out. Pure.

:class:`ServerProtocol` adds to wsproto what wsproto leaves to its user. It joins messages from
their pieces, counts sizes, makes pongs and Close frames, and decides whose fault an error is.
:class:`Inbound` makes lines from its messages.

Events are pulled **one at a time**. Bytes after an event are not parsed before it was handled. So
the echo of one message is on the wire before the Close that answers a fault in the next frame. Only
whole, valid messages may be taken together (:meth:`Inbound.next_items`), up to anything else.

Plain data frames take the fast lane (``fastlane.py``), past wsproto.
"""

from __future__ import annotations

from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple, Optional, Union

from wsproto import WSConnection
from wsproto.connection import Connection, ConnectionState
from wsproto.events import (AcceptConnection, BytesMessage, CloseConnection, Event, Ping, Pong,
                            TextMessage)
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from ..limits import COMPRESSED_STEP, Limits
from ..message import Message
from ..profile import Profile
from . import fastlane
from .deflate import Deflate
from .fastlane import FastLane
from .handshake import Request
from .lines import EchoMemory, cut_lines


class PingReceived(NamedTuple):
    """The peer wants a pong with this body."""

    payload: bytes


class PeerClosed(NamedTuple):
    """The peer sent a Close frame (1005: without a code) and waits for ours."""

    code: int
    reason: str


class PeerFault(NamedTuple):
    """The peer broke the protocol or exceeded a bound; the Close frame to send has this code."""

    code: int
    reason: str


#: What :meth:`ServerProtocol.next_event` returns: whole messages are plain str and bytes.
ProtocolEvent = Union[str, bytes, PingReceived, PeerClosed, PeerFault]
#: What :meth:`Inbound.next_item` returns: an item for the handler (a plain str is a whole text, for
#: a handler with its own ``on_text``), or a control event.
Item = Union[Message, str, bytes]
Control = Union[PingReceived, PeerClosed, PeerFault]


class LenientText(Extension):
    """Replaces invalid UTF-8 in text frames, before wsproto would close for it (1007).

    Never offered or negotiated. wsproto's extension interface is the public place
    where a frame's payload can be seen before it is decoded.
    """

    name = "mmdagent-remote-lenient-text"

    def __init__(self) -> None:
        self._decoder: Optional[IncrementalDecoder] = None
        self._is_control = False

    def enabled(self) -> bool:
        """Always True, since it is not negotiated."""
        return True

    def offer(self) -> bool:
        """Always False, since it is not on the wire."""
        return False

    def frame_inbound_header(self, proto: Union[FrameDecoder, FrameProtocol], opcode: Opcode,
                             rsv: RsvBits, payload_length: int) -> RsvBits:
        """Record the frame's kind; a control frame may come between a text's fragments."""
        self._is_control = opcode.iscontrol()
        if opcode is Opcode.TEXT:
            self._decoder = getincrementaldecoder("utf-8")("replace")
        elif opcode is Opcode.BINARY:
            self._decoder = None
        return RsvBits(False, False, False)

    def frame_inbound_payload_data(
            self, proto: Union[FrameDecoder, FrameProtocol], data: bytes) -> bytes:
        """Repair a piece of text."""
        if self._is_control or self._decoder is None:
            return data
        return self._decoder.decode(data).encode()

    def frame_inbound_complete(
            self, proto: Union[FrameDecoder, FrameProtocol], fin: bool) -> Optional[bytes]:
        """Replace a character that is cut by the end of the message."""
        if self._is_control or self._decoder is None or not fin:
            return None
        return self._decoder.decode(b"", True).encode()


class ServerProtocol:
    """The server's side of one connection after a valid request. Not thread-safe.

    Args:
        fast_lane: False gives every byte to wsproto.
    """

    __slots__ = ("_ws", "_limits", "_lenient", "_events", "_pieces", "_fragments",
                 "_unfed", "_step", "_over", "_empty_close", "_lane", "can_send", "is_dry",
                 "has_pong")

    def __init__(self, ws: Union[WSConnection, Connection], profile: Profile, limits: Limits, *,
                 fast_lane: bool = True) -> None:
        self._ws = ws
        self._limits = limits
        self._empty_close = profile.empty_close
        self._lenient = profile.lenient_text
        self._events: Optional[Iterator[Event]] = None
        self._pieces = bytearray()
        self._fragments = 0
        # Without a lane: bytes that wsproto has not received yet.
        self._unfed: list[bytes] = []
        self._step = 0
        #: Whether the peer has answered a ping, and so has read everything before it.
        self.has_pong = False
        self._over = False
        #: Whether data frames may be made. A copy: asking wsproto takes three calls for each frame.
        self.can_send = ws.state is ConnectionState.OPEN
        #: Whether no event is possible without more bytes. Saves a check before each read.
        self.is_dry = True
        self._lane: Optional[FastLane] = None
        if fast_lane and fastlane.AVAILABLE:
            self._lane = FastLane(limits.max_message_size)

    def accept(self, request: Request, subprotocol: Optional[str], *, compression: bool) -> bytes:
        """Open the connection; returns the bytes of the 101 response."""
        extensions: list[Extension] = []
        if self._lenient:
            # No compression: LenientText would alter compressed bytes. MMDAgent-EX offers none.
            extensions = [LenientText()]
        elif compression:
            extensions = [Deflate()]
        data = self._ws.send(AcceptConnection(subprotocol=subprotocol, extensions=extensions))
        if isinstance(self._ws, WSConnection) and self._ws.handshake.connection is not None:
            # Drops the request's parser, which takes 6 KB for each connection.
            self._ws = self._ws.handshake.connection
        if any(isinstance(each, Deflate) and each.enabled() for each in extensions):
            self._step = COMPRESSED_STEP
            self._lane = None
        self.can_send = True
        return data

    # What comes in

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer; :meth:`next_event` then returns what they mean."""
        if self._over:
            return  # After a fault or a Close, nothing more is parsed (RFC 6455, section 7.1.7).
        self.is_dry = False
        if self._lane is not None:
            self._lane.receive_data(data)
            return
        if not self._step:
            self._unfed.append(data)
            return
        for start in range(0, len(data), self._step):
            self._unfed.append(data[start:start + self._step])

    def messages(self, most: int) -> list[Union[str, bytes]]:
        """Return the next whole, valid messages that are available at once, at most `most`."""
        if self.is_dry or self._lane is None or self._over or self._events is not None:
            return []
        found = self._lane.messages(most)
        self.is_dry = self._lane.is_dry
        return found

    def next_event(self) -> Optional[ProtocolEvent]:
        """Return the peer's next event, or None when more bytes are needed."""
        while not self._over and not self.is_dry:
            if self._events is None:
                messages = self.messages(1)
                if messages:
                    return messages[0]
                data = self._next_unfed()
                if not data:
                    break
                self._ws.receive_data(data)
                self._events = self._ws.events()
            event = next(self._events, None)
            if event is None:
                self._events = None
            elif isinstance(event, (TextMessage, BytesMessage)):
                message = self._add_piece(event)
                if message is not None:
                    return message
            elif isinstance(event, Ping):
                return PingReceived(bytes(event.payload))
            elif isinstance(event, Pong):
                self.has_pong = True
            elif isinstance(event, CloseConnection):
                return self._end(event)
        self.is_dry = True
        return None

    def _next_unfed(self) -> bytes:
        if self._lane is not None:
            return self._lane.rest()
        return self._unfed.pop(0) if self._unfed else b""

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
        # A parse failure gives the same event as the peer's Close, but does not change the state.
        if self._ws.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            return self._fault(code, reason)
        self._over, self.can_send = True, False
        return PeerClosed(code, reason)

    def _fault(self, code: int, reason: str) -> PeerFault:
        self._over = True
        self._pieces.clear()
        self._unfed.clear()
        self._lane = None
        return PeerFault(code, reason)

    # What goes out

    @property
    def has_lane(self) -> bool:
        """Whether frames need not go through wsproto."""
        return self._lane is not None

    def data_frame(self, payload: bytes, *, text: bool) -> bytes:
        """Make the frame of one whole message; the `payload` of a text must be valid UTF-8."""
        if self._lane is not None and self.can_send:
            return fastlane.data_frame(payload, text=text)
        if text:
            return self._ws.send(TextMessage(data=payload.decode()))
        return self._ws.send(BytesMessage(data=payload))

    def ping_frame(self, payload: bytes) -> bytes:
        """Make a ping. Never with an empty payload: MMDAgent-EX answers an empty ping wrongly."""
        return self._ws.send(Ping(payload=payload))

    def pong_frame(self, payload: bytes) -> bytes:
        """Make the answer to a ping; empty once a Close frame was made or received."""
        return self._ws.send(Pong(payload=payload)) if self.can_send else b""

    def close_frame(self, code: int, reason: str) -> bytes:
        """Make our Close frame, which begins or answers a close; empty if it was made before."""
        if self._ws.state not in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            return b""
        self.can_send = False
        if self._lane is not None:
            self._lane.shut()
        if self._empty_close or code == 1005:
            # wsproto makes an empty Close of the enum member, but not of the number.
            return self._ws.send(CloseConnection(code=CloseReason.NO_STATUS_RCVD))
        return self._ws.send(CloseConnection(code=code, reason=reason))


class Inbound:
    """Makes lines from a connection's messages, and marks echoes. Not thread-safe.

    Args:
        cut_text: False passes whole texts on, for a handler with its own ``on_text``.
        cut_binary: likewise for binary messages.
        keep_echoes: False drops echoes here, so that only taps ever see one.
    """

    __slots__ = ("protocol", "echoes", "_limits", "_lenient", "_cut_text", "_cut_binary",
                 "_keep_echoes", "_messages", "_lines", "_check_size", "_sure_size", "taps")

    def __init__(self, protocol: ServerProtocol, profile: Profile, limits: Limits, *,
                 cut_text: bool = True, cut_binary: bool = True, keep_echoes: bool = True) -> None:
        self.protocol = protocol
        self.echoes = EchoMemory() if profile.echoes else None
        self._limits = limits
        self._lenient = profile.lenient_text
        self._cut_text = cut_text
        self._cut_binary = cut_binary
        self._keep_echoes = keep_echoes
        # Whole messages that were taken together, and the rest of the lines of the one before them.
        self._messages: list[Union[str, bytes]] = []
        self._lines: Optional[Iterator[str]] = None
        self._check_size = False
        # A character takes at most four bytes, so a short line need not be encoded to be measured.
        self._sure_size = limits.max_line_size // 4
        #: Functions that are called with each line, echoes included. They are called under the
        #: state lock, so they only append to a bounded collection of their own.
        self.taps: tuple[Callable[[Message], None], ...] = ()

    @property
    def is_dry(self) -> bool:
        """Whether nothing is available without more bytes."""
        return self.protocol.is_dry and self._lines is None and not self._messages

    def next_item(self) -> Union[Item, Control, None]:
        """Return the next line, whole message or control event; None if more bytes are needed."""
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
            event = self._messages.pop(0) if self._messages else self.protocol.next_event()
            if isinstance(event, bytes):
                if not self._cut_binary:
                    return event
                text = self._text_of(event)
                if text is None:
                    return PeerFault(1003, "a binary message that is not text")
                event = text
            if not isinstance(event, str):
                return event
            if not self._cut_text:
                return event
            self._begin(event)

    def next_items(self, most: int) -> list[Item]:
        """Return the next lines and whole messages that are available at once, at most `most`.

        The list ends before the first item that is not so simple; :meth:`next_item` returns that.
        """
        if self._lines is not None:
            return self._next_lines(most)
        messages, self._messages = self._messages or self.protocol.messages(most), []
        cut_text, sure_size, new = self._cut_text, self._sure_size, str.__new__
        is_plain = self.echoes is None and not self.taps
        items: list[Item] = []
        for number, text in enumerate(messages):
            if cut_text and type(text) is str:
                # Nearly every message is one line, with or without a newline.
                line = text[:-1] if text[-1:] == "\n" else text
                if not line or len(line) > sure_size or "\n" in line or "\r" in line:
                    self._messages = messages[number:]
                    break
                if is_plain:
                    # Half the time of Message(line), which is a tenth of a short message's total.
                    message = new(Message, line)
                    message.is_echo = False
                    items.append(message)
                elif (found := self._message(line)) is not None:
                    items.append(found)
            elif type(text) is bytes and self._cut_binary:
                self._messages = messages[number:]
                break
            else:
                items.append(text)
        return items

    def _next_lines(self, most: int) -> list[Item]:
        if self._lines is None or self._check_size:
            return []
        lines = list(islice(self._lines, most))
        if len(lines) < most:
            self._lines = None
        return [item for line in lines if (item := self._message(line)) is not None]

    def cut(self, text: str) -> Iterator[Union[Message, PeerFault]]:
        """Yield the lines of a text that a handler got whole, echoes marked, up to a fault."""
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
        # A text that comes from the user may hold lone surrogates, which have no UTF-8 form.
        if check_size and len(line.encode("utf-8", "surrogatepass")) > self._limits.max_line_size:
            return PeerFault(1009, f"line of more than {self._limits.max_line_size} bytes")
        return self._message(line)

    def _message(self, line: str) -> Optional[Message]:
        is_echo = self.echoes is not None and self.echoes.claim(line)
        message = Message(line, is_echo=is_echo)
        for tap in self.taps:
            tap(message)
        return None if is_echo and not self._keep_echoes else message

    def _text_of(self, data: bytes) -> Optional[str]:
        try:
            return data.decode("utf-8", "replace" if self._lenient else "strict")
        except UnicodeDecodeError:
            return None
