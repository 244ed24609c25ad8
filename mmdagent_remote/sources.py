"""Where a sound comes from: a WAV file, samples, or an iterator, and its way to 16 kHz mono.

Sound that is 16 kHz, 16 bits and mono already goes through untouched, with the standard library alone;
the rest through ``convert.py``.
"""

from __future__ import annotations

import os
import wave
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import BinaryIO, NamedTuple, Optional, Union, cast

from .audio import PLAYED, SAMPLE_RATE, SAMPLE_SIZE, Format
from .convert import NEEDS, STEP, Converter, converter_for, decode, has_extra

#: What ``speak_audio()`` takes.
Source = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, BinaryIO, Iterable[bytes]]


class Sound(NamedTuple):
    """An opened source."""

    #: 16 kHz, 16 bits, mono; pieces of any size, which may end inside a sample.
    pieces: Iterator[bytes]
    #: Its length, if that is known beforehand.
    seconds: Optional[float]
    #: Ends it, also before its end.
    close: Callable[[], object]


def open_sound(source: Source, pcm: Format = PLAYED) -> Sound:
    """Open a source of sound.

    Args:
        source: a path; an open binary file, which one that cannot be wound back is read whole; bytes: a
            WAV file, or samples; or an iterable of such bytes.
        pcm: what samples are that have no header which says so.

    Raises:
        TypeError: it is none of these.
        ValueError: it is no sound file.
        OSError: the file cannot be opened.
        ImportError: it has to be converted, and the extra ``audio`` is not installed.
    """
    if isinstance(source, (str, os.PathLike)):
        file = open(source, "rb")
        try:
            return _open_file(file, file.close)
        except BaseException:  # Whatever it is: nobody else would close it.
            file.close()
            raise
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = _bytes_of(source)
        if _is_wav(data):
            return _open_file(BytesIO(data), _nothing)
        seconds = len(data) // pcm.frame_size / pcm.rate
        return Sound(_converted(_slices(data, pcm), converter_for(pcm)), seconds, _nothing)
    if hasattr(source, "read"):
        return _open_file(cast(BinaryIO, source), _nothing)
    try:
        pieces = iter(source)
    except TypeError:
        raise TypeError("a sound is a path, an open file, bytes, or an iterable of bytes, not "
                        f"{type(source).__name__}") from None
    return Sound(_iterated(pieces, converter_for(pcm)), None, getattr(source, "close", _nothing))


def _nothing() -> None:
    # There is nothing to close.
    pass


def _bytes_of(data: object) -> bytes:
    if not isinstance(data, (bytes, bytearray)):
        try:
            view = memoryview(data)  # type: ignore[arg-type]
        except TypeError:
            raise TypeError(f"sound must be bytes, not {type(data).__name__}") from None
        if view.format in ("e", "f", "d"):
            raise TypeError("these samples are floating-point numbers; make them 16-bit integers")
        return view.tobytes()
    return bytes(data)


def _is_wav(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WAVE"


def _slices(data: bytes, pcm: Format) -> Iterator[bytes]:
    size = int(pcm.rate * STEP) * pcm.frame_size
    return (data[start:start + size] for start in range(0, len(data), size))


def _iterated(pieces: Iterator[bytes], converter: Converter) -> Iterator[bytes]:
    # A speech synthesiser may give a whole WAV file for each sentence.
    for piece in pieces:
        data = _bytes_of(piece)
        if _is_wav(data):
            yield from _open_file(BytesIO(data), _nothing).pieces
        else:
            yield converter.convert(data)
    yield converter.flush()


def _converted(pieces: Iterable[bytes], converter: Converter) -> Iterator[bytes]:
    for piece in pieces:
        yield converter.convert(piece)
    yield converter.flush()


# Files

def _open_file(file: BinaryIO, close: Callable[[], object]) -> Sound:
    if not file.seekable():
        file = BytesIO(file.read())
    start = file.tell()
    try:
        opened = wave.open(file)
        kind = str(found := Format(opened.getframerate(), opened.getnchannels(), opened.getsampwidth()))
        if found == PLAYED:
            return Sound(_frames_of(opened), _length_of(opened, file), close)
    except (wave.Error, EOFError, ValueError):
        file.seek(start)
        if file.read(4) != b"RIFF" and not has_extra():
            raise ValueError(f"this is no WAV file; {NEEDS} reads other kinds") from None
        kind = "a WAV file of a rarer kind"
    file.seek(start)
    return Sound(*decode(file, kind), close)


def _frames_of(opened: wave.Wave_read) -> Iterator[bytes]:
    while sound := opened.readframes(int(SAMPLE_RATE * STEP)):
        yield sound


def _length_of(opened: wave.Wave_read, file: BinaryIO) -> float:
    # Who writes a WAV file to a pipe does not know its length, and promises gigabytes.
    here = file.tell()
    there = (file.seek(0, os.SEEK_END) - here) // SAMPLE_SIZE
    file.seek(here)
    return min(opened.getnframes(), there) / SAMPLE_RATE
