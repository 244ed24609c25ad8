"""The real MMDAgent-EX's recorded traffic, replayed over real sockets."""

from __future__ import annotations

import ast
import json
import random

from ..client import TEXT, Client, frame
from ..support import DATA, DEADLINE, Recorder, TestCase, wait_until


class ReplayTests(TestCase):
    """Every recorded line arrives, however its bytes are cut."""

    def replay(self, payloads: list[bytes], expected: list[str]) -> None:
        """Send frames whole, byte by byte and cut at random places, and compare the lines."""
        request = (DATA / "handshake.txt").read_bytes()
        stream = request + b"".join(frame(payload, TEXT) for payload in payloads)
        chance = random.Random(len(stream))
        for cuts in ([], range(1, len(stream)), *(
                sorted(chance.sample(range(1, len(stream)), 60)) for _ in range(20))):
            server = self.serve(Recorder)
            with Client(server, open=False) as client:
                for start, end in zip([0, *cuts], [*cuts, len(stream)]):
                    client.send(stream[start:end])
                handler = server.wait_connected(DEADLINE)
                wait_until(lambda: len(handler.messages_seen) >= len(expected))
            self.assertTrue(handler.done.wait(DEADLINE))
            self.assertTrue(handler.is_mmdagent)
            self.assertEqual((handler.path, handler.messages_seen), ("/chat", expected))
            server.shutdown()

    def test_session(self) -> None:
        """Of a whole session every message arrives once, in order, without its newline."""
        frames = json.loads((DATA / "session.json").read_text("utf-8"))["frames"]
        texts = [each["text"] for each in frames]
        self.assertTrue(all(text.endswith("\n") and text.count("\n") == 1 for text in texts))
        self.replay([text.encode() for text in texts], [text[:-1] for text in texts])

    def test_all_log(self) -> None:
        """With AllLog each frame, a log line with two or three newlines, is one line."""
        payloads = [ast.literal_eval(line) for line in (DATA / "alllog.txt").read_text().splitlines()]
        self.replay(payloads, [payload.decode().rstrip("\n") for payload in payloads])

    def test_cut_echo(self) -> None:
        """An echo that was cut inside a character is one line, and the next line is whole."""
        payload = bytes.fromhex((DATA / "cut-echo.hex").read_text())
        self.replay([payload, b"NEXT|1\n"], [payload.decode("utf-8", "replace"), "NEXT|1"])
