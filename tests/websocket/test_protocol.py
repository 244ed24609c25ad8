"""One WebSocket connection without its socket: bytes in, events out."""

from __future__ import annotations

import ast
import json
import os
import struct
import tracemalloc
import unittest
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection
from wsproto.events import (AcceptConnection, BytesMessage, CloseConnection, Event, Ping, Pong,
                            TextMessage)
from wsproto.events import Request as ClientRequest
from wsproto.extensions import PerMessageDeflate
from wsproto.utilities import LocalProtocolError

from mmdagent_remote.limits import Limits
from mmdagent_remote.message import Message
from mmdagent_remote.profile import MMDAGENT_EX, STRICT, Profile
from mmdagent_remote.websocket.handshake import parse_request
from mmdagent_remote.websocket.protocol import (Inbound, LenientText, PeerClosed, PeerFault,
                                                PingReceived, ServerProtocol)

from ..client import frame_head

DATA = Path(__file__).parent.parent / "data"
HEAD = (b"GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: nLQTUQM3yFumh2d27HB3Kg==\r\n")

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x3a\x00\xff\x81"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0,
          mask: Optional[bytes] = MASK, size: Optional[int] = None) -> bytes:
    """A frame made by hand; `size` gives a false length."""
    size = len(payload) if size is None else size
    head = frame_head(opcode, size, fin=fin, rsv=rsv, mask=bool(mask))
    if mask:
        repeated = (mask * (len(payload) // 4 + 1))[:len(payload)]
        number = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
        return head + mask + number.to_bytes(len(payload), "big")
    return head + payload


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return struct.pack("!H", code) + reason


def opened(profile: Profile = STRICT, limits: Limits = Limits(), *, extensions: bytes = b"",
           compression: bool = False) -> tuple[ServerProtocol, bytes]:
    """An open connection, and the 101 that opened it."""
    more = b"Sec-WebSocket-Extensions: " + extensions + b"\r\n" if extensions else b""
    ws, request = parse_request(HEAD + more + b"\r\n", profile)
    protocol = ServerProtocol(ws, profile, limits)
    return protocol, protocol.accept(request, None, compression=compression)


def protocol_of(profile: Profile = STRICT, **bounds: int) -> ServerProtocol:
    return opened(profile, Limits(**bounds))[0]


def events_of(protocol: ServerProtocol) -> list[Any]:
    """Everything that can be returned now."""
    found = []
    while (event := protocol.next_event()) is not None:
        found.append(event)
    return found


def fed(protocol: ServerProtocol, data: bytes) -> list[Any]:
    protocol.receive_data(data)
    return events_of(protocol)


def pieces_of(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The data, cut at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in zip(places, places[1:])]


def answered(protocol: ServerProtocol, pieces: Iterable[bytes]) -> tuple[list[Any], bytes]:
    """All events, and what an echo server answers to them, one after the other."""
    events, answers = [], b""
    for piece in pieces:
        protocol.receive_data(piece)
        while (event := protocol.next_event()) is not None:
            events.append(event)
            if isinstance(event, str):
                answers += protocol.data_frame(event.encode(), text=True)
            elif isinstance(event, bytes):
                answers += protocol.data_frame(event, text=False)
            elif isinstance(event, PingReceived):
                answers += protocol.pong_frame(event.payload)
            else:
                answers += protocol.close_frame(event.code, event.reason)
    return events, answers


class Client:
    """wsproto's client, as an independent peer."""

    def __init__(self) -> None:
        self._ws = Connection(ConnectionType.CLIENT)

    def send(self, event: Event) -> bytes:
        return bytes(self._ws.send(event))

    def read(self, data: bytes) -> list[Event]:
        self._ws.receive_data(data)
        return list(self._ws.events())


# Scripts of frames, each with the events that it means.

class Said(NamedTuple):
    """Frames, and the events that they must become."""

    data: bytes
    events: list[Any]


@st.composite
def messages(draw: st.DrawFn) -> Said:
    """A message in some fragments, with control frames between them."""
    is_text = draw(st.booleans())
    body: Union[str, bytes] = draw(st.text(max_size=40) if is_text else st.binary(max_size=150))
    payload = body.encode() if isinstance(body, str) else body
    parts = pieces_of(payload, draw(st.lists(st.integers(0, 200), max_size=3))) or [b""]
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), b"")
    data, events, opcode = b"", [], TEXT if is_text else BINARY
    for number, part in enumerate(parts):
        data += frame(opcode, part, fin=number == len(parts) - 1,
                      mask=draw(st.binary(min_size=4, max_size=4)))
        opcode = CONTINUATION
        if number < len(parts) - 1 and draw(st.booleans()):
            said = draw(controls())
            data += said.data
            events += said.events
    return Said(data, [*events, body])


@st.composite
def controls(draw: st.DrawFn) -> Said:
    """A ping or a pong."""
    body = draw(st.binary(max_size=125))
    if draw(st.booleans()):
        return Said(frame(PING, body), [PingReceived(body)])
    return Said(frame(PONG, body), [])


ENDS = st.sampled_from([
    Said(b"", []),
    Said(frame(CLOSE), [PeerClosed(1005, "")]),
    Said(frame(CLOSE, close_payload(1000, b"bye")) + b"\xff" * 9, [PeerClosed(1000, "bye")]),
    Said(frame(CLOSE, close_payload(4000)) + frame(TEXT, b"late"), [PeerClosed(4000, "")]),
    Said(frame(3), [PeerFault(1002, "")]),
    Said(frame(CONTINUATION, b"x") + frame(TEXT, b"late"), [PeerFault(1002, "")]),
    Said(frame(TEXT, b"x", mask=None), [PeerFault(1002, "")]),
    Said(frame(TEXT, b"\xff"), [PeerFault(1007, "")]),
    Said(frame(CLOSE, b"\x03"), [PeerFault(1002, "")]),
])
SCRIPTS = st.lists(st.one_of(messages(), controls()), max_size=5)
CUTS = st.lists(st.integers(0, 5000), max_size=8)


