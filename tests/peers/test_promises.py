"""Nothing that harms MMDAgent-EX is ever sent: all sending calls, from several threads, against a
model of its receiving side.
"""

from __future__ import annotations

import logging
import re
import unittest
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, Optional

from hypothesis import given, settings
from hypothesis import strategies as st

from mmdagent_remote import (MMDAGENT_EX, ConnectionClosed, Handler, InvalidMessage, Profile,
                             callbacks)
from mmdagent_remote.callbacks import WebSocketHandler, WebsocketServer
from mmdagent_remote.testing.receiver import Fault, Issued, Receiver, Sound
from mmdagent_remote.websocket.lines import prepare_line

from ..client import BINARY, CLOSE, TEXT, Client
from ..support import DEADLINE, Recorder, TestCase, wait_until

#: How the agent should hear a line or a chunk: its kind and its content.
Heard = tuple[str, Any]

WORDS = {"SNDSTRM", "SNDFILE", "SNDBRKS"}
WRAPPER = "__AV_MESSAGE,"

NASTY = [
    "", "\n", "\r", "\r\n", "\0", "\ud800", "|", "A|", "A||B", "A\0B", "\nA", "A\n", "A\r\n", "A\n\n",
    "A\rB", "A\nB", "A\nSTOP\nB\n", "A\n\nB\n", "S", "S\n", "STOP", "STOP\n", "SPLENDID", "SND", "SND\n",
    "SND0", "SND9999", "SND0002ab", "SND-100", "SNDHELLO|x", "SNDSTRM", "SNDFILE\n", "SNDBRKS",
    "SNDBRKS|", "__AV", "__AV_START", "__AV_MESSAGE", WRAPPER, WRAPPER + "STOP", WRAPPER + "\n",
    WRAPPER + WRAPPER, WRAPPER + "\0", WRAPPER + "|", "__peer_disconnected__",
    "__peer_disconnected__\n", "\ufeff", "\x80\x81", "\u2028\x0b\x85", "\U0001f600",
    *("x" * size for size in (2045, 2046, 2047, 2048)), "x" * 2046 + "\n", "S" + "N" * 2045,
    "SND" + "x" * 2030, "SND" + "x" * 2031, "\u3042" * 682, "\u3042" * 682 + "x", "\U0001f600" * 511,
    "x" * 5000, "x" * 8191, "\n".join("y" * 1000 for _ in range(20)) + "\n",
]

NASTY_BYTES = [
    b"", b"\n", b"\0", b"A\n", b"STOP", b"\xff", b"\xc3\xa9t\xe9", b"SND", b"SND0000", b"SND0002ab",
    b"SND0002\n\n", b"SND0002ab\n", b"SND0002abSND0004S\0\n\xff", b"SND0003abc", b"SND0004ab",
    b"SND0002abSND0002", b"SND9999" + bytes(9999), b"SND8184" + b"\n" * 8184, b"SND8186" + bytes(8186),
    b"SND1280" + bytes(range(256)) * 5, b"SNDSTRM", b"SND+002ab",
    "SND\uff10\uff10\uff10\uff12ab".encode(),
]


class Call(NamedTuple):
    """One call of a public method, by its name."""

    name: str
    arguments: tuple[Any, ...]


class Outcome(NamedTuple):
    """What the agent should hear of a call, and whether it must."""

    heard: list[Heard]
    is_certain: bool


def kinds_of_bytes(data: bytes) -> list[Any]:
    """The same bytes in all the types that are accepted."""
    spread = bytes(each for byte in data for each in (byte, 0))
    return [data, bytearray(data), memoryview(data), memoryview(spread)[::2]]


TEXTS = st.one_of(st.sampled_from(NASTY), st.integers(0, 9).map("LINE|{}".format))
BYTES = st.sampled_from(NASTY_BYTES).flatmap(lambda data: st.sampled_from(kinds_of_bytes(data)))
FIELDS = st.one_of(TEXTS.map(lambda text: (text,)), st.lists(
    st.sampled_from(["A", "", "x|y", "S", "SND", "a\nb", "\0", "\ud800", 1, 1.5, None, "x" * 2040]),
    min_size=1, max_size=12).map(tuple))

