"""``cli/text.py``: columns and lines, with Japanese."""

from __future__ import annotations

import json
import unittest

from hypothesis import given, settings
from hypothesis import strategies as st

from mmdagent_remote.cli.text import escape, pad, table, to_json, width, wrap


class TextTest(unittest.TestCase):
    """Text for a terminal."""

    def test_width(self) -> None:
        """A Japanese character takes 2 columns, a half-width one 1, and a combining one 0."""
        for text, columns in (("", 0), ("abc", 3), ("\u3053\u3093", 4), ("\uff76\uff85", 2),
                              ("\uff21", 2), ("\u304b\u3099", 2), ("e\u0301", 1), ("a\u200db", 2),
                              ("\U0001f600", 2)):
            self.assertEqual(width(text), columns, ascii(text))

    def test_pad(self) -> None:
        """Padded texts of either script end in the same column."""
        self.assertEqual(pad("\u9802", 5), "\u9802   ")
        self.assertEqual({width(pad(text, 10)) for text in ("abc", "\u3053\u3093", "")}, {10})

    def test_escape(self) -> None:
        """Control characters, and those that reverse a line's direction, are written as escapes."""
        self.assertEqual(escape("a\x1b[31m\x9b\n\u202e\ud800|\u3042"),
                         "a\\x1b[31m\\x9b\\x0a\\u202e\\ud800|\u3042")

    def test_json(self) -> None:
        """JSON holds Japanese as it is, and no control characters."""
        value = ["\u3042\"", "\x1b\x7f\x9b\u202e\ud800", {"a": 1}]
        text = to_json(value)
        self.assertEqual(json.loads(text), value)
        self.assertIn("\u3042", text)
        self.assertEqual(escape(text), text)

    def test_wrap(self) -> None:
        """Lines end at blanks, behind a bar and behind wide characters, but not before a full stop."""
        for text, columns, lines in (
                ("one two three", 8, ["one two", "three"]), ("A|bcd|ef", 6, ["A|bcd|", "ef"]),
                ("abcdefgh", 3, ["abc", "def", "gh"]),
                ("\u3042\u3044\u3046", 4, ["\u3042\u3044", "\u3046"]),
                ("\u3042\u3044\u3002\u3046", 4, ["\u3042\u3044\u3002", "\u3046"]), ("", 4, [""])):
            self.assertEqual(wrap(text, columns), lines)

    @settings(max_examples=200, deadline=None)
    @given(st.text("ab |\u3042\u3044\uff76", max_size=40), st.integers(2, 12))
    def test_wrap_loses_nothing(self, text: str, columns: int) -> None:
        """No line is too wide, and nothing but blanks is lost."""
        lines = wrap(text, columns)
        self.assertEqual("".join(lines).replace(" ", ""), text.replace(" ", ""))
        self.assertLessEqual(max(map(width, lines)), columns)

    def test_table(self) -> None:
        """The second column is aligned, whatever the scripts in the first."""
        rows = table([("a", "x"), ("\u3042\u3044", "y z")], 20)
        self.assertEqual(rows, [("a     ", "x"), ("\u3042\u3044  ", "y z")])
        self.assertEqual(table([("abcdefghij", "y y y y")], 12),
                         [("abcdef  ", "y y"), ("ghij    ", "y y")])
        self.assertEqual(table([], 80), [])


if __name__ == "__main__":
    unittest.main()
