"""How messages are cut into lines, and how lines become frame payloads."""

from __future__ import annotations

import dataclasses
import unittest
from collections import deque
from typing import Optional
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from mmdagent_remote.errors import InvalidMessage
from mmdagent_remote.limits import ECHO_MEMORY
from mmdagent_remote.message import Message
from mmdagent_remote.profile import MMDAGENT_EX, STRICT
from mmdagent_remote.websocket import lines
from mmdagent_remote.websocket.lines import (EchoMemory, Outgoing, OutgoingLine, cut_lines,
                                             next_payload, prepare_binary, prepare_line,
                                             prepare_text, size_of)

WRAPPER = "__AV_MESSAGE,"
TEXTS = st.text(st.one_of(st.sampled_from("\r\n\n\v\f\x1c\x85\u2028|a"), st.characters()))


def plain_cut(text: str) -> list[str]:
    """The definition, in plain str operations."""
    parts = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [part for part in parts if part]


class CutLinesTest(unittest.TestCase):
    """Incoming messages."""

    @settings(deadline=None)
    @given(TEXTS)
    def test_the_definition(self, text: str) -> None:
        """Lines end at LF, CR and CRLF and at the end of the message; empty ones are dropped."""
        self.assertEqual(list(cut_lines(text)), plain_cut(text))

    def test_examples(self) -> None:
        """No other character ends a line, and blanks are kept."""
        cases = {
            "": [], "\n": [], "\r\n\r\n": [], "A": ["A"], "A\n": ["A"], "A\nB": ["A", "B"],
            "A\r\nB\rC\n\nD": ["A", "B", "C", "D"],
            "A\u2028B\x85C\fD\vE\x1cF": ["A\u2028B\x85C\fD\vE\x1cF"],
            " \n\t": [" ", "\t"],
        }
        for text, cut in cases.items():
            with self.subTest(text):
                self.assertEqual(list(cut_lines(text)), cut)

    def test_lazily(self) -> None:
        """cut_lines() is lazy: a message of a million lines does not become a list."""
        iterator = cut_lines("A\n" * 1_000_000)
        self.assertEqual(next(iterator), "A")
        self.assertIs(iter(iterator), iterator)


