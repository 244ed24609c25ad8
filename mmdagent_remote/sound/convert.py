"""Converts any sound to 16 kHz, 16 bits, mono; only this module uses the extra ``audio``.

python-soundfile (libsndfile) reads every kind of WAV file, and FLAC, OGG and MP3. python-soxr (the
SoX resampler) converts piece by piece without audible seams. The standard library's ``audioop``
could do neither, and was removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any, BinaryIO, Protocol

from .format import PLAYED, SAMPLE_RATE, SAMPLE_SIZE, Format

#: Seconds of sound that are read and converted at a time.
STEP = 0.25

NEEDS = "pip install soundfile soxr"

_FULL = 32768


class Converter(Protocol):
    """Converts a stream of samples."""

    def convert(self, data: bytes) -> bytes:
        """Convert the next data, which may end anywhere."""

    def flush(self) -> bytes:
        """Return what is left at the end."""


def has_extra() -> bool:
    """Whether the libraries are installed."""
    return all(find_spec(name) for name in ("numpy", "soundfile", "soxr"))


def converter_for(pcm: Format) -> Converter:
    """Return a converter for samples of a format.

    Raises:
        ImportError: the extra is needed but not installed.
    """
    return _AsItIs() if pcm == PLAYED else _Resampling(pcm)


def decode(file: BinaryIO, kind: str) -> tuple[Iterator[bytes], float]:
    """Decode a seekable file: return its sound, and its length in seconds.

    Args:
        kind: what it is, for the error's text.

    Raises:
        ImportError: the extra is not installed.
        ValueError: it is not a known kind of sound file.
    """
    soundfile = _library("soundfile", kind)
    try:
        opened = soundfile.SoundFile(file)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"this is no sound file that can be read: {error.error_string}") from None
    stream = _Stream(opened.samplerate, kind)
    return _decoded(opened, stream), opened.frames / opened.samplerate


def _decoded(opened: Any, stream: _Stream) -> Iterator[bytes]:
    with opened:
        while len(frames := opened.read(int(opened.samplerate * STEP), dtype="float32", always_2d=True)):
            yield stream.convert(frames)
    yield stream.flush()


def _library(name: str, kind: str) -> Any:
    try:
        return import_module(name)
    except (ImportError, OSError) as error:  # OSError: libsndfile itself is missing.
        raise ImportError(f"{kind}, has to be converted to {PLAYED}, which needs {NEEDS} ({error})",
                          name=name) from None


class _AsItIs:
    """Passes on whole samples: a piece that ends inside a sample must not shift what follows."""

    def __init__(self) -> None:
        self._rest = b""

    def convert(self, data: bytes) -> bytes:
        data = self._rest + data
        whole = len(data) - len(data) % SAMPLE_SIZE
        self._rest = data[whole:]
        return data[:whole]

    def flush(self) -> bytes:
        self._rest = b""
        return b""


class _Stream:
    """Converts frames of numbers from -1 to 1 to sound: mixes all channels, and resamples."""

    def __init__(self, rate: int, kind: str) -> None:
        self._numpy = _library("numpy", kind)
        self._resampler = None
        if rate != SAMPLE_RATE:
            soxr = _library("soxr", kind)
            self._resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")

    def convert(self, frames: Any, *, last: bool = False) -> bytes:
        """Convert an array of frames by channels."""
        mono = frames.mean(axis=1, dtype="float32")
        if self._resampler is not None:
            mono = self._resampler.resample_chunk(mono, last=last)
        scaled = self._numpy.rint(mono * _FULL).clip(-_FULL, _FULL - 1)
        return bytes(scaled.astype("<i2").tobytes())

    def flush(self) -> bytes:
        """Return the sound that the resampler still holds."""
        return self.convert(self._numpy.zeros((0, 1), "float32"), last=True)


class _Resampling:
    """Converts samples, given as bytes, to sound."""

    def __init__(self, pcm: Format) -> None:
        self._pcm = pcm
        kind = f"sound of {pcm}"
        self._stream = _Stream(pcm.rate, kind)
        self._numpy = _library("numpy", kind)
        self._rest = b""

    def convert(self, data: bytes) -> bytes:
        data = self._rest + data
        whole = len(data) - len(data) % self._pcm.frame_size
        self._rest = data[whole:]
        return self._stream.convert(self._numbers(data[:whole])) if whole else b""

    def flush(self) -> bytes:
        return self._stream.flush()

    def _numbers(self, data: bytes) -> Any:
        numpy, width = self._numpy, self._pcm.width
        if width == 1:
            numbers = (numpy.frombuffer(data, "u1").astype("float32") - 128) / 128
        else:
            # Each sample goes into the high bytes of 32 bits, so one scale fits every width.
            raw = numpy.frombuffer(data, "u1").reshape(-1, width)
            wide = numpy.zeros((len(raw), 4), "u1")
            wide[:, 4 - width:] = raw
            numbers = wide.view("<i4").astype("float64") / 2**31
        return numbers.reshape(-1, self._pcm.channels)
