"""Deflate: which offers are accepted, and how; inflating is mostly tested in test_protocol.py."""

from __future__ import annotations

import unittest
import zlib

from wsproto.frame_protocol import CloseReason, FrameDecoder, Opcode, RsvBits

from mmdagent_remote.websocket.deflate import Deflate

NAME = "permessage-deflate"


class OfferTests(unittest.TestCase):
    """accept()."""

    def test_good_offers(self) -> None:
        """A good offer is answered with the agreed parameters; only the first good offer counts."""
        for offer, answer in (
                ("", ""), ("; client_max_window_bits", ""), ("; client_max_window_bits=10", ""),
                ("; server_no_context_takeover", "server_no_context_takeover"),
                ("; client_no_context_takeover", "client_no_context_takeover"),
                ('; server_max_window_bits="10"', "server_max_window_bits=10"),
                ("; server_no_context_takeover; server_max_window_bits=9",
                 "server_no_context_takeover; server_max_window_bits=9")):
            deflate = Deflate()
            with self.subTest(offer):
                self.assertFalse(deflate.enabled())
                self.assertEqual(deflate.accept(NAME + offer), answer)
                self.assertTrue(deflate.enabled())
                self.assertIsNone(deflate.accept(NAME))

    def test_bad_offers(self) -> None:
        """An offer that the RFC says to decline is declined; so is a server window of 8 bits."""
        for offer in ("; unknown", "; server_max_window_bits", "; server_max_window_bits=8",
                      "; client_max_window_bits=16", "; client_max_window_bits=",
                      "; server_no_context_takeover=1",
                      "; client_no_context_takeover; client_no_context_takeover"):
            deflate = Deflate()
            with self.subTest(offer):
                self.assertIsNone(deflate.accept(NAME + offer))
                self.assertFalse(deflate.enabled())


class InflateTests(unittest.TestCase):
    """The incoming side."""

    def setUp(self) -> None:
        self.deflate = Deflate()
        self.decoder = FrameDecoder(client=False)

    def header(self, opcode: Opcode, *, rsv1: bool) -> object:
        """Begin a frame."""
        return self.deflate.frame_inbound_header(self.decoder, opcode, RsvBits(rsv1, False, False), 0)

    def test_without_takeover(self) -> None:
        """With client_no_context_takeover each message is inflated independently."""
        self.deflate.accept(NAME + "; client_no_context_takeover")
        for _ in range(2):
            packer = zlib.compressobj(wbits=-15)
            data = packer.compress(b"hello hello") + packer.flush(zlib.Z_SYNC_FLUSH)
            self.header(Opcode.TEXT, rsv1=True)
            plain = self.deflate.frame_inbound_payload_data(self.decoder, data[:-4])
            end = self.deflate.frame_inbound_complete(self.decoder, True)
            self.assertEqual((plain, end), (b"hello hello", b""))

    def test_misplaced_bit(self) -> None:
        """RSV1 on a control frame or a continuation is a protocol error."""
        for opcode in (Opcode.PING, Opcode.CONTINUATION):
            self.assertIs(self.header(opcode, rsv1=True), CloseReason.PROTOCOL_ERROR)

    def test_many_final_blocks(self) -> None:
        """A message of endless final blocks is refused, since each costs a decompressor."""
        packer = zlib.compressobj(wbits=-15)
        block = packer.flush(zlib.Z_FINISH)
        self.header(Opcode.TEXT, rsv1=True)
        self.assertIs(self.deflate.frame_inbound_payload_data(self.decoder, block * 1000),
                      CloseReason.INVALID_FRAME_PAYLOAD_DATA)
