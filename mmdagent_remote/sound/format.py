"""Sound as MMDAgent-EX takes it: 16 kHz, 16 bits, mono, in chunks. Pure.

``sources.py`` opens and converts sound; ``playback.py`` decides when each chunk leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Samples a second that Plugin_Remote plays: :data:`SAMPLE_SIZE` bytes each, little-endian, mono.
SAMPLE_RATE = 16000
SAMPLE_SIZE = 2
#: Bytes of sound in a chunk, 40 ms: the recommended size. With its header it fits one TCP segment.
CHUNK_SIZE = 1280


@dataclass(frozen=True)
class Format:
    """The format of raw samples (PCM): signed, little-endian; one-byte samples unsigned, as in WAV.

    Args:
        rate: samples a second, 1000 to 768000.
        channels: number of channels, 1 to 64, interleaved.
        width: bytes of one sample of one channel, 1 to 4.

    Raises:
        TypeError, ValueError: a value is not a whole number, or out of range.
    """

    rate: int = SAMPLE_RATE
    channels: int = 1
    width: int = SAMPLE_SIZE

    def __post_init__(self) -> None:
        for name, least, most in (("rate", 1000, 768000), ("channels", 1, 64), ("width", 1, 4)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be a whole number, not {value!r}")
            if not least <= value <= most:
                raise ValueError(f"{name} must be from {least} to {most}, not {value}")

    @property
    def frame_size(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * self.width

    def __str__(self) -> str:
        channels = "mono" if self.channels == 1 else f"{self.channels} channels"
        return f"{self.rate} Hz, {8 * self.width} bits, {channels}"


#: The format that is sent without conversion.
PLAYED = Format()


def seconds_of(size: int) -> float:
    """How many seconds ``size`` bytes of sound last."""
    return size / (SAMPLE_RATE * SAMPLE_SIZE)


def chunk_of(sound: bytes) -> bytes:
    """A chunk as it is on the wire: ``SND``, four digits, the sound; a newline never follows."""
    return b"SND%04d%b" % (len(sound), sound)


class Chunker:
    """Cuts sound into chunks; the rest waits for more. Not thread-safe."""

    def __init__(self) -> None:
        self._sound = bytearray()

    def __len__(self) -> int:
        return len(self._sound)

    def feed(self, sound: bytes) -> None:
        """Add sound; it may end anywhere, also inside a sample."""
        self._sound += sound

    def take(self, *, last: bool = False) -> bytes:
        """Return the next chunk's sound, or nothing while there is less than a chunk.

        Args:
            last: no more follows: return a shorter chunk too; half a sample at the end is dropped.
        """
        size = len(self._sound)
        if size < CHUNK_SIZE and not last:
            return b""
        taken = bytes(self._sound[:min(size - size % SAMPLE_SIZE, CHUNK_SIZE)])
        del self._sound[:CHUNK_SIZE]
        return taken
