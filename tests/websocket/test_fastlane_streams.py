"""The fast lane with wsproto, compared with wsproto alone: the same for any bytes."""

from __future__ import annotations

import os
import random
import unittest
from collections.abc import Callable
from typing import Any, NamedTuple, Optional
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection

from mmdagent_remote.limits import Limits
from mmdagent_remote.profile import MMDAGENT_EX, STRICT, Profile
from mmdagent_remote.websocket import fastlane
from mmdagent_remote.websocket.protocol import (Inbound, LenientText, PeerClosed, PeerFault,
                                                PingReceived, ServerProtocol)

from ..client import BINARY, CLOSE, PING, PONG, TEXT
from .test_protocol import close_payload, frame, pieces_of

CONTINUATION = 0


TEXTS = ["", "A", "KEY|a", "RECOG_EVENT_STOP|hello\n", "a\nb", "\n", "one\r\ntwo\rthree\n\n", "é",
         "こんにちは\n", "😀" * 3, "x" * 123 + "\n", "y" * 125, "z" * 126, "w" * 300]
NO_UTF8 = [b"\xff", b"abc\xc3", b"\xe3\x81", b"\xed\xa0\x80", b"ok\xf4\x90\x80\x80no", b"\xc0\xaf\n",
           b"\xf0\x9f\x98", b"a" * 130 + b"\x80" + b"b" * 5]


class Case(NamedTuple):
    """What a peer sends, in pieces as it arrives, and what this side does meanwhile."""

    pieces: list[bytes]
    profile: Profile
    limits: Limits
    #: The piece after which this side closes, if it does.
    close_after: Optional[int]
    #: How many messages are taken at once.
    most: int


def key_of(rng: random.Random) -> bytes:
    """A masking key; often zero, so that masking changes nothing."""
    return rng.choice((b"\0\0\0\0", rng.randbytes(4), rng.randbytes(4)))


def cut(rng: random.Random, data: bytes, most: int) -> list[bytes]:
    """The bytes in at most `most` pieces."""
    return pieces_of(data, [rng.randrange(len(data) + 1) for _ in range(rng.randrange(most))]) or [b""]


def payload_of(rng: random.Random) -> tuple[int, bytes]:
    """An opcode and a payload, valid or not."""
    kind = rng.randrange(10)
    if kind < 6:
        return TEXT, rng.choice(TEXTS).encode()
    if kind < 8:
        return rng.choice((TEXT, TEXT, BINARY)), rng.choice(NO_UTF8)
    return BINARY, rng.randbytes(rng.choice((0, 1, 7, 125, 126, 200)))


def message(rng: random.Random) -> bytes:
    """A whole message in one frame."""
    return frame(*payload_of(rng), mask=key_of(rng))


def fragments(rng: random.Random) -> bytes:
    """A message in fragments, with control frames between; sometimes the end is missing."""
    opcode, payload = payload_of(rng)
    parts, data = cut(rng, payload, 4), b""
    is_whole = rng.random() < 0.9
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        data += frame(opcode, part, fin=is_last and is_whole, mask=key_of(rng))
        opcode = CONTINUATION
        if rng.random() < 0.3:
            data += control(rng)
    return data


def control(rng: random.Random) -> bytes:
    """A ping or a pong."""
    return frame(rng.choice((PING, PONG)), rng.randbytes(rng.choice((0, 3, 125))), mask=key_of(rng))


def close(rng: random.Random) -> bytes:
    """A Close frame, valid or not."""
    payload = rng.choice((b"", close_payload(1000, b"bye"), close_payload(4999), close_payload(1005),
                          b"\x03", close_payload(1000, b"\xff")))
    return frame(CLOSE, payload, mask=key_of(rng))


