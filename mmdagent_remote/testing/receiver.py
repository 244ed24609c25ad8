"""What MMDAgent-EX makes of the bytes that it receives. Pure.

Input: payloads of data frames. Output: what happens. :class:`Receiver` behaves as the real
program was measured to behave, including its faults. Where the measurements left something
open, it follows the program's source. :class:`TolerantReceiver` accepts everything.

The real one has one buffer of 8192 bytes, which lives as long as the program, not the connection.
So what one connection leaves there spoils the first line of the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Optional, Union

#: A frame must fit after what is held, and one byte stays free.
ROOM = 8191
#: Maximum bytes of a line with its newline. A longer line overruns a buffer, and its echo is cut.
MAX_LINE = 2047
#: With up to this many bytes the program survived the overrun; from 5000 on it never did.
MAX_OVERRUN = 4097
#: The largest chunk of sound that fits the buffer with its header of seven bytes.
MAX_SOUND = 8184

_WRAPPER = b"__AV_MESSAGE,"
_AVATAR = b"__AV"
_RELAY_NOTICE = b"__peer_disconnected__"
_NEVER_ECHOED = b"RECOG_RECORD_"
_SOUND_WORDS = (b"STRM", b"FILE", b"BRKS")
_SOUND_HEAD = 7

_END = re.compile(rb"[\r\n]")
# As C's atoi() reads it.
_NUMBER = re.compile(rb"[ \t\v\f\r\n]*([+-]?[0-9]+)")
_CHUNK_HEAD = re.compile(rb"SND([0-9]{4})")


class Fate(Enum):
    """What can happen to the program or its connection."""

    CRASH = "crashed"
    #: Its thread spins: it no longer reads or answers anything, and its socket stays open.
    HANG = "hung"
    #: It reads, answers pings and sends, but obeys nothing that it receives any more.
    DEAF = "deaf"
    #: An exception inside: it resets the connection and reconnects.
    ERROR = "broken off"
    #: It closes and reconnects, as after a FIN.
    LOST = "disconnected"


@dataclass(frozen=True)
class Issued:
    """A line that the program issues as a message, and the payload of the echo; empty: it sends none."""

    line: str
    echo: bytes


@dataclass(frozen=True)
class Word:
    """A line for Plugin_Remote itself (``__AV_START``, ``SNDFILE``); no echo."""

    text: str


@dataclass(frozen=True)
class Sound:
    """The body of a chunk of audio. Empty: a line that only looked like a chunk was swallowed."""

    data: bytes


@dataclass(frozen=True)
class Fault:
    """The sender did something that the program cannot handle."""

    fate: Fate
    reason: str


Happening = Union[Issued, Word, Sound, Fault]


class _Stop(Exception):
    # Carries a fault up out of nested calls.
    def __init__(self, fate: Fate, reason: str) -> None:
        super().__init__(reason)
        self.fault = Fault(fate, reason)


class Receiver:
    """The receiving side of the real program."""

    def __init__(self) -> None:
        self._held = b""
        self._deaf = False

    @property
    def held(self) -> bytes:
        """What waits for its newline."""
        return self._held

    @property
    def room(self) -> int:
        """The largest payload that still fits."""
        return ROOM - len(self._held)

    def feed(self, payload: bytes) -> list[Happening]:
        """Take the payload of one frame. A :class:`Fault` is always the last thing that happens."""
        if not payload:
            return [Fault(Fate.LOST, "an empty data frame, which it takes for a disconnect")]
        if len(payload) > self.room:
            return [Fault(Fate.ERROR, f"a frame of {len(payload)} bytes with room for {self.room}")]
        data, at = self._held + payload, 0
        found: list[Happening] = []
        try:
            while at < len(data) and not self._deaf:
                end, happening = _step(data, at)
                if happening is not None:
                    found.append(happening)
                if end == at:
                    break
                at = end
        except _Stop as stop:
            self._deaf = stop.fault.fate is Fate.DEAF
            found.append(stop.fault)
        self._held = data[at:]
        return found


class TolerantReceiver:
    """A receiver without faults: any line end, any length, any bytes."""

    room = 64 * 1024 * 1024

    def __init__(self) -> None:
        self._held = b""

    def feed(self, payload: bytes) -> list[Happening]:
        """Take the payload of one frame."""
        data, at = self._held + payload, 0
        found: list[Happening] = []
        while at < len(data):
            head = _CHUNK_HEAD.match(data, at)
            if head:
                end = head.end() + int(head.group(1))
                if end > len(data):
                    break
                found.append(Sound(data[head.end():end]))
            else:
                newline = _END.search(data, at)
                if newline is None:
                    break
                end = newline.end()
                if newline.start() > at:
                    found += _tolerated(data[at:newline.start()])
            at = end
        self._held = data[at:]
        return found


def _tolerated(line: bytes) -> list[Happening]:
    if line.startswith(b"SND") and line[3:] in _SOUND_WORDS:
        return [Word(line.decode())]
    happening = _what_is(line, limited=False)
    return [happening] if happening else []


def _step(data: bytes, at: int) -> tuple[int, Optional[Happening]]:
    # Returns where to continue, which is `at` while it waits for more, and what happened.
    if data[at] == ord("S"):
        if len(data) - at < _SOUND_HEAD:
            return at, None
        if data.startswith(b"SND", at):
            return _sound(data, at)
    return _text(data, at)


def _sound(data: bytes, at: int) -> tuple[int, Optional[Happening]]:
    body = at + _SOUND_HEAD
    word = data[at + 3:body]
    if word in _SOUND_WORDS:
        end = next((body + len(each) for each in (b"\n", b"\r\n") if data.startswith(each, body)), body)
        return end, Word("SND" + word.decode())
    if word[:1] in (b"\r", b"\n"):
        raise _Stop(Fate.CRASH, "SND and a newline, which it takes for audio")
    number = _NUMBER.match(word)
    size = int(number.group(1)) if number else 0
    if size < 0:
        raise _Stop(Fate.CRASH, f"audio of {size} bytes")
    if size > MAX_SOUND:
        raise _Stop(Fate.DEAF, f"a chunk of {size} bytes, which never fits; at most {MAX_SOUND} do")
    if len(data) < body + size:
        return at, None
    return body + size, Sound(data[body:body + size])


def _text(data: bytes, at: int) -> tuple[int, Optional[Happening]]:
    if data[at] in b"\r\n":
        if not data[at:].strip(b"\r\n"):
            raise _Stop(Fate.CRASH, "an empty line: a newline with nothing before it")
        raise _Stop(Fate.DEAF, f"a newline in front: {data[at:at + 40]!r}")
    end = _line_end(data, at)
    if end is None:
        return at, None
    line, after = data[at:end], end
    while after < len(data) and data[after] in b"\r\n":
        after += 1
    if at == 0 and line.startswith(_RELAY_NOTICE):
        return after, Word(line.decode("utf-8", "replace"))
    return after, _what_is(line, limited=True)


def _line_end(data: bytes, at: int) -> Optional[int]:
    # It looks for line ends only where a character begins, and takes its size from its first byte.
    found = _END.search(data, at)
    line = data[at:found.start() if found else len(data)]
    if found and b"\0" not in line:
        try:
            line.decode()
            return found.start()
        except UnicodeDecodeError:
            pass  # The slow way below may find another end.
    while at < len(data):
        size = _character_size(data[at])
        if size == 0:
            raise _Stop(Fate.HANG, f"the byte {data[at]:#04x} where a character begins: {line[:40]!r}")
        if b"\0" in data[at:at + size]:
            raise _Stop(Fate.DEAF, f"a NUL byte: {line[:40]!r}")
        if data[at] in b"\r\n":
            return at
        at += size
    return None


def _character_size(lead: int) -> int:
    if lead < 0x80:
        return 1
    for bound, size in ((0xC2, 0), (0xE0, 2), (0xF0, 3), (0xF8, 4), (0xFC, 5), (0xFE, 6)):
        if lead < bound:
            return size
    return 0


def overrun(line: str, ascii_voices: Iterable[str]) -> Optional[Fault]:
    """What Open JTalk makes of a SYNTH_START: a crash if its text needs more room than there is.

    Its buffer has two bytes for each byte of the text. An ASCII character needs three, a control
    character none, a half-width sound mark is joined to the character before it.

    Args:
        ascii_voices: patterns of the voices that Flite speaks.
    """
    fields = line.split("|")
    if fields[0] != "SYNTH_START" or len(fields) < 4:
        return None
    voice, text = fields[2], fields[3]
    if any(fnmatchcase(voice, pattern) for pattern in ascii_voices):
        return None
    ascii_letters = sum("\x20" <= each < "\x7f" for each in text)
    controls = sum(each < "\x20" or each == "\x7f" for each in text)
    others = len(text.encode("utf-8", "replace")) - ascii_letters - controls
    if ascii_letters <= others + 2 * controls + 3 * sum(each in "\uff9e\uff9f" for each in text):
        return None
    return Fault(Fate.CRASH, f"Open JTalk's buffer is too small for {text[:40]!r} in full-width letters")


def _what_is(line: bytes, *, limited: bool) -> Optional[Happening]:
    if line.startswith(_WRAPPER):
        line = line[len(_WRAPPER):]
    elif line.startswith(_AVATAR):
        return Word(line.decode("utf-8", "replace"))
    if not line.strip(b"|"):
        return None
    size = len(line) + 1
    # One empty last field is dropped, and a message of its speech recorder is not sent back.
    echo = b"" if line.startswith(_NEVER_ECHOED) else line.removesuffix(b"|") + b"\n"
    if limited and size > MAX_OVERRUN:
        raise _Stop(Fate.CRASH, f"a line of {size} bytes; at most {MAX_LINE} are safe")
    if limited and size > MAX_LINE:
        echo = echo[:MAX_LINE]
    return Issued(line.decode("utf-8", "replace"), echo)
