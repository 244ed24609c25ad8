"""Patterns, which select messages. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Union

from ..message import Message

#: A ``str``: its fields equal the leading fields of the message; it is never a regular expression.
#: A compiled regular expression: it matches the whole line. A :class:`Message`: the same line. Or a
#: predicate, which is called in the thread that reads the line and must return at once.
Pattern = Union[str, "re.Pattern[str]", Callable[[Message], object]]

Matcher = Callable[[Message], object]


def matcher_of(pattern: Pattern) -> Matcher:
    """Return a function that tells whether a message matches a pattern.

    Raises:
        TypeError: it is not a pattern.
        ValueError: no message can ever match it.
    """
    if isinstance(pattern, Message):
        whole = str(pattern)
        return lambda message: message == whole
    if isinstance(pattern, str):
        if not pattern or pattern.startswith("|") or "\n" in pattern or "\r" in pattern:
            raise ValueError(f"no message can match the pattern {pattern!r}")
        head = pattern + "|"
        return lambda message: message == pattern or message.startswith(head)
    if isinstance(pattern, re.Pattern):
        if not isinstance(pattern.pattern, str):
            raise TypeError("a regular expression for messages must be one for str, not for bytes")
        return pattern.fullmatch
    if callable(pattern):
        return pattern
    raise TypeError("a pattern is a str, a compiled regular expression, a Message or a function, "
                    f"not {type(pattern).__name__}")


def describe(patterns: tuple[Pattern, ...]) -> str:
    """Return patterns in words, for the text of an error."""
    return " or ".join(_describe(pattern) for pattern in patterns)


def _describe(pattern: Pattern) -> str:
    if isinstance(pattern, str):
        return repr(str(pattern))
    if isinstance(pattern, re.Pattern):
        return f"/{pattern.pattern}/"
    return getattr(pattern, "__name__", repr(pattern))
