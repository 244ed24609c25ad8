"""Cuts texts into lines, and makes frame payloads from lines. Pure.

Incoming: :func:`cut_lines` turns a text message into lines. Outgoing:
:func:`prepare_line` checks and encodes one line for one kind of peer, and
:func:`next_payload` takes the next frame's payload from the send queue.
:class:`EchoMemory` recognises the lines that MMDAgent-EX sends back.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator
from typing import Optional, Union

from ..errors import InvalidMessage
from ..limits import CUT_ECHO, ECHO_MEMORY
from ..message import check_line
from ..profile import Profile, echo_of, full_width, wrap

# LF, CR and CRLF only. str.splitlines() would also cut inside a text, at U+2028 or a form feed.
_LINE = re.compile("[^\r\n]+")

# "SND" and four digits, the length of the sound after them.
_CHUNK_HEAD = re.compile(rb"SND([0-9]{4})")


def cut_lines(text: str) -> Iterator[str]:
    """Yield the lines of one text message, without empty ones.

    The end of the message ends a line. Lazy, since a message of many newlines
    would otherwise become a list many times its size.
    """
    return (found.group() for found in _LINE.finditer(text))


class OutgoingLine:
    """One checked line, encoded with its newline, or one whole text.

    Its fields are ``data`` (bytes), ``echo`` (str, or None where the peer sends none back), and
    ``text`` (str), what the user wrote.
    """

    __slots__ = ("data", "echo", "text")

    def __init__(self, data: bytes, echo: Optional[str], text: str) -> None:
        self.data = data
        self.echo = echo
        self.text = text


def prepare_line(line: object, profile: Profile) -> OutgoingLine:
    """Check one whole line and encode it for one kind of peer.

    Raises:
        TypeError: it is not a ``str``.
        InvalidMessage: it cannot be sent, to this peer or at all.
    """
    return encode_line(check_line(line), profile)


def encode_line(text: str, profile: Profile) -> OutgoingLine:
    """Encode a line that :func:`~mmdagent_remote.message.check_line` returned, for a kind of peer.

    Raises:
        InvalidMessage: it cannot be sent to this peer.
    """
    if not profile.wraps:
        return OutgoingLine(text.encode() + b"\n", None, text)
    line = full_width(text, profile)
    wrapped = wrap(line)
    # MMDAgent-EX issues the part after the wrapper, so that part must be a valid line as well.
    echo = echo_of(line)
    if echo is not None and echo is not line:
        check_line(echo)
    data = wrapped.encode() + b"\n"
    if profile.max_line is not None and len(data) > profile.max_line:
        wrapper = len(data) - len(line.encode()) - 1
        raise InvalidMessage(
            f"the line takes {len(data)} bytes in UTF-8 with its newline"
            + (f" and {wrapper} bytes of wrapping" if wrapper else "")
            + (", with its text in full-width letters, which this voice needs" if line != text else "")
            + f"; MMDAgent-EX takes at most {profile.max_line}: {text[:80]!r}")
    return OutgoingLine(data, echo if profile.echoes else None, text)


def prepare_text(text: object, profile: Profile) -> list[OutgoingLine]:
    """Check a text for ``send_text``: one message as it is, or whole lines only.

    Raises:
        TypeError: it is not a ``str``.
        InvalidMessage: it holds a lone surrogate, or it is not whole lines and the peer needs that.
    """
    if not isinstance(text, str):
        raise TypeError(f"send_text() takes a str, not {type(text).__name__}")
    if profile.max_line is None:
        try:
            return [OutgoingLine(text.encode(), None, text)]
        except UnicodeEncodeError as error:
            raise InvalidMessage(
                "the text holds a lone surrogate, which has no UTF-8 form") from error
    if not text.endswith("\n"):
        raise InvalidMessage("a text to MMDAgent-EX must be whole lines, each with its newline")
    return [prepare_line(line, profile) for line in text[:-1].split("\n")]


def prepare_binary(data: object, profile: Profile) -> list[bytes]:
    """Check bytes for ``send_binary``: one message as it is, or whole audio chunks only.

    Raises:
        TypeError: it is not ``bytes``, ``bytearray`` or ``memoryview``.
        InvalidMessage: the peer takes only whole audio chunks, and these are not.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"send_binary() takes bytes, not {type(data).__name__}")
    data = bytes(data)
    if profile.max_chunk is None:
        return [data]
    chunks, start = [], 0
    while start < len(data):
        head = _CHUNK_HEAD.match(data, start)
        end = head.end() + int(head.group(1)) if head else 0
        if head is None or end > len(data) or end == head.end() or (end - head.end()) % 2:
            raise InvalidMessage(
                f"not a whole audio chunk (SND, four digits, so many bytes of 16-bit sound) "
                f"at byte {start}: {data[start:start + 12]!r}")
        if end - start > profile.max_chunk:
            raise InvalidMessage(f"an audio chunk of {end - start} bytes with its head; "
                                 f"MMDAgent-EX takes at most {profile.max_chunk}")
        chunks.append(data[start:end])
        start = end
    if not chunks:
        raise InvalidMessage("an empty message; MMDAgent-EX treats an empty frame as a disconnect")
    return chunks


