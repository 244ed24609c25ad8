"""``pattern.py``: which messages a pattern matches."""

from __future__ import annotations

import re
import unittest

from mmdagent_remote import Message
from mmdagent_remote.vocabulary.pattern import describe, matcher_of


class PatternTest(unittest.TestCase):
    """What a pattern matches."""

    def check(self, pattern: object, *lines: str, no: tuple[str, ...] = ()) -> None:
        """The pattern matches these lines, and not those."""
        matches = matcher_of(pattern)  # type: ignore[arg-type]
        for line in lines:
            self.assertTrue(matches(Message(line)), line)
        for line in no:
            self.assertFalse(matches(Message(line)), line)

    def test_str(self) -> None:
        """The fields of a str equal the leading fields of the message, whole."""
        self.check("MOTION_ADD", "MOTION_ADD", "MOTION_ADD|0", no=("MOTION_ADDX", "MOTION", "X|MOTION"))
        self.check("MOTION_ADD|0", "MOTION_ADD|0", "MOTION_ADD|0|x", no=("MOTION_ADD", "MOTION_ADD|01"))
        self.check("A|", "A|", "A||x", no=("A", "A|x"))
        self.check(".*", ".*", no=("A",))

    def test_message(self) -> None:
        """A Message matches only an equal line."""
        self.check(Message.of("KEY", "a"), "KEY|a", no=("KEY", "KEY|a|b", "KEY|b"))

    def test_regular_expression(self) -> None:
        """A regular expression matches the whole line."""
        self.check(re.compile(r"KEY\|[ab]"), "KEY|a", "KEY|b", no=("KEY|ab", "KEY", "xKEY|a"))

    def test_predicate(self) -> None:
        """A predicate is given the Message."""
        self.check(lambda message: message.args == ("a",), "KEY|a", no=("KEY|b",))

    def test_what_is_no_pattern(self) -> None:
        """An invalid pattern, or one that can never match, is refused at once."""
        for wrong in (None, 1, ["KEY"], b"KEY", re.compile(b"KEY")):
            with self.subTest(wrong), self.assertRaises(TypeError):
                matcher_of(wrong)  # type: ignore[arg-type]
        for never in ("", "|a", "KEY|a\n", "A\rB"):
            with self.subTest(never), self.assertRaises(ValueError):
                matcher_of(never)

    def test_in_words(self) -> None:
        """Patterns have a description for the text of an error."""
        def is_key(message: Message) -> bool:
            return message.type == "KEY"
        self.assertEqual(describe(("A|1", re.compile("B.*"), is_key)), "'A|1' or /B.*/ or is_key")


if __name__ == "__main__":
    unittest.main()
