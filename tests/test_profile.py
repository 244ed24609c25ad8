"""What differs between kinds of peers."""

from __future__ import annotations

import dataclasses
import unittest

from hypothesis import given, settings
from hypothesis import strategies as st

from mmdagent_remote.profile import MMDAGENT_EX, STRICT, Profile, echo_of, is_wire_word, wrap

WRAPPER = "__AV_MESSAGE,"
# Lines that resemble one that MMDAgent-EX would misread.
LINES = st.one_of(st.text(min_size=1), st.from_regex(r"(S|SN|SND|SND[0-9]{1,5}|__AV_?|STOP)\w{0,5}"),
                  st.sampled_from(["SNDSTRM", "SNDFILE", "SNDBRKS", WRAPPER, "__peer_disconnected__"]))


class ProfileTest(unittest.TestCase):
    """The two profiles, as data."""

    def test_strict_asks_for_nothing(self) -> None:
        """STRICT is a plain RFC 6455 peer, with no field set."""
        for field in dataclasses.fields(Profile):
            if field.name != "name":
                with self.subTest(field.name):
                    self.assertFalse(getattr(STRICT, field.name))

    def test_mmdagent_sets_everything(self) -> None:
        """MMDAGENT_EX sets every field; one that it did not set would not be needed."""
        for field in dataclasses.fields(Profile):
            with self.subTest(field.name):
                self.assertTrue(getattr(MMDAGENT_EX, field.name))

    def test_measured_numbers(self) -> None:
        """The numbers are those measured on the real application."""
        self.assertEqual(MMDAGENT_EX.max_line, 2047)
        self.assertEqual(MMDAGENT_EX.max_frame, 8191)
        self.assertEqual(MMDAGENT_EX.max_frame_remote, 1400)
        self.assertGreaterEqual(MMDAGENT_EX.gap, 0.011)
        self.assertGreaterEqual(MMDAGENT_EX.first_line_hold, 0.020)

    def test_it_does_not_change(self) -> None:
        """All connections use the same profile, so it is frozen."""
        with self.assertRaises(dataclasses.FrozenInstanceError):
            STRICT.gap = 1.0  # type: ignore[misc]


class WireWordTest(unittest.TestCase):
    """Lines meant for Plugin_Remote itself."""

    def test_wire_words(self) -> None:
        """Wire words are lines that begin with __AV, and exactly the three sound words."""
        for line in ("__AV_START", "__AV_SETMODEL,0", WRAPPER + "A", "SNDSTRM", "SNDFILE", "SNDBRKS"):
            with self.subTest(line):
                self.assertTrue(is_wire_word(line))
                self.assertEqual(wrap(line), line)
        for line in ("SNDSTRM ", "SNDFILE|x", "sndfile", "SND", "SND0001", "_AV_START", " __AV", "A"):
            with self.subTest(line):
                self.assertFalse(is_wire_word(line))


class WrapTest(unittest.TestCase):
    """Lines that MMDAgent-EX would misread."""

    def test_short_lines_with_s(self) -> None:
        """A short line with S at the start, under 7 bytes with newline, is wrapped, else held."""
        for line in ("S", "STOP", "START", "S|\u3042"):
            with self.subTest(line):
                self.assertEqual(wrap(line), WRAPPER + line)
        for line in ("STOP12", "STOP|a", "SYNTH_STOP|0", "S|\u3042a", "s", "XS", "\uff33"):
            with self.subTest(line):
                self.assertEqual(wrap(line), line)

    def test_false_audio(self) -> None:
        """A line with SND at the start that is no sound word is wrapped, or it would be audio."""
        for line in ("SND", "SND9999", "SND0004abcd", "SNDHELLO", "SNDSTRM|x", "SNDSTRMX", "SNDFILE "):
            with self.subTest(line):
                self.assertEqual(wrap(line), WRAPPER + line)

    def test_the_relays_notice(self) -> None:
        """A line that begins like a relay's notice is wrapped, or it would be dropped."""
        self.assertEqual(wrap("__peer_disconnected__"), WRAPPER + "__peer_disconnected__")
        self.assertEqual(wrap("__peer_disconnected__|x"), WRAPPER + "__peer_disconnected__|x")
        self.assertEqual(wrap("__peer_connected__"), "__peer_connected__")

    @settings(deadline=None)
    @given(LINES)
    def test_wrapping(self, line: str) -> None:
        """A line leaves as it is or in one wrapper, and is then not wrapped again."""
        wrapped = wrap(line)
        self.assertIn(wrapped, (line, WRAPPER + line))
        self.assertEqual(wrap(wrapped), wrapped)
        if is_wire_word(line):
            self.assertEqual(wrapped, line)
        elif wrapped.startswith("S"):
            self.assertFalse(wrapped.startswith("SND"))
            self.assertGreaterEqual(len(wrapped.encode("utf-8", "surrogatepass")) + 1, 7)


class EchoTest(unittest.TestCase):
    """Which lines come back."""

    def test_echoes(self) -> None:
        """A line's echo is the line, wrapped or not; a line in a user's own wrapper echoes bare."""
        cases = {
            "A|b": "A|b",
            "STOP": "STOP",
            "SNDHELLO": "SNDHELLO",
            "__peer_disconnected__": "__peer_disconnected__",
            WRAPPER + "A|b": "A|b",
            WRAPPER + WRAPPER + "A": WRAPPER + "A",
            WRAPPER: None,
            "__AV_START": None,
            "__AV_MESSAGE": None,
            "SNDSTRM": None,
            "SNDFILE": None,
            "SNDBRKS": None,
        }
        for line, echo in cases.items():
            with self.subTest(line):
                self.assertEqual(echo_of(line), echo)


if __name__ == "__main__":
    unittest.main()
