"""The fast lane: plain data frames, decoded and made without wsproto. Pure.

wsproto needs some 60 Python calls for a frame. Nearly all frames are of one kind, which needs
fewer: complete, final, text or binary, masked, no reserved bit, a length in its shortest form and
below 64 KiB, between two messages. Those are decoded here. **Every other byte goes to wsproto**,
frame by frame, and wsproto reports what is wrong with it::

    bytes --> FastLane --+-- messages(): whole messages, as str and bytes
                         +-- rest():     bytes for wsproto: control frames, fragments, faults

So wsproto remains the judge and the state machine. The lane is shut while a frame that wsproto has
begun, or a fragmented message, is incomplete. It stays shut after a Close or an invalid frame.
A connection with a negotiated extension has no lane.

Outgoing data frames are made here as well: :func:`data_frame`, :func:`line_frame`.
"""

from __future__ import annotations

from array import array
from codecs import IncrementalDecoder, getincrementaldecoder
from collections import deque
from collections.abc import Callable, Iterable
from functools import cache
from types import BuiltinFunctionType
from typing import NamedTuple, Optional, Union

Unmask = Callable[[bytes, bytes], bytes]

#: Cleared by ``python -m tests.lane_off``, for all servers of the process.
AVAILABLE = True

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_FINAL, _RESERVED, _MASKED = 0x80, 0x70, 0x80
_FINAL_TEXT, _FINAL_BINARY = _FINAL | _TEXT, _FINAL | _BINARY
#: Values in a frame's second byte. The length is in the next two or eight bytes.
_TWO_BYTES, _EIGHT_BYTES = 126, 127
#: The shortest length that takes eight bytes.
_LONG = 65536

#: From so many bytes, four translations are faster than one big number (CPython 3.11 to 3.13).
TRANSLATE_FROM = 1200

_ALL = int.from_bytes(bytes(range(256)), "big")
_XOR_WITH = [(_ALL ^ int.from_bytes(bytes([key]) * 256, "big")).to_bytes(256, "big")
             for key in range(256)]


def unmask_number(data: bytes, key: bytes) -> bytes:
    """Unmask as one big number: best for short payloads."""
    size = len(data)
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(data, "little") ^ mask).to_bytes(size, "little")


def unmask_translate(data: bytes, key: bytes) -> bytes:
    """Unmask every fourth byte at once: best for long payloads."""
    plain = bytearray(len(data))
    for place in range(4):
        plain[place::4] = data[place::4].translate(_XOR_WITH[key[place]])
    return bytes(plain)


def unmask_python(data: bytes, key: bytes) -> bytes:
    """Unmask with the faster of the two functions above."""
    return unmask_number(data, key) if len(data) < TRANSLATE_FROM else unmask_translate(data, key)


@cache
def find_unmask() -> Unmask:
    """Return the C function of the websockets package (the extra ``speed``) if installed, or ours.

    Called when a server needs a lane, so that importing this package costs nothing.
    """
    try:
        from websockets.speedups import apply_mask
    except Exception:  # Missing, built for another Python, or broken: ours always works.
        return unmask_python
    # Where it was built without a compiler, it is Python code, which is slower than ours.
    return apply_mask if isinstance(apply_mask, BuiltinFunctionType) else unmask_python


_HEADS = {text: [bytes((_FINAL_TEXT if text else _FINAL_BINARY, size)) for size in range(_TWO_BYTES)]
          for text in (True, False)}

_TEXT_HEADS = _HEADS[True]


def data_frame(payload: bytes, *, text: bool) -> bytes:
    """Make a server's frame of one whole message; the `payload` of a text must be valid UTF-8."""
    size = len(payload)
    if size < _TWO_BYTES:
        return _HEADS[text][size] + payload
    first = _FINAL_TEXT if text else _FINAL_BINARY
    if size < _LONG:
        return bytes((first, _TWO_BYTES, size >> 8, size & 255)) + payload
    return bytes((first, _EIGHT_BYTES)) + size.to_bytes(8, "big") + payload


def line_frame(line: str) -> bytes:
    """Make the frame of one line, with its newline."""
    payload = line.encode() + b"\n"
    size = len(payload)
    return _TEXT_HEADS[size] + payload if size < _TWO_BYTES else data_frame(payload, text=True)


def line_frames(lines: Iterable[str]) -> bytes:
    """Make a frame for each line, with its newline."""
    return b"".join(map(line_frame, lines))


class Head(NamedTuple):
    """The parsed header of a masked frame."""

    is_final: bool
    opcode: int
    #: Bytes before the payload, the key included.
    length: int
    #: Bytes of the payload.
    size: int


