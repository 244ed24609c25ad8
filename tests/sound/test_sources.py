"""The sources of sound, and how they are converted."""

from __future__ import annotations

import gc
import math
import struct
import sys
import unittest
import warnings
import wave
from array import array
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdagent_remote.sound import sources
from mmdagent_remote.sound.format import PLAYED, Format
from mmdagent_remote.sound.sources import Source, open_sound

#: The libraries of the extra ``audio``.
LIBRARIES = ("numpy", "soundfile", "soxr")


def tone(rate: int = 16000, seconds: float = 0.5, hertz: float = 440.0) -> Any:
    """A sine of half the full level, as numbers from -1 to 1."""
    return numpy.sin(numpy.arange(int(rate * seconds)) * 2 * math.pi * hertz / rate) / 2


def samples(numbers: Any, width: int = 2) -> bytes:
    """Numbers as raw samples."""
    if width == 1:
        return bytes(int(number * 127) + 128 for number in numbers)
    full = 2 ** (8 * width - 1) - 1
    return b"".join(int(number * full).to_bytes(width, "little", signed=True) for number in numbers)


def wav(data: bytes, rate: int = 16000, channels: int = 1, width: int = 2) -> bytes:
    """A plain WAV file."""
    file = BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setframerate(rate)
        writer.setnchannels(channels)
        writer.setsampwidth(width)
        writer.writeframes(data)
    return file.getvalue()


def encoded(numbers: Any, rate: int, **kind: str) -> bytes:
    """A sound file of any kind."""
    file = BytesIO()
    soundfile.write(file, numbers, rate, **kind)
    return file.getvalue()


def sound_of(source: Source, pcm: Format = PLAYED) -> bytes:
    """All that a source gives."""
    opened = open_sound(source, pcm)
    try:
        return b"".join(opened.pieces)
    finally:
        opened.close()


PCM = samples(tone())
FLOATS = encoded(tone(), 16000, format="WAV", subtype="FLOAT")


class SoundCase(unittest.TestCase):
    """Compares sound with a sine."""

    def assert_same(self, sound: bytes, *, hertz: float = 440.0, seconds: float = 0.5) -> None:
        """The sound is that sine: the same length, pitch and level, and no click."""
        self.assertEqual(len(sound) % 2, 0)
        numbers = numpy.frombuffer(sound, "<i2") / 32768
        self.assertAlmostEqual(len(numbers) / 16000, seconds, delta=0.002)
        middle = numbers[800:-800]
        expected = tone(seconds=seconds, hertz=hertz)[800:800 + len(middle)]
        self.assertLess(numpy.abs(middle - expected).max(), 0.02)


