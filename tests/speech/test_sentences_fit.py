"""cut_to_fit(): a text in parts of limited size."""

from __future__ import annotations

import sys
import time
import unicodedata
import unittest

from hypothesis import given, settings
from hypothesis import strategies as st

from mmdagent_remote.message import clean_text
from mmdagent_remote.speech.sentences import cut_to_fit

from .test_sentences import FLAGS, spoken
from .test_sentences_properties import TEXT


class CutToFitTest(unittest.TestCase):
    """A text in parts of at most `size` bytes."""

    def test_what_fits(self) -> None:
        """A text that fits is left as it is, up to the last byte; a blank one has no parts."""
        for text in ("A.", "一。二。", "...", "a b"):
            size = len(text.encode())
            self.assertEqual(cut_to_fit(text, max(size, 4)), [text])
        self.assertEqual(cut_to_fit("一。二。", 12), ["一。二。"])
        self.assertEqual(cut_to_fit("一。二。", 11), ["一。", "二。"])
        for text in ("", "   ", " " * 100):
            self.assertEqual(cut_to_fit(text, 10), [])

    def test_at_sentence_ends(self) -> None:
        """A text is cut at the last end of a sentence that fits, by the rules of SentenceCutter."""
        cases = {
            ("One. Two, or so. Three four", 20): ["One. Two, or so.", "Three four"],
            ("「はい。」と。そうです、ね", 21): ["「はい。」と。", "そうです、ね"],
            ("Hi. Mr. Smith is", 12): ["Hi.", "Mr. Smith is"],
            ("Hi. No. 5 is it", 9): ["Hi.", "No. 5 is", "it"],
            ("Yes! See a.b/?c=d now", 18): ["Yes!", "See a.b/?c=d now"],
            ("1. Open the door now", 12): ["1. Open the", "door now"],
            ("「はい。」次", 12): ["「はい。", "次"],
        }
        for (text, size), parts in cases.items():
            with self.subTest(text):
                self.assertEqual(cut_to_fit(text, size), parts)

    def test_at_commas_and_blanks(self) -> None:
        """Without an end of a sentence, a text is cut at the last comma or blank that fits."""
        self.assertEqual(cut_to_fit("one two three", 9), ["one two", "three"])
        self.assertEqual(cut_to_fit("one,two,three", 9), ["one,two,", "three"])
        self.assertEqual(cut_to_fit("あい、うえお", 12), ["あい、", "うえお"])
        self.assertEqual(cut_to_fit("abcd efgh", 4), ["abcd", "efgh"])

    def test_between_characters(self) -> None:
        """Without such a place, a text is cut between characters, even of several code points."""
        self.assertEqual(cut_to_fit("あいう", 7), ["あい", "う"])
        self.assertEqual(cut_to_fit("\U0002000b" * 3, 4), ["\U0002000b"] * 3)
        self.assertEqual(cut_to_fit("ae\u0301b", 3 + 1), ["ae\u0301", "b"])
        self.assertEqual(cut_to_fit("xye\u0301b", 4), ["xy", "e\u0301b"])
        self.assertEqual(cut_to_fit(f"a{FLAGS}b", 8), ["a", "b"])

    def test_never_before_a_mark_of_any_script(self) -> None:
        """No combining mark of Unicode is separated from its base character."""
        for char in map(chr, range(sys.maxunicode + 1)):
            if unicodedata.category(char).startswith("M"):
                text = f"wxy{char}"
                self.assertEqual(cut_to_fit(f"vwxy{char}", len(text.encode())), ["vwx", f"y{char}"])

    def test_what_cannot_be_spoken_is_left_out(self) -> None:
        """A part that holds only marks is left out."""
        self.assertEqual(cut_to_fit("あ。」』。、・…", 6), ["あ。"])
        self.assertEqual(cut_to_fit("!" * 100, 10), [])

    def test_too_small(self) -> None:
        """A size under four bytes is refused, since not every character would fit."""
        for size in (3, 0, -1):
            with self.subTest(size), self.assertRaisesRegex(ValueError, "4"):
                cut_to_fit("a", size)
        self.assertEqual(cut_to_fit("あい", 4), ["あ", "い"])

    @settings(deadline=None, max_examples=300)
    @given(TEXT.map(clean_text), st.integers(4, 400))
    def test_nothing_is_lost(self, text: str, size: int) -> None:
        """All parts fit, none is blank, and together they hold every spoken character in order."""
        parts = cut_to_fit(text, size)
        self.assertEqual(spoken("".join(parts)), spoken(text))
        for part in parts:
            self.assertTrue(part.strip())
            self.assertLessEqual(len(part.encode()), size)

    def test_linear_time(self) -> None:
        """Ten times the text takes about ten times as long."""
        for token in ("長い文、", "a.", "No. ", "\u0301", FLAGS):
            times = []
            for size in (20_000, 200_000):
                start = time.process_time()
                cut_to_fit((token * size)[:size], 2000)
                times.append(time.process_time() - start)
            with self.subTest(token):
                self.assertLess(times[1], 40 * max(times[0], 0.005))


if __name__ == "__main__":
    unittest.main()