def fault(rng: random.Random) -> bytes:
    """A frame that breaks a rule, or bytes that are not a frame."""
    opcode, payload = payload_of(rng)
    mask = key_of(rng)
    return rng.choice((
        lambda: frame(opcode, payload, rsv=rng.randrange(1, 8), mask=mask),
        lambda: frame(opcode, payload, mask=None),
        lambda: frame(rng.choice((3, 4, 7, 11, 15)), payload, mask=mask),
        lambda: frame(CONTINUATION, payload, fin=rng.random() < 0.5, mask=mask),
        lambda: frame(rng.choice((PING, CLOSE)), payload, fin=False, mask=mask),
        lambda: frame(PING, payload + bytes(126), mask=mask),
        # Lengths that are not in their shortest form, or have the highest bit.
        lambda: bytes((0x81, 0xFE, 0, len(payload) % 126)) + mask + payload,
        lambda: bytes((0x82, 0xFF)) + rng.choice((5, 65535)).to_bytes(8, "big") + mask + payload,
        lambda: bytes((0x82, 0xFF)) + (1 << 63).to_bytes(8, "big") + mask + payload,
        lambda: rng.randbytes(rng.randrange(1, 30)),
        # A frame inside a message.
        lambda: frame(opcode, payload, fin=False, mask=mask) + frame(TEXT, b"x", mask=mask),
    ))()


