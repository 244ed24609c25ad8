"""``testing/frames.py``: the handshake and the frames of MMDAgent-EX's client."""

from __future__ import annotations

import base64
import re
import unittest

from hypothesis import given, settings
from hypothesis import strategies as st

from mmdagent_remote.testing.frames import (BINARY, CLOSE, PING, TEXT, FrameReader, FrameTooLarge,
                                            Refused, check_answer, masked, new_key, request_of)

from ..client import frame
from ..support import DATA
from .peer import accept_head, server_frame


class RequestTests(unittest.TestCase):
    """Rows: the opening handshake."""

    def test_byte_by_byte(self) -> None:
        """The request is the recorded one, byte by byte."""
        recorded = (DATA / "handshake.txt").read_bytes()
        key = re.search(rb"Key: (.+)\r\n", recorded).group(1).decode()
        self.assertEqual(request_of("/chat", "localhost", 9001, key), recorded)

    def test_path(self) -> None:
        """The path is sent unchanged: a query, raw UTF-8, blanks, empty, without a slash."""
        for path in ("/a?b=c&d", "/日本 x", "", "chat"):
            first = request_of(path, "h", 1, "k").partition(b"\r\n")[0]
            self.assertEqual(first, f"GET {path} HTTP/1.1".encode())

    def test_key(self) -> None:
        """The key is 16 bytes, another one each time."""
        keys = {new_key() for _ in range(10)}
        self.assertEqual({len(base64.b64decode(key)) for key in keys}, {16})
        self.assertEqual(len(keys), 10)


class AnswerTests(unittest.TestCase):
    """Rows: which answers it takes."""

    request = request_of("/", "localhost", 1, "nLQTUQM3yFumh2d27HB3Kg==")

    def check(self, answer: bytes) -> None:
        """Judge an answer."""
        check_answer(answer.removesuffix(b"\r\n\r\n"), "nLQTUQM3yFumh2d27HB3Kg==")

    def test_good(self) -> None:
        """Lower case names, extra headers and any reason phrase are fine."""
        self.check(accept_head(self.request, extra="X-More: 1\r\n"))

    def test_connection(self) -> None:
        """``Connection`` must be ``Upgrade`` exactly; ``keep-alive, Upgrade`` is refused."""
        with self.assertRaisesRegex(Refused, "keep-alive, Upgrade"):
            self.check(accept_head(self.request, "keep-alive, Upgrade"))

    def test_accept(self) -> None:
        """``Sec-WebSocket-Accept`` must be right."""
        with self.assertRaisesRegex(Refused, "Accept"):
            self.check(accept_head(self.request.replace(b"nLQ", b"xxx")))

    def test_too_many_requests(self) -> None:
        """Only 429 with exactly the reason "Too Many Requests" makes it try another path."""
        for status, is_occupied in (("429 Too Many Requests", True), ("429 Too many requests", False),
                                    ("429", False), ("503 Too Many Requests", False)):
            with self.assertRaisesRegex(Refused, status) as caught:
                self.check(f"HTTP/1.1 {status}\r\n\r\n".encode())
            self.assertEqual(caught.exception.is_occupied, is_occupied)


class FrameTests(unittest.TestCase):
    """Frames in both directions."""

    @settings(deadline=None)
    @given(st.integers(0, 70000))
    def test_masked(self, size: int) -> None:
        """A frame of the client is final, masked, and of minimal length."""
        payload = bytes(number % 251 for number in range(size))
        data = masked(TEXT, payload)
        head = {size < 126: 2, 126 <= size < 65536: 4, size >= 65536: 10}[True]
        self.assertEqual((data[0], data[1] >> 7, len(data)), (0x81, 1, head + 4 + size))
        key, body = data[head:head + 4], data[head + 4:]
        self.assertEqual(bytes(byte ^ key[i % 4] for i, byte in enumerate(body)), payload)

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.sampled_from([TEXT, BINARY, CLOSE, PING]), st.binary(max_size=300))),
           st.data())
    def test_reader(self, frames: list[tuple[int, bytes]], data: st.DataObject) -> None:
        """The frames read are the frames sent, however their bytes are cut."""
        stream = b"".join(server_frame(payload, opcode) for opcode, payload in frames)
        cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
        reader, found = FrameReader(), []
        for start, end in zip([0, *cuts], [*cuts, len(stream)]):
            reader.feed(stream[start:end])
            while (each := reader.next(8191)) is not None:
                found.append((each.opcode, each.payload))
        self.assertEqual(found, frames)
        self.assertFalse(reader.has_part)

    def test_sizes(self) -> None:
        """All three forms of a length are read, and a partial frame is recognised as one."""
        reader = FrameReader()
        for size in (0, 125, 126, 65535, 65536):
            data = server_frame(b"x" * size)
            reader.feed(data[:-1] if size else data[:1])
            self.assertTrue(reader.has_part)
            self.assertIsNone(reader.next(100_000))
            reader.feed(data[-1:])
            self.assertEqual(len(reader.next(100_000).payload), size)

    def test_room(self) -> None:
        """A payload larger than the room is reported from its header alone."""
        for room, data in ((8191, server_frame(b"x" * 8192)[:4]), (10, server_frame(b"x" * 11)[:2])):
            reader = FrameReader()
            reader.feed(data)
            with self.assertRaises(FrameTooLarge):
                reader.next(room)
        reader = FrameReader()
        reader.feed(frame(b"x" * 8191, mask=False))
        self.assertEqual(len(reader.next(8191).payload), 8191)


if __name__ == "__main__":
    unittest.main()
