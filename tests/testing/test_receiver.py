"""``testing/receiver.py``: each row of what the real program does with what it is sent."""

from __future__ import annotations

import unittest

from hypothesis import given, settings
from hypothesis import strategies as st

from mmdagent_remote.testing.receiver import (Fate, Fault, Happening, Issued, Receiver, Sound,
                                              overrun, TolerantReceiver, Word)

from ..support import DATA


def feed(*payloads: bytes | str, receiver: Receiver | TolerantReceiver | None = None) -> list[Happening]:
    """Feed frames to a receiver, a new one unless one is given, and return what happens."""
    receiver = receiver or Receiver()
    return [each for payload in payloads for each in receiver.feed(
        payload.encode() if isinstance(payload, str) else payload)]


def lines(happened: list[Happening]) -> list[str]:
    """The lines issued."""
    return [each.line for each in happened if isinstance(each, Issued)]


class ReceiverCase(unittest.TestCase):
    """Shorthands."""

    def check(self, expected: list[str], *payloads: bytes | str) -> None:
        """These frames give these lines, and nothing else happens."""
        happened = feed(*payloads)
        self.assertEqual(lines(happened), expected)
        self.assertEqual(len(happened), len(expected), happened)

    def check_fault(self, fate: Fate, *payloads: bytes | str, before: int = 0) -> None:
        """The last of these frames ends in a fault, after `before` other happenings."""
        happened = feed(*payloads)
        self.assertEqual(len(happened), before + 1, happened)
        self.assertIsInstance(happened[-1], Fault)
        self.assertEqual(happened[-1].fate, fate)
        self.assertTrue(happened[-1].reason)


class StreamTests(ReceiverCase):
    """Rows: a stream of bytes, cut at CR and LF."""

    def test_two_lines_in_a_frame(self) -> None:
        """Two lines in a frame are two lines."""
        self.check(["A|1", "B|2"], "A|1\nB|2\n")

    def test_a_line_over_two_frames(self) -> None:
        """A line over two frames or fragments is one, even if the second adds only the newline."""
        self.check(["A|12"], "A|1", "2\n")
        self.check(["A|12", "B"], "A|12", "\nB\n")
        self.check(["A|12"], "A|12", "\n")

    def test_crlf(self) -> None:
        """CRLF ends a line, and so does CR."""
        self.check(["A", "B", "C"], "A\r\nB\rC\r\n")

    def test_blank_lines_behind_a_line(self) -> None:
        """Blank lines behind a line, in its frame, are ignored."""
        self.check(["A", "B"], "A\n\n\nB\n\n")

    def test_a_line_without_newline(self) -> None:
        """A line without newline is held, and joined with the next."""
        self.check(["AB"], "A", "B\n")
        receiver = Receiver()
        self.assertEqual(feed("A", receiver=receiver), [])
        self.assertEqual(receiver.held, b"A")

    def test_many_lines_in_a_frame(self) -> None:
        """80 lines in a frame of up to 8191 bytes are 80 lines."""
        payload = b"".join(b"LINE|%095d\n" % number for number in range(80))
        self.assertEqual(len(lines(feed(payload))), 80)

    def test_every_line_comes_back(self) -> None:
        """The echo is the line with one newline."""
        self.assertEqual(feed("A|b\r\n\r\n"), [Issued("A|b", b"A|b\n")])

    def test_utf_8(self) -> None:
        """Any UTF-8 is fine, cut anywhere; only CR and LF end a line."""
        text = "A|日本語\u2028\x0b😀é\n".encode()
        for cut in range(1, len(text)):
            self.assertEqual(lines(feed(text[:cut], text[cut:])), [text[:-1].decode()])

    def test_nothing_in_a_line(self) -> None:
        """A line of nothing but separators issues nothing."""
        self.check([], "|\n")


class NewlineTests(ReceiverCase):
    """Rows: newlines and NULs where they must not be."""

    def test_only_a_newline(self) -> None:
        """A frame of only newlines with nothing held crashes it."""
        for payload in ("\n", "\r\n", "\n\n"):
            self.check_fault(Fate.CRASH, payload)
        self.check_fault(Fate.CRASH, "A\n", "\n", before=1)

    def test_a_newline_in_front(self) -> None:
        """A frame that begins with a newline makes it deaf permanently."""
        receiver = Receiver()
        self.assertEqual([each.fate for each in feed("\nA\n", receiver=receiver)], [Fate.DEAF])
        self.assertEqual(feed("B\n", "C\n", receiver=receiver), [])
        self.assertEqual(receiver.held, b"\nA\nB\nC\n")

    def test_a_nul(self) -> None:
        """A NUL byte anywhere makes it deaf; lines before it are heard."""
        self.check_fault(Fate.DEAF, "A\0B\n")
        self.check_fault(Fate.DEAF, "\0")
        self.check_fault(Fate.DEAF, "A\nB\0\n", before=1)
        self.check_fault(Fate.DEAF, b"A\xe3\0\x81\n")

    def test_the_loop_of_the_deaf(self) -> None:
        """Once deaf, it holds all that comes until no frame fits; each frame is then an error."""
        receiver = Receiver()
        feed("\0", receiver=receiver)
        self.assertEqual(feed(b"x" * 8000, receiver=receiver), [])
        for _ in range(3):
            self.assertEqual([each.fate for each in feed(b"x" * 500, receiver=receiver)], [Fate.ERROR])
        self.assertEqual(receiver.room, 190)


