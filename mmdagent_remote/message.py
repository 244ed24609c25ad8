"""A message of MMDAgent-EX: ``TYPE|arg|arg``, one line.

This module has the :class:`Message` type, makes lines from fields, and checks what
any line may contain. Further limits of one kind of peer are in ``profile.py``.
Pure: no socket, no thread, no clock.

The grammar has no escape. ``|`` separates fields and a line end ends the message.
MMDAgent-EX drops empty fields in the middle, so all later fields move one place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, Union

from .errors import InvalidMessage

#: MMDAgent-EX reads at most ten arguments of a message.
MAX_ARGS = 10

#: What ``send()`` takes as a field.
Field = Union[str, int, float]

# CR, LF and NUL end or corrupt a line; a lone surrogate has no UTF-8 form.
_FORBIDDEN = re.compile("[\r\n\0\ud800-\udfff]")
_NAMES = {"\r": "a carriage return", "\n": "a line feed", "\0": "a NUL"}

# Line and paragraph separators of every kind become a blank.
_BREAKS = re.compile("[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
# The rest of C0 and C1, lone surrogates and the byte order mark are dropped.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufeff]+")


class Message(str):
    """One line of MMDAgent-EX, a ``str``, with its type and arguments.

    ``match`` works on it: ``case Message("KEY", (key,))``.

    Attributes:
        is_echo: whether this is the echo of a line that this connection sent.
            MMDAgent-EX sends back every command that it receives.
    """

    __slots__ = ("is_echo",)
    __match_args__ = ("type", "args")

    is_echo: bool

    def __new__(cls, line: str, *, is_echo: bool = False) -> Message:
        """Parse a line (without its newline). Nothing is checked: the peer may send anything."""
        self = str.__new__(cls, line)
        self.is_echo = is_echo
        return self

    @classmethod
    def of(cls, *fields: Field) -> Message:
        """Build a message from its fields: ``Message.of("KEY", "a")``.

        Raises:
            TypeError: a field is not ``str``, ``int`` or ``float``.
            InvalidMessage: the line cannot be carried.
        """
        if not fields:
            raise TypeError("a message has at least one field, its type")
        return cls(join_fields(fields))

    @property
    def type(self) -> str:
        """The first field, for example ``RECOG_EVENT_STOP``."""
        return self.partition("|")[0]

    @property
    def args(self) -> tuple[str, ...]:
        """The fields after the type, not converted."""
        return parse(self)[1]

    def __repr__(self) -> str:
        return f"Message({str.__repr__(self)})"


def parse(line: str) -> tuple[str, tuple[str, ...]]:
    """Split a line (without its newline) into its type and its arguments."""
    first, *rest = line.split("|")
    return first, tuple(rest)


def compose(fields: tuple[object, ...]) -> str:
    """Make one checked line, without newline, from the arguments of ``send()``.

    One argument is a whole line, which may end with one newline. Two or more are fields.

    Raises:
        TypeError: no argument, or one of a wrong type (``None`` and ``bool`` included).
        InvalidMessage: the line cannot be carried.
    """
    if len(fields) == 1:
        return check_line(fields[0])
    if not fields:
        raise TypeError("send() needs a line, or a message type and its arguments")
    return join_fields(fields)


def check_line(line: object) -> str:
    """Check a whole line and return it without its one trailing newline.

    Raises:
        TypeError: it is not a ``str``.
        InvalidMessage: it cannot be carried.
    """
    # Nearly every line returns here. No other subclass of str: its __str__ may return anything.
    if type(line) is str:
        if _is_simple(line):
            return line
        if line[-1:] == "\n" and _is_simple(line[:-1]):
            return line[:-1]
    elif type(line) is Message and _is_simple(line):
        return str(line)
    if not isinstance(line, str):
        raise TypeError(f"a whole line must be a str, not {type(line).__name__}")
    line = str(line)
    if line[-1:] == "\n":
        line = line[:-2] if line[-2:] == "\r\n" else line[:-1]
    return _check_fields(line)


def check_lines(lines: Iterable[object]) -> list[str]:
    """Check all lines as :func:`check_line` does, then return them without their newlines."""
    found: list[Any] = list(lines)
    if set(map(type, found)) == {str}:
        # All together first: checking each line by itself takes three times as long.
        bare = _without_newlines(found)
        text = "\n".join(bare)
        if (text.isascii() and "\r" not in text and "\0" not in text and "||" not in text
                and text[:1] not in "|\n" and text[-1:] != "\n" and "\n|" not in text
                and "\n\n" not in text and text.count("\n") == len(found) - 1
                and max([line.count("|") for line in bare]) <= MAX_ARGS):
            return bare
    return [check_line(line) for line in found]


def join_fields(fields: tuple[Any, ...]) -> str:
    """Join fields to a checked line, without newline."""
    for field in fields:
        if type(field) is not str:
            break
    else:
        # The usual case, in half the time. A bar inside a field is one bar too many in the line.
        line = "|".join(fields)
        if line.count("|") == len(fields) - 1 and _is_simple(line):
            return line
    texts = [_field_text(field, number) for number, field in enumerate(fields)]
    for number, text in enumerate(texts):
        if "|" in text:
            raise InvalidMessage(
                f"field {number} holds '|', which separates fields and cannot be escaped: {text!r}")
    return _check_fields("|".join(texts))


def clean_text(text: str) -> str:
    """Make any text, for example a language model's answer, fit for one field.

    Line ends and tabs become one blank, and ``|`` becomes the full-width bar ``｜``. Control
    characters, lone surrogates and blanks at both ends are removed.
    The result may be empty. Its length is not limited.
    """
    text = _UNPRINTABLE.sub("", _BREAKS.sub(" ", text))
    return text.replace("|", "\uff5c").strip()


def _field_text(field: object, number: int) -> str:
    # bool is an int in Python, but no user means to send "True".
    if isinstance(field, str):
        return str(field)
    if isinstance(field, int) and not isinstance(field, bool):
        return str(int(field))
    if isinstance(field, float):
        if not math.isfinite(field):
            raise InvalidMessage(f"field {number} is {field}, which MMDAgent-EX cannot read")
        return repr(float(field))
    raise TypeError(
        f"field {number} must be str, int or float, not {type(field).__name__}")


def _without_newlines(lines: list[str]) -> list[str]:
    # From all lines or from none. If only some have one, the caller checks each line by itself.
    if lines[0][-1:] == "\n":
        bare = [line[:-1] for line in lines]
        if "".join(lines) == "\n".join(bare) + "\n":
            return bare
    return lines


def _is_simple(line: str) -> bool:
    # True for nearly every line that is sent. Takes a third of the time of the full check.
    if not line.isascii() or "\n" in line or "\r" in line or "\0" in line:
        return False
    if "|" not in line:
        return line != ""
    return "||" not in line and line[0] != "|" and line.count("|") <= MAX_ARGS


def _check_fields(line: str) -> str:
    if not line:
        raise InvalidMessage("the line is empty; MMDAgent-EX crashes on an empty line")
    if _is_simple(line):
        return line
    found = _FORBIDDEN.search(line)
    if found:
        what = _NAMES.get(found.group(), "a lone surrogate, which has no UTF-8 form,")
        raise InvalidMessage(f"the line holds {what} at position {found.start()}: {line[:80]!r}")
    if "|" in line:
        fields = line.split("|")
        if "" in fields[:-1]:
            raise InvalidMessage(
                f"field {fields.index('')} is empty, and is not the last; MMDAgent-EX drops it, "
                f"and all fields after it move: {line[:80]!r}")
        if len(fields) > MAX_ARGS + 1:
            raise InvalidMessage(
                f"{len(fields) - 1} arguments, but MMDAgent-EX reads at most {MAX_ARGS}")
    return line