class PrepareLineTest(unittest.TestCase):
    """One outgoing line."""

    def test_strict(self) -> None:
        """To a strict peer a line is its UTF-8 and a newline, of any length, with no echo."""
        for line in ("A|b", "STOP", "SNDHELLO", WRAPPER + "|A", "\u3042" * 3000):
            with self.subTest(line[:20]):
                item = prepare_line(line, STRICT)
                self.assertEqual((item.data, item.echo), (line.encode() + b"\n", None))

    def test_mmdagent(self) -> None:
        """To MMDAgent-EX a line has its echo, and is wrapped if it would be misread."""
        cases = {
            "A|b": (b"A|b\n", "A|b"),
            "A|b\n": (b"A|b\n", "A|b"),
            "STOP": (b"__AV_MESSAGE,STOP\n", "STOP"),
            "SND0001": (b"__AV_MESSAGE,SND0001\n", "SND0001"),
            "SNDSTRM": (b"SNDSTRM\n", None),
            "__AV_START": (b"__AV_START\n", None),
            "__AV_MESSAGE,A|b": (b"__AV_MESSAGE,A|b\n", "A|b"),
            "__AV_MESSAGE,": (b"__AV_MESSAGE,\n", None),
            "\u3042": (b"\xe3\x81\x82\n", "\u3042"),
        }
        for line, (data, echo) in cases.items():
            with self.subTest(line):
                item = prepare_line(line, MMDAGENT_EX)
                self.assertEqual((item.data, item.echo), (data, echo))

    def test_a_peer_without_echoes(self) -> None:
        """With a profile that wraps but does not echo, a line has no echo."""
        profile = dataclasses.replace(MMDAGENT_EX, echoes=False)
        self.assertIsNone(prepare_line("A", profile).echo)

    def test_a_message_is_a_line(self) -> None:
        """A Message is a whole line like any str."""
        self.assertEqual(prepare_line(Message("A|b"), MMDAGENT_EX).data, b"A|b\n")

    def test_what_is_refused(self) -> None:
        """Lines that cannot be sent at all are refused for either peer."""
        for profile in (STRICT, MMDAGENT_EX):
            for line in ("", "\n", "A\nB", "A\0", "A||b", "\ud800", "A|" + "|".join("x" * 11)):
                with self.subTest(line, profile=profile.name), self.assertRaises(InvalidMessage):
                    prepare_line(line, profile)
            for other in (None, b"A", 3, ["A"]):
                with self.subTest(other, profile=profile.name), self.assertRaises(TypeError):
                    prepare_line(other, profile)

    def test_what_is_issued_inside_a_wrapper_is_checked(self) -> None:
        """A line in a user's own wrapper must itself be a valid message."""
        for line in (WRAPPER + "|A", WRAPPER + "\n\n", WRAPPER + "A||b"):
            with self.subTest(line), self.assertRaises(InvalidMessage):
                prepare_line(line, MMDAGENT_EX)

    def test_the_longest_line(self) -> None:
        """Lines of 2046 and 2047 bytes with newline are accepted, 2048 are refused."""
        for size in (2046, 2047):
            self.assertEqual(len(prepare_line("A" * (size - 1), MMDAGENT_EX).data), size)
        with self.assertRaisesRegex(InvalidMessage, "2048 bytes.*at most 2047"):
            prepare_line("A" * 2047, MMDAGENT_EX)

    def test_the_longest_line_in_utf8(self) -> None:
        """The length counts bytes, not characters."""
        self.assertEqual(len(prepare_line("\u3042" * 682, MMDAGENT_EX).data), 2047)
        with self.assertRaises(InvalidMessage):
            prepare_line("\u3042" * 682 + "a", MMDAGENT_EX)

    def test_the_longest_wrapped_line(self) -> None:
        """The length counts the wrapper: 2046 and 2047 bytes are accepted, 2048 are refused."""
        for size in (2046, 2047):
            line = "SND" + "x" * (size - 1 - len(WRAPPER) - 3)
            data = prepare_line(line, MMDAGENT_EX).data
            self.assertEqual(len(data), size)
            self.assertTrue(data.startswith(WRAPPER.encode()))
        with self.assertRaisesRegex(InvalidMessage, f"2048 bytes.*{len(WRAPPER)} bytes of wrapping"):
            prepare_line(line + "x", MMDAGENT_EX)
        own = WRAPPER + "x" * (2046 - len(WRAPPER))
        self.assertEqual(len(prepare_line(own, MMDAGENT_EX).data), 2047)
        with self.assertRaises(InvalidMessage):
            prepare_line(own + "x", MMDAGENT_EX)

    @settings(deadline=None)
    @given(st.one_of(st.text(max_size=60), st.from_regex(r"\A(SND|S|__AV|__AV_MESSAGE,)[^\r\n]*\Z")))
    def test_one_line_each(self, line: str) -> None:
        """Whatever is accepted leaves as exactly one line that cannot harm MMDAgent-EX."""
        try:
            data = prepare_line(line, MMDAGENT_EX).data
        except InvalidMessage:
            return
        self.assertTrue(data.endswith(b"\n"))
        self.assertEqual(data.count(b"\n"), 1)
        self.assertGreater(len(data), 1)
        self.assertLessEqual(len(data), 2047)
        self.assertEqual(set(data) & set(b"\r\0"), set())
        if data.startswith(b"SND"):
            self.assertIn(data, (b"SNDSTRM\n", b"SNDFILE\n", b"SNDBRKS\n"))
        if data.startswith(b"S"):
            self.assertGreaterEqual(len(data), 7)