def without_reasons(events: list[Any]) -> list[Any]:
    """Drop the reasons of faults, which may differ; code and place may not."""
    return [PeerFault(event.code, "") if isinstance(event, PeerFault) else event for event in events]


class CutAnywhereTest(unittest.TestCase):
    """The same bytes, however they arrive."""

    @settings(deadline=None, max_examples=150)
    @given(SCRIPTS, ENDS, CUTS)
    def test_events_and_answers(self, script: list[Said], end: Said, cuts: list[int]) -> None:
        """Whole, byte by byte or cut anywhere, bytes give the same events and answers, in order."""
        data = b"".join(said.data for said in [*script, end])
        wanted = [event for said in [*script, end] for event in said.events]
        whole, answer = answered(protocol_of(), [data])
        self.assertEqual(without_reasons(whole), wanted)
        for pieces in ([data[i:i + 1] for i in range(len(data))], pieces_of(data, cuts)):
            events, other = answered(protocol_of(), pieces)
            self.assertEqual(without_reasons(events), wanted)
            if not (wanted and isinstance(wanted[-1], PeerFault)):
                self.assertEqual((events, other), (whole, answer))

    @settings(deadline=None, max_examples=100)
    @given(SCRIPTS, ENDS)
    def test_the_answers_are_understood(self, script: list[Said], end: Said) -> None:
        """An independent client reads each answer as what it is."""
        data = b"".join(said.data for said in [*script, end])
        events, answer = answered(protocol_of(), [data])
        found: list[Any] = []
        for event in Client().read(answer):
            if isinstance(event, (TextMessage, BytesMessage)):
                self.assertTrue(event.message_finished)
                found.append(event.data)
            elif isinstance(event, Pong):
                found.append(PingReceived(bytes(event.payload)))
            else:
                self.assertIsInstance(event, CloseConnection)
                found.append(int(event.code))  # type: ignore[attr-defined]
        self.assertEqual(found, [event.code if isinstance(event, (PeerClosed, PeerFault)) else event
                                 for event in events])

    @settings(deadline=None, max_examples=150)
    @given(st.one_of(st.binary(max_size=80), st.lists(st.builds(
        frame, st.integers(0, 15), st.binary(max_size=10), fin=st.booleans(), rsv=st.integers(0, 7),
        mask=st.sampled_from([MASK, MASK, MASK, None]), size=st.sampled_from([None, None, 1, 130]))).map(
            b"".join)), st.sampled_from([STRICT, MMDAGENT_EX]))
    def test_noise(self, data: bytes, profile: Profile) -> None:
        """Noise gives events and at most one end, never an exception, however it is cut."""
        whole, _ = answered(protocol_of(profile), [data])
        single, _ = answered(protocol_of(profile), [data[i:i + 1] for i in range(len(data))])
        self.assertEqual(without_reasons(single), without_reasons(whole))
        ends = [event for event in whole if isinstance(event, (PeerClosed, PeerFault))]
        self.assertEqual(ends, whole[-1:] if ends else [])
        for end in ends:
            self.assertIn(end.code, {*range(1000, 1015), *range(3000, 5000)})

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.one_of(
        st.text(max_size=40).map(lambda text: TextMessage(data=text)),
        st.binary(max_size=300).map(lambda data: BytesMessage(data=data)),
        st.binary(max_size=125).map(lambda body: Ping(payload=body))), max_size=8), CUTS)
    def test_a_wsproto_client(self, sent: list[Any], cuts: list[int]) -> None:
        """What a wsproto client sends arrives as it was sent."""
        client = Client()
        data = b"".join(client.send(event) for event in sent)
        events, _ = answered(protocol_of(), pieces_of(data, cuts))
        self.assertEqual(events, [PingReceived(event.payload) if isinstance(event, Ping) else event.data
                                  for event in sent])


class MessageTest(unittest.TestCase):
    """Whole messages."""

    def test_kinds(self) -> None:
        """A text is a plain str, and a binary message is plain bytes."""
        events = fed(protocol_of(), frame(TEXT, "\u3042".encode()) + frame(BINARY, b"\0\xff"))
        self.assertEqual(events, ["\u3042", b"\0\xff"])
        self.assertEqual([type(event) for event in events], [str, bytes])

    def test_empty_messages(self) -> None:
        """An empty message is a message, even in fragments."""
        data = (frame(TEXT) + frame(BINARY) + frame(TEXT, fin=False) + frame(CONTINUATION)
                + frame(BINARY, fin=False) + frame(CONTINUATION, fin=False) + frame(CONTINUATION))
        self.assertEqual(fed(protocol_of(), data), ["", b"", "", b""])

    def test_a_ping_between_fragments(self) -> None:
        """A ping between fragments comes before the message, which stays whole."""
        data = (frame(TEXT, b"\xe3\x81", fin=False) + frame(PING, b"p")
                + frame(CONTINUATION, b"\x82|", fin=False) + frame(PONG) + frame(CONTINUATION, b"b"))
        for profile in (STRICT, MMDAGENT_EX):
            with self.subTest(profile.name):
                self.assertEqual(fed(protocol_of(profile), data), [PingReceived(b"p"), "\u3042|b"])

    def test_a_close_between_fragments(self) -> None:
        """A Close between fragments ends the connection, and the incomplete message is dropped."""
        data = frame(TEXT, b"half", fin=False) + frame(CLOSE, close_payload(1001))
        self.assertEqual(fed(protocol_of(), data), [PeerClosed(1001, "")])

    def test_the_protocol(self) -> None:
        """What RFC 6455 forbids is a fault with 1002, and nothing after it is decoded."""
        cases = {
            "reserved opcode": frame(3),
            "reserved control opcode": frame(11),
            "reserved bit": frame(TEXT, b"x", rsv=4),
            "reserved bits of a ping": frame(PING, b"x", rsv=7),
            "no mask": frame(TEXT, b"x", mask=None),
            "continuation of nothing": frame(CONTINUATION, b"x"),
            "text within a message": frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"),
            "fragmented ping": frame(PING, b"x", fin=False),
            "long ping": frame(PING, b"x" * 126),
            "wasteful length": b"\x81\xfe\x00\x05" + MASK,
            "very wasteful length": b"\x81\xff" + struct.pack("!Q", 65535) + MASK,
            "negative length": b"\x81\xff" + struct.pack("!Q", 1 << 63) + MASK,
        }
        for what, data in cases.items():
            for profile in (STRICT, MMDAGENT_EX):
                with self.subTest(what, profile=profile.name):
                    protocol = protocol_of(profile)
                    (event,) = fed(protocol, data + frame(TEXT, b"late"))
                    self.assertIsInstance(event, PeerFault)
                    self.assertEqual(event.code, 1002)
                    self.assertTrue(event.reason)
                    self.assertEqual(fed(protocol, frame(TEXT, b"later")), [])

    def test_a_frame_of_exabytes(self) -> None:
        """An absurd length reserves no memory; the frame ends at the bound on a message."""
        protocol = protocol_of(max_message_size=1000)
        self.assertEqual(fed(protocol, frame(TEXT, b"x" * 1000, size=1 << 62)), [])
        (event,) = fed(protocol, b"x")
        self.assertEqual(event.code, 1009)


