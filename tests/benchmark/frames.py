"""Lines and frames made by hand, for both sides, and the check of the replies. Pure."""

from __future__ import annotations

import base64
import hashlib
import random
import struct
from collections.abc import Sequence

TEXT, CLOSE = 1, 8

#: Bytes of one prepared buffer: few system calls, and it stays in the processor's cache.
FLOOD_SIZE = 128 * 1024

_KEY = base64.b64encode(b"benchmark client")
_ACCEPT = base64.b64encode(
    hashlib.sha1(_KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())

REQUEST = (b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Key: " + _KEY + b"\r\nSec-WebSocket-Version: 13\r\n\r\n")


class WrongReply(Exception):
    """A server sent what it should not have."""


def check_response(head: bytes) -> None:
    """Check the head of the answer to REQUEST.

    Raises:
        WrongReply: it is no 101, or is for another key.
    """
    status, *lines = head.split(b"\r\n")
    if not status.startswith(b"HTTP/1.1 101"):
        raise WrongReply(f"the handshake was answered by {status[:60]!r}")
    fields = dict(line.split(b":", 1) for line in lines if b":" in line)
    values = {name.lower(): value.strip() for name, value in fields.items()}
    if values.get(b"sec-websocket-accept") != _ACCEPT:
        raise WrongReply("the handshake's accept value is wrong")


def line_of(size: int, head: str = "RECOG_EVENT_STOP|") -> bytes:
    """A line of `size` bytes, with its newline."""
    return ((head + "abcdefghij" * (size // 10 + 1))[:size - 1] + "\n").encode()


def writer_line(writer: int, number: int, size: int) -> bytes:
    """A line that tells its writer, and its number."""
    return line_of(size, f"W{writer}|{number:07}|")


def _head(opcode: int, size: int, mask: int) -> bytes:
    first = 0x80 | opcode
    if size < 126:
        return struct.pack("!BB", first, mask | size)
    if size < 65536:
        return struct.pack("!BBH", first, mask | 126, size)
    return struct.pack("!BBQ", first, mask | 127, size)


def server_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A frame as a server sends it."""
    return _head(opcode, len(payload), 0) + payload


def client_frame(payload: bytes, key: bytes = b"\x37\xfa\x21\x3d", opcode: int = TEXT) -> bytes:
    """A frame as a client sends it."""
    size = len(payload)
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "big")
    masked = (int.from_bytes(payload, "big") ^ mask).to_bytes(size, "big")
    return _head(opcode, size, 0x80) + key + masked


def flood(payload: bytes) -> tuple[bytes, int]:
    """A buffer full of frames with this payload, each with another key, and their number."""
    keys = random.Random(1)
    count = max(1, FLOOD_SIZE // (len(payload) + 6))
    return b"".join(client_frame(payload, keys.randbytes(4)) for _ in range(count)), count


class Repeated:
    """Checks each byte of replies that are the same frame, `count` times."""

    def __init__(self, frame: bytes, count: int) -> None:
        self._frame = frame
        self._pattern = b""
        self._seen = 0
        self._size = len(frame) * count

    @property
    def missing(self) -> int:
        """Bytes that are still to come."""
        return self._size - self._seen

    def feed(self, data: bytes) -> None:
        """Check the next bytes.

        Raises:
            WrongReply: they are wrong, or too many.
        """
        phase = self._seen % len(self._frame)
        if len(self._pattern) < phase + len(data):
            self._pattern = self._frame * ((phase + len(data)) // len(self._frame) + 1)
        # Compared with startswith(), since slices would copy.
        if not data or len(data) > self.missing or not self._pattern.startswith(data, phase):
            self._refuse(data, phase)
        self._seen += len(data)

    def _refuse(self, data: bytes, phase: int) -> None:
        if not data:
            raise WrongReply(f"the server closed with {self.missing} bytes missing")
        number, start = divmod(self._seen, len(self._frame))
        expected = self._pattern[phase:phase + min(len(data), self.missing)]
        raise WrongReply(f"from byte {start} of reply {number} on, {difference(data, expected)}")


def difference(got: bytes, expected: bytes) -> str:
    """The first byte at which the two differ, and what is there."""
    at = next((index for index, (one, other) in enumerate(zip(got, expected)) if one != other),
              min(len(got), len(expected)))
    return f"byte {at}: {got[at:at + 20]!r} instead of {expected[at:at + 20]!r}"


def check_writers(data: bytes, writers: int, count: int, size: int, last: Sequence[bytes]) -> None:
    """Check the frames of several writers on one connection: none torn, and in order per writer.

    Args:
        data: all bytes that came.
        count: lines of each writer.
        last: the payloads behind the lines.

    Raises:
        WrongReply: a frame is wrong or missing.
    """
    end = b"".join(map(server_frame, last))
    expected = [iter(range(count)) for _ in range(writers)]
    frame_size = len(server_frame(writer_line(0, 0, size)))
    lines = data[:len(data) - len(end)]
    for start in range(0, len(lines), frame_size):
        frame = lines[start:start + frame_size]
        writer = frame[-size + 1] - ord("0")
        number = next(expected[writer], None) if 0 <= writer < writers else None
        if number is None or frame != server_frame(writer_line(writer, number, size)):
            raise WrongReply(f"byte {start}: a torn frame, or one out of its turn: {frame[:40]!r}")
    if any(next(each, None) is not None for each in expected) or not data.endswith(end):
        raise WrongReply(f"the {writers} writers' lines are not complete")