class PrepareTextTest(unittest.TestCase):
    """send_text()."""

    def test_strict_sends_it_as_it_is(self) -> None:
        """To a strict peer a text is one message, without a newline added."""
        for text in ("", "A", "A\n", "A\n\n\nB\r\n", "\0", "A||"):
            with self.subTest(text):
                (item,) = prepare_text(text, STRICT)
                self.assertEqual((item.data, item.echo), (text.encode(), None))

    def test_mmdagent_takes_whole_lines(self) -> None:
        """To MMDAgent-EX a text is cut into lines, each checked, wrapped, and with its echo."""
        items = prepare_text("A|b\nSTOP\n", MMDAGENT_EX)
        self.assertEqual([(item.data, item.echo) for item in items],
                         [(b"A|b\n", "A|b"), (b"__AV_MESSAGE,STOP\n", "STOP")])

    def test_mmdagent_refuses_the_rest(self) -> None:
        """Half a line, an empty line or an empty text, which would harm MMDAgent-EX, is refused."""
        for text in ("", "A", "A\nB", "\n", "A\n\n", "\nA\n", "A\n\nB\n", "A\0\n", "x" * 2047 + "\n"):
            with self.subTest(text[:20]), self.assertRaises(InvalidMessage):
                prepare_text(text, MMDAGENT_EX)

    def test_a_lone_surrogate(self) -> None:
        """A lone surrogate, which has no UTF-8 form, is refused for every peer."""
        for profile in (STRICT, MMDAGENT_EX):
            with self.subTest(profile.name), self.assertRaisesRegex(InvalidMessage, "surrogate"):
                prepare_text("A\ud800\n", profile)

    def test_only_str(self) -> None:
        """Anything but a str is a TypeError."""
        for text in (b"A\n", None, 3, ["A\n"]):
            for profile in (STRICT, MMDAGENT_EX):
                with self.subTest(text, profile=profile.name), self.assertRaises(TypeError):
                    prepare_text(text, profile)


def chunk(size: int) -> bytes:
    """A chunk with `size` bytes of sound."""
    return b"SND%04d" % size + b"\n|" * (size // 2)


class PrepareBinaryTest(unittest.TestCase):
    """send_binary()."""

    def test_strict_sends_it_as_it_is(self) -> None:
        """To a strict peer any bytes are one message."""
        for data in (b"", b"\0\xff", chunk(10) + b"x"):
            self.assertEqual(prepare_binary(data, STRICT), [data])

    def test_all_kinds_of_bytes(self) -> None:
        """bytearray and memoryview are copied, so a later change does not affect the frame."""
        data = bytearray(chunk(4))
        for profile in (STRICT, MMDAGENT_EX):
            for kind in (data, memoryview(data)):
                (made,) = prepare_binary(kind, profile)
                self.assertIs(type(made), bytes)
                self.assertEqual(made, chunk(4))

    def test_only_bytes(self) -> None:
        """Anything but bytes is a TypeError."""
        for data in ("SND", None, 3, [1]):
            for profile in (STRICT, MMDAGENT_EX):
                with self.subTest(data, profile=profile.name), self.assertRaises(TypeError):
                    prepare_binary(data, profile)

    def test_whole_chunks(self) -> None:
        """To MMDAgent-EX bytes must be whole chunks, and each becomes a frame."""
        for sizes in ((2,), (1280, 1280, 640), (8184,), (4096, 2)):
            with self.subTest(sizes):
                chunks = [chunk(size) for size in sizes]
                self.assertEqual(prepare_binary(b"".join(chunks), MMDAGENT_EX), chunks)

    def test_the_longest_chunk(self) -> None:
        """A chunk with 8182 or 8184 bytes of sound fits a frame of 8191, one with 8186 does not."""
        for size in (8182, 8184):
            self.assertEqual(prepare_binary(chunk(size), MMDAGENT_EX), [chunk(size)])
        with self.assertRaisesRegex(InvalidMessage, "8193"):
            prepare_binary(chunk(8186), MMDAGENT_EX)

    def test_what_is_no_chunk(self) -> None:
        """Half a chunk or sample, or a trailing newline, is refused: it would desynchronise it."""
        good = chunk(4)
        for data in (b"", b"SND", b"SND0004abc", good + b"\n", good + good[:-1], b"x" + good,
                     b"SND0000", b"SND0003abc", b"SND 004abcd", b"SND-004abcd", b"snd0004abcd",
                     b"A|b\n", "SND\u0660\u0660\u0660\u0664abcd".encode()):
            with self.subTest(data), self.assertRaises(InvalidMessage):
                prepare_binary(data, MMDAGENT_EX)


LINE_ITEMS = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]),
                     min_size=1, max_size=40).map(lambda t: OutgoingLine(t.encode() + b"\n", None, ""))
