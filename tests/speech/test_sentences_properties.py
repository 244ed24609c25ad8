"""Where a stream of text is cut into sentences: what holds for any text, in any pieces."""

from __future__ import annotations

import time
import tracemalloc
import unittest
from collections.abc import Iterable, Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from mmdagent_remote.message import clean_text
from mmdagent_remote.speech.sentences import MAX_SENTENCE, SentenceCutter

from .test_sentences import FAMILY, FLAGS, THUMB, cut, spoken

# All that the rules mention, in any order, mixed with all other characters.
TOKENS = ["。", "．", "！", "？", ".", "…", "...", "\n", "\r\n", "\u2028", "」", "』", "）", ")", '"',
          "'", "’", " ", "\u3000", "、", ",", "**", "*", "_", "__", "`", "#", "- ", "* ", "-", "1. ",
          "12", "３", "a", "B", "x.y", "Mr.", "No.", "e.g.", "p.m.", "は", "日本", "「", "(", FAMILY,
          FLAGS, THUMB, "e\u0301", "\ufe0f", "|", "\0", "\ufeff", "\ud800", "word " * 30,
          "長" * 150, "." * 150, "」" * 150]
TEXT = st.lists(st.one_of(st.sampled_from([*TOKENS, "!", "?"]), st.characters()),
                max_size=40).map("".join)
CERTAIN = st.lists(st.one_of(st.sampled_from(TOKENS), st.characters(exclude_characters="!?")),
                   max_size=40).map("".join)


def pieces_of(text: str, cuts: Iterable[int]) -> Iterator[str]:
    """The text cut at these places; two equal places make an empty piece."""
    start = 0
    for place in sorted(place % (len(text) + 1) for place in cuts):
        yield text[start:place]
        start = place
    yield text[start:]


class PropertyTest(unittest.TestCase):
    """What holds for any text, wherever its pieces are cut."""

    def check(self, text: str, sentences: list[str]) -> None:
        """Check each sentence, and that nothing is lost."""
        self.assertEqual(spoken("".join(sentences)), spoken(text))
        for sentence in sentences:
            self.assertTrue(spoken(sentence))
            self.assertLessEqual(len(sentence), MAX_SENTENCE)
            self.assertEqual(clean_text(sentence), sentence)

    @settings(deadline=None, max_examples=300)
    @given(TEXT, st.lists(st.integers(0, 10_000), max_size=20))
    def test_nothing_is_lost(self, text: str, cuts: list[int]) -> None:
        """Every character that can be spoken comes out once, in order."""
        self.check(text, cut(text))
        self.check(text, cut(*text))
        self.check(text, cut(*pieces_of(text, cuts)))

    @settings(deadline=None, max_examples=300)
    @given(CERTAIN, st.lists(st.integers(0, 10_000), max_size=20))
    def test_pieces_make_no_difference(self, text: str, cuts: list[int]) -> None:
        """Without ASCII exclamation and question marks, any pieces give the same sentences."""
        whole = [spoken(sentence) for sentence in cut(text)]
        for pieces in (text, pieces_of(text, cuts)):
            self.assertEqual([spoken(sentence) for sentence in cut(*pieces)], whole)

    @settings(deadline=None, max_examples=300)
    @given(TEXT, st.lists(st.integers(0, 10_000), max_size=20))
    def test_no_later_than_its_mark(self, text: str, cuts: list[int]) -> None:
        """After a piece that ends in 。 or a newline, all that was fed has been returned."""
        cutter = SentenceCutter()
        so_far, given_out = "", ""
        for piece in pieces_of(text, cuts):
            so_far += piece + "。" if len(piece) % 2 else piece + "\n"
            given_out += "".join(cutter.feed(so_far[len(so_far) - len(piece) - 1:]))
            self.assertEqual(spoken(given_out), spoken(so_far))
        self.assertEqual(cutter.flush(), [])

    def test_memory(self) -> None:
        """However long a text without an end grows, the cutter keeps at most a sentence of it."""
        for token in ("長", "a.", "!", "…", "「", "」", "*", "_", "-", "#", " ", "\n", "No. ", "e\u0301",
                      "\u0301", FLAGS):
            cutter = SentenceCutter()
            piece = token * 50
            cutter.feed("x" + piece)
            tracemalloc.start()
            try:
                for _ in range(200):
                    cutter.feed(piece)
                kept, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            with self.subTest(token):
                self.assertLess(kept, 10_000)

    def test_linear_time(self) -> None:
        """Ten times the text, one character at a time, takes about ten times as long."""
        for token in ("長い文、", "a.", "...", "No. ", "**- ", "! ", "\u0301"):
            short, long = (self.time_of((token * size)[:size]) for size in (10_000, 100_000))
            with self.subTest(token):
                self.assertLess(long, 40 * max(short, 0.005))

    @staticmethod
    def time_of(text: str) -> float:
        """CPU seconds, which other processes hardly affect."""
        cutter, start = SentenceCutter(), time.process_time()
        for char in text:
            cutter.feed(char)
        cutter.flush()
        return time.process_time() - start


if __name__ == "__main__":
    unittest.main()