class OrderTest(unittest.TestCase):
    """Events come one at a time."""

    def test_what_lies_behind_is_not_looked_at(self) -> None:
        """The Close after a message is not decoded before its answer, so the answer may leave."""
        protocol = protocol_of()
        protocol.receive_data(frame(TEXT, b"A") + frame(CLOSE, close_payload(1000)))
        self.assertEqual(protocol.next_event(), "A")
        self.assertTrue(protocol.can_send)
        self.assertEqual(protocol.data_frame(b"A", text=True), b"\x81\x01A")
        self.assertEqual(protocol.next_event(), PeerClosed(1000, ""))
        self.assertFalse(protocol.can_send)
        self.assertIsNone(protocol.next_event())

    def test_a_fault_behind_a_message(self) -> None:
        """A message and a ping before a fault are answered before the Close that it causes."""
        protocol = protocol_of()
        events, answer = answered(protocol, [frame(TEXT, b"A") + frame(PING, b"p") + frame(3)])
        self.assertEqual(events[:2], ["A", PingReceived(b"p")])
        self.assertTrue(answer.startswith(b"\x81\x01A\x8a\x01p\x88"))
        self.assertEqual(answer[8:10], struct.pack("!H", 1002))

    def test_more_bytes_between_events(self) -> None:
        """Bytes that come while events are pending are decoded after them."""
        protocol = protocol_of()
        protocol.receive_data(frame(TEXT, b"1") + frame(TEXT, b"2"))
        self.assertEqual(protocol.next_event(), "1")
        protocol.receive_data(frame(TEXT, b"3")[:3])
        self.assertEqual(protocol.next_event(), "2")
        self.assertIsNone(protocol.next_event())
        self.assertEqual(fed(protocol, frame(TEXT, b"3")[3:]), ["3"])

    def test_bytes_right_behind_the_request(self) -> None:
        """Bytes that came with the request are the first of the connection."""
        protocol, _ = opened()
        self.assertEqual(fed(protocol, frame(TEXT, b"early")), ["early"])