class UntouchedTests(SoundCase):
    """Sound of 16 kHz, 16 bits, mono passes unchanged, and needs no library."""

    def setUp(self) -> None:
        self.enterContext(patch.dict(sys.modules, dict.fromkeys(LIBRARIES)))

    def test_bytes(self) -> None:
        """Samples or a WAV file may come as any kind of bytes."""
        for data in (PCM, wav(PCM)):
            for kind in (bytes, bytearray, memoryview):
                with self.subTest(kind=kind.__name__):
                    self.assertEqual(sound_of(kind(data)), PCM)

    def test_files(self) -> None:
        """A source may be a path as str or Path, or an open file, which stays open."""
        with TemporaryDirectory() as directory:
            path = Path(directory, "音.wav")
            path.write_bytes(wav(PCM))
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self.assertEqual(sound_of(path), PCM)
                self.assertEqual(sound_of(str(path)), PCM)
                gc.collect()
            self.assertEqual(caught, [])
            with path.open("rb") as file:
                self.assertEqual(sound_of(file), PCM)
                self.assertFalse(file.closed)

    def test_a_pipe(self) -> None:
        """A file that cannot seek is read whole, up to a bound; a placeholder length is ignored."""
        class Pipe(BytesIO):
            def seekable(self) -> bool:
                return False
        endless = bytearray(wav(PCM))
        endless[40:44] = struct.pack("<I", 0x7FFFF000)
        for data in (wav(PCM), bytes(endless)):
            opened = open_sound(Pipe(data))
            self.assertAlmostEqual(opened.seconds, 0.5)
            self.assertEqual(b"".join(opened.pieces), PCM)
        with patch.object(sources, "MAX_WHOLE", len(wav(PCM))):
            open_sound(Pipe(wav(PCM)))
            with self.assertRaisesRegex(ValueError, "an iterable"):
                open_sound(Pipe(wav(PCM) + b"x"))

    def test_iterables(self) -> None:
        """Pieces of any size, also whole WAV files, make one sound; the iterable is closed."""
        closed = []

        def pieces() -> Iterator[bytes]:
            try:
                yield PCM[:333]
                yield b""
                yield PCM[333:334]
                yield PCM[334:]
                yield wav(PCM)
            finally:
                closed.append(True)
        self.assertEqual(sound_of(pieces()), PCM * 2)
        self.assertEqual(sound_of([PCM, memoryview(PCM)]), PCM * 2)
        opened = open_sound(pieces())
        next(opened.pieces)
        opened.close()
        self.assertEqual(closed, [True, True])

    def test_a_file_bit_by_bit(self) -> None:
        """A WAV file in pieces is one sound, even if its header does not tell its length."""
        for size in (len(PCM), 0, 0x7FFFF000, 0xFFFFFFFF):
            file = bytearray(wav(PCM))
            file[40:44] = struct.pack("<I", size)
            for cut in (44, 45, 1000):
                with self.subTest(size=size, cut=cut):
                    pieces = [bytes(file[:cut]),
                              *(file[at:at + 999] for at in range(cut, len(file), 999))]
                    self.assertEqual(sound_of(pieces), PCM)
                    # A second file follows; the bytes after the sound of the first are skipped.
                    tail = [] if size != len(PCM) else [b"LIST"]
                    self.assertEqual(sound_of([*pieces, *tail, *pieces]), PCM * 2)

    def test_half_a_sample(self) -> None:
        """Half a sample at the end of a piece does not shift the WAV file after it."""
        self.assertEqual(sound_of([PCM + b"x", wav(PCM)]), PCM * 2)
        half = wav(PCM)[:-1]
        self.assertEqual(sound_of([half, wav(PCM)]), PCM[:-2] + PCM)

    def test_arrays(self) -> None:
        """An array of samples counts as bytes; another width or floating point is refused."""
        numbers = array("h", PCM)
        for source in (numbers, numpy.frombuffer(PCM, "<i2"), memoryview(PCM).cast("h")):
            with self.subTest(type(source).__name__):
                opened = open_sound(source)
                self.assertEqual(opened.seconds, 0.5)
                self.assertEqual(b"".join(opened.pieces), PCM)
        for source, error, words in ((array("i", numbers), ValueError, "width=4"),
                                     (array("f", [0.5]), TypeError, "floating-point")):
            with self.subTest(source.typecode), self.assertRaisesRegex(error, words):
                open_sound(source)

    def test_seconds(self) -> None:
        """The length is known beforehand, except for an iterable."""
        self.assertEqual(open_sound(PCM).seconds, 0.5)
        self.assertEqual(open_sound(wav(PCM)).seconds, 0.5)
        self.assertIsNone(open_sound([PCM]).seconds)

    def test_needs_the_extra(self) -> None:
        """Other sound is an ImportError: what it is, what it must become, and what to install."""
        for source, pcm, words in (
                (PCM, Format(24000), "24000 Hz, 16 bits, mono"), ([PCM], Format(16000, 2), "2 channels"),
                (wav(PCM, 22050), PLAYED, "22050 Hz"), (wav(PCM, width=1), PLAYED, "8 bits"),
                (FLOATS, PLAYED, "a WAV file of a rarer kind")):
            with self.subTest(words), self.assertRaises(ImportError) as raised:
                open_sound(source, pcm)
            self.assertIn(words, str(raised.exception))
            self.assertIn("16000 Hz, 16 bits, mono", str(raised.exception))
            self.assertIn('pip install soundfile soxr', str(raised.exception))
        with self.assertRaisesRegex(ValueError, "no WAV file.*pip install"):
            open_sound(BytesIO(b"fLaC" + bytes(100)))

    def test_refused(self) -> None:
        """A source that is not sound raises at once; a file that was opened is closed."""
        for source in (None, 1, 1.5, object()):
            with self.subTest(source), self.assertRaisesRegex(TypeError, "a sound is a path"):
                open_sound(source)  # type: ignore[arg-type]
        with self.assertRaises(FileNotFoundError):
            open_sound("there is no such file.wav")
        with TemporaryDirectory() as directory:
            path = Path(directory, "a.wav")
            path.write_bytes(b"no sound at all")
            with warnings.catch_warnings(record=True) as caught, self.assertRaises(ValueError):
                warnings.simplefilter("always")
                open_sound(path)
            gc.collect()
            self.assertEqual(caught, [])
            path.write_bytes(wav(PCM))
            with path.open() as file, self.assertRaisesRegex(TypeError, "rb"):
                open_sound(file)  # type: ignore[arg-type]

    def test_pieces_that_are_none(self) -> None:
        """An iterable of anything but bytes raises when it is read, and says what came."""
        for piece, words in (("text", "not str"), (1, "not int"), (None, "not NoneType"),
                             (memoryview(struct.pack("2f", 0, 1)).cast("f"), "floating-point")):
            with self.subTest(piece), self.assertRaisesRegex(TypeError, words):
                sound_of([piece])  # type: ignore[list-item]


