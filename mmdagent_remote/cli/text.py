"""Text for a terminal: escapes control characters, measures width, wraps lines. Pure.

A Japanese character takes two columns; Python's own ``len`` and ``textwrap`` count it as one.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, Optional

#: What a terminal might take for a command: C0, C1 and DEL; also line separators, controls that
#: change the writing direction, and surrogates.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_NOT_IN_JSON = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

#: A line may end after each of these: a word or field with the blanks after it, a wide character.
_WIDE = r"\u3000-\u9fff\uac00-\ud7ff\uff00-\uff60"
_PIECE = re.compile(rf"[{_WIDE}]\s*|[^\s{_WIDE}|]+\|?\s*|\|\s*|\s+")

#: Characters that must not begin a line in Japanese.
_NOT_FIRST = "、。，．」』）】？！ー・"


def escape(text: str) -> str:
    """The text with control characters escaped, as ``\\x1b``."""
    return _CONTROL.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    number = ord(found.group())
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def to_json(value: Any, indent: Optional[int] = None) -> str:
    """JSON that is safe for a terminal and for any encoding of Unicode; Japanese is not escaped."""
    # JSON allows escapes in its strings. Outside them the only control characters are line feeds.
    return _NOT_IN_JSON.sub(lambda found: f"\\u{ord(found.group()):04x}",
                            json.dumps(value, ensure_ascii=False, indent=indent))


def width(text: str) -> int:
    """How many columns a text takes."""
    if text.isascii():
        return len(text)
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0  # It is drawn on the character before it.
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def pad(text: str, columns: int) -> str:
    """The text, padded with blanks to a number of columns."""
    return text + " " * (columns - width(text))


def wrap(text: str, columns: int) -> list[str]:
    """Wrap a text to a number of columns, at blanks, after ``|`` and after wide characters."""
    lines, line = [], ""
    for piece in _pieces(text, max(2, columns)):
        # What must not begin a line stays on the line before, even if that gets too wide.
        if line and width(line + piece.rstrip()) > columns and piece[0] not in _NOT_FIRST:
            lines.append(line.rstrip())
            line = ""
        line += piece
    return [*lines, line.rstrip()]


def _pieces(text: str, columns: int) -> Iterator[str]:
    for piece in _PIECE.findall(text):
        while width(piece.rstrip()) > columns:
            end = columns
            while width(piece[:end]) > columns:
                end -= 1
            yield piece[:end]
            piece = piece[end:]
        if piece:
            yield piece


def table(rows: Sequence[tuple[str, str]], columns: int) -> list[tuple[str, str]]:
    """Two columns side by side: each line's left part, padded, and its right part.

    The left one is as wide as its longest text, but at most half of `columns`.
    """
    left = min(max((width(row[0]) for row in rows), default=0), columns // 2)
    lines = []
    for first, second in rows:
        begun = wrap(first, left)
        ended = wrap(second, columns - left - 2)
        for number in range(max(len(begun), len(ended))):
            lines.append((pad(begun[number] if number < len(begun) else "", left) + "  ",
                          ended[number] if number < len(ended) else ""))
    return lines