class CharacterTests(ReceiverCase):
    """Row: a byte that is no UTF-8 lead byte at a character position."""

    def test_no_lead_byte(self) -> None:
        """Its thread spins endlessly on 0x80 to 0xC1, 0xFE and 0xFF, and on no other byte."""
        for byte in range(1, 256):
            happened = feed(b"A|" + bytes([byte]) + b"xxxxxx\n")
            hangs = 0x80 <= byte <= 0xC1 or byte >= 0xFE
            fates = [each.fate for each in happened if isinstance(each, Fault)]
            self.assertEqual(fates, [Fate.HANG] if hangs else [], hex(byte))

    def test_inside_a_character(self) -> None:
        """Where it expects the rest of a character it takes any byte, a newline too."""
        self.assertEqual(lines(feed(b"A|\xe3x\ny\n")), ["A|\ufffdx\ny"])

    def test_before_the_newline_comes(self) -> None:
        """It hangs without waiting for the end of the line."""
        self.check_fault(Fate.HANG, b"A|\xff")


class LengthTests(ReceiverCase):
    """Rows: long lines and large frames."""

    def line(self, size: int) -> bytes:
        """A line of `size` bytes with its newline."""
        return b"A|" + b"x" * (size - 3) + b"\n"

    def test_up_to_2047_bytes(self) -> None:
        """2047 bytes with the newline are safe, and the echo is identical."""
        for size in (2046, 2047):
            self.assertEqual(feed(self.line(size))[0].echo, self.line(size))

    def test_from_2048_bytes(self) -> None:
        """A longer line is issued whole; its echo is cut to 2047 bytes without a newline."""
        for size in (2048, 2049, 4097):
            issued, = feed(self.line(size))
            self.assertEqual(issued.line.encode(), self.line(size)[:-1])
            self.assertEqual(issued.echo, self.line(size)[:2047])

    def test_recorded_echo(self) -> None:
        """A 2052-byte line gives the recorded echo, which is cut inside a character."""
        recorded = bytes.fromhex((DATA / "cut-echo.hex").read_text())
        line = recorded.decode("utf-8", "ignore") + "あ" * 2
        line = line[:next(n for n in range(len(line) + 1) if len(line[:n].encode()) >= 2051)]
        self.assertEqual(feed(line + "\n")[0].echo, recorded)

    def test_5000_bytes(self) -> None:
        """A line of 5000 to 8191 bytes crashes it, and so does one from 4098, not measured."""
        for size in (4098, 5000, 8191):
            self.check_fault(Fate.CRASH, self.line(size))

    def test_8192_bytes(self) -> None:
        """A payload of 8192 bytes or more is an exception, whatever it holds."""
        payload = b"A|xxxxx\n" * 1024
        self.check_fault(Fate.ERROR, payload)
        self.assertEqual(len(lines(feed(payload[:8184] + b"B|xxxx\n"))), 1024)

    def test_what_is_held_takes_room(self) -> None:
        """Half a line that is held makes the largest frame smaller, and survives the exception."""
        receiver = Receiver()
        happened = feed("half", b"x" * 8188, "|line\n", receiver=receiver)
        self.assertEqual(happened[0].fate, Fate.ERROR)
        self.assertEqual(lines(happened), ["half|line"])

    def test_an_empty_frame(self) -> None:
        """An empty data frame counts as a disconnect; half a line before it is kept."""
        receiver = Receiver()
        feed("half", receiver=receiver)
        self.assertEqual(feed(b"", receiver=receiver)[0].fate, Fate.LOST)
        self.assertEqual(lines(feed("|line\n", receiver=receiver)), ["half|line"])


