"""The fast lane: which frames it decodes, which it leaves to wsproto, and which it makes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import tracemalloc
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from mmdagent_remote import Handler

from mmdagent_remote.limits import Limits
from mmdagent_remote.profile import STRICT
from mmdagent_remote.websocket import fastlane
from mmdagent_remote.websocket.fastlane import (NO_FRAME, TRANSLATE_FROM, FastLane, data_frame,
                                                find_unmask, line_frames, parse_head, unmask_number,
                                                unmask_python, unmask_translate)

from ..client import BINARY, CLOSE, PING, PONG, TEXT, Client, frame_head
from ..support import PROJECT, TestCase
from .test_fastlane_streams import CONTINUATION, Case, protocol_of
from .test_protocol import frame, opened


class LaneTest(unittest.TestCase):
    """Which data goes through the lane, and which does not."""

    def messages(self, lane: FastLane) -> list[Any]:
        """All messages that the lane can decode now."""
        found = []
        while messages := lane.messages(3):
            found += messages
        return found

    def test_what_is_the_lanes(self) -> None:
        """Whole messages in one frame, of at most 64 KiB less one byte, never reach wsproto."""
        lane = FastLane(1 << 20)
        for size in (0, 1, 125, 126, 127, 1199, 1200, 65534, 65535):
            for opcode, payload in ((TEXT, "a" * size), (BINARY, b"\xff" * size)):
                data = payload.encode() if isinstance(payload, str) else payload
                lane.receive_data(frame(opcode, data))
                self.assertEqual(self.messages(lane), [payload], size)
                self.assertEqual(lane.rest(), b"")

    def test_what_is_wsprotos(self) -> None:
        """Any other data leaves the lane unchanged, and after it the lane decodes again."""
        good = frame(TEXT, b"good")
        for other in (frame(PING, b"x"), frame(PONG), frame(TEXT, b"\xff"), frame(BINARY, bytes(65536)),
                      frame(TEXT, b"a", fin=False) + frame(PING) + frame(CONTINUATION, b"b"),
                      frame(TEXT, b"a" * 501)):
            lane = FastLane(500 if len(other) < 600 else 1 << 20)
            lane.receive_data(good + other + good)
            self.assertEqual(self.messages(lane), ["good"])
            given = b""
            while not (found := self.messages(lane)):
                piece = lane.rest()
                self.assertTrue(piece)
                given += piece
            self.assertEqual((given, found), (other, ["good"]))

    def test_behind_the_end(self) -> None:
        """After a Close, a fault or our own close, all data goes to wsproto."""
        good = frame(TEXT, b"good")
        for end in (frame(CLOSE), frame(TEXT, b"a", mask=None), frame(5), frame(CONTINUATION)):
            lane = FastLane(1 << 20)
            lane.receive_data(end + good)
            self.assertEqual((self.messages(lane), lane.rest()), ([], end + good))
            lane.receive_data(good)
            self.assertEqual((self.messages(lane), lane.rest()), ([], good))
        lane = FastLane(1 << 20)
        lane.receive_data(good[:7])
        self.assertEqual(self.messages(lane), [])
        lane.shut()
        self.assertEqual((self.messages(lane), lane.rest(), lane.rest()), ([], good[:7], b""))

    def test_beginnings_are_kept(self) -> None:
        """A frame that comes in pieces, even its head, is still decoded by the lane."""
        for payload in (b"a" * 100, "é".encode() * 200):
            data, lane = frame(TEXT, payload), FastLane(1 << 20)
            for place in range(len(data) - 1):
                lane.receive_data(data[place:place + 1])
                self.assertEqual((self.messages(lane), lane.rest()), ([], b""))
            lane.receive_data(data[-1:])
            self.assertEqual(self.messages(lane), [payload.decode()])

    def test_wrong_first_bytes(self) -> None:
        """A frame whose first two bytes are wrong goes to wsproto at once."""
        for first, second in ((0xC1, 0x85), (0x81, 0x05), (0x83, 0x85), (0x89, 0xFE), (0x09, 0x80)):
            lane = FastLane(1 << 20)
            lane.receive_data(bytes((first, second)))
            self.assertEqual((lane.messages(9), lane.rest()), ([], bytes((first, second))))

    def test_cost_of_a_slow_sender(self) -> None:
        """A frame that comes byte by byte is kept only once, and each byte costs the same."""
        lane, data = FastLane(1 << 20), frame(TEXT, b"a" * 60_000)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for place in range(len(data) - 1):
            lane.receive_data(data[place:place + 1])
            self.assertEqual(lane.messages(1), [])
        self.assertLess(tracemalloc.get_traced_memory()[0], 500_000)

    def test_nothing_is_kept(self) -> None:
        """Data that was decoded, or passed to wsproto, is not kept in memory."""
        lane = FastLane(1 << 20)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for data in (frame(TEXT, b"a" * 50_000), frame(PING) + frame(BINARY, bytes(90_000))):
            lane.receive_data(data)
            while lane.messages(9) or lane.rest():
                pass
        del data
        self.assertLess(tracemalloc.get_traced_memory()[0], 20_000)

    def test_no_lane(self) -> None:
        """With compression or fast_lane=False, wsproto decodes everything."""
        self.assertFalse(opened(extensions=b"permessage-deflate", compression=True)[0].has_lane)
        self.assertEqual(opened(compression=True)[0].has_lane, fastlane.AVAILABLE)
        self.assertFalse(protocol_of(Case([], STRICT, Limits(), None, 1), fast_lane=False).has_lane)

    def test_frames_of_ours(self) -> None:
        """Our own frames equal those of wsproto, at every size of the head."""
        plain = protocol_of(Case([], STRICT, Limits(), None, 1), fast_lane=False)
        for size in (0, 1, 125, 126, 127, 65535, 65536, 65537):
            for text in (True, False):
                self.assertEqual(data_frame(b"a" * size, text=text),
                                 bytes(plain.data_frame(b"a" * size, text=text)), size)
        for lines in (["a", "é" * 70, "b" * 126], ["c" * 65536]):
            self.assertEqual(line_frames(lines),
                             b"".join(data_frame(f"{line}\n".encode(), text=True) for line in lines))

    def test_heads(self) -> None:
        """A head is parsed as soon as its length has arrived, or refused at once if invalid."""
        for size, need in ((0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)):
            data = frame_head(TEXT, size, fin=True, rsv=0, mask=True)
            self.assertEqual(len(data), need)
            self.assertIsNone(parse_head(data[:-1]))
            self.assertEqual(parse_head(data), (True, TEXT, need + 4, size))
        self.assertIs(parse_head(bytes((0x81, 0xFE, 0, 125))), NO_FRAME)
        self.assertIs(parse_head(bytes((0x81, 0xFF)) + (65535).to_bytes(8, "big")), NO_FRAME)


class UnmaskTest(unittest.TestCase):
    """Three implementations with the same result."""

    def test_all_sizes(self) -> None:
        """All ways to unmask agree at every length near the limits where they change."""
        rng = random.Random(7)
        sizes = [*range(40), *range(120, 132), *range(TRANSLATE_FROM - 9, TRANSLATE_FROM + 9), 65535]
        for size in sizes:
            data, key = rng.randbytes(size), rng.randbytes(4)
            expected = bytes(byte ^ key[place % 4] for place, byte in enumerate(data))
            for unmask in (unmask_number, unmask_translate, unmask_python, find_unmask()):
                self.assertEqual(unmask(data, key), expected, (unmask, size))

    def test_both_ways_through_the_lane(self) -> None:
        """With the C function and without, the lane decodes the same."""
        for unmask in (unmask_python, find_unmask()):
            with mock.patch.object(fastlane, "find_unmask", lambda: unmask):
                lane = FastLane(1 << 20)
            for size in (0, 1, 5, 125, 126, TRANSLATE_FROM - 1, TRANSLATE_FROM, TRANSLATE_FROM + 3):
                lane.receive_data(frame(TEXT, b"x" * size, mask=b"\x01\xfe\x80\x7f"))
                self.assertEqual(lane.messages(2), ["x" * size])

    def run_without(self, code: str) -> None:
        """Run a program with a `websockets` package whose C part is replaced by `code`."""
        with tempfile.TemporaryDirectory() as directory:
            package = Path(directory) / "websockets"
            package.mkdir()
            (package / "__init__.py").write_text("", encoding="utf-8")
            (package / "speedups.py").write_text(code, encoding="utf-8")
            done = subprocess.run(
                [sys.executable, "-c", "from mmdagent_remote.websocket import fastlane\n"
                 "assert fastlane.find_unmask() is fastlane.unmask_python"], timeout=60,
                capture_output=True, text=True, cwd=PROJECT, check=False,
                env={**os.environ, "PYTHONPATH": os.pathsep.join((directory, str(PROJECT)))})
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_without_a_c_function(self) -> None:
        """Without the C part of websockets, or with a broken one, the Python way is used."""
        self.run_without("def apply_mask(data, mask): return data")
        self.run_without("raise SystemError('made for another Python')")

    def test_not_imported_where_the_lane_is_off(self) -> None:
        """With fast_lane=False the websockets package is not imported."""
        done = subprocess.run(
            [sys.executable, "-c", "import sys\nfrom mmdagent_remote import Handler, Server\n"
             "Server(Handler, fast_lane=False)\nassert 'websockets' not in sys.modules"],
            cwd=PROJECT, timeout=60, capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


class Echo(Handler):
    """Sends every line back."""

    def on_message(self, message: Any) -> None:
        self.send(message)


class ServerTest(TestCase):
    """A server, with the lane and without."""

    def test_nobody_can_tell(self) -> None:
        """A client gets the same bytes either way, for lines, pings, bad UTF-8 and a Close."""
        answers = []
        for fast_lane in (True, False):
            with Client(self.serve(Echo, fast_lane=fast_lane)) as client:
                client.send(b"".join((frame(TEXT, b"one\n"), frame(TEXT, b"two\nthree"),
                                      frame(PING, b"p"), frame(BINARY, b"four"), frame(TEXT, b"x" * 200),
                                      frame(TEXT, b"fi", fin=False), frame(CONTINUATION, b"ve"),
                                      frame(TEXT, b"bad \xff"))))
                found = [client.frame() for _ in range(8)]
                answers.append([(each.opcode, each.payload) for each in found])
        self.assertEqual(answers[0], answers[1])
        self.assertEqual([payload for opcode, payload in answers[0] if opcode == TEXT],
                         [b"one\n", b"two\n", b"three\n", b"four\n", b"x" * 200 + b"\n", b"five\n"])
        self.assertEqual(answers[0][-1][0], CLOSE)


if __name__ == "__main__":
    unittest.main()