def long(rng: random.Random) -> bytes:
    """A frame of a size near the limits where the lane or wsproto changes its way."""
    size = rng.choice((1199, 1200, 1201, 65534, 65535, 65536, 65537))
    payload = rng.choice((b"a" * size, b"\n" + "é".encode() * (size // 2), b"b" * (size - 1) + b"\xc3"))
    return frame(rng.choice((TEXT, BINARY)), payload, mask=key_of(rng))


def stream(rng: random.Random) -> bytes:
    """Several frames of these kinds."""
    kinds: list[Callable[[random.Random], bytes]] = [message] * 8 + [fragments, control, fragments]
    if rng.random() < 0.7:
        kinds += [fault, close]
    parts = [rng.choice(kinds)(rng) for _ in range(rng.randrange(1, 9))]
    if rng.random() < 0.01:
        parts.insert(rng.randrange(len(parts) + 1), long(rng))
    data = b"".join(parts)
    return data[:rng.randrange(len(data) + 1)] if rng.random() < 0.1 else data


def case_of(rng: random.Random) -> Case:
    """One differential test."""
    data = stream(rng)
    if rng.random() < 0.1 and len(data) < 600:
        pieces = [data[place:place + 1] for place in range(len(data))] or [b""]
    else:
        pieces = cut(rng, data, rng.choice((1, 2, 4, 12)))
    limits = Limits()
    if rng.random() < 0.2:
        limits = Limits(max_message_size=rng.choice((1, 6, 125, 126, 300)),
                        max_fragments=rng.choice((1, 2, 9)), max_line_size=rng.choice((4, 20, 124)))
    return Case(pieces, rng.choice((STRICT, MMDAGENT_EX)), limits,
                rng.randrange(len(pieces)) if rng.random() < 0.1 else None, rng.choice((1, 2, 64)))


def protocol_of(case: Case, *, fast_lane: bool) -> ServerProtocol:
    """A protocol as after a handshake; a real one would take most of the time."""
    extensions: list[Any] = [LenientText()] if case.profile.lenient_text else []
    ws: Any = Connection(ConnectionType.SERVER, extensions)
    return ServerProtocol(ws, case.profile, case.limits, fast_lane=fast_lane)


def answer(protocol: ServerProtocol, event: Any) -> bytes:
    """What an echo server sends for an event."""
    if isinstance(event, (str, bytes)):
        if not protocol.can_send:
            return b""
        return bytes(protocol.data_frame(event.encode() if isinstance(event, str) else event,
                                         text=isinstance(event, str)))
    if isinstance(event, PingReceived):
        return bytes(protocol.pong_frame(event.payload))
    return bytes(protocol.close_frame(event.code, event.reason))


def told(case: Case, *, fast_lane: bool) -> list[tuple[int, Any, bytes]]:
    """All events and answers, each with the number of the piece after which it came."""
    protocol, found = protocol_of(case, fast_lane=fast_lane), []
    for number, piece in enumerate(case.pieces):
        protocol.receive_data(piece)
        while True:
            events: list[Any] = [*protocol.messages(case.most)] or [protocol.next_event()]
            if events == [None]:
                break
            found += [(number, event, answer(protocol, event)) for event in events]
        if number == case.close_after:
            found.append((number, None, bytes(protocol.close_frame(1000, "enough"))))
    return found


def items_of(case: Case, *, fast_lane: bool) -> list[tuple[int, Any]]:
    """The same as told(), for lines."""
    inbound = Inbound(protocol_of(case, fast_lane=fast_lane), case.profile, case.limits,
                      cut_binary=case.most != 2)
    if inbound.echoes is not None:
        inbound.echoes.sent("KEY|a")
    found: list[tuple[int, Any]] = []
    for number, piece in enumerate(case.pieces):
        inbound.protocol.receive_data(piece)
        while True:
            items: list[Any] = [*inbound.next_items(case.most)] or [inbound.next_item()]
            if items == [None]:
                break
            found += [(number, (type(item), item, getattr(item, "is_echo", None))) for item in items]
            if isinstance(items[-1], (PeerFault, PeerClosed)):
                return found
    return found


class DifferentialTest(unittest.TestCase):
    """The same bytes go to wsproto alone, and to the lane with wsproto behind it."""

    maxDiff = None
    #: Random streams, over both profiles; ``tests/long`` has four times as many.
    streams = 5_000

    def setUp(self) -> None:
        # tests.lane_off switches the lane off; then there would be nothing to compare.
        patched = mock.patch.object(fastlane, "AVAILABLE", True)
        patched.start()
        self.addCleanup(patched.stop)

    def check(self, case: Case, why: str = "") -> None:
        """Both give the same events, order and answers, equally early."""
        self.assertEqual(told(case, fast_lane=True), told(case, fast_lane=False), f"{why} {case}")

    def test_random_streams(self) -> None:
        """Any stream, cut anywhere, leads to the same events and answers at the same moments."""
        seed = int.from_bytes(os.urandom(4), "big")
        kinds = set()
        for number in range(self.streams):
            case = case_of(random.Random(seed + number))
            why = f"case_of(random.Random({seed + number})):"
            self.check(case, why)
            if number % 4 == 0:
                self.assertEqual(items_of(case, fast_lane=True), items_of(case, fast_lane=False),
                                 f"{why} {case}")
            if number % 40 == 0:
                kinds |= {type(event) for _, event, _ in told(case, fast_lane=True)}
        self.assertLessEqual({str, bytes, PingReceived, PeerClosed, PeerFault}, kinds)

    @settings(deadline=None, max_examples=300)
    @given(st.deferred(lambda: streams()))
    def test_any_stream(self, case: Case) -> None:
        """The same holds for streams that hypothesis makes."""
        self.check(case)


@st.composite
def streams(draw: st.DrawFn) -> Case:
    """Frames of any kind with any bytes in them, cut anywhere."""
    parts = draw(st.lists(st.builds(
        frame, st.sampled_from((TEXT, TEXT, BINARY, CONTINUATION, PING, PONG, CLOSE, 5)),
        st.one_of(st.binary(max_size=140), st.text(max_size=40).map(str.encode)), fin=st.booleans(),
        rsv=st.sampled_from((0, 0, 0, 0, 1)),
        mask=st.one_of(st.binary(min_size=4, max_size=4), st.none())),
        max_size=6))
    data = b"".join([*parts, draw(st.binary(max_size=20))])
    return Case(pieces_of(data, draw(st.lists(st.integers(0, 2000), max_size=6))) or [b""],
                draw(st.sampled_from((STRICT, MMDAGENT_EX))), Limits(), None, 64)


if __name__ == "__main__":
    unittest.main()