class SoundTests(ReceiverCase):
    """Rows: lines with S, and audio."""

    def test_a_short_line_with_s(self) -> None:
        """``STOP`` is held until seven bytes are there, then it is issued whole."""
        receiver = Receiver()
        self.assertEqual(feed("STOP\n", receiver=receiver), [])
        self.assertEqual(feed("A", receiver=receiver), [])
        self.assertEqual(lines(feed("B\n", receiver=receiver)), ["STOP", "AB"])
        self.check(["SABCDE"], "SABCDE\n")

    def test_a_line_with_snd_that_is_no_audio(self) -> None:
        """Seven or more bytes of such a line are taken as audio."""
        self.assertEqual(feed("SNDHELLO|x\n"), [Sound(b""), Issued("O|x", b"O|x\n")])
        self.assertEqual(feed("SND3xyzABCD\n")[0], Sound(b"ABC"))

    def test_snd_and_a_newline(self) -> None:
        """``SND`` and the next line crash it."""
        self.check_fault(Fate.CRASH, "SND\n", "NEXT|1\n")
        self.check_fault(Fate.CRASH, "SND\r\nA\n")
        self.check_fault(Fate.CRASH, "SND-100xxxx")

    def test_a_chunk_that_never_fits(self) -> None:
        """``SND9999`` makes it deaf, since a chunk of at most 8184 bytes fits."""
        self.check_fault(Fate.DEAF, "SND9999", before=0)
        self.check_fault(Fate.DEAF, b"SND8185" + b"x" * 100)
        self.assertEqual(feed(b"SND8184" + b"\0" * 8184), [Sound(b"\0" * 8184)])

    def test_a_chunk(self) -> None:
        """A chunk is SND, four digits and that many bytes of any value, with nothing behind."""
        self.assertEqual(feed(b"SND0004\xff\0\n\xffA|b\n"),
                         [Sound(b"\xff\0\n\xff"), Issued("A|b", b"A|b\n")])
        self.assertEqual(feed(b"SND0004ab", b"cdSND", b"0002ef"), [Sound(b"abcd"), Sound(b"ef")])

    def test_a_newline_behind_a_chunk(self) -> None:
        """A newline behind a chunk crashes it, in the frame of the chunk and in the next."""
        self.check_fault(Fate.CRASH, "SND0002ab\n", before=1)
        self.check_fault(Fate.CRASH, "SND0002ab", "\n", before=1)

    def test_a_line_between_two_halves(self) -> None:
        """A line between two halves of a chunk becomes sound, and the chunk's rest a line."""
        self.assertEqual(
            feed("SND0010abcde", "A|b\n", "fghij", "SND0002xy", "B|c\n"),
            [Sound(b"abcdeA|b\nf"), Issued("ghijSND0002xyB|c", b"ghijSND0002xyB|c\n")])

    def test_words_for_sound(self) -> None:
        """SNDSTRM, SNDFILE and SNDBRKS get no echo, and their newline is consumed with them."""
        self.assertEqual(feed("SNDFILE\nSNDSTRM\r\nSNDBRKS", "SND0001x"),
                         [Word("SNDFILE"), Word("SNDSTRM"), Word("SNDBRKS"), Sound(b"x")])


class AvatarTests(ReceiverCase):
    """Rows: words with __AV."""

    def test_the_safe_wrapper(self) -> None:
        """``__AV_MESSAGE,`` issues and echoes the line inside, which may begin with anything."""
        for line in ("STOP", "SNDHELLO", "__AV_START", "A|b"):
            self.assertEqual(feed(f"__AV_MESSAGE,{line}\n"), [Issued(line, line.encode() + b"\n")])

    def test_the_empty_wrapper(self) -> None:
        """``__AV_MESSAGE,`` alone issues nothing, and is joined to what was left in the buffer."""
        self.check([], "__AV_MESSAGE,\n")
        self.check(["half__AV_MESSAGE,", "A|b"], "half", "__AV_MESSAGE,\n", "A|b\n")

    def test_other_words(self) -> None:
        """A word that begins with ``__AV`` gets no echo."""
        self.assertEqual(feed("__AV_START\n__AVxyz\n"), [Word("__AV_START"), Word("__AVxyz")])

    def test_the_notice_of_a_relay(self) -> None:
        """``__peer_disconnected__`` at the start of a frame is not issued, elsewhere it is."""
        self.assertEqual(feed("__peer_disconnected__\n"), [Word("__peer_disconnected__")])
        self.check(["A", "__peer_disconnected__"], "A\n__peer_disconnected__\n")


class CloseTests(ReceiverCase):
    """Row: a Close with a code, whose payload it reads as text."""

    def test_it_spoils_the_first_line(self) -> None:
        """The code and the reason stand in front of the next line, as recorded."""
        happened = feed(b"\x03\xe8bye", "FIRST|line\n", "SECOND|line\n")
        self.assertEqual([each.echo for each in happened],
                         [b"\x03\xe8byeFIRST|line\n", b"SECOND|line\n"])

    def test_code_4000(self) -> None:
        """Code 4000 hangs it, as does any with a low byte of 0x80 to 0xC1, 0xFE or 0xFF."""
        for low in range(1, 256):
            code = bytes([0x0F, low])
            if low not in b"\r\n":
                fates = [each.fate for each in feed(code) if isinstance(each, Fault)]
                self.assertEqual(fates, [Fate.HANG] if 0x80 <= low <= 0xC1 or low > 0xFD else [])
        self.check_fault(Fate.HANG, (4000).to_bytes(2, "big"))