CALLS = st.one_of(
    *(FIELDS.map(lambda fields, name=name: Call(name, fields)) for name in ("send", "broadcast")),
    *(TEXTS.map(lambda text, name=name: Call(name, (text,)))
      for name in ("write_line", "send_text", "send_message", "send_message_to_all")),
    st.lists(TEXTS, max_size=4).map(lambda lines: Call("send_lines", (lines,))),
    BYTES.map(lambda data: Call("send_binary", (data,))),
    st.sampled_from([b"A", b"A\n\nSTOP", b"\0", b"\xff", b"", 5]).map(
        lambda message: Call("send_message", (message,))),
)

ENDS = st.sampled_from([
    Call("close", ()), Call("close", (4000, "why")), Call("send_close", (3000, b"why")),
    Call("shutdown", ()), Call("disconnect_clients_gracefully", (4000, b"")),
    Call("shutdown_gracefully", (1000, b"")),
])


@st.composite
def scripts(draw: Callable[..., Any]) -> list[list[Call]]:
    """The calls of several threads, one of which may end the connection at any point."""
    threads = draw(st.lists(st.lists(CALLS, max_size=12), min_size=1, max_size=4))
    if draw(st.booleans()):
        calls = draw(st.sampled_from(threads))
        calls.insert(draw(st.integers(0, len(calls))), draw(ENDS))
    return threads


PROFILES = st.one_of(st.none(), st.builds(
    lambda size, gap: replace(MMDAGENT_EX, max_frame=size, gap=gap, first_line_hold=gap),
    st.sampled_from([5, 7, 8, 16, 100, 1000, 1400]), st.sampled_from([MMDAGENT_EX.gap, 0.001])))

# Not frames of a few bytes: a busy machine cannot send all frames of a line in time.
LARGER = st.one_of(st.none(), st.builds(
    lambda size: replace(MMDAGENT_EX, max_frame=size), st.sampled_from([200, 1000, 1400])))


def heard_of_line(line: str) -> list[Heard]:
    """What the agent should hear of a whole line."""
    if line.startswith(WRAPPER):
        return [("line", line[len(WRAPPER):])] if line != WRAPPER else []
    return [("word" if line.startswith("__AV") or line in WORDS else "line", line)]


def heard_of_lines(lines: Iterable[str]) -> list[Heard]:
    """What the agent should hear of several lines, each without one newline."""
    return [each for line in lines for each in heard_of_line(re.sub(r"\r?\n\Z", "", line))]


def heard_of_chunks(data: bytes) -> list[Heard]:
    """What the agent should hear of chunks of sound."""
    found, at = [], 0
    while at < len(data):
        end = at + 7 + int(data[at + 3:at + 7])
        found.append(("sound", data[at + 7:end]))
        at = end
    return found


def heard_of(call: Call) -> list[Heard]:
    """What the agent should hear of a call that was not refused."""
    name, arguments = call
    if name in ("send", "broadcast"):
        return heard_of_lines(["|".join(map(str, arguments))])
    if name == "write_line":
        return heard_of_lines(arguments)
    if name == "send_lines":
        return heard_of_lines(arguments[0])
    if name == "send_binary":
        return heard_of_chunks(bytes(arguments[0]))
    if name == "send_text":
        return heard_of_lines(arguments[0][:-1].split("\n"))
    if name in ("send_message", "send_message_to_all"):
        return heard_of_message(arguments[0], name == "send_message_to_all")
    return []


def heard_of_message(message: Any, to_all: bool) -> list[Heard]:
    """The same for the calls of websocket-server, which only warn if they cannot send."""
    if isinstance(message, bytes):
        message = message.decode() if message != b"\xff" else None
    if not isinstance(message, str):
        return []
    lines = [line for line in re.split("[\r\n]+", message) if line]
    try:
        for line in lines if to_all else ():
            prepare_line(line, MMDAGENT_EX)
    except InvalidMessage:
        return []
    return heard_of_lines(lines)


class Caller:
    """A thread's calls, and what became of each."""

    def __init__(self, server: WebsocketServer, handler: WebSocketHandler) -> None:
        self._server = server
        self._handler = handler
        self.outcomes: list[Outcome] = []

    def run(self, calls: Sequence[Call]) -> None:
        """Make the calls."""
        for call in calls:
            self.outcomes.append(self._outcome(call))

    def _outcome(self, call: Call) -> Outcome:
        target = self._handler if hasattr(self._handler, call.name) else self._server
        try:
            failed = getattr(target, call.name)(*call.arguments)
        except (InvalidMessage, TypeError):
            return Outcome([], True)
        except (ConnectionClosed, TimeoutError):
            return Outcome(heard_of(call), False)
        # The calls to all do not report a connection that is ending.
        to_all = call.name in ("broadcast", "send_message_to_all")
        is_certain = not to_all or (self._handler in self._server.connections
                                    and self._handler._connected().is_open)
        return Outcome(heard_of(call), is_certain and not failed)