class ConvertedTests(SoundCase):
    """Sound in any other format is converted."""

    def test_rates(self) -> None:
        """Any rate becomes 16 kHz, with the same length and pitch."""
        for rate in (8000, 11025, 22050, 24000, 44100, 48000, 96000):
            with self.subTest(rate):
                self.assert_same(sound_of(samples(tone(rate)), Format(rate)))
                self.assert_same(sound_of(wav(samples(tone(rate)), rate)))

    def test_widths(self) -> None:
        """Samples of 8 to 32 bits are converted, raw and in a WAV file."""
        for width in (1, 2, 3, 4):
            with self.subTest(width):
                self.assert_same(sound_of(samples(tone(24000), width), Format(24000, 1, width)))
                self.assert_same(sound_of(wav(samples(tone(), width), width=width)))

    def test_channels(self) -> None:
        """Several channels become their mean."""
        both = numpy.column_stack([tone(), tone()])
        left = numpy.column_stack([tone() * 2, tone() * 0])
        for numbers in (both, left):
            self.assert_same(sound_of(samples(numbers.reshape(-1)), Format(channels=2)))
            self.assert_same(sound_of(encoded(numbers, 16000, format="WAV", subtype="FLOAT")))

    def test_sixteen_bits_stay(self) -> None:
        """Two equal channels of 16 bits become one with unchanged samples."""
        stereo = b"".join(PCM[start:start + 2] * 2 for start in range(0, len(PCM), 2))
        self.assertEqual(sound_of(wav(stereo, channels=2)), PCM)
        self.assertEqual(sound_of(stereo, Format(channels=2)), PCM)

    def test_full_level(self) -> None:
        """Samples beyond full level are clipped, and do not wrap around into noise."""
        loud = numpy.ones(1600, "float32") * 1.5
        sound = sound_of(encoded(loud, 16000, format="WAV", subtype="FLOAT"))
        self.assertEqual(set(struct.unpack(f"<{len(sound) // 2}h", sound)), {32767})
        sound = sound_of(encoded(-loud, 16000, format="WAV", subtype="FLOAT"))
        self.assertEqual(set(struct.unpack(f"<{len(sound) // 2}h", sound)), {-32768})

    def test_kinds_of_files(self) -> None:
        """WAV files of rarer kinds, FLAC and OGG are read."""
        for kind in ({"format": "WAV", "subtype": "DOUBLE"}, {"format": "WAVEX", "subtype": "PCM_16"},
                     {"format": "WAV", "subtype": "ALAW"}, {"format": "FLAC", "subtype": "PCM_16"},
                     {"format": "OGG", "subtype": "VORBIS"}):
            with self.subTest(**kind):
                opened = open_sound(BytesIO(encoded(tone(24000), 24000, **kind)))
                self.assertAlmostEqual(opened.seconds, 0.5, delta=0.001)
                sound = b"".join(opened.pieces)
                self.assertAlmostEqual(len(sound) / 32000, 0.5, delta=0.002)

    def test_kinds_as_bytes(self) -> None:
        """Such a file given as bytes is recognised by its head, and not taken for samples."""
        for kind in ({"format": "FLAC"}, {"format": "OGG"}, {"format": "AIFF"}):
            with self.subTest(**kind):
                sound = sound_of(encoded(tone(24000), 24000, **kind))
                self.assertAlmostEqual(len(sound) / 32000, 0.5, delta=0.002)

    def test_a_file_bit_by_bit(self) -> None:
        """A WAV file in pieces is converted as its header says, whatever format was given."""
        file = wav(samples(tone(24000)), 24000)
        pieces = [file[at:at + 777] for at in range(0, len(file), 777)]
        self.assert_same(sound_of(pieces, Format(8000, 2)))
        self.assertEqual(sound_of(pieces * 2, Format(8000, 2)), sound_of(pieces) * 2)
        # A truncated file, followed by a whole one.
        self.assertTrue(sound_of([*pieces[:-1], wav(PCM)]).endswith(PCM))

    def test_a_library_that_cannot_be_loaded(self) -> None:
        """If libsndfile itself is missing, the error is the same as without the extra."""
        with TemporaryDirectory() as directory, patch.object(sys, "path", [directory, *sys.path]), \
                patch.dict(sys.modules):
            Path(directory, "soundfile.py").write_text("raise OSError('sndfile library not found')")
            del sys.modules["soundfile"]
            with self.assertRaisesRegex(ImportError, "needs.*sndfile library not found"):
                open_sound(wav(PCM, 24000))

    def test_no_sound(self) -> None:
        """A file of no known kind is a ValueError that says so."""
        for data in (b"RIFF\0\0\0\0WAVEjunk", b"RIFF", wav(PCM)[:30]):
            with self.subTest(data), self.assertRaisesRegex(ValueError, "no sound file"):
                open_sound(BytesIO(data))

    @settings(max_examples=30, deadline=None)
    @given(st.data())
    def test_seams(self, data: st.DataObject) -> None:
        """However a stream is cut into pieces, even inside a sample, the sound is the same."""
        pcm = Format(24000, 2, 3)
        whole = samples(numpy.repeat(tone(24000, 0.1), 2), 3)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
        pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)])]
        self.assertEqual(sound_of(pieces, pcm), sound_of([whole], pcm))


if __name__ == "__main__":
    unittest.main()