class CloseTest(unittest.TestCase):
    """The end, from either side."""

    def test_the_peers_close(self) -> None:
        """A Close is reported with its code and reason, and answered with the same code."""
        for payload, code, reason in (
                (close_payload(1000), 1000, ""), (close_payload(1001, b"bye"), 1001, "bye"),
                (close_payload(3000), 3000, ""),
                (close_payload(4999, "\u3042".encode()), 4999, "\u3042"),
                (close_payload(1011, b"x" * 123), 1011, "x" * 123)):
            with self.subTest(code):
                protocol = protocol_of()
                (event,) = fed(protocol, frame(CLOSE, payload))
                self.assertEqual(event, PeerClosed(code, reason))
                self.assertIs(type(event.code), int)
                self.assertEqual(protocol.close_frame(*event), frame(CLOSE, payload, mask=None))
                self.assertEqual(protocol.close_frame(*event), b"")

    def test_an_empty_close(self) -> None:
        """A Close without a code is 1005, and is answered with an empty one."""
        protocol = protocol_of()
        self.assertEqual(fed(protocol, frame(CLOSE)), [PeerClosed(1005, "")])
        self.assertEqual(protocol.close_frame(1005, ""), b"\x88\x00")

    def test_a_bad_close(self) -> None:
        """A Close that the RFC forbids is a fault, so our own Close can still be sent."""
        for payload, code in ((b"\x03", 1002), (close_payload(999), 1002), (close_payload(1004), 1002),
                              (close_payload(1005), 1002), (close_payload(1006), 1002),
                              (close_payload(1015), 1002), (close_payload(2999), 1002),
                              (close_payload(5000), 1002), (close_payload(1000, b"\xff"), 1007)):
            with self.subTest(payload):
                protocol = protocol_of()
                (event,) = fed(protocol, frame(CLOSE, payload))
                self.assertIsInstance(event, PeerFault)
                self.assertEqual(event.code, code)
                self.assertTrue(protocol.can_send)
                answer = protocol.close_frame(event.code, event.reason)
                self.assertEqual((answer[:1], answer[2:4]), (b"\x88", struct.pack("!H", code)))
                self.assertFalse(protocol.can_send)

    def test_our_close(self) -> None:
        """Our Close is made once; after it no pong is made, and data raises."""
        protocol = protocol_of()
        self.assertEqual(protocol.close_frame(1000, "bye"), b"\x88\x05\x03\xe8bye")
        self.assertEqual(protocol.close_frame(1001, ""), b"")
        self.assertFalse(protocol.can_send)
        self.assertEqual(protocol.pong_frame(b"p"), b"")
        with self.assertRaises(LocalProtocolError):
            protocol.data_frame(b"A", text=True)

    def test_lines_before_the_peers_answer(self) -> None:
        """What the peer sent before it saw our Close is reported, then its Close."""
        protocol = protocol_of()
        protocol.close_frame(1000, "")
        data = frame(TEXT, b"A") + frame(PING, b"p") + frame(CLOSE, close_payload(1000))
        self.assertEqual(fed(protocol, data), ["A", PingReceived(b"p"), PeerClosed(1000, "")])
        self.assertEqual(protocol.close_frame(1000, ""), b"")

    def test_a_fault_after_our_close(self) -> None:
        """Garbage after our Close is a fault, since the peer sent no Close."""
        protocol = protocol_of()
        protocol.close_frame(1000, "")
        (event,) = fed(protocol, frame(3))
        self.assertIsInstance(event, PeerFault)

    def test_bytes_after_the_end(self) -> None:
        """Bytes after both Closes are ignored without an error."""
        for first in (True, False):
            protocol = protocol_of()
            if first:
                protocol.close_frame(1000, "")
            fed(protocol, frame(CLOSE))
            protocol.close_frame(1005, "")
            self.assertEqual(fed(protocol, frame(TEXT, b"late")), [])

    def test_a_long_reason_is_cut(self) -> None:
        """A reason is cut to what a Close can hold, between characters."""
        for reason in ("x" * 200, "\u3042" * 60):
            (event,) = Client().read(protocol_of().close_frame(1002, reason))
            self.assertTrue(event.reason)  # type: ignore[attr-defined]
            self.assertTrue(reason.startswith(event.reason))  # type: ignore[attr-defined]

    def test_codes_that_are_never_sent(self) -> None:
        """1006 and 1015 never appear on the wire."""
        for code in (1006, 1015):
            (event,) = Client().read(protocol_of().close_frame(code, ""))
            self.assertEqual(event.code, 1000)  # type: ignore[attr-defined]

    def test_mmdagent_gets_empty_closes(self) -> None:
        """To MMDAgent-EX every Close is empty, whatever its reason and whichever side began."""
        for code in (1000, 1002, 1005, 1009, 1011, 4000):
            with self.subTest(code):
                self.assertEqual(protocol_of(MMDAGENT_EX).close_frame(code, "x"), b"\x88\x00")
        protocol = protocol_of(MMDAGENT_EX)
        (event,) = fed(protocol, frame(CLOSE, close_payload(1000, b"bye")))
        self.assertEqual(event, PeerClosed(1000, "bye"))
        self.assertEqual(protocol.close_frame(*event), b"\x88\x00")


class OutgoingTest(unittest.TestCase):
    """Outgoing frames."""

    def test_data_frames(self) -> None:
        """A message is one whole unmasked frame, with the shortest form of its length."""
        for size in (0, 1, 125, 126, 65535, 65536):
            for text, opcode in ((True, TEXT), (False, BINARY)):
                with self.subTest(size, text=text):
                    self.assertEqual(protocol_of().data_frame(b"x" * size, text=text),
                                     frame(opcode, b"x" * size, mask=None))

    def test_pings_and_pongs(self) -> None:
        """A ping and a pong carry their body."""
        protocol = protocol_of()
        self.assertEqual(protocol.ping_frame(b"p"), b"\x89\x01p")
        self.assertEqual(protocol.pong_frame(b"q" * 125), b"\x8a\x7d" + b"q" * 125)

    def test_no_pong_after_the_peers_close(self) -> None:
        """After the peer's Close, only the answer to it is made, no pong."""
        protocol = protocol_of()
        fed(protocol, frame(CLOSE))
        self.assertEqual(protocol.pong_frame(b"p"), b"")


