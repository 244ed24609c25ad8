"""Where a stream of text is cut into sentences, for speech. Pure.

A language model's answer comes in small pieces, and an avatar can speak the first
sentence while the second is still being written. :class:`SentenceCutter` returns
each sentence as soon as its end is certain; :func:`cut_to_fit` cuts one that
is too long for a line. Neither uses a socket, thread or clock; neither is thread-safe.

No letter, digit, kana or kanji is ever lost, added or moved. Marks, symbols and
blanks may be, since they carry no sound. :func:`_is_end` decides what ends a
sentence, and :class:`_Markdown` which Markdown is removed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Optional

from ..message import clean_text

#: Maximum characters of one sentence: about half a minute of speech. A longer one would delay the
#: first sound too much. In UTF-8 it has at most 800 bytes, so with its command it fits one line.
MAX_SENTENCE = 200

_NEWLINES = "\n\r\u2028\u2029"
# These end a sentence whatever follows, except the full-width dot; see _is_end.
_ALWAYS = "。｡．！？\u203c\u2047\u2048\u2049"
_ENDS = _ALWAYS + "!?.…‥"
# A variation selector turns the mark before it into a picture, so it stays with that mark.
_BRACKETS = ")]}）］｝〕】〗》〉」』｣〞〟”»›\ufe0e\ufe0f"
# These quotes open as well as close. Directly after the end of a sentence they close.
_CLOSING = _BRACKETS + "\"'’＂＇"
_TRAILING = _ENDS + _CLOSING

_SPOKEN = re.compile(r"[^\W_]")
_WORD = re.compile(r"\w")
_LEADING = re.compile(rf"[\s{re.escape(_BRACKETS)}]+")
_RUN = re.compile(rf"([{re.escape(_ENDS)}]+)[{re.escape(_TRAILING)}]*")
# A comma inside a number is no pause.
_PAUSE = re.compile(r",(?!\d)|[、，]|\s")

# Kana, kanji, Hangul. Full-width letters and digits are excluded: they form words and numbers.
_CJK = ("\u1100-\u11ff\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3041-\u30fa\u30fc-\u31ff\u3400-\u9fff"
        "\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff")
_PICTURES = "\u2600-\u27bf\U0001f000-\U0001faff"
_BEHIND_A_DOT = re.compile(rf"[\s{re.escape(_CLOSING)}「『（［｛〔【《〈{_CJK}{_PICTURES}]")
_LATIN = re.compile(rf"(?![{_CJK}])[^\W_]")

# A single letter is an initial, or the last one of "e.g.", "i.e.", "a.m.", "p.m.", "U.S.", "Ph.D.".
# The t of "can't." is not an abbreviation.
_ABBREVIATION = re.compile(
    r"(?<![A-Za-z0-9_'’])(?:[a-z]|mrs?|ms|dr|prof|st|sr|jr|vs|etc|fig|inc|ltd|co|approx)\Z",
    re.IGNORECASE)
# "No." is a short answer as often as it means "number", so the next word decides.
_NUMERO = re.compile(r"(?<![A-Za-z0-9_'’])no\Z", re.IGNORECASE)
_LIST_NUMBER = re.compile(r"\d{1,3}")

_NEVER_FIRST = re.compile(  # Enclosing marks, the joiner, voicing marks, skin tones, tags.
    "[\u0488\u0489\u1abe\u200d\u20dd-\u20e4\ua670-\ua672\uff9e\uff9f"
    "\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")
# Characters checked on each side of a mark: enough for an abbreviation, and for what stands
# between "No." and its number.
_CONTEXT = 16


class SentenceCutter:
    """Cuts a text that comes in pieces into sentences, each as early as possible.

    Each sentence is fit for one field (:func:`clean_text`), contains something that can be
    spoken, and is at most :data:`MAX_SENTENCE` characters long. The cuts do not depend on the
    pieces, with two exceptions. ASCII ``!`` and ``?`` end a sentence when they end a piece. Marks
    that come in a later piece than the end that they follow are dropped.
    """

    __slots__ = ("_markdown", "_text", "_run", "_run_end", "_sure", "_starts_line", "_given")

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._markdown = _Markdown()
        self._text = ""
        self._run = -1  # Where the last marks that may end the sentence begin; -1: there are none.
        self._run_end = 0
        self._sure = False  # They do end it; only closing quotes and more marks may still follow.
        self._starts_line = True
        self._given = False  # A sentence was returned, and marks that belong to its end may follow.

    def feed(self, piece: str) -> list[str]:
        """Take the next piece, of any length.

        Returns:
            the sentences that this piece completed, often none.
        """
        done: list[str] = []
        for char in self._markdown.feed(piece):
            self._take(char, done)
        if self._ends_with(""):
            self._give(len(self._text), done)
            self._given = True
        return done

    def flush(self) -> list[str]:
        """End the stream; the next piece begins another.

        Returns:
            the rest, at most a sentence or two.
        """
        done: list[str] = []
        for char in self._markdown.flush():
            self._take(char, done)
        self._give(len(self._text), done)
        self._reset()
        return done

    def _take(self, char: str, done: list[str]) -> None:
        if char in _NEWLINES:
            self._give(len(self._text), done)
            self._starts_line, self._given = True, False
            return
        if self._run >= 0 and self._goes_on(char, done):
            return
        if not self._text and self._is_idle(char):
            return
        self._text += char
        if char in _ENDS and self._run < 0:
            self._run, self._run_end = len(self._text) - 1, len(self._text)
        if len(self._text) > MAX_SENTENCE:
            self._shorten(done)

    def _goes_on(self, char: str, done: list[str]) -> bool:
        # Called after marks that may end the sentence: whether the character belongs to them.
        if char in _ENDS and (self._sure or self._run_end == len(self._text)):
            self._sure = self._sure or char in _ALWAYS or self._text[self._run] in _ALWAYS
            self._append(char)
            self._run_end = len(self._text)
            return True
        ends = self._ends_with(char)
        if ends and char in _CLOSING and self._text[-1:].strip():
            self._sure = True
            self._append(char)
            return True
        if ends:
            self._give(len(self._text), done)
        elif ends is False:
            self._run = -1
        return False

    def _append(self, char: str) -> None:
        # A run of a thousand dots need not be kept whole, but its last mark decides what it means.
        if len(self._text) < MAX_SENTENCE:
            self._text += char
        elif not self._sure:
            self._text = self._text[:-1] + char

    def _ends_with(self, char: str) -> Optional[bool]:
        if self._run < 0 or self._sure:
            return self._sure
        return _is_end(self._text + char, self._run, self._run_end, self._starts_line)

    def _is_idle(self, char: str) -> bool:
        # Whether the character cannot begin a sentence. Directly after a returned one, more cannot.
        if self._given and char in _TRAILING:
            return True
        if char in _BRACKETS:
            return True
        self._given = False
        return char.isspace()

    def _shorten(self, done: list[str]) -> None:
        # The positions of pending end marks move along, if the marks are in what is left.
        run, run_end, size = self._run, self._run_end, len(self._text)
        self._give(_pause(self._text, MAX_SENTENCE), done)
        gone = size - len(self._text)
        if run >= gone:
            self._run, self._run_end = run - gone, run_end - gone

    def _give(self, end: int, done: list[str]) -> None:
        sentence = clean_text(self._text[:end])
        if _SPOKEN.search(sentence):
            done.append(sentence)
        self._text = _without_lead(self._text[end:])
        self._run, self._sure, self._starts_line = -1, False, False


def cut_to_fit(text: str, max_bytes: int, as_sent: Callable[[str], str] = str) -> list[str]:
    """Cut a text into parts of at most ``max_bytes`` bytes in UTF-8.

    It cuts at the ends of sentences if possible, else at commas or blanks, else between
    characters. Parts that cannot be spoken are left out.

    Args:
        text: a text as :func:`clean_text` returns it.
        max_bytes: 4 or more, since one character takes up to 4.
        as_sent: returns a text as it is sent, character by character; its bytes count.

    Returns:
        the parts: only the text itself if it fits, none if it is blank.

    Raises:
        ValueError: ``max_bytes`` is less than 4.
    """
    if max_bytes < 4:
        raise ValueError(f"max_bytes must be 4 or more, so that any character fits, not {max_bytes}")
    if _count_fitting(text, 0, max_bytes, as_sent) == len(text):
        return [text] if text.strip() else []
    parts = (part.strip() for part in _parts(text, max_bytes, as_sent))
    return [part for part in parts if _SPOKEN.search(part)]


def _parts(text: str, max_bytes: int, as_sent: Callable[[str], str]) -> Iterator[str]:
    start = 0
    while start < len(text):
        if text[start].isspace() or text[start] in _BRACKETS:
            start += 1
            continue
        size = _count_fitting(text, start, max_bytes, as_sent)
        if start + size < len(text):
            # A few characters more than fit, to see what follows an end mark.
            window = text[start:start + size + _CONTEXT]
            size = _last_end(window, size, start == 0) or _pause(window, size)
        yield text[start:start + size]
        start += size


def _count_fitting(text: str, start: int, max_bytes: int, as_sent: Callable[[str], str]) -> int:
    data = as_sent(text[start:start + max_bytes]).encode()
    return len(data[:max_bytes].decode(errors="ignore"))


def _last_end(text: str, limit: int, starts_line: bool) -> int:
    # The end of the last sentence that ends within the limit; 0 if none does.
    for found in reversed(list(_RUN.finditer(text, 0, limit + 1))):
        start, end = found.span(1)
        if end <= limit and _is_end(text, start, end, starts_line):
            return min(found.end(), limit)
    return 0


def _is_end(text: str, start: int, end: int, starts_line: bool) -> Optional[bool]:
    """Whether a run of end marks, ``text[start:end]``, ends the sentence that the text begins with.

    ``None`` if that depends on what comes after the text. ``starts_line``: whether the text is at
    the beginning of a line.
    """
    before, run = text[max(0, start - _CONTEXT):start], text[start:end]
    behind = text[end:end + _CONTEXT]
    starts_line = starts_line and start < _CONTEXT
    if run in (".", "．") and starts_line and _LIST_NUMBER.fullmatch(before):
        return False  # "1. Open the door."
    if run == "．" and before[-1:].isdecimal():
        return not behind[0].isdecimal() if behind else None  # ３．１４
    if any(mark in _ALWAYS for mark in run):
        return True
    if run[-1] in "!?":
        return not _LATIN.match(behind)  # https://example.com/?q=1
    if run == "." and _ABBREVIATION.search(before):
        return False
    if run == "." and _NUMERO.search(before):
        if not behind.strip():
            return None
        if behind.lstrip()[0].isdecimal():
            return False  # "No. 5", but "No. I am five."
    return bool(_BEHIND_A_DOT.match(behind)) if behind else None


def _pause(text: str, limit: int) -> int:
    # Where to cut inside a sentence, for a text that is longer than the limit.
    for found in reversed(list(_PAUSE.finditer(text, 0, limit + 1))):
        end = found.start() if found.group().isspace() else found.end()
        if 0 < end <= limit and not _is_inside(text, end):
            return end
    for end in range(limit, 0, -1):
        if not _is_inside(text, end):
            return end
    return limit  # A letter with more marks than the limit: cut inside it, or it is never cut.


def _is_inside(text: str, position: int) -> bool:
    # Whether a visible character continues here. Covers marks, variation selectors, joined emoji
    # and flags, not all of Unicode's rules. A mark may continue an identifier but not begin one, so
    # isidentifier() detects it. The same is true of digits and "_", so _WORD excludes those.
    char = text[position]
    if _NEVER_FIRST.match(char) or text[position - 1] == "\u200d":
        return True
    if f"a{char}".isidentifier() and not _WORD.match(char):
        return True
    flags = 0  # Flag letters in a row; each pair makes one flag.
    while _is_flag(char) and flags < position and _is_flag(text[position - 1 - flags]):
        flags += 1
    return flags % 2 == 1


def _is_flag(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _without_lead(text: str) -> str:
    lead = _LEADING.match(text)
    return text[lead.end():] if lead else text


class _Markdown:
    """Removes Markdown that language models write and that is not spoken, a character at a time.

    Anywhere: backticks, and two or more ``*`` or ``_`` in a row. At the beginning of a line:
    blanks, any ``#``, and a ``-`` or ``*`` before a blank. Nothing else: a single ``*``, a table
    or a link stays as it is.
    """

    __slots__ = ("_held", "_starts_line")

    def __init__(self) -> None:
        self._held = ""  # One mark whose meaning depends on the next character; two: a run of it.
        self._starts_line = True

    def feed(self, piece: str) -> str:
        """Take a piece; return what remains of it, as far as that is certain."""
        kept: list[str] = []
        for char in piece:
            if self._held and self._settle(char, kept):
                continue
            if char in "*_" or char == "-" and self._starts_line:
                self._held = char
            elif char != "`" and not (self._starts_line and char in "# \t"):
                kept.append(char)
                self._starts_line = char in _NEWLINES
        return "".join(kept)

    def flush(self) -> str:
        """End the text; return what was held back."""
        held, self._held, self._starts_line = self._held, "", True
        return held if len(held) == 1 else ""

    def _settle(self, char: str, kept: list[str]) -> bool:
        # Decide on the held mark. Returns whether the character is consumed with it.
        held = self._held
        if char == held[0] and char != "-":
            self._held = char * 2
            return True
        self._held = ""
        if len(held) == 2:
            return False
        if self._starts_line and held != "_" and char in " \t":
            return True
        kept.append(held)
        self._starts_line = False
        return False