#: An item of the send queue: lines are joined into text frames, bytes are one binary frame each.
Outgoing = Union[OutgoingLine, bytes]


def size_of(item: Outgoing) -> int:
    """The bytes that an item takes in the send queue."""
    return len(item) if isinstance(item, bytes) else len(item.data)


def next_payload(waiting: deque[Outgoing], max_frame: Optional[int],
                 taken_out: Optional[list[Outgoing]] = None) -> tuple[bytes, bool, list[bytes]]:
    """Take the payload of the next frame from the queue, which must not be empty.

    Args:
        taken_out: the items of the payload are appended to it.

    Returns:
        the payload, whether it is text, and the payloads of the same kind that must follow at once.
        A line or a chunk longer than ``max_frame`` is cut over consecutive frames, nothing between.
    """
    first = waiting.popleft()
    if taken_out is not None:
        taken_out.append(first)
    if isinstance(first, bytes):
        if max_frame is None or len(first) <= max_frame:
            return first, False, []
        return (first[:max_frame], False,
                [first[start:start + max_frame] for start in range(max_frame, len(first), max_frame)])
    if max_frame is None:
        return first.data, True, []
    if len(first.data) > max_frame:
        parts = _cut_characters(first.data, max_frame)
        return parts[0], True, parts[1:]
    taken, size = [first.data], len(first.data)
    while waiting:
        item = waiting[0]
        if isinstance(item, bytes) or size + len(item.data) > max_frame:
            break
        waiting.popleft()
        if taken_out is not None:
            taken_out.append(item)
        taken.append(item.data)
        size += len(item.data)
    return b"".join(taken), True, []


def _cut_characters(data: bytes, size: int) -> list[bytes]:
    # Each text frame must be UTF-8 by itself, so never cut before a continuation byte (10xxxxxx).
    parts = []
    while len(data) > size:
        # A frame must not begin with a newline. So a last newline takes a character along.
        end = _boundary(data, size - (len(data) == size + 1)) or _boundary(data, size) or size
        parts.append(data[:end])
        data = data[end:]
    return [*parts, data]


def _boundary(data: bytes, end: int) -> int:
    while end and data[end] & 0xC0 == 0x80:
        end -= 1
    return end


class EchoMemory:
    """Remembers the last lines sent, to tell their echoes from the peer's own lines.

    Not thread-safe: the connection calls it under its state lock. It calls `sent` before the line
    leaves, so that no echo arrives before its line is remembered.
    """

    __slots__ = ("_order", "_count")

    def __init__(self) -> None:
        self._order: deque[str] = deque()
        self._count: Counter[str] = Counter()

    def sent(self, line: str) -> None:
        """Remember a line; beyond the bound the oldest is forgotten."""
        self._order.append(line)
        self._count[line] += 1
        if len(self._order) > ECHO_MEMORY:
            self._forget(self._order.popleft())

    def claim(self, line: str) -> bool:
        """Whether a received line is an echo; each line sent is claimed once."""
        if line not in self._count:
            whole = self._cut_from(line)
            if whole is None:
                return False
            line = whole
        # Echoes arrive in the order of the lines, so the search ends at or near the front.
        self._order.remove(line)
        self._forget(line)
        return True

    def _cut_from(self, line: str) -> Optional[str]:
        # The echo of a line that is too long ends after 2047 bytes. That may be inside a character,
        # which was then replaced. Only a profile with another max_line allows such a line.
        size = len(line) * 4
        if size < CUT_ECHO or len(line.encode("utf-8", "replace")) < CUT_ECHO:
            return None
        head = line.rstrip("\ufffd")
        return next((sent for sent in self._order if sent.startswith(head)), None)

    def _forget(self, line: str) -> None:
        self._count[line] -= 1
        if not self._count[line]:
            del self._count[line]