ITEMS = st.lists(st.one_of(LINE_ITEMS, LINE_ITEMS, st.binary(min_size=1, max_size=12)), max_size=12)


def taken(waiting: deque[Outgoing], max_frame: Optional[int]) -> list[tuple[bytes, bool]]:
    """All frames of a queue: payload, and whether it is text."""
    frames = []
    while waiting:
        payload, is_text, rest = next_payload(waiting, max_frame)
        frames += [(part, is_text) for part in (payload, *rest)]
    return frames


class NextPayloadTest(unittest.TestCase):
    """How the send queue becomes frames."""

    @settings(deadline=None, max_examples=300)
    @given(ITEMS, st.one_of(st.none(), st.integers(4, 80)))
    def test_nothing_is_lost_or_reordered(self, items: list[Outgoing],
                                          max_frame: Optional[int]) -> None:
        """Frames hold exactly what was queued, in order, text and bytes apart, none too long."""
        frames = taken(deque(items), max_frame)
        found: list[tuple[bytes, bool]] = []
        for payload, is_text in frames:
            self.assertTrue(payload)
            if is_text:
                payload.decode()  # Raises if a frame is cut inside a character.
            if max_frame is not None:
                self.assertLessEqual(len(payload), max_frame)
            if found and found[-1][1] is is_text:
                found[-1] = (found[-1][0] + payload, is_text)
            else:
                found.append((payload, is_text))
        wanted: list[tuple[bytes, bool]] = []
        for item in items:
            data, is_text = (item, False) if isinstance(item, bytes) else (item.data, True)
            if wanted and wanted[-1][1] is is_text:
                wanted[-1] = (wanted[-1][0] + data, is_text)
            else:
                wanted.append((data, is_text))
        self.assertEqual(found, wanted)

    @settings(deadline=None, max_examples=200)
    @given(ITEMS.filter(bool), st.integers(4, 80))
    def test_one_call(self, items: list[Outgoing], max_frame: int) -> None:
        """A frame holds whole lines, as many as fit; only a line longer than a frame is cut."""
        waiting = deque(items)
        payload, is_text, rest = next_payload(waiting, max_frame)
        count = len(items) - len(waiting)
        self.assertEqual(list(waiting), items[count:])
        if rest or not is_text:
            self.assertEqual(count, 1)
        if rest:
            self.assertGreater(size_of(items[0]), max_frame)
            whole = items[0] if isinstance(items[0], bytes) else items[0].data
            self.assertEqual(b"".join([payload, *rest]), whole)
        elif is_text:
            self.assertTrue(payload.endswith(b"\n"))
            if waiting and isinstance(waiting[0], OutgoingLine):
                self.assertGreater(len(payload) + size_of(waiting[0]), max_frame)

    def test_the_largest_frame(self) -> None:
        """Lines are joined up to the largest frame, not one byte beyond."""
        for second, frames in ((3, 1), (4, 1), (5, 2)):
            waiting: deque[Outgoing] = deque(
                [OutgoingLine(b"12345\n", None, ""),
                 OutgoingLine(b"x" * (second - 1) + b"\n", None, "")])
            with self.subTest(second):
                self.assertEqual(len(taken(waiting, 10)), frames)

    def test_a_line_as_long_as_a_frame(self) -> None:
        """A line as long as a frame, or a byte shorter, is not cut; a byte longer, it is."""
        for size, frames in ((9, 1), (10, 1), (11, 2), (12, 2)):
            waiting: deque[Outgoing] = deque([OutgoingLine(b"x" * (size - 1) + b"\n", None, "")])
            with self.subTest(size):
                self.assertEqual(len(taken(waiting, 10)), frames)

    def test_no_frame_begins_with_a_newline(self) -> None:
        """No frame of a long line begins with its newline: that would deafen MMDAgent-EX."""
        wrong = []
        for character in ("x", "\u3042", "\U0001f600"):
            for padding in range(1300, 1420):
                item = prepare_line("A" * padding + character * 30, MMDAGENT_EX)
                frames = taken(deque([item]), MMDAGENT_EX.max_frame_remote)
                wrong += [len(item.data) for part, _ in frames if part.startswith(b"\n")]
        self.assertEqual(wrong, [])

    def test_a_chunk_as_long_as_a_frame(self) -> None:
        """A chunk as long as a frame is one frame; a byte longer, it is two that touch."""
        for size, sizes in ((9, [9]), (10, [10]), (11, [10, 1]), (21, [10, 10, 1])):
            waiting: deque[Outgoing] = deque([b"x" * size, OutgoingLine(b"A\n", None, "")])
            payload, is_text, rest = next_payload(waiting, 10)
            with self.subTest(size):
                self.assertEqual(([len(part) for part in (payload, *rest)], is_text), (sizes, False))

    def test_without_a_bound_a_line_is_a_frame(self) -> None:
        """To a strict peer each line is a message of its own."""
        waiting: deque[Outgoing] = deque(
            [OutgoingLine(b"A\n", None, ""), OutgoingLine(b"B\n", None, ""), b"SND"])
        self.assertEqual(taken(waiting, None), [(b"A\n", True), (b"B\n", True), (b"SND", False)])

    def test_an_empty_text(self) -> None:
        """An empty text message to a strict peer is one empty frame."""
        self.assertEqual(taken(deque(prepare_text("", STRICT)), None), [(b"", True)])

    def test_sizes(self) -> None:
        """The size of an item is that of its bytes, newline included."""
        self.assertEqual(size_of(OutgoingLine(b"A\n", None, "")), 2)
        self.assertEqual(size_of(b"abc"), 3)