class TolerantTests(ReceiverCase):
    """A receiver that takes everything."""

    def test_it_takes_everything(self) -> None:
        """Newlines anywhere, NULs, any bytes and any length give lines, and no fault."""
        happened = feed("\n", "\nA\0B\n", b"C\xff\n", b"D" * 9000 + b"\n", "STOP\n", "SNDHELLO\n",
                        "SND\n", receiver=TolerantReceiver())
        self.assertEqual(lines(happened), [
            "A\0B", "C\ufffd", "D" * 9000, "STOP", "SNDHELLO", "SND"])
        self.assertEqual(happened[2].echo, b"D" * 9000 + b"\n")

    def test_words_and_sound(self) -> None:
        """It reads words, the wrapper and chunks like the other receiver."""
        self.assertEqual(
            feed("__AV_START\nSNDFILE\n", "SND00", "04abcdSND0001e\nA|b\n__AV_MESSAGE,SNDX\n",
                 receiver=TolerantReceiver()),
            [Word("__AV_START"), Word("SNDFILE"), Sound(b"abcd"), Sound(b"e"),
             Issued("A|b", b"A|b\n"), Issued("SNDX", b"SNDX\n")])


# Lines that do no harm, whatever frames they come in.
SAFE = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), min_size=1,
               max_size=40).filter(lambda text: text.strip("|") and not text.startswith(
                   ("SND", "__AV", "__peer")))


class StreamProperties(unittest.TestCase):
    """Safe lines give the same result, however they are cut."""

    @settings(deadline=None)
    @given(st.lists(SAFE, max_size=8), st.data())
    def test_cuts(self, texts: list[str], data: st.DataObject) -> None:
        """Safe input, whole, byte by byte and cut at random, gives the same lines and no fault."""
        stream = "".join(f"{text}\n" for text in texts).encode()
        whole = feed(stream) if stream else []
        self.assertEqual([each for each in whole if not isinstance(each, Issued)], [])
        # A line with S and what is behind it is held while it is fewer than seven bytes.
        held = next((place for place, text in enumerate(texts) if text.startswith("S")
                     and len("\n".join(texts[place:]).encode()) < 6), len(texts))
        self.assertEqual(lines(whole), texts[:held])
        cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1)))) if len(stream) > 1 else []
        for places in (range(1, len(stream)), cuts):
            ends = [*places, len(stream)] if stream else []
            pieces = [stream[start:end] for start, end in zip([0, *places], ends)]
            self.assertEqual(feed(*pieces), whole)
            self.assertEqual(lines(feed(*pieces, receiver=TolerantReceiver())), texts)

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=60), max_size=20))
    def test_any_bytes(self, payloads: list[bytes]) -> None:
        """Any bytes give lines, sound or one fault, and what is held stays within the buffer."""
        receiver = Receiver()
        for payload in payloads:
            happened = feed(payload, receiver=receiver)
            self.assertFalse(any(isinstance(each, Fault) for each in happened[:-1]))
            self.assertLessEqual(len(receiver.held), 8191)
            feed(payload, receiver=TolerantReceiver())


class OverrunTest(unittest.TestCase):
    """What Open JTalk cannot speak."""

    def test_overrun(self) -> None:
        """A text with more ASCII letters than room is a crash, but with Flite's voices."""
        for text, is_fault in {"You said hello.": True, "あ": False, "abcあ": False, "abcdあ": True,
                               "abcdefあ\uff9e": False, "ab\t": False, "": False}.items():
            with self.subTest(text):
                fault = overrun(f"SYNTH_START|0|mei|{text}", ["slt_*"])
                self.assertEqual(fault is not None, is_fault)
                self.assertIsNone(overrun(f"SYNTH_START|0|slt_voice_normal|{text}", ["slt_*"]))
                self.assertIsNone(overrun(f"KEY|0|mei|{text}", []))

    def test_echoes(self) -> None:
        """One empty last field is missing in the echo, and RECOG_RECORD_ has none."""
        found = [(each.line, each.echo) for each in feed(b"KEY|\nRECOG_RECORD_START|x\nA|b\n")]
        self.assertEqual(found, [("KEY|", b"KEY\n"), ("RECOG_RECORD_START|x", b""), ("A|b", b"A|b\n")])


if __name__ == "__main__":
    unittest.main()