def frames_of(client: Client) -> list[bytes]:
    """The payloads of all frames that reach the agent's line buffer until the connection ends."""
    found = []
    try:
        while True:
            frame = client.frame()
            if frame.opcode in (TEXT, BINARY, 0) or frame.opcode == CLOSE and frame.payload:
                found.append(frame.payload)
            if frame.opcode == CLOSE:
                client.sock.close()  # A FIN, as the agent does.
                return found
    except (EOFError, ConnectionError):
        return found


def is_interleaving(heard: Sequence[Heard], callers: Sequence[Sequence[Outcome]]) -> bool:
    """Whether exactly what must be heard was heard, once, and each caller's calls in order."""
    rows = [[(each, outcome.is_certain) for outcome in outcomes for each in outcome.heard]
            for outcomes in callers]
    places = {(0,) * len(rows)}
    for each in heard:
        places = {place[:number] + (after,) + place[number + 1:]
                  for place in places for number, row in enumerate(rows)
                  if (after := _next(row, place[number], each))}
    return any(not any(certain for row, at in zip(rows, place) for _, certain in row[at:])
               for place in places)


def _next(row: Sequence[tuple[Heard, bool]], at: int, wanted: Heard) -> Optional[int]:
    # The caller's place after `wanted` was heard. Outcomes that were not certain may be skipped.
    while at < len(row):
        heard, certain = row[at]
        at += 1
        if heard == wanted:
            return at
        if certain:
            return None
    return None


class PromiseCase(TestCase):
    """A client that records frames, and threads that call."""

    def setUp(self) -> None:
        # A WebsocketServer sets up logging, which is undone here.
        logger = logging.getLogger("mmdagent_remote")
        self.addCleanup(logger.removeHandler, callbacks._printer)
        self.addCleanup(logger.setLevel, logger.level)

    def play(self, threads: Sequence[Sequence[Call]], profile: Optional[Profile] = None,
             close_timeout: float = DEADLINE) -> tuple[list[bytes], list[list[Outcome]]]:
        """Run the threads at once; return the frames that arrived, and each thread's outcomes."""
        with WebsocketServer(loglevel=logging.CRITICAL, profile=profile,
                             close_timeout=close_timeout) as server:
            with Client(server, "/chat", mmdagent=True) as client:
                handler = server.wait_connected(DEADLINE)
                assert isinstance(handler, WebSocketHandler)
                callers = [Caller(server, handler) for _ in threads]
                frames: list[bytes] = []
                reader = self.in_thread(lambda: frames.extend(frames_of(client)))
                workers = [self.in_thread(caller.run, calls)
                           for caller, calls in zip(callers, threads)]
                for worker in workers:
                    worker.join(DEADLINE)
                    self.assertFalse(worker.is_alive(), "a call has hung")
                handler.close()
                reader.join(DEADLINE)
                self.assertFalse(reader.is_alive(), "the connection has ended")
        return frames, [caller.outcomes for caller in callers]

    def check(self, frames: Sequence[bytes], outcomes: Sequence[Sequence[Outcome]], *,
              is_whole: bool = False) -> None:
        """The agent was not harmed, heard all, and will hear the first line of its next connection.

        With `is_whole` set, each frame must be whole lines, issued at once.
        """
        receiver = Receiver()
        heard: list[Heard] = []
        for number, frame in enumerate([*frames, b"NEXT|line\n"]):
            if is_whole or number == len(frames):
                self.assertEqual(receiver.held, b"", "nothing waits for what comes later")
            for happening in receiver.feed(frame):
                self.assertNotIsInstance(happening, Fault, f"{happening} by {frame[:80]!r}")
                heard.append(_heard(happening))
        self.assertEqual(heard.pop(), ("line", "NEXT|line"))
        self.assertTrue(is_interleaving(heard, outcomes), f"{heard} of {outcomes}"[:3000])


def _heard(happening: Any) -> Heard:
    if isinstance(happening, Issued):
        return "line", happening.line
    if isinstance(happening, Sound):
        return "sound", happening.data
    return "word", happening.text