class BoundsTest(unittest.TestCase):
    """Each bound n, at n - 1, n and n + 1."""

    def test_message_size(self) -> None:
        """A message of 999 or 1000 bytes is accepted, one of 1001 is a fault with 1009."""
        for size in (999, 1000, 1001):
            for opcode, payload in ((TEXT, b"x" * size), (BINARY, b"\xff" * size),
                                    (TEXT, b"x" * (size % 3) + "\u3042".encode() * (size // 3))):
                for step in (size + 20, 7, 1):
                    with self.subTest(size, opcode=opcode, step=step):
                        data = frame(opcode, payload)
                        events, _ = answered(protocol_of(max_message_size=1000), [
                            data[i:i + step] for i in range(0, len(data), step)])
                        if size <= 1000:
                            self.assertEqual(events, [payload.decode() if opcode == TEXT else payload])
                        else:
                            self.assertEqual(without_reasons(events), [PeerFault(1009, "")])

    def test_message_size_over_fragments(self) -> None:
        """The bound is on the sum of all fragments, separately for each message."""
        for last in (499, 500, 501):
            data = frame(BINARY, b"x" * 500, fin=False) + frame(CONTINUATION, b"y" * last)
            with self.subTest(last):
                events = fed(protocol_of(max_message_size=1000), data * 2)
                if last <= 500:
                    self.assertEqual(events, [b"x" * 500 + b"y" * last] * 2)
                else:
                    self.assertEqual(without_reasons(events), [PeerFault(1009, "")])

    def test_a_fault_keeps_nothing(self) -> None:
        """After 1009 neither the rest of that message nor the next is reported."""
        protocol = protocol_of(max_message_size=10)
        self.assertEqual(len(fed(protocol, frame(TEXT, b"x" * 11, fin=False))), 1)
        self.assertEqual(fed(protocol, frame(CONTINUATION, b"x") + frame(TEXT, b"A")), [])

    def test_fragments(self) -> None:
        """4 or 5 fragments are accepted, 6 are 1009; an empty last fragment does not count."""
        for count in (4, 5, 6, 7):
            for payload in (b"x", b""):
                data = frame(TEXT, payload, fin=False)
                data += frame(CONTINUATION, payload, fin=False) * (count - 2)
                data += frame(CONTINUATION, payload)
                for pieces in ([data * 2], [bytes([byte]) for byte in data * 2]):
                    with self.subTest(count, payload=payload):
                        events, _ = answered(protocol_of(max_fragments=5), pieces)
                        if count - (not payload) <= 5:
                            self.assertEqual(events, [payload.decode() * count] * 2)
                        else:
                            self.assertEqual(without_reasons(events), [PeerFault(1009, "")])

    def test_one_fragment(self) -> None:
        """With one fragment allowed, a message in one frame is accepted, however it arrives."""
        data = frame(BINARY, b"x" * 30)
        events, _ = answered(protocol_of(max_fragments=1), [bytes([byte]) for byte in data * 3])
        self.assertEqual(events, [b"x" * 30] * 3)
        two = frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x")
        (event,) = fed(protocol_of(max_fragments=1), two)
        self.assertEqual(event.code, 1009)

    def test_endless_fragments(self) -> None:
        """A message of endless fragments is refused at the default bound."""
        protocol = protocol_of()
        data = frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 4095
        self.assertEqual(fed(protocol, data), [])
        (event,) = fed(protocol, frame(CONTINUATION, fin=False))
        self.assertEqual(event.code, 1009)

    def test_line_size(self) -> None:
        """A line of 99 or 100 bytes is accepted; 101 is a fault with 1009, after earlier lines."""
        for line in ("x" * 99, "x" * 100, "x" * 101, "\u3042" * 33, "\u3042" * 33 + "x",
                     "\u3042" * 33 + "xx"):
            limits = Limits(max_line_size=100)
            inbound = Inbound(protocol_of(max_line_size=100), STRICT, limits)
            inbound.protocol.receive_data(frame(TEXT, f"A\n{line}\nB\n".encode()))
            with self.subTest(len(line.encode())):
                self.assertEqual(inbound.next_item(), "A")
                if len(line.encode()) <= 100:
                    self.assertEqual(items_of(inbound), [line, "B"])
                else:
                    event = inbound.next_item()
                    self.assertIsInstance(event, PeerFault)
                    self.assertEqual(event.code, 1009)  # type: ignore[union-attr]

    def test_many_short_lines(self) -> None:
        """The bound is on each line, not on a message of many lines."""
        limits = Limits(max_line_size=5)
        inbound = Inbound(protocol_of(), STRICT, limits)
        inbound.protocol.receive_data(frame(TEXT, b"12345\n" * 1000))
        self.assertEqual(items_of(inbound), ["12345"] * 1000)


class LenientTest(unittest.TestCase):
    """Text that is not UTF-8."""

    def test_strict_ends(self) -> None:
        """From a strict peer, text that is not UTF-8 is at once a fault with 1007."""
        for data in (frame(TEXT, b"\xff"), frame(TEXT, b"\xe3\x81"), frame(TEXT, b"\xed\xa0\x80"),
                     frame(TEXT, b"\xc0\x80"), frame(TEXT, b"ab\xff", size=1000),
                     frame(TEXT, b"\xff", fin=False)):
            with self.subTest(data):
                self.assertEqual(without_reasons(fed(protocol_of(), data)), [PeerFault(1007, "")])

    @settings(deadline=None, max_examples=150)
    @given(st.lists(st.one_of(st.binary(max_size=6), st.sampled_from(
        [b"\xe3\x81\x82", b"\xe3\x81", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\n", b"\xff"])), max_size=8),
        CUTS, CUTS)
    def test_mmdagent_goes_on(self, parts: list[bytes], fragments: list[int], cuts: list[int]) -> None:
        """From MMDAgent-EX it is mended, in the same way however it is fragmented and cut."""
        payload = b"".join(parts)
        bodies = pieces_of(payload, fragments) or [b""]
        data = b"".join(
            frame(TEXT if number == 0 else CONTINUATION, body, fin=number == len(bodies) - 1)
            + (frame(PING, b"\xff") if number % 2 else b"") for number, body in enumerate(bodies))
        wanted = payload.decode("utf-8", "replace")
        for pieces in ([data], [bytes([byte]) for byte in data], pieces_of(data, cuts)):
            events, _ = answered(protocol_of(MMDAGENT_EX), [*pieces, frame(TEXT, b"next")])
            self.assertEqual([event for event in events if isinstance(event, str)], [wanted, "next"])
            self.assertEqual({event for event in events if not isinstance(event, str)},
                             {PingReceived(b"\xff")} if len(bodies) > 1 else set())

    def test_binary_is_left_alone(self) -> None:
        """Only text is mended, not binary messages."""
        data = frame(TEXT, b"\xff") + frame(BINARY, b"\xff\xe3\x81") + frame(PING, b"\xff")
        self.assertEqual(fed(protocol_of(MMDAGENT_EX), data),
                         ["\ufffd", b"\xff\xe3\x81", PingReceived(b"\xff")])

    def test_the_recorded_cut_echo(self) -> None:
        """The recorded echo, cut inside a character, is one line, its half character replaced."""
        payload = bytes.fromhex((DATA / "cut-echo.hex").read_text("ascii").strip())
        self.assertEqual(len(payload), 2047)
        wanted = payload.decode("utf-8", "ignore") + "\ufffd"
        data = frame(TEXT, payload)
        for pieces in ([data], [bytes([byte]) for byte in data]):
            self.assertEqual(lines_of(MMDAGENT_EX, pieces), [wanted])
        self.assertEqual(without_reasons(fed(protocol_of(), data)), [PeerFault(1007, "")])

    def test_it_is_not_on_the_wire(self) -> None:
        """The mending is not offered, nor accepted if a client asks for its extension by name."""
        self.assertFalse(LenientText().offer())
        _, answer = opened(MMDAGENT_EX, extensions=LenientText.name.encode(), compression=True)
        self.assertNotIn(b"extensions", answer.lower())


def deflated(data: bytes) -> bytes:
    """The payload of a compressed message."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


class CompressionTest(unittest.TestCase):
    """permessage-deflate, which is off unless asked for."""

    def test_off(self) -> None:
        """Unless it is switched on, an offer is declined, and a compressed frame is a fault."""
        protocol, answer = opened(extensions=b"permessage-deflate")
        self.assertNotIn(b"permessage-deflate", answer)
        (event,) = fed(protocol, frame(TEXT, deflated(b"A"), rsv=4))
        self.assertEqual(event.code, 1002)

    def test_not_offered(self) -> None:
        """Nothing is compressed for a client that did not offer it."""
        protocol, answer = opened(compression=True)
        self.assertNotIn(b"Extensions", answer)
        self.assertEqual(protocol.data_frame(b"A" * 50, text=True), frame(TEXT, b"A" * 50, mask=None))

    def test_both_ways(self) -> None:
        """With a wsproto client that offers it, messages of any kind go both ways."""
        client = WSConnection(ConnectionType.CLIENT)
        head = client.send(ClientRequest(host="a", target="/", extensions=[PerMessageDeflate()]))
        ws, request = parse_request(head, None)
        protocol = ServerProtocol(ws, STRICT, Limits())
        client.receive_data(protocol.accept(request, None, compression=True))
        (event,) = client.events()
        self.assertIsInstance(event, AcceptConnection)
        noise = os.urandom(3000).hex()
        texts = ["", "A", "\u3042" * 2000, noise, noise, "x" * 100_000]
        data = b"".join(client.send(TextMessage(data=text)) for text in texts)
        self.assertLess(len(data), sum(map(len, texts)) / 2)
        for pieces in ([data[:1000], data[1000:]],):
            events, answer = answered(protocol, pieces)
            self.assertEqual(events, texts)
        client.receive_data(answer)
        found, part = [], ""
        for event in client.events():
            assert isinstance(event, TextMessage)
            part += event.data
            if event.message_finished:
                found.append(part)
                part = ""
        self.assertEqual(found, texts)

    def test_byte_by_byte(self) -> None:
        """A compressed message in fragments is the same however its bytes arrive."""
        packed = deflated(b"hello world " * 20)
        data = (frame(TEXT, packed[:5], fin=False, rsv=4) + frame(CONTINUATION, packed[5:])
                + frame(PING, b"p") + frame(TEXT, b"plain"))
        for pieces in ([data], [bytes([byte]) for byte in data]):
            protocol, _ = opened(extensions=b"permessage-deflate", compression=True)
            events, _ = answered(protocol, pieces)
            self.assertEqual(events, ["hello world " * 20, PingReceived(b"p"), "plain"])

    # wsproto's own extension forgets at a control frame that the message around it is compressed;
    # it would take the rest of the message for plain text (1007).
    def test_a_ping_between_compressed_fragments(self) -> None:
        """A ping between the fragments of a compressed message does not disturb it."""
        packed = deflated(b"hello world " * 20)
        data = (frame(TEXT, packed[:5], fin=False, rsv=4) + frame(PING, b"p")
                + frame(CONTINUATION, packed[5:]))
        protocol, _ = opened(extensions=b"permessage-deflate", compression=True)
        self.assertEqual(fed(protocol, data), [PingReceived(b"p"), "hello world " * 20])

    def test_a_malformed_offer_is_declined(self) -> None:
        """A malformed offer is declined, and the client connects without compression."""
        for offer in (b"permessage-deflate; client_max_window_bits=abc",
                      b"permessage-deflate; server_max_window_bits=",
                      b"permessage-deflate; server_max_window_bits=16",
                      b"permessage-deflate; client_max_window_bits=7",
                      b"permessage-deflate; client_max_window_bits=-15",
                      b"permessage-deflated", b"x-webkit-deflate-frame", b";", b",,", b"="):
            with self.subTest(offer):
                protocol, answer = opened(extensions=offer, compression=True)
                self.assertTrue(answer.startswith(b"HTTP/1.1 101 "))
                self.assertNotIn(b"Extensions", answer)
                self.assertEqual(fed(protocol, frame(TEXT, b"A")), ["A"])
                self.assertEqual(protocol.data_frame(b"A", text=True), b"\x81\x01A")

    def test_an_unknown_parameter_is_declined(self) -> None:
        """An offer with a parameter that the RFC does not define must be declined."""
        for offer in (b"permessage-deflate; unknown=1",
                      b"permessage-deflate; client_no_context_takeover=7"):
            with self.subTest(offer):
                self.assertNotIn(b"Extensions", opened(extensions=offer, compression=True)[1])

    def test_a_declined_offer_changes_nothing(self) -> None:
        """When the second of two offers is accepted, the first has no effect."""
        text = (os.urandom(1500).hex() * 2).encode()
        protocol, answer = opened(extensions=(
            b"permessage-deflate; client_max_window_bits=9; server_max_window_bits=99, "
            b"permessage-deflate"), compression=True)
        self.assertIn(b"Extensions: permessage-deflate\r\n", answer)
        self.assertEqual(fed(protocol, frame(TEXT, deflated(text), rsv=4)), [text.decode()])

    def test_compressed_text_from_a_lenient_peer(self) -> None:
        """A forced MMDAGENT_EX profile and compression work together."""
        text = "\u3042\u3044\u3046|ABC" * 3
        protocol, answer = opened(MMDAGENT_EX, extensions=b"permessage-deflate", compression=True)
        packed = text.encode()
        if b"permessage-deflate" in answer:
            packed = deflated(packed)
            self.assertEqual(fed(protocol, frame(TEXT, packed, rsv=4)), [text])
        else:
            self.assertEqual(fed(protocol, frame(TEXT, packed)), [text])

    def test_broken_data(self) -> None:
        """Invalid compressed data is a fault with 1007."""
        protocol, _ = opened(extensions=b"permessage-deflate", compression=True)
        self.assertEqual(without_reasons(fed(protocol, frame(TEXT, b"\xff" * 20, rsv=4))),
                         [PeerFault(1007, "")])

    def bomb_peak(self, pieces: list[bytes], limits: Limits = Limits()) -> tuple[list[Any], int]:
        """The events, and the peak of memory, not counting the pieces."""
        protocol, _ = opened(STRICT, limits, extensions=b"permessage-deflate", compression=True)
        tracemalloc.start()
        try:
            events, _ = answered(protocol, pieces)
            return events, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def test_a_bomb(self) -> None:
        """A message that grows to 64 MB is 1009, and takes only the memory of a few steps."""
        data = frame(TEXT, deflated(b"a" * 64_000_000), rsv=4)
        self.assertLess(len(data), 70_000)
        for step in (len(data), 4096):
            with self.subTest(step):
                events, peak = self.bomb_peak([data[i:i + step] for i in range(0, len(data), step)])
                self.assertEqual(without_reasons(events), [PeerFault(1009, "")])
                self.assertLess(peak, 6_000_000)

    def test_the_bound_counts_what_was_decompressed(self) -> None:
        """The bound counts decompressed bytes: 1000 are accepted, 1001 are 1009."""
        for size in (999, 1000, 1001):
            events, _ = self.bomb_peak([frame(TEXT, deflated(b"a" * size), rsv=4)],
                                       Limits(max_message_size=1000))
            with self.subTest(size):
                self.assertEqual(without_reasons(events),
                                 ["a" * size] if size <= 1000 else [PeerFault(1009, "")])

    # wsproto's own extension collects bytes after a final block in `unused_data`, copied at each
    # step: unbounded memory and quadratic time, since none of these bytes counts to the bound.
    def test_data_behind_a_final_block(self) -> None:
        """Bytes after a final deflate block, in an endless frame, are not collected for ever."""
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        final = compressor.compress(b"Hello") + compressor.flush(zlib.Z_FINISH)
        pieces = [frame(TEXT, final, rsv=4, size=1 << 40), *[bytes(16384)] * 60]
        _, peak = self.bomb_peak(pieces, Limits(max_message_size=1000))
        self.assertLess(peak, 300_000)

    def test_messages_after_a_final_block(self) -> None:
        """A message may end with a final block (RFC 7692, section 7.2.3.4); others may follow."""
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        final = compressor.compress(b"Hello") + compressor.flush(zlib.Z_FINISH) + b"\0"
        protocol, _ = opened(extensions=b"permessage-deflate", compression=True)
        data = frame(TEXT, final, rsv=4) * 2 + frame(TEXT, deflated(b"next"), rsv=4)
        self.assertEqual(fed(protocol, data), ["Hello", "Hello", "next"])


def items_of(inbound: Inbound) -> list[Any]:
    """Everything that can be returned now."""
    found = []
    while (item := inbound.next_item()) is not None:
        found.append(item)
    return found


def inbound_of(profile: Profile = STRICT, **options: bool) -> Inbound:
    return Inbound(protocol_of(profile), profile, Limits(), **options)


def lines_of(profile: Profile, pieces: Iterable[bytes]) -> list[Any]:
    inbound, found = inbound_of(profile), []
    for piece in pieces:
        inbound.protocol.receive_data(piece)
        found += items_of(inbound)
    return found


class InboundTest(unittest.TestCase):
    """Lines from messages."""

    def test_lines(self) -> None:
        """A text message becomes its lines, each a Message; its end ends a line."""
        inbound = inbound_of()
        inbound.protocol.receive_data(frame(TEXT, b"A|b\nB\r\n\r\nC") + frame(TEXT, b"D\n"))
        items = items_of(inbound)
        self.assertEqual(items, ["A|b", "B", "C", "D"])
        self.assertEqual({type(item) for item in items}, {Message})

    def test_nothing_but_newlines(self) -> None:
        """A message without any line gives nothing."""
        inbound = inbound_of()
        inbound.protocol.receive_data(frame(TEXT) + frame(TEXT, b"\n" * 1000) + frame(TEXT, b"A"))
        self.assertEqual(items_of(inbound), ["A"])

    def test_controls_between(self) -> None:
        """Pings and the end come between the lines where the peer sent them."""
        inbound = inbound_of()
        inbound.protocol.receive_data(
            frame(TEXT, b"A\nB\n") + frame(PING, b"p") + frame(TEXT, b"C\n") + frame(CLOSE))
        self.assertEqual(items_of(inbound),
                         ["A", "B", PingReceived(b"p"), "C", PeerClosed(1005, "")])

    def test_a_line_at_a_time(self) -> None:
        """Until all lines of a message are returned, the Close after it is not decoded."""
        inbound = inbound_of()
        inbound.protocol.receive_data(frame(TEXT, b"A\nB\n") + frame(CLOSE))
        self.assertEqual((inbound.next_item(), inbound.next_item()), ("A", "B"))
        self.assertTrue(inbound.protocol.can_send)
        self.assertEqual(inbound.next_item(), PeerClosed(1005, ""))
        self.assertFalse(inbound.protocol.can_send)

    def test_binary_as_text(self) -> None:
        """A binary message of UTF-8 is cut into lines like a text."""
        inbound = inbound_of()
        inbound.protocol.receive_data(frame(BINARY, "A|\u3042\nB\n".encode()))
        self.assertEqual(items_of(inbound), ["A|\u3042", "B"])

    def test_binary_that_is_no_text(self) -> None:
        """Binary that is not UTF-8 is a fault with 1003, but mended from MMDAgent-EX."""
        inbound = inbound_of()
        inbound.protocol.receive_data(frame(BINARY, b"A\n\xff\n"))
        self.assertEqual(without_reasons([inbound.next_item()]), [PeerFault(1003, "")])
        inbound = inbound_of(MMDAGENT_EX)
        inbound.protocol.receive_data(frame(BINARY, b"A\n\xff\n"))
        self.assertEqual(items_of(inbound), ["A", "\ufffd"])

    def test_whole_texts(self) -> None:
        """A handler with its own on_text gets whole texts, empty ones too."""
        inbound = inbound_of(cut_text=False)
        inbound.protocol.receive_data(frame(TEXT, b"A\nB\n") + frame(TEXT) + frame(BINARY, b"C"))
        items = items_of(inbound)
        self.assertEqual(items, ["A\nB\n", "", "C"])
        self.assertEqual({type(item) for item in items}, {str})

    def test_whole_bytes(self) -> None:
        """A handler with its own on_binary gets bytes as they are; texts are still cut."""
        inbound = inbound_of(cut_binary=False)
        inbound.protocol.receive_data(frame(BINARY, b"A\n\xff") + frame(TEXT, b"A\nB\n"))
        self.assertEqual(items_of(inbound), [b"A\n\xff", "A", "B"])

    def test_cutting_later(self) -> None:
        """A text that was returned whole can be cut afterwards, and its echoes are marked."""
        inbound = inbound_of(MMDAGENT_EX, cut_text=False)
        assert inbound.echoes is not None
        inbound.echoes.sent("A")
        found = list(inbound.cut("A\nB\r\n\nA"))
        self.assertEqual([(line, line.is_echo) for line in found],
                         [("A", True), ("B", False), ("A", False)])

    def test_echoes_are_marked(self) -> None:
        """A line that comes back is marked once for each time it was sent, and no other line is."""
        inbound = inbound_of(MMDAGENT_EX)
        assert inbound.echoes is not None
        inbound.echoes.sent("A|b")
        inbound.protocol.receive_data(
            frame(TEXT, b"A|b\n") + frame(TEXT, b"C\n") + frame(TEXT, b"A|b\n"))
        self.assertEqual([(item, item.is_echo) for item in items_of(inbound)],
                         [("A|b", True), ("C", False), ("A|b", False)])

    def test_echoes_are_dropped(self) -> None:
        """A handler that wants no echoes gets none, not from cut() either."""
        inbound = inbound_of(MMDAGENT_EX, keep_echoes=False)
        assert inbound.echoes is not None
        for line in ("A", "B", "A"):
            inbound.echoes.sent(line)
        inbound.protocol.receive_data(frame(TEXT, b"A\nC\nB\n"))
        self.assertEqual(items_of(inbound), ["C"])
        self.assertEqual(list(inbound.cut("A\nA\n")), ["A"])

    def test_a_strict_peer_has_no_echoes(self) -> None:
        """For a peer that does not echo, there is no memory of echoes."""
        self.assertIsNone(inbound_of(STRICT).echoes)


def recorded_session() -> list[bytes]:
    recording = json.loads((DATA / "session.json").read_text("utf-8"))
    return [entry["text"].encode() for entry in recording["frames"]]


def recorded_log() -> list[bytes]:
    recording = (DATA / "alllog.txt").read_text("utf-8")
    return [ast.literal_eval(line) for line in recording.splitlines()]


class RecordedTest(unittest.TestCase):
    """Traffic of the real MMDAgent-EX, replayed."""

    def setUp(self) -> None:
        self.recordings = {}
        for name, payloads in (("session", recorded_session()), ("log", recorded_log())):
            text = "".join(payload.decode() for payload in payloads)
            lines = [line for line in text.replace("\r", "\n").split("\n") if line]
            data = b"".join(frame(TEXT, payload, mask=struct.pack("!I", number * 0x1020305))
                            for number, payload in enumerate(payloads))
            self.recordings[name] = (data, lines)

    def test_there_is_something(self) -> None:
        """The recordings have the expected content, one line per frame."""
        self.assertEqual(len(self.recordings["session"][1]), len(recorded_session()))
        self.assertEqual(len(self.recordings["log"][1]), len(recorded_log()))
        self.assertIn(
            "MENU|SETITEM|Gene|0|\u982c\u306a\u3057|MODEL_BINDFACE|0|\u982c\u5168\u6d88\u3057|1",
            self.recordings["session"][1])
        self.assertIn("[2026/11/23 08:52:55.766] [4580691] Variables: Sent: TIMER_EVENT_STOP|t1",
                      self.recordings["log"][1])

    def test_whole(self) -> None:
        """Received at once, every line is returned in order."""
        for name, (data, lines) in self.recordings.items():
            for profile in (STRICT, MMDAGENT_EX):
                with self.subTest(name, profile=profile.name):
                    self.assertEqual(lines_of(profile, [data]), lines)

    def test_byte_by_byte(self) -> None:
        """Received byte by byte, every line is returned in order."""
        for name, (data, lines) in self.recordings.items():
            with self.subTest(name):
                self.assertEqual(lines_of(MMDAGENT_EX, [bytes([byte]) for byte in data]), lines)

    @settings(deadline=None, max_examples=40)
    @given(CUTS)
    def test_cut_anywhere(self, cuts: list[int]) -> None:
        """Received in any pieces, every line is returned in order."""
        for data, lines in self.recordings.values():
            self.assertEqual(lines_of(MMDAGENT_EX, pieces_of(data, cuts)), lines)


if __name__ == "__main__":
    unittest.main()
