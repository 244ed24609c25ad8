"""``--filter PATTERN``: which lines are shown. Pure.

A pattern is the leading fields of a message, as everywhere in this package. Between slashes it is
a regular expression, which must match the whole line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..message import Message
from ..vocabulary.pattern import Matcher, matcher_of


def matcher_of_word(word: str) -> Matcher:
    """A function that tells whether a line matches a pattern as it is typed in a shell.

    Raises:
        ValueError: the word is not a pattern.
    """
    if len(word) < 2 or not word.startswith("/") or not word.endswith("/"):
        return matcher_of(word)
    try:
        return matcher_of(re.compile(word[1:-1]))
    except re.error as error:
        raise ValueError(f"{word} is no regular expression: {error}") from error


def matcher_of_words(words: Sequence[str]) -> Matcher:
    """A function that tells whether a line matches any pattern; without patterns, all lines do."""
    matchers = [matcher_of_word(word) for word in words]

    def matches(message: Message) -> bool:
        return not matchers or any(matcher(message) for matcher in matchers)
    return matches
