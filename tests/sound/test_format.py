"""Sound in chunks."""

from __future__ import annotations

import unittest

from hypothesis import given
from hypothesis import strategies as st

from mmdagent_remote.profile import MMDAGENT_EX
from mmdagent_remote.sound.format import CHUNK_SIZE, PLAYED, Chunker, Format, chunk_of, seconds_of
from mmdagent_remote.websocket.lines import prepare_binary


class FormatTests(unittest.TestCase):
    """The format of samples."""

    def test_default(self) -> None:
        """The default is what MMDAgent-EX plays: 16 kHz, 16 bits, mono."""
        self.assertEqual(Format(), PLAYED)
        self.assertEqual(str(PLAYED), "16000 Hz, 16 bits, mono")
        self.assertEqual(Format(48000, 2, 3).frame_size, 6)
        self.assertEqual(str(Format(48000, 2, 3)), "48000 Hz, 24 bits, 2 channels")

    def test_refused(self) -> None:
        """An invalid format raises at once, and says which value is wrong."""
        for values, name in (((999,), "rate"), ((768001,), "rate"),
                             ((16000, 0), "channels"), ((16000, 65), "channels"),
                             ((16000, 1, 0), "width"), ((16000, 1, 5), "width")):
            with self.subTest(values), self.assertRaisesRegex(ValueError, name):
                Format(*values)
        for values in ((16000.0,), ("16000",), (True,), (None,)):
            with self.subTest(values), self.assertRaisesRegex(TypeError, "rate"):
                Format(*values)
        for values in ((1000, 1, 1), (768000, 64, 4)):
            Format(*values)


class ChunkerTests(unittest.TestCase):
    """Sound to chunks."""

    @given(st.lists(st.binary(max_size=3000)))
    def test_every_byte_once_and_in_order(self, pieces: list[bytes]) -> None:
        """Sound in any pieces leaves in full chunks and a last one; half a sample is dropped."""
        chunker, taken = Chunker(), []
        for piece in pieces:
            chunker.feed(piece)
            while chunk := chunker.take():
                taken.append(chunk)
        self.assertLess(len(chunker), CHUNK_SIZE)
        self.assertEqual({len(chunk) for chunk in taken} - {CHUNK_SIZE}, set())
        while chunk := chunker.take(last=True):
            taken.append(chunk)
        sound = b"".join(pieces)
        self.assertEqual(b"".join(taken), sound[:len(sound) & ~1])
        self.assertEqual(len(chunker), 0)

    def test_on_the_wire(self) -> None:
        """A chunk is SND, four digits and the sound, without newline; send_binary() accepts it."""
        self.assertEqual(chunk_of(b"ab"), b"SND0002ab")
        chunk = chunk_of(bytes(CHUNK_SIZE))
        self.assertEqual(chunk[:7], b"SND1280")
        self.assertEqual(prepare_binary(chunk, MMDAGENT_EX), [chunk])
        self.assertLessEqual(len(chunk), MMDAGENT_EX.max_frame_remote)

    def test_seconds(self) -> None:
        """A full chunk lasts 40 ms."""
        self.assertEqual(seconds_of(CHUNK_SIZE), 0.040)


if __name__ == "__main__":
    unittest.main()
