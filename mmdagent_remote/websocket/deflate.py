"""permessage-deflate (RFC 7692) for wsproto, with its incoming side bounded. Pure.

The outgoing side is wsproto's extension. The incoming side and the negotiation are replaced here.
wsproto's incoming side resets at a ping between two fragments, ends with the first final block, and
keeps everything after such a block in memory. Its negotiation accepts offers that must be declined.
"""

from __future__ import annotations

import re
import zlib
from typing import Any, Optional, Union

from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

# A sender removes these bytes from the end of each message (RFC 7692, section 7.2.2).
_TAIL = b"\x00\x00\xff\xff"

#: The most final blocks in one message. Each needs a decompressor of its own.
_MAX_FINAL_BLOCKS = 16

_NO_VALUE = frozenset({"server_no_context_takeover", "client_no_context_takeover"})
_WINDOW_BITS = frozenset({"server_max_window_bits", "client_max_window_bits"})
_BITS = re.compile("[89]|1[0-5]")


class Deflate(PerMessageDeflate):
    """The server's side of permessage-deflate for one connection."""

    def __init__(self) -> None:
        super().__init__()
        self._agreed = False
        self._inflater: Any = None
        self._is_control = False
        self._is_compressed = False
        self._final_blocks = 0

    def enabled(self) -> bool:
        """Whether an offer was accepted."""
        return self._agreed

    def accept(self, offer: str) -> Union[bool, str, None]:
        """Evaluate one offer; the first acceptable one is taken.

        Returns:
            the parameters of the response, or None to decline.
        """
        parameters = _parse(offer)
        # zlib cannot make a window of 8 bits, so a peer that asks for one gets no compression.
        if self._agreed or parameters is None or parameters.get("server_max_window_bits") == "8":
            return None
        self._agreed = True
        answer = []
        if "server_no_context_takeover" in parameters:
            self.server_no_context_takeover = True
            answer.append("server_no_context_takeover")
        if "client_no_context_takeover" in parameters:
            self.client_no_context_takeover = True
            answer.append("client_no_context_takeover")
        if bits := parameters.get("server_max_window_bits"):
            self.server_max_window_bits = int(bits)
            answer.append(f"server_max_window_bits={bits}")
        return "; ".join(answer)

    def frame_inbound_header(self, proto: Union[FrameDecoder, FrameProtocol], opcode: Opcode,
                             rsv: RsvBits, payload_length: int) -> Union[CloseReason, RsvBits]:
        """RSV1 marks a compressed message, on its first frame only."""
        self._is_control = opcode.iscontrol()
        if rsv.rsv1 and (self._is_control or opcode is Opcode.CONTINUATION):
            return CloseReason.PROTOCOL_ERROR
        if not self._is_control and opcode is not Opcode.CONTINUATION:
            self._is_compressed = rsv.rsv1
        return RsvBits(True, False, False)

    def frame_inbound_payload_data(self, proto: Union[FrameDecoder, FrameProtocol], data: bytes
                                   ) -> Union[bytes, CloseReason]:
        """Decompress a piece of a message."""
        if self._is_control or not self._is_compressed:
            return data
        return self._inflate(data)

    def frame_inbound_complete(self, proto: Union[FrameDecoder, FrameProtocol], fin: bool
                               ) -> Union[bytes, CloseReason, None]:
        """Decompress the tail that the sender removed from the message."""
        if self._is_control or not self._is_compressed or not fin:
            return None
        data = self._inflate(_TAIL)
        if self.client_no_context_takeover:
            self._inflater = None
        self._final_blocks = 0
        return data

    def _inflate(self, data: bytes) -> Union[bytes, CloseReason]:
        pieces = []
        try:
            while True:
                if self._inflater is None:
                    # The largest window also decodes data that was made with a smaller one.
                    self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
                pieces.append(self._inflater.decompress(data))
                if not self._inflater.eof:
                    return b"".join(pieces)
                # A final block ends the stream, not the message (section 7.2.3.4).
                data, self._inflater = self._inflater.unused_data, None
                self._final_blocks += 1
                if self._final_blocks > _MAX_FINAL_BLOCKS:
                    return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA


def _parse(offer: str) -> Optional[dict[str, str]]:
    """Return an offer's parameters, or None if section 7.1 says to decline it."""
    found: dict[str, str] = {}
    for part in offer.split(";")[1:]:
        name, equals, value = (each.strip() for each in part.partition("="))
        value = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
        if name in found or name not in _NO_VALUE | _WINDOW_BITS:
            return None
        if name in _NO_VALUE and equals:
            return None
        if name in _WINDOW_BITS and (equals or name.startswith("server")) and not _BITS.fullmatch(value):
            return None
        found[name] = value
    return found