class AnyCallsTest(PromiseCase):
    """All sending calls, with any arguments."""

    @settings(deadline=None, derandomize=True, max_examples=60, database=None)
    @given(scripts())
    def test_nothing_hurts(self, threads: list[list[Call]]) -> None:
        """No calls harm the agent, and it issues each line once, in its thread's order."""
        self.check(*self.play(threads), is_whole=True)

    @settings(deadline=None, derandomize=True, max_examples=40, database=None)
    @given(scripts(), LARGER, st.sampled_from([0, 0.02]))
    def test_a_hasty_close(self, threads: list[list[Call]], profile: Optional[Profile],
                           close_timeout: float) -> None:
        """A close that drops what waits leaves no half line behind, whatever the size of a frame."""
        frames, outcomes = self.play(threads, profile, close_timeout)
        self.check(frames, [[each._replace(is_certain=False) for each in row] for row in outcomes])

    @settings(deadline=None, derandomize=True, max_examples=40, database=None)
    @given(scripts(), PROFILES)
    def test_small_frames(self, threads: list[list[Call]], profile: Optional[Profile]) -> None:
        """Lines and chunks that are cut over frames arrive whole, with nothing between."""
        self.check(*self.play(threads, profile))

    def test_each_call_with_each_argument(self) -> None:
        """Each call with each nasty argument, followed by a good line, does no harm."""
        calls = [Call(name, (text,)) for text in NASTY for name in (
            "send", "write_line", "send_text", "broadcast", "send_message", "send_message_to_all")]
        calls += [Call("send_lines", ([text, "B"],)) for text in NASTY]
        calls += [Call("send_message", (data,)) for data in (b"\xff", b"A\n", b"\0", 5, None)]
        calls += [Call("send_binary", (each,)) for data in NASTY_BYTES for each in kinds_of_bytes(data)]
        for size in (None, 7, 1400):
            with self.subTest(size):
                # With small frames one call for lines and one for chunks are enough.
                spaced = [each for call in calls if size is None or call.name in (
                    "write_line", "send_binary") and len(call.arguments[0]) < 3000
                          for each in (call, Call("send", ("GOOD", "line")))]
                frames, outcomes = self.play(
                    [spaced], replace(MMDAGENT_EX, max_frame=size, gap=0.001) if size else None)
                self.check(frames, outcomes, is_whole=size is None)

    def test_many_threads(self) -> None:
        """Lines and chunks of sixteen threads never mix, even in small frames or during a close."""
        chunk = b"SND0400" + b"\n\0S\xff" * 100
        threads = [[call for number in range(12) for call in (
            Call("send", ("LINE", thread, number, "x" * 90 * (number % 4) or "S")),
            Call("send_binary", (chunk[:7] + bytes([thread, number]) + chunk[9:],)),
            Call("write_line", ("STOP",)))] for thread in range(16)]
        for size in (8191, 100):
            for close in ([], [Call("close", ())]):
                with self.subTest(size, close=close):
                    profile = replace(MMDAGENT_EX, max_frame=size, gap=0.001)
                    frames, outcomes = self.play([*threads, close], profile)
                    self.check(frames, outcomes)
                    self.assertTrue(close or all(each.is_certain for row in outcomes for each in row))

    # The connection's own thread cuts the sender off as soon as close_timeout is over.
    def test_a_close_amid_a_line(self) -> None:
        """A close whose timeout passes while a line is sent in many frames still sends its rest."""
        profile = replace(MMDAGENT_EX, max_frame=100, gap=0.001, first_line_hold=0.0)
        server = self.serve(Recorder, profile=profile, close_timeout=0, max_send_queue=50_000)
        logging.getLogger("mmdagent_remote").setLevel(logging.CRITICAL)
        for _ in range(15):
            with Client(server, "/chat", mmdagent=True) as client:
                handler = server.wait_connected(DEADLINE)
                reader = self.in_thread(self._read_fast, client)
                flood = self.in_thread(self._flood, handler)
                wait_until(lambda: len(client.data) > 500)
                handler.close()
                flood.join(DEADLINE)
                reader.join(DEADLINE)
                receiver = Receiver()
                for data in frames_of(client):
                    receiver.feed(data)
            self.assertEqual(receiver.held, b"", "no half line is left")

    def _read_fast(self, client: Client) -> None:
        # An agent that does not read would never get the rest.
        with suppress(ConnectionError):
            while data := client.sock.recv(1 << 20):
                client.data += data

    def _flood(self, handler: Handler) -> None:
        with suppress(ConnectionClosed):
            while True:
                handler.send("LINE", "x" * 2000)


if __name__ == "__main__":
    unittest.main()
