"""The bytes that MMDAgent-EX's WebSocket client sends, and how it reads ours. Pure.

Written by hand and not with wsproto, since it must be exactly this one client: the order of its
headers, a pong that is not empty for an empty ping, never a Close frame, no check of what a server
may send.
"""

from __future__ import annotations

import base64
import hashlib
import os
import struct
from typing import NamedTuple, Optional

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Refused(Exception):
    """The server's answer was not a 101 that this client accepts."""

    def __init__(self, text: str, *, is_occupied: bool = False) -> None:
        super().__init__(text)
        #: Whether it was 429 with exactly the reason that makes the client try another path.
        self.is_occupied = is_occupied


class FrameTooLarge(Exception):
    """A payload that does not fit the buffer."""


class Frame(NamedTuple):
    """One frame from the server."""

    opcode: int
    payload: bytes


def new_key() -> str:
    """A random ``Sec-WebSocket-Key``."""
    return base64.b64encode(os.urandom(16)).decode()


def request_of(path: str, host: str, port: int, key: str) -> bytes:
    """The opening handshake, byte by byte as the real one sends it. The path is left unchanged."""
    return (f"GET {path} HTTP/1.1\r\n"
            "Upgrade: websocket\r\n"
            "Connection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n"
            "X-App-Type: MMDAgent\r\n"
            f"Host: {host}:{port}\r\n\r\n").encode()


def check_answer(head: bytes, key: str) -> None:
    """Judge the server's answer as the real one does.

    Raises:
        Refused: it is not a 101, or one that the real one does not accept.
    """
    status, *lines = head.decode("utf-8", "replace").split("\r\n")
    _, _, rest = status.partition(" ")
    code, _, reason = rest.partition(" ")
    if code != "101":
        raise Refused(f"the server answered {rest}",
                      is_occupied=(code, reason) == ("429", "Too Many Requests"))
    headers = {name.strip().lower(): value.strip()
               for name, _, value in (line.partition(":") for line in lines)}
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()
    for name, wanted in (("Upgrade", "websocket"), ("Connection", "Upgrade")):
        if headers.get(name.lower(), "").lower() != wanted.lower():
            raise Refused(f"the answer's {name} is {headers.get(name.lower())!r}, not {wanted!r}")
    if headers.get("sec-websocket-accept") != accept:
        raise Refused("the answer's Sec-WebSocket-Accept is wrong")


def masked(opcode: int, payload: bytes) -> bytes:
    """Return one whole frame of the client."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    key = os.urandom(4)
    pad = (key * (size // 4 + 1))[:size]
    body = int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")
    return head + key + body.to_bytes(size, "big")


class FrameReader:
    """Cuts what arrives into frames."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0

    def feed(self, data: bytes) -> None:
        """Add bytes from the server."""
        self._data = self._data[self._at:] + data
        self._at = 0

    @property
    def has_part(self) -> bool:
        """Whether a frame has begun and is not complete."""
        return self._at < len(self._data)

    def next(self, room: int) -> Optional[Frame]:
        """Return the next whole frame, or None.

        Raises:
            FrameTooLarge: its payload is larger than the room; known from its header alone.
        """
        data, at = self._data, self._at
        if len(data) - at < 2:
            return None
        opcode, size, body = data[at] & 0x0F, data[at + 1] & 0x7F, at + 2
        if size > 125:
            form = "!H" if size == 126 else "!Q"
            body += struct.calcsize(form)
            if len(data) < body:
                return None
            size, = struct.unpack_from(form, data, at + 2)
        if size > room:
            raise FrameTooLarge(f"a frame of {size} bytes with room for {room}")
        if len(data) < body + size:
            return None
        self._at = body + size
        return Frame(opcode, data[body:self._at])