#: An invalid header. wsproto decides what exactly is wrong, and when to report it.
NO_FRAME = Head(False, -1, 0, 0)


def parse_head(data: bytes) -> Optional[Head]:
    """Parse a client's frame header; :data:`NO_FRAME` if invalid, None if more bytes are needed."""
    if len(data) < 2:
        return None
    opcode, size = data[0] & 0x0F, data[1] & 0x7F
    is_final, is_control = bool(data[0] & _FINAL), opcode >= _CLOSE
    if data[0] & _RESERVED or not data[1] & _MASKED or _BINARY < opcode < _CLOSE or opcode > _PONG:
        return NO_FRAME
    if is_control and (size >= _TWO_BYTES or not is_final):
        return NO_FRAME
    if size < _TWO_BYTES:
        return Head(is_final, opcode, 6, size)
    # RFC 6455, section 5.2: a length has its shortest form, and its highest bit is 0.
    length, shortest = (8, _TWO_BYTES) if size == _TWO_BYTES else (14, _LONG)
    if len(data) < length - 4:
        return None
    size = int.from_bytes(data[2:length - 4], "big")
    return Head(is_final, opcode, length, size) if shortest <= size < 1 << 63 else NO_FRAME


class _Begun:
    """An incomplete frame of the lane's kind, kept as long as wsproto would not refuse it.

    It holds at most 64 KiB. The UTF-8 of a text is checked as it arrives, since wsproto reports a
    fault in the middle of a frame at once.
    """

    __slots__ = ("missing", "_data", "_cuts", "_key", "_unmask", "_decoder")

    def __init__(self, head: Head, data: bytes, unmask: Unmask) -> None:
        self.missing = head.size
        self._data = bytearray(data)
        # Where each piece ends, four bytes each. With a slow sender, a list of pieces takes fifty.
        self._cuts = array("I")
        self._key = data[-4:]
        self._unmask = unmask
        self._decoder: Optional[IncrementalDecoder] = None
        if head.opcode == _TEXT:
            self._decoder = getincrementaldecoder("utf-8")()

    def add(self, payload: bytes) -> bool:
        """Append payload bytes; False if they are not valid UTF-8."""
        self._data += payload
        self._cuts.append(len(self._data))
        self.missing -= len(payload)
        if self._decoder is None:
            return True
        try:
            self._decoder.decode(self._unmask(payload, self._key), not self.missing)
        except UnicodeDecodeError:
            return False
        turn = len(payload) % 4
        self._key = self._key[turn:] + self._key[:turn]
        return True

    def whole(self) -> bytes:
        """Return all bytes of the frame."""
        return bytes(self._data)

    def pieces(self) -> list[bytes]:
        """Return the bytes in the pieces that arrived: wsproto's error text depends on them."""
        return [bytes(self._data[start:end]) for start, end in zip([0, *self._cuts], self._cuts)]


