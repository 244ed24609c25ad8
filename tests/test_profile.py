"""What differs between kinds of peers."""

from __future__ import annotations

import dataclasses
import unittest

from hypothesis import given, settings
from hypothesis import strategies as st

from mmdagent_remote.errors import InvalidMessage
from mmdagent_remote.profile import (MMDAGENT_EX, STRICT, Profile, echo_of, full_width, is_wire_word,
                                     reads_ascii, wrap)
from mmdagent_remote.testing.receiver import overrun
from mmdagent_remote.websocket.lines import prepare_line

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
            "KEY|": "KEY",
            "A|b|": "A|b",
            WRAPPER + "A|": "A",
            "RECOG_RECORD_START|/tmp": None,
            WRAPPER + "RECOG_RECORD_STOP": None,
        }
        for line, echo in cases.items():
            with self.subTest(line):
                self.assertEqual(echo_of(line), echo)


class FullWidthTest(unittest.TestCase):
    """Text that Open JTalk cannot take as ASCII."""

    def wide(self, line: str) -> str:
        return full_width(line, MMDAGENT_EX)

    def test_open_jtalks_own_table(self) -> None:
        """Each ASCII character becomes what Open JTalk itself makes of it."""
        text = "".join(map(chr, range(0x20, 0x7F))).replace("|", "")
        wide = self.wide("SYNTH_START|0|mei|" + text).split("|")[3]
        self.assertEqual(len(wide), len(text))
        table = dict(zip(text, wide))
        self.assertEqual("".join(table[each] for each in " \"'-\\`~"),
                         "\u3000\u201d\u2019\u2212\uffe5\u2018\u301c")
        for each in "!AZaz09}":
            self.assertEqual(ord(table[each]), ord(each) + 0xFEE0)

    def test_which_lines(self) -> None:
        """Only a SYNTH_START whose text has more ASCII bytes than others, all of it, wrapped or not."""
        for line, expected in {
                "SYNTH_START|0|mei|Hi": "SYNTH_START|0|mei|Ｈｉ",
                "SYNTH_START|0|mei|Hi, あ": "SYNTH_START|0|mei|Ｈｉ，　あ",
                "SYNTH_START|0|mei|abcあ": "SYNTH_START|0|mei|abcあ",
                "SYNTH_START|0|mei|abcdあ": "SYNTH_START|0|mei|ａｂｃｄあ",
                WRAPPER + "SYNTH_START|0|mei|Hi": WRAPPER + "SYNTH_START|0|mei|Ｈｉ",
                "SYNTH_START|0|mei|a|b": "SYNTH_START|0|mei|ａ|b",
                "SYNTH_START|0|mei|Hi|ああああ": "SYNTH_START|0|mei|Ｈｉ|ああああ",
                "SYNTH_START|0|mei|Hi|": "SYNTH_START|0|mei|Ｈｉ|",
                "SYNTH_START|0|mei|": "SYNTH_START|0|mei|", "SYNTH_START|": "SYNTH_START|",
                "SYNTH_START|0|slt_voice_normal|Hi": "SYNTH_START|0|slt_voice_normal|Hi",
                "SYNTH_START|0|mei": "SYNTH_START|0|mei",
                "SYNTH_STARTED|0|mei|Hi": "SYNTH_STARTED|0|mei|Hi",
                "KEY|Hi": "KEY|Hi", WRAPPER: WRAPPER}.items():
            with self.subTest(line):
                self.assertEqual(self.wide(line), expected)
                self.assertEqual(self.wide(expected), expected)
                self.assertIs(full_width(line, STRICT), line)

    def test_voices(self) -> None:
        """Voices that read ASCII are patterns; a peer without any reads everything."""
        own = dataclasses.replace(MMDAGENT_EX, ascii_voices=("eng?", "cmu_*"))
        found = {voice: reads_ascii(voice, own) for voice in ("eng1", "eng", "cmu_x", "slt_x", "Eng1")}
        self.assertEqual([voice for voice, reads in found.items() if reads], ["eng1", "cmu_x"])
        self.assertTrue(reads_ascii("mei", STRICT))

    def test_too_long_in_full_width(self) -> None:
        """A line whose text does not fit any more is refused, and the error says why."""
        prepare_line("SYNTH_START|0|slt_voice_normal|" + "x" * 700, MMDAGENT_EX)
        with self.assertRaisesRegex(InvalidMessage, "full-width"):
            prepare_line("SYNTH_START|0|mei|" + "x" * 700, MMDAGENT_EX)

    @settings(deadline=None)
    @given(st.text(st.one_of(st.characters(codec="utf-8", exclude_characters="|\r\n\0"),
                             st.sampled_from("abc ,.\uff9e\t")), min_size=1, max_size=60))
    def test_any_text(self, text: str) -> None:
        """No text that is sent overruns Open JTalk's buffer, and its echo is known."""
        for more in ("", "|", "|ああああああああああ", "|b"):
            line = prepare_line("SYNTH_START|0|mei|" + text + more, MMDAGENT_EX)
            sent = line.data.decode().removesuffix("\n")
            self.assertIsNone(overrun(sent, ()))
            self.assertEqual(line.echo, sent.removesuffix("|"))


if __name__ == "__main__":
    unittest.main()
