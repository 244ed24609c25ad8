"""What differs per kind of peer, as data. Pure.

``STRICT`` is any RFC 6455 client: a browser, ``websockets``, a test tool.
``MMDAGENT_EX`` is MMDAgent-EX's Plugin_Remote, on Poco 1.11, as measured on the
real application; it identifies itself with the header ``X-App-Type: MMDAgent``.
Other modules do not ask which profile a peer has. They read these fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Optional

#: Plugin_Remote needs seven bytes to tell whether a line that begins with S is audio
#: ("SND" and four digits).
_SOUND_HEAD = 7

#: Words for Plugin_Remote itself. It sends no echo of them.
_SOUND_WORDS = frozenset({"SNDSTRM", "SNDFILE", "SNDBRKS"})
_AVATAR = "__AV"
_WRAPPER = "__AV_MESSAGE,"

#: A line that begins a frame with this is taken for a relay's notice, and never issued.
_RELAY_NOTICE = "__peer_disconnected__"

#: Messages of which it sends no echo.
_NEVER_ECHOED = "RECOG_RECORD_"

_SPEAK = "SYNTH_START|"
#: Open JTalk's own table of full-width letters: with it, phonemes and durations are the same as those of
#: the ASCII text. `|` is not in it, since it separates fields.
_FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F) if code != ord("|")} | {
    ord(" "): 0x3000, ord('"'): 0x201D, ord("'"): 0x2019, ord("-"): 0x2212, ord("\\"): 0xFFE5,
    ord("`"): 0x2018, ord("~"): 0x301C}


@dataclass(frozen=True, slots=True)
class Profile:
    """What one kind of peer needs. Times are in seconds, sizes in bytes with the newline."""

    name: str
    #: It sends back every line that it receives.
    echoes: bool = False
    #: The bytes of a Close frame's code stay in its line buffer and spoil the first
    #: line after the reconnect; code 4000 hangs it. An empty Close does neither.
    empty_close: bool = False
    #: It always ends by FIN or RST, without a Close frame. So that is a normal end.
    ends_without_close: bool = False
    #: A frame that comes with or right after the 101 stays in its HTTP buffer until another
    #: comes. So the first is held this long, and a ping follows after the same time again.
    first_line_hold: float = 0.0
    #: The least pause between frames: it sends only when nothing has arrived for 10 ms.
    gap: float = 0.0
    #: 2048 bytes overrun its stack buffer, 5000 crash it.
    max_line: Optional[int] = None
    #: A payload of 8192 bytes resets the connection. If this is set, waiting lines are
    #: joined into frames of at most this many bytes.
    max_frame: Optional[int] = None
    #: The same for a peer that is not on loopback: a frame that comes in two TCP segments
    #: 8 ms apart is lost, so a frame must fit into one.
    max_frame_remote: Optional[int] = None
    #: It may cut an echo inside a character, and accepts any bytes as text.
    lenient_text: bool = False
    #: Its request targets are raw (empty, with blanks, in raw UTF-8), so they are repaired.
    mends_target: bool = False
    #: Binary messages are audio: whole chunks only, of at most this many bytes with their
    #: head, which is the size of its line buffer.
    max_chunk: Optional[int] = None
    #: It would misread some lines; :func:`wrap` protects them.
    wraps: bool = False
    #: Voices that read ASCII, as patterns of :mod:`fnmatch`: Flite's. Any other may be Open
    #: JTalk's, whose buffer has two bytes for each byte of a text, and needs three for each ASCII
    #: character: "You said hello." ended the application in 4 of 4 runs. :func:`full_width`
    #: protects those voices. None: any text is safe.
    ascii_voices: Optional[tuple[str, ...]] = None

    @property
    def sends_as_is(self) -> bool:
        """Whether a line is sent as one frame, without special treatment."""
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
    ascii_voices=("slt_*",),
)


def is_wire_word(line: str) -> bool:
    """Whether a line is meant for Plugin_Remote itself, and so gets no echo."""
    return line.startswith(_AVATAR) or line in _SOUND_WORDS


def wrap(line: str) -> str:
    """Protect a line (without newline) that MMDAgent-EX would misread; return others unchanged.

    A short line that begins with S is held until more arrives, one with SND is taken for
    audio, and the relay's notice is dropped. After ``__AV_MESSAGE,`` each is issued as it is.
    """
    if line.startswith("S"):
        short = len(line.encode()) + 1 < _SOUND_HEAD
        if short or line.startswith("SND") and line not in _SOUND_WORDS:
            return _WRAPPER + line
    elif line.startswith(_RELAY_NOTICE):
        return _WRAPPER + line
    return line


def echo_of(line: str) -> Optional[str]:
    """What MMDAgent-EX sends back for a line (before wrapping), or None.

    It drops one empty last field: ``KEY|`` comes back as ``KEY``.
    """
    if line.startswith(_WRAPPER):
        line = line[len(_WRAPPER):]
    elif is_wire_word(line):
        return None
    if not line or line.startswith(_NEVER_ECHOED):
        return None
    return line[:-1] if line.endswith("|") else line


def in_full_width(text: str) -> str:
    """A text with its ASCII characters in full width, character by character."""
    return text.translate(_FULL_WIDTH)


def reads_ascii(voice: str, profile: Profile) -> bool:
    """Whether a text for this voice may be ASCII."""
    return profile.ascii_voices is None or any(
        fnmatchcase(voice, pattern) for pattern in profile.ascii_voices)


def full_width(line: str, profile: Profile) -> str:
    """Put the text of a SYNTH_START into full width if Open JTalk would overrun its buffer.

    That is so if the text has more ASCII bytes than others, in UTF-8: of 9,658 texts that this rule
    let pass, none did. Then all its ASCII is converted, else none. Other lines are returned unchanged.
    """
    start = len(_WRAPPER) if line.startswith(_WRAPPER) else 0
    if not line.startswith(_SPEAK, start):
        return line
    # The fourth field alone is spoken, whatever comes behind it.
    fields = line.split("|")
    if len(fields) < 4 or reads_ascii(fields[2], profile):
        return line
    text = fields[3]
    if 2 * sum(map(str.isascii, text)) <= len(text.encode()):
        return line
    fields[3] = in_full_width(text)
    return "|".join(fields)