class FastLane:
    """Splits one peer's bytes into whole messages and bytes for wsproto. Not thread-safe.

    Args:
        max_message_size: in bytes. Longer messages go to wsproto, whose caller counts their bytes.
    """

    __slots__ = ("_chunks", "_data", "_at", "_begun", "_longest", "_unmask", "_left", "_in_message",
                 "_is_refused", "_is_shut")

    def __init__(self, max_message_size: int) -> None:
        self._longest = min(max_message_size, _LONG - 1)
        self._unmask = find_unmask()
        # Made when first needed. An empty deque takes more memory than the rest of a lane.
        self._chunks: Optional[deque[bytes]] = None
        # The chunk being decoded, and the offset of its next frame.
        self._data = b""
        self._at = 0
        self._begun: Optional[_Begun] = None
        # Bytes still missing of a frame that wsproto has begun; whether more fragments follow it.
        self._left = 0
        self._in_message = False
        # The next frame is of the lane's kind, but its text is not UTF-8.
        self._is_refused = False
        self._is_shut = False

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer."""
        if self._begun is None and self._at == len(self._data) and not self._chunks:
            self._data, self._at = data, 0
        else:
            self._later().append(data)

    def shut(self) -> None:
        """Give all further bytes to wsproto, because the connection closes."""
        self._is_shut = True
        self._give_back(b"")

    @property
    def is_dry(self) -> bool:
        """Whether every byte was decoded, given to wsproto, or kept until more bytes arrive."""
        return self._at == len(self._data) and not self._chunks

    def messages(self, most: int) -> list[Union[str, bytes]]:
        """Return the next whole messages, at most `most`; if there are none, call :meth:`rest`."""
        while not (self._left or self._in_message or self._is_refused or self._is_shut):
            if self._at < len(self._data):
                found = self._decode(most)
                if found or not self._keep():
                    return found
            if not self._load():
                break
        return []

    def rest(self) -> bytes:
        """Return the next frame, or a part of it, for wsproto; empty when more bytes are needed."""
        while True:
            if not (self._left or self._is_shut):
                self._left = self._measure()
            end = len(self._data) if self._is_shut else self._at + self._left
            piece = self._data[self._at:end]
            if piece:
                self._at += len(piece)
                self._left = max(0, self._left - len(piece))
                self._is_refused = False
                self._drop_done()
                return piece
            if not self._load():
                return b""

    def _decode(self, most: int) -> list[Union[str, bytes]]:
        # The hot path, inlined. A call costs a tenth of the time that a short message needs here,
        # and a chunk of 64 KiB holds six hundred short messages.
        data, at, end = self._data, self._at, len(self._data)
        longest, unmask, from_bytes = self._longest, self._unmask, int.from_bytes
        number_below = TRANSLATE_FROM if unmask is unmask_python else 0
        found: list[Union[str, bytes]] = []
        while end - at >= 6 and len(found) < most:
            first, size, start = data[at], data[at + 1] - _MASKED, at + 6
            if size < 0 or first != _FINAL_TEXT and first != _FINAL_BINARY:
                break
            if size >= _TWO_BYTES:
                if size == _EIGHT_BYTES:
                    break
                size, start = data[at + 2] << 8 | data[at + 3], at + 8
                if size < _TWO_BYTES:
                    break
            stop = start + size
            if stop > end or size > longest:
                break
            if size < number_below:
                # unmask_number(), inlined.
                mask = (data[start - 4:start] * (size // 4 + 1))[:size]
                plain = (from_bytes(data[start:stop], "little")
                         ^ from_bytes(mask, "little")).to_bytes(size, "little")
            else:
                plain = unmask(data[start:stop], data[start - 4:start])
            if first == _FINAL_TEXT:
                try:
                    found.append(plain.decode())
                except UnicodeDecodeError:
                    self._is_refused = not found  # With messages before it, the next call does it.
                    break
            else:
                found.append(plain)
            at = stop
        if at == end:
            data, at = b"", 0  # _drop_done(), inlined.
        self._data, self._at = data, at
        return found

    def _drop_done(self) -> None:
        # Otherwise a connection that falls silent after a flood would keep the last 64 KiB of it.
        if self._at == len(self._data):
            self._data, self._at = b"", 0

    def _is_ours(self, head: Head) -> bool:
        return (head.is_final and head.opcode in (_TEXT, _BINARY) and head.size <= self._longest
                and not self._in_message and not self._is_refused)

    def _keep(self) -> bool:
        """Keep an incomplete frame; False if the next frame is not of the lane's kind."""
        data = self._data[self._at:self._at + _LONG + 8]
        head = parse_head(data)
        if head is None:
            return True
        if not self._is_ours(head):
            return False
        if len(data) >= head.length:
            self._begun = _Begun(head, data[:head.length], self._unmask)
            self._data, self._at = b"", 0
            self._add(data[head.length:])
        return True

    def _measure(self) -> int:
        """Return the size of the next frame, for wsproto; 0 when more bytes are needed to tell."""
        data = self._data[self._at:self._at + 14]
        head = parse_head(data)
        if head is None or self._is_ours(head) and len(data) < head.length:
            return 0
        if head.opcode < _CLOSE:
            if (head.opcode == _CONTINUATION) != self._in_message:
                head = NO_FRAME
            self._in_message = not head.is_final
        # After a fault or a Close, nothing more is parsed.
        self._is_shut = head is NO_FRAME or head.opcode == _CLOSE
        return head.length + head.size

    def _load(self) -> bool:
        """Go on to the next chunk; False if there is none."""
        if not self._chunks:
            return False
        chunk = self._chunks.popleft()
        if self._begun is not None:
            self._add(chunk)
        else:
            # At most a few bytes of a header are left of the old chunk.
            self._data, self._at = self._data[self._at:] + chunk, 0
        return True

    def _add(self, data: bytes) -> None:
        begun = self._begun
        if begun is None:
            return
        missing = begun.missing
        is_good = begun.add(data[:missing])
        if not is_good:
            self._give_back(data[missing:])
            self._is_refused = True
        elif not begun.missing:
            self._data, self._begun = begun.whole() + data[missing:], None

    def _give_back(self, behind: bytes) -> None:
        if self._begun is not None:
            self._later().extendleft(reversed([*self._begun.pieces(), behind]))
            self._begun = None

    def _later(self) -> deque[bytes]:
        if self._chunks is None:
            self._chunks = deque()
        return self._chunks