class EchoMemoryTest(unittest.TestCase):
    """How echoes are told from the peer's own lines."""

    def test_each_line_is_claimed_once(self) -> None:
        """A line sent twice is an echo twice, and the third time the peer's own line."""
        memory = EchoMemory()
        memory.sent("A")
        memory.sent("B")
        memory.sent("A")
        self.assertEqual([memory.claim(line) for line in ("A", "A", "A", "B", "B", "C")],
                         [True, True, False, True, False, False])

    def test_a_message_claims_like_its_line(self) -> None:
        """A line sent as a str is claimed by an equal Message."""
        memory = EchoMemory()
        memory.sent("A|b")
        self.assertTrue(memory.claim(Message("A|b")))

    def test_the_bound(self) -> None:
        """All of 4095 or 4096 lines are remembered; the 4097th pushes out the oldest."""
        for count in (ECHO_MEMORY - 1, ECHO_MEMORY, ECHO_MEMORY + 1):
            memory = EchoMemory()
            for number in range(count):
                memory.sent(f"A|{number}")
            with self.subTest(count):
                self.assertEqual(memory.claim("A|0"), count <= ECHO_MEMORY)
                self.assertTrue(memory.claim("A|1"))
                self.assertTrue(memory.claim(f"A|{count - 1}"))

    def test_a_cut_echo(self) -> None:
        """An echo cut after 2047 bytes, even inside a character, is claimed as the line's, once."""
        line = "TEST|" + "\u3042" * 682
        cut = line.encode()[:2047].decode("utf-8", "replace")
        memory = EchoMemory()
        memory.sent("TEST|" + "\u3044" * 682)
        memory.sent(line)
        self.assertEqual([memory.claim(cut), memory.claim(cut)], [True, False])
        memory.sent("x" * 3000)
        self.assertEqual([memory.claim("x" * size) for size in (2043, 2044)], [False, True])

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.booleans(), st.sampled_from("ABCDE"))))
    def test_it_is_a_bounded_list(self, steps: list[tuple[bool, str]]) -> None:
        """The memory is like a list of the last lines; a claim takes the oldest equal one."""
        bound = 4
        with mock.patch.object(lines, "ECHO_MEMORY", bound):
            memory, model = EchoMemory(), []
            for is_sent, line in steps:
                if is_sent:
                    memory.sent(line)
                    model = [*model, line][-bound:]
                else:
                    self.assertEqual(memory.claim(line), line in model)
                    if line in model:
                        model.remove(line)


if __name__ == "__main__":
    unittest.main()
