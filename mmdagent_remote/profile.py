"""What differs per kind of peer, as data. Pure.

``STRICT`` is any RFC 6455 client: a browser, ``websockets``, a test tool.
``MMDAGENT_EX`` is MMDAgent-EX's Plugin_Remote, on Poco 1.11, as measured on the
real application; it says which one it is by the header ``X-App-Type: MMDAgent``.
No other module asks which profile it has: it asks for one of these fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

#: Seven bytes are what Plugin_Remote looks at before it knows whether a line that
#: begins with S is audio ("SND" and four digits).
_SOUND_HEAD = 7

#: The words that are meant for Plugin_Remote itself. It sends no echo of them.
_SOUND_WORDS = frozenset({"SNDSTRM", "SNDFILE", "SNDBRKS"})
_AVATAR = "__AV"
_WRAPPER = "__AV_MESSAGE,"

#: Taken at the start of a frame for a relay's notice, never issued.
_RELAY_NOTICE = "__peer_disconnected__"


@dataclass(frozen=True, slots=True)
class Profile:
    """What one kind of peer needs. Times in seconds, sizes in bytes with the newline."""

    name: str
    #: It sends back every line that it is sent.
    echoes: bool = False
    #: The bytes of a Close frame's code stay in its line buffer and spoil the first
    #: line after the reconnect; code 4000 hangs it. An empty Close does neither.
    empty_close: bool = False
    #: It ends without a Close frame, by FIN or RST, always. So that is a normal end.
    ends_without_close: bool = False
    #: A frame that comes with or right behind the 101 is stuck in its HTTP buffer until
    #: another comes: so the first is held this long, and a ping follows as much later.
    first_line_hold: float = 0.0
    #: It speaks only when nothing has arrived for 10 ms: the least pause between frames.
    gap: float = 0.0
    #: 2048 bytes overrun its stack buffer, 5000 crash it.
    max_line: Optional[int] = None
    #: A payload of 8192 bytes resets the connection. With this set, waiting lines are
    #: joined to frames of at most so many bytes.
    max_frame: Optional[int] = None
    #: The same off loopback: a frame that comes in two TCP segments 8 ms apart is lost,
    #: so a frame must fit one.
    max_frame_remote: Optional[int] = None
    #: It may cut an echo inside a character, and takes any bytes for text.
    lenient_text: bool = False
    #: Its raw request targets: empty, with blanks, in raw UTF-8.
    mends_target: bool = False
    #: Binary messages are audio: whole chunks only, of at most so many bytes with their head, which is
    #: what its line buffer holds.
    max_chunk: Optional[int] = None
    #: It would misread some lines; :func:`wrap` protects them.
    wraps: bool = False

    @property
    def sends_as_is(self) -> bool:
        """Whether a line is sent as one frame, and nothing is to be minded."""
        return not (self.wraps or self.echoes or self.gap or self.first_line_hold or self.max_line
                    or self.max_frame or self.max_frame_remote)


STRICT = Profile(name="STRICT")

MMDAGENT_EX = Profile(
    name="MMDAGENT_EX",
    echoes=True,
    empty_close=True,
    ends_without_close=True,
    first_line_hold=0.020,
    gap=0.012,
    max_line=2047,
    max_frame=8191,
    max_frame_remote=1400,
    lenient_text=True,
    mends_target=True,
    max_chunk=8191,
    wraps=True,
)


def is_wire_word(line: str) -> bool:
    """Whether a line is meant for Plugin_Remote itself, and so gets no echo."""
    return line.startswith(_AVATAR) or line in _SOUND_WORDS


def wrap(line: str) -> str:
    """Protect a line (without newline) that MMDAgent-EX would misread; others come back as they are.

    A short line with S is held until more arrives, one with SND is taken for audio, and
    the relay's notice is swallowed. Behind ``__AV_MESSAGE,`` each is issued as it is.
    """
    if line.startswith("S"):
        short = len(line.encode()) + 1 < _SOUND_HEAD
        if short or line.startswith("SND") and line not in _SOUND_WORDS:
            return _WRAPPER + line
    elif line.startswith(_RELAY_NOTICE):
        return _WRAPPER + line
    return line


def echo_of(line: str) -> Optional[str]:
    """What MMDAgent-EX sends back for a line (before wrapping), or None."""
    if line.startswith(_WRAPPER):
        return line[len(_WRAPPER):] or None
    return None if is_wire_word(line) else line
