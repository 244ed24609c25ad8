"""Opens a sound (a file, samples, or an iterator), and makes it 16 kHz mono.

Sound that is already 16 kHz, 16 bits and mono passes through unchanged and needs only the standard
library. All other sound goes through ``convert.py``.
"""

from __future__ import annotations

import os
import sys
import wave
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO, TextIOBase
from typing import BinaryIO, NamedTuple, Optional, Union, cast

from .convert import NEEDS, STEP, Converter, converter_for, decode, has_extra
from .format import PLAYED, SAMPLE_RATE, SAMPLE_SIZE, Format

#: Maximum bytes of a file that is not seekable, such as a pipe, which may have no end.
MAX_WHOLE = 256 * 1024 * 1024

#: What ``speak_audio()`` takes.
Source = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, BinaryIO, Iterable[bytes]]


class Sound(NamedTuple):
    """An opened source."""

    #: 16 kHz, 16 bits, mono; pieces of any size, which may end inside a sample.
    pieces: Iterator[bytes]
    #: Its length, if that is known beforehand.
    seconds: Optional[float]
    #: Closes it, also before its end.
    close: Callable[[], object]


def open_sound(source: Source, pcm: Format = PLAYED) -> Sound:
    """Open a source of sound.

    Args:
        source: a path; an open binary file (one that is not seekable is read whole); bytes: a
            sound file, or samples; or an iterable of such bytes. Arrays of integers are bytes, too.
        pcm: the format of samples that have no header.

    Raises:
        TypeError: it is none of these.
        ValueError: it is not a sound file, or its samples have another width.
        OSError: the file cannot be opened.
        ImportError: it has to be converted, and the extra ``audio`` is not installed.
    """
    if isinstance(source, (str, os.PathLike)):
        file = open(source, "rb")
        try:
            return _open_file(file, file.close)
        except BaseException:  # Whatever was raised: no other code would close the file.
            file.close()
            raise
    if _has_bytes(source):
        data = _bytes_of(source, pcm)
        if data.startswith(_HEADS) or _is_wav(data):
            return _open_file(BytesIO(data), _nothing)
        seconds = len(data) // pcm.frame_size / pcm.rate
        return Sound(_converted(_slices(data, pcm), converter_for(pcm)), seconds, _nothing)
    if hasattr(source, "read"):
        return _open_file(cast(BinaryIO, source), _nothing)
    try:
        pieces = iter(cast(Iterable[bytes], source))
    except TypeError:
        raise TypeError("a sound is a path, an open file, bytes, or an iterable of bytes, not "
                        f"{type(source).__name__}") from None
    return Sound(_iterated(pieces, pcm, converter_for(pcm)), None, getattr(source, "close", _nothing))


def _nothing() -> None:
    # There is nothing to close.
    pass


def _has_bytes(data: object) -> bool:
    try:
        memoryview(data)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


def _bytes_of(data: object, pcm: Format) -> bytes:
    if isinstance(data, bytes):
        return data
    if not _has_bytes(data):
        raise TypeError(f"sound must be bytes, not {type(data).__name__}")
    view = memoryview(data)  # type: ignore[arg-type]
    if view.format in ("e", "f", "d"):
        raise TypeError("these samples are floating-point numbers; make them 16-bit integers")
    if view.itemsize not in (1, pcm.width):
        raise ValueError(f"these samples have {8 * view.itemsize} bits, not {8 * pcm.width}; say "
                         f"width={view.itemsize}, or make them 16-bit integers")
    return view.tobytes()


#: How files of other kinds begin: FLAC, Ogg, MP3 with its tag, AIFF.
_HEADS = (b"fLaC", b"OggS", b"ID3", b"FORM")


def _is_wav(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WAVE"


def _slices(data: bytes, pcm: Format) -> Iterator[bytes]:
    size = int(pcm.rate * STEP) * pcm.frame_size
    return (data[start:start + size] for start in range(0, len(data), size))


def _iterated(pieces: Iterator[bytes], pcm: Format, converter: Converter) -> Iterator[bytes]:
    # A speech synthesiser may give a whole WAV file for each sentence, or one file in many pieces.
    left: Optional[int] = None  # Bytes of a WAV file's sound still to come; None: no WAV file.
    for piece in pieces:
        data = _bytes_of(piece, pcm)
        if _is_wav(data):
            yield converter.flush()
            converter, left, begun = converter_for(pcm), None, _begun(data)
            if begun is None:
                yield from _open_file(BytesIO(data), _nothing).pieces
                continue
            found, left, data = begun
            converter = converter_for(found)
        if left is not None:
            data = data[:left]  # What follows the sound in the file is not sound.
            left -= len(data)
        yield converter.convert(data)
    yield converter.flush()


def _begun(data: bytes) -> Optional[tuple[Format, int, bytes]]:
    """Read the first piece of a WAV file: its format, its bytes of sound, the first of them.

    None: the piece is the whole file, or of a rarer kind, which is only supported as a whole file.
    """
    file = BytesIO(data)
    try:
        opened = wave.open(file)
        found = Format(opened.getframerate(), opened.getnchannels(), opened.getsampwidth())
    except (wave.Error, EOFError, ValueError):
        return None
    # A writer that does not know the length states 0, or gigabytes.
    size, sound = opened.getnframes() * found.frame_size or sys.maxsize, data[file.tell():]
    return (found, size, sound) if size > len(sound) else None


def _converted(pieces: Iterable[bytes], converter: Converter) -> Iterator[bytes]:
    for piece in pieces:
        yield converter.convert(piece)
    yield converter.flush()


# Files

def _open_file(file: BinaryIO, close: Callable[[], object]) -> Sound:
    if isinstance(file, TextIOBase):
        raise TypeError("a sound file must be opened as binary: open(path, \"rb\")")
    if not file.seekable():
        file = _whole(file)
    start = file.tell()
    try:
        opened = wave.open(file)
        kind = str(found := Format(opened.getframerate(), opened.getnchannels(), opened.getsampwidth()))
        if found == PLAYED:
            return Sound(_frames_of(opened), _length_of(opened, file), close)
    except (wave.Error, EOFError, ValueError):
        file.seek(start)
        if file.read(4) != b"RIFF" and not has_extra():
            raise ValueError(f"this is no WAV file; run '{NEEDS}' to read other kinds") from None
        kind = "a WAV file of a rarer kind"
    file.seek(start)
    return Sound(*decode(file, kind), close)


def _whole(file: BinaryIO) -> BytesIO:
    data = bytearray()
    while piece := file.read(65536):
        data += piece
        if len(data) > MAX_WHOLE:
            raise ValueError(f"this file is not seekable, and has more than {MAX_WHOLE} bytes; "
                             "give an iterable of its pieces")
    return BytesIO(data)


def _frames_of(opened: wave.Wave_read) -> Iterator[bytes]:
    while sound := opened.readframes(int(SAMPLE_RATE * STEP)):
        yield sound


def _length_of(opened: wave.Wave_read, file: BinaryIO) -> float:
    # A program that writes a WAV file to a pipe does not know its length, and states gigabytes.
    here = file.tell()
    there = (file.seek(0, os.SEEK_END) - here) // SAMPLE_SIZE
    file.seek(here)
    return min(opened.getnframes(), there) / SAMPLE_RATE
