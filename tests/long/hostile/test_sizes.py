"""Peers that send too much: huge messages, endless fragments, impossible lengths, bombs."""

from __future__ import annotations

import struct
import threading
import zlib

from mmdagent_remote import Handler, Message

from ...attack import Echo, HostileCase, wait_done
from ...client import BINARY, CLOSE, TEXT, Client, frame, frame_head
from ...support import DEADLINE, Recorder, wait_until

_PIECE = bytes(64 * 1024)
_DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


def head(opcode: int, size: int, *, fin: bool = True, rsv: int = 0) -> bytes:
    """The header of a masked frame; the mask is zero, so that zeros stay zeros."""
    return frame_head(opcode, size, fin=fin, rsv=rsv, mask=True) + bytes(4)


def bomb(size: int) -> bytes:
    """`size` zeros, compressed."""
    deflate = zlib.compressobj(9, wbits=-15)
    return deflate.compress(bytes(size)) + deflate.flush(zlib.Z_SYNC_FLUSH)[:-4]


class Away(Recorder):
    """Blocks in user code from on_open on, until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    def on_open(self) -> None:
        super().on_open()
        self.release.wait(DEADLINE)


class TooMuchTests(HostileCase):
    """Messages that get 1009, and take two megabytes of memory at most."""

    def refused(self, first: bytes, piece: bytes, count: int, *headers: str, handler: type = Echo,
                **options: object) -> None:
        """Send it all, read only the Close, and check its code and the memory."""
        server = self.serve(handler, **options)
        with Client(server) as other:
            with Client(server, "/", *headers) as client, self.memory_bounded():
                codes: list[object] = []
                reader = self.in_thread(lambda: codes.append(client.close_code()))
                client.send(first)
                self.flood(client, piece, count)
                reader.join(DEADLINE)
                self.assertEqual(codes, [1009])
            if handler is Echo:
                self.assert_served(other)

    def test_huge_message(self) -> None:
        """100 MB in one frame are refused with 1009 before a tenth of them is in memory."""
        for opcode in (TEXT, BINARY):
            with self.subTest(opcode):
                self.refused(head(opcode, 100_000_000), _PIECE, 1600)

    def test_huge_message_to_a_busy_handler(self) -> None:
        """While a hook is busy, a message of 100 MB is refused likewise."""
        server = self.serve(Away)
        with Client(server) as client, self.memory_bounded():
            handler = server.wait_connected(DEADLINE)
            client.send(head(TEXT, 100_000_000))
            self.in_thread(self.flood, client, _PIECE, 1600)
            self.assertEqual(client.close_code(), 1009)
            handler.release.set()

    def test_huge_fragments(self) -> None:
        """200 MB in fragments of 64 KB are refused with 1009."""
        self.refused(frame("x", fin=False), head(0, len(_PIECE), fin=False) + _PIECE, 3200)

    def test_tiny_fragments(self) -> None:
        """A million fragments of one byte, or of none, are refused with 1009."""
        for tiny in (b"x", b""):
            with self.subTest(tiny):
                self.refused(frame("x", fin=False), frame(tiny, 0, fin=False) * 1000, 1000)

    def test_tiny_fragments_from_the_first(self) -> None:
        """A million empty fragments, the first one included, are refused with 1009."""
        for options, headers in (({}, ()), ({"compression": True}, (_DEFLATE,))):
            self.refused(frame("", fin=False), frame("", 0, fin=False) * 1000, 1000,
                         *headers, **options)

    def test_exabytes(self) -> None:
        """A length of 2**62 reserves nothing, and is refused with 1009 once too much has come."""
        self.refused(head(BINARY, 2 ** 62), _PIECE, 1600)

    def test_negative_length(self) -> None:
        """A length with its highest bit set is refused with 1002 from the header alone."""
        server = self.serve(Recorder)
        with Client(server) as client:
            client.send(b"\x82\xff" + struct.pack("!Q", 2 ** 63) + bytes(4))
            self.assertEqual(client.close_code(), 1002)

    def test_padded_length(self) -> None:
        """A length that is not written in its shortest form is refused with 1002."""
        server = self.serve(Recorder)
        for padded in (b"\x82\xfe\0\1" + bytes(5), b"\x82\xff" + struct.pack("!Q", 1) + bytes(5)):
            with Client(server) as client:
                client.send(padded)
                self.assertEqual(client.close_code(), 1002)

    def test_long_line(self) -> None:
        """A line of a megabyte is refused with 1009, though a message of many short ones is not."""
        class Counting(Recorder):
            count = 0

            def on_message(self, message: Message) -> None:
                self.count += 1

        server = self.serve(Counting)
        with Client(server) as client, Client(server) as other:
            client.text("x" * 1_000_000)
            self.assertEqual(client.close_code(), 1009)
            other.text("x\n" * 500_000)
            wait_until(lambda: any(each.count == 500_000 for each in server.connections))


class BombTests(HostileCase):
    """Compressed frames that grow to many megabytes."""

    def boom(self, *parts: bytes) -> None:
        """Send it to a server that agreed to compression, and check code and memory."""
        server = self.serve(Echo, compression=True)
        with Client(server) as other:
            with Client(server, "/", _DEFLATE) as client, self.memory_bounded():
                for part in parts:
                    self.flood(client, part, 1)
                self.assertEqual(client.close_code(), 1009)
            self.assert_served(other)

    def test_bomb(self) -> None:
        """A frame of 100 KB that decompresses to 100 MB is refused with 1009."""
        data = bomb(100_000_000)
        self.boom(head(BINARY, len(data), rsv=4) + data)

    def test_bomb_in_fragments(self) -> None:
        """Such a bomb in fragments of 100 bytes is refused with 1009."""
        data = bomb(100_000_000)
        parts = [data[i:i + 100] for i in range(0, len(data), 100)]
        self.boom(b"".join(
            head(0 if number else TEXT, len(part), fin=False, rsv=0 if number else 4) + part
            for number, part in enumerate(parts)))

    def test_bomb_for_a_busy_handler(self) -> None:
        """While a hook is busy, a bomb is refused likewise."""
        server, data = self.serve(Away, compression=True), bomb(100_000_000)
        with Client(server, "/", _DEFLATE) as client, self.memory_bounded():
            handler = server.wait_connected(DEADLINE)
            self.flood(client, head(BINARY, len(data), rsv=4) + data, 1)
            self.assertEqual(client.close_code(), 1009)
            handler.release.set()

    def test_unasked_compression(self) -> None:
        """A compressed frame without agreement is refused with 1002, and not decompressed."""
        server, data = self.serve(Recorder), bomb(1_000_000)
        with Client(server, "/", _DEFLATE) as client, self.memory_bounded():
            client.send(head(BINARY, len(data), rsv=4) + data)
            self.assertEqual(client.close_code(), 1002)


class BusyHandlerTests(HostileCase):
    """A peer that sends faster than its handler reads."""

    def test_flood_of_lines(self) -> None:
        """50 MB of lines for a busy handler wait in TCP, and take no more memory than the queue."""
        server = self.serve(Away)
        with Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            piece, count = frame("y" * 1000 + "\n") * 64, 800
            client.sock.settimeout(1.0)
            with self.memory_bounded(4_000_000):
                self.assertLess(self.flood(client, piece, count), count)
            handler.release.set()
            wait_until(lambda: len(handler.messages_seen) > 1000)

    def test_short_lines_and_an_own_text_hook(self) -> None:
        """Many short lines in a message take no more memory if the handler has its own on_text."""
        first = threading.Event()

        class Whole(Handler):
            def on_text(self, text: str) -> None:
                super().on_text(text)

            def on_message(self, message: Message) -> None:
                first.set()

        server, data = self.serve(Whole), frame("x\n" * 100_000)
        with Client(server) as client, self.memory_bounded():
            client.send(data)
            self.assertTrue(first.wait(DEADLINE))

    def test_leaves_after_its_flood(self) -> None:
        """A peer that fills the queue and vanishes leaves nothing once the handler returns."""
        server = self.serve(Away, max_queue=10)
        with Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            client.sock.settimeout(0.5)
            self.flood(client, frame("y" * 1000 + "\n") * 64, 800)
        handler.release.set()
        wait_done(handler)
        self.assertEqual(handler.closes[0][0], 1006)
        wait_until(lambda: not server.connections)


class QueuedCloseTests(HostileCase):
    """A Close behind a message that is too large."""

    def test_close_behind_the_refused(self) -> None:
        """What follows a refused message, even a Close, changes nothing."""
        server = self.serve(Recorder, max_message_size=1000)
        with Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            client.send(frame(b"x" * 1001, BINARY) + frame(b"\x03\xe8", CLOSE) + frame("late\n"))
            self.assertEqual(client.close_code(), 1009)
        wait_done(handler)
        self.assertEqual((handler.messages_seen, handler.closes[0][0]), ([], 1009))
