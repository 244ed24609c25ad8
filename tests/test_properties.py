"""Properties, with hypothesis, of pure modules whose own test files have only examples."""

from __future__ import annotations

import math
import unittest
import zlib

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmdagent_remote import Handler, Message
from mmdagent_remote.limits import Limits
from mmdagent_remote.mdf import start_text
from mmdagent_remote.serving.settings import Routes, normal_path
from mmdagent_remote.vocabulary.pattern import matcher_of
from mmdagent_remote.vocabulary.table import answer_to, entries
from mmdagent_remote.websocket.keepalive import KeepAlive, Verdict

from .websocket.test_protocol import TEXT, events_of, frame, opened, pieces_of

FIELDS = st.lists(st.text("AB1", max_size=2), min_size=1, max_size=4)
PATHS = st.text("ab/-1é ", max_size=8)


class KeepAliveProperties(unittest.TestCase):
    """At however irregular times judge() is called."""

    @settings(deadline=None, max_examples=300)
    @given(st.lists(st.tuples(st.floats(0.01, 50), st.booleans()), max_size=60))
    def test_dead_only_after_two_pings_and_the_sum(self, looks: list[tuple[float, bool]]) -> None:
        """A peer is dead only after silence for interval plus timeout, with two pings in it."""
        keepalive, now, life, pings = KeepAlive(Limits(), 0.0), 0.0, 0.0, 0
        for pause, is_alive in looks:
            now += pause
            if is_alive:
                life, pings = now, 0
            verdict = keepalive.judge(now, is_alive=is_alive)
            pings += verdict is Verdict.PING
            if verdict is Verdict.DEAD:
                self.assertEqual(pings, 2)
                self.assertGreaterEqual(now - life, 39.99)
                return
            self.assertLessEqual(pings, 2)


class RoutesProperties(unittest.TestCase):
    """Any paths."""

    @given(st.dictionaries(PATHS, st.integers(), min_size=1, max_size=6), PATHS)
    def test_a_path_leads_to_its_handler(self, table: dict[str, int], other: str) -> None:
        """Each path finds its own handler, with or without suffixes; any other path finds none."""
        paths = {normal_path(path): number for path, number in table.items()}
        assume(len(paths) == len(table))
        handlers = {path: type(f"H{number}", (Handler,), {}) for path, number in table.items()}
        routes, following = (Routes(handlers, None, follow_suffixes=follow) for follow in (False, True))
        for path, handler in handlers.items():
            self.assertIs(routes.find(normal_path(path)), handler)
            self.assertIs(following.find(normal_path(path)), handler)
            self.assertIsNotNone(following.find(normal_path(path) + "-1-2"))
        if normal_path(other) not in paths:
            self.assertIsNone(routes.find(normal_path(other)))

    @given(PATHS)
    def test_normal_path(self, path: str) -> None:
        """A normal path begins with a slash, and normal_path() leaves it unchanged."""
        self.assertTrue(normal_path(path).startswith("/"))
        self.assertEqual(normal_path(normal_path(path)), normal_path(path))


class LimitsProperties(unittest.TestCase):
    """Any numbers."""

    @given(st.floats(allow_nan=True, allow_infinity=True))
    def test_times(self, value: float) -> None:
        """A time may be any finite number above zero, and nothing else."""
        if math.isfinite(value) and value > 0:
            self.assertEqual(Limits(send_timeout=value).send_timeout, value)
        else:
            with self.assertRaises(ValueError):
                Limits(send_timeout=value)

    @given(st.integers())
    def test_sizes(self, value: int) -> None:
        """A size may be any whole number above zero, and nothing else."""
        if value > 0:
            self.assertEqual(Limits(max_queue=value).max_queue, value)
        else:
            with self.assertRaises(ValueError):
                Limits(max_queue=value)


class TextProperties(unittest.TestCase):
    """The text at the start, patterns and answers."""

    @given(st.text(), st.text(), st.integers(0, 65535), st.text())
    def test_start_text_is_ascii(self, url: str, host: str, port: int, path: str) -> None:
        """The text that a program prints at its start is ASCII, whatever the names are."""
        self.assertTrue(start_text(url, host, port, path).isascii())

    @given(FIELDS, FIELDS)
    def test_pattern(self, pattern: list[str], message: list[str]) -> None:
        """A str matches exactly when its fields are the first fields of the message."""
        assume(pattern[0])
        found = matcher_of("|".join(pattern))(Message("|".join(message)))
        self.assertEqual(bool(found), message[:len(pattern)] == pattern)

    @given(st.sampled_from(sorted(name for name, entry in entries().items()
                                  if entry["direction"] == "command" and entry.get("answers"))),
           st.lists(st.text("xyz", min_size=1, max_size=3), max_size=10))
    def test_answer(self, name: str, args: list[str]) -> None:
        """An answer pattern has the first answer's type, and only arguments of the command."""
        kind, *keys = answer_to(Message("|".join([name, *args]))).split("|")
        self.assertEqual(kind, entries()[name]["answers"][0])
        self.assertLessEqual(set(keys), set(args))


class DeflateProperties(unittest.TestCase):
    """Compressed messages."""

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.text(max_size=300), max_size=5), st.data())
    def test_cut_anywhere(self, texts: list[str], data: st.DataObject) -> None:
        """Texts compressed with one window arrive unchanged, however frames and pieces are cut."""
        compress = zlib.compressobj(wbits=-15)
        stream = b""
        for text in texts:
            packed = compress.compress(text.encode()) + compress.flush(zlib.Z_SYNC_FLUSH)
            cuts = data.draw(st.lists(st.integers(0, max(0, len(packed) - 4)), max_size=3).map(sorted))
            parts = pieces_of(packed[:-4], cuts)
            for number, part in enumerate(parts):
                stream += frame(TEXT if not number else 0, part, fin=number == len(parts) - 1,
                                rsv=0 if number else 4)
        pieces = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
        protocol, _ = opened(extensions=b"permessage-deflate", compression=True)
        found = []
        for piece in pieces_of(stream, pieces):
            protocol.receive_data(piece)
            found += events_of(protocol)
        self.assertEqual(found, texts)


if __name__ == "__main__":
    unittest.main()
