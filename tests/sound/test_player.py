"""Sound to an agent: every byte once, in order and in real time, whatever else is sent."""

from __future__ import annotations

import random
import threading
import time
import unittest
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from typing import Any, Optional

from mmdagent_remote import Agent, ConnectionClosed, InvalidMessage, QueueFull, Server
from mmdagent_remote.sound.format import CHUNK_SIZE
from mmdagent_remote.sound.playback import MAX_CLIPS
from mmdagent_remote.sound.player import READ_AHEAD
from mmdagent_remote.sound.sources import open_sound
from mmdagent_remote.testing import SimulatedAgent

from ..client import BINARY, TEXT, Client
from ..support import DEADLINE, TestCase, fill, wait_until


def sound(seconds: float, seed: int = 1) -> bytes:
    """Samples that all differ."""
    return random.Random(seed).randbytes(2 * int(16000 * seconds))


def drip(data: bytes, size: int, pause: float) -> Iterator[bytes]:
    """A source that gives a piece of that size after each pause."""
    for start in range(0, len(data), size):
        time.sleep(pause)
        yield data[start:start + size]


class Blocked:
    """A source that gives one piece, then blocks until it is released. It can be closed."""

    def __init__(self, first: bytes = b"") -> None:
        self.first = first
        self.asked = threading.Event()
        self.release = threading.Event()
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        yield self.first
        self.asked.set()
        self.release.wait(DEADLINE)

    def close(self) -> None:
        """Note that the source was closed."""
        self.closed.set()


class PlayerCase(TestCase):
    """A server, and a simulated agent that must not crash."""

    def setUp(self) -> None:
        super().setUp()
        self.stack = self.enterContext(ExitStack())
        self.server = self.stack.enter_context(Server(port=0))
        self.simulated = self.stack.enter_context(
            SimulatedAgent(self.server.url, chatter=False, retry_count=9))
        self.agent = self.server.accept(DEADLINE)

    def tearDown(self) -> None:
        self.assertIsNone(self.simulated.crashed)
        super().tearDown()

    def play(self, source: Any, **options: Any) -> Future[bool]:
        """Play a source on model 0."""
        return self.agent.speak_audio("0", source, **options)

    def chunks(self, count: int) -> None:
        """Wait until the agent has received that many chunks."""
        wait_until(lambda: len(self.simulated.audio_chunks) >= count, lambda: f"{count} chunks")

    @property
    def lines(self) -> list[str]:
        """The lines that the agent received."""
        return [str(line) for line in self.simulated.received]


class WholeTests(PlayerCase):
    """What arrives."""

    def test_at_its_pace(self) -> None:
        """The sound arrives unchanged, in real time, and the future is done when it was heard."""
        data = sound(2.5)
        began = time.monotonic()
        self.assertIs(self.play(data).result(DEADLINE), True)
        self.assertGreaterEqual(time.monotonic() - began, 2.5)
        self.assertEqual(self.simulated.audio, data)
        self.assertEqual(self.lines, ["__AV_START", "__AV_SETMODEL,0", "SNDFILE", "SNDBRKS"])
        times = [when for when, _ in self.simulated.audio_chunks]
        self.assertEqual({len(chunk) for _, chunk in self.simulated.audio_chunks[:-1]}, {CHUNK_SIZE})
        # From chunk 20 on: early by no more than the lead; late, perhaps, on a busy machine.
        expected = 0.04 * (len(times) - 21)
        self.assertGreater(times[-1] - times[20], expected - 0.25)
        self.assertLess(times[-1] - times[20], expected + 2)

    def test_lines_between(self) -> None:
        """A hundred lines a second, pings and the agent's own events do not disturb the sound."""
        data = sound(2)
        future = self.play(data)
        sent = []
        while not future.done():
            sent.append(f"VALUE_SET|v|{len(sent)}")
            self.agent.send(sent[-1])
            if len(sent) % 10 == 0:
                self.simulated.emit(f"KEY|{len(sent)}")
            self.agent.wait_closed(0.01)
        self.assertTrue(future.result())
        self.assertEqual(self.simulated.audio, data)
        self.simulated.expect(sent[-1], DEADLINE)
        self.assertEqual([line for line in self.lines if line.startswith("VALUE_SET")], sent)
        keys = [int(line.partition("|")[2]) for line in iter(lambda: self.next_key(len(sent)), None)]
        self.assertEqual(keys, [*range(10, len(sent) + 1, 10)])

    def next_key(self, last: int) -> Optional[str]:
        """The next KEY event of the agent, or None after the last."""
        if self.last_key + 10 > last:
            return None
        found = self.agent.wait_for("KEY", timeout=DEADLINE)
        self.last_key = int(found.args[0])
        return found

    last_key = 0

    def test_an_iterator(self) -> None:
        """Pieces of odd sizes, slower than real time, arrive, but for half a sample at the end."""
        data = sound(0.6) + b"x"
        self.assertTrue(self.play(drip(data, 1333, 0.06), live=True).result(DEADLINE))
        self.assertEqual(self.simulated.audio, data[:-1])
        self.assertEqual(self.lines, ["__AV_START", "__AV_SETMODEL,0", "SNDSTRM"])

    def test_in_turn(self) -> None:
        """Clips are played in the order of the calls, each model with its own set-up."""
        first, second, third = (sound(0.3, seed) for seed in range(3))
        futures = [self.agent.speak_audio(model, data)
                   for model, data in (("0", first), ("0", second), ("girl", third))]
        self.assertEqual([future.result(DEADLINE) for future in futures], [True] * 3)
        self.assertEqual(self.simulated.audio, first + second + third)
        self.assertEqual(self.lines[3:], ["SNDBRKS", "SNDBRKS", "__AV_SETMODEL,girl", "SNDBRKS"])

    def test_long_source(self) -> None:
        """However long a source is, only some seconds of it are read ahead."""
        given = []

        def endless() -> Iterator[bytes]:
            while True:
                given.append(1)
                yield bytes(CHUNK_SIZE)
        future = self.play(endless())
        self.chunks(5)
        self.agent.stop_speaking("0")
        self.assertIs(future.result(DEADLINE), False)
        self.assertLess(len(given) * CHUNK_SIZE, READ_AHEAD + 5 * 32000)

    def test_progress(self) -> None:
        """The progress gets rising seconds and the total; in its last call all was heard."""
        told: list[tuple[float, Optional[float]]] = []
        ended = threading.Event()
        future = self.play(sound(0.5), progress=lambda heard, total: told.append((heard, total)))
        future.add_done_callback(lambda _: ended.set())
        self.assertTrue(ended.wait(DEADLINE))
        self.assertEqual({total for _, total in told}, {0.5})
        heard = [each for each, _ in told]
        self.assertEqual(heard, sorted(heard))
        self.assertEqual(heard[-1], 0.5)
        self.assertGreater(len(heard), 3)

    def test_slow_progress(self) -> None:
        """A progress callback that is slower than the sound gets only the latest values."""
        told, go = [], threading.Event()

        def progress(heard: float, total: Optional[float]) -> None:
            told.append(heard)
            go.wait(DEADLINE)
        self.assertTrue(self.play(sound(0.4), progress=progress).result(DEADLINE))
        go.set()
        wait_until(lambda: told[-1] == 0.4, "the last was told")
        self.assertLessEqual(len(told), 3)

    def test_behind_many_lines(self) -> None:
        """Sound that waits behind lines in the send queue does not count as heard."""
        self.agent.send_lines([f"VALUE_SET|v|{'x' * 2000}"] * 150)
        data = sound(0.08)
        self.assertTrue(self.play(data).result(DEADLINE))
        self.assertEqual(self.agent._connected().wire.has_binary, False)
        wait_until(lambda: self.simulated.audio == data, "it has arrived")

    def test_progress_that_raises(self) -> None:
        """An exception in the progress callback is logged, and the sound goes on."""
        def progress(heard: float, total: Optional[float]) -> None:
            raise KeyError("mine")
        data = sound(0.2)
        with self.assertLogs("mmdagent_remote", "ERROR") as logs:
            self.assertTrue(self.play(data, progress=progress).result(DEADLINE))
        self.assertIn("a callback raised", logs.output[0])
        self.assertEqual(self.simulated.audio, data)

    def test_other_peer(self) -> None:
        """Another peer gets the same: text lines, and a binary message for each chunk."""
        with Client(self.server) as client:
            agent = self.server.accept(DEADLINE)
            future = agent.speak_audio("0", sound(0.08))
            self.assertEqual(client.lines(3), ["__AV_START", "__AV_SETMODEL,0", "SNDFILE"])
            frames = [client.data_frame() for _ in range(3)]
            self.assertEqual([frame.opcode for frame in frames], [BINARY, BINARY, TEXT])
            self.assertEqual(b"".join(frame.payload[7:] for frame in frames[:2]), sound(0.08))
            self.assertTrue(future.result(DEADLINE))


class EndTests(PlayerCase):
    """Other ways to end."""

    def test_stop(self) -> None:
        """stop_speaking() ends all sound of that model, also waiting, with False; no other."""
        current, waiting, cancelled = self.play(sound(60)), self.play(sound(60)), self.play(sound(60))
        other = self.agent.speak_audio("1", sound(0.1))
        self.assertTrue(cancelled.cancel())
        self.chunks(3)
        self.agent.stop_speaking("0")
        self.assertEqual([current.result(DEADLINE), waiting.result(DEADLINE)], [False, False])
        self.assertTrue(other.result(DEADLINE))
        self.assertRaises(CancelledError, cancelled.result, 0)
        self.assertEqual(self.lines[3:], ["SNDBRKS", "__AV_SETMODEL,1", "SNDBRKS"])
        self.assertIs(self.simulated.audio.endswith(sound(0.1)), True)

    def test_stop_while_the_source_blocks(self) -> None:
        """A source that blocks delays no stop and no sound, and is closed when it returns."""
        source = Blocked(bytes(CHUNK_SIZE))
        future = self.play(source)
        self.assertTrue(source.asked.wait(DEADLINE))
        self.chunks(1)
        self.agent.stop_speaking("0")
        self.assertIs(future.result(DEADLINE), False)
        self.assertTrue(self.play(sound(0.1)).result(DEADLINE))
        self.assertFalse(source.closed.is_set())
        source.release.set()
        self.assertTrue(source.closed.wait(DEADLINE))

    def test_cancelled(self) -> None:
        """A future can be cancelled before its turn, and is then not played; later it cannot."""
        first, source = self.play(sound(0.1)), Blocked(sound(0.1, 2))
        second, third = self.play(source), self.play(sound(0.1, 3))
        self.assertTrue(second.cancel())
        self.chunks(1)
        self.assertFalse(first.cancel())
        self.assertTrue(third.result(DEADLINE))
        self.assertEqual(self.simulated.audio, sound(0.1) + sound(0.1, 3))
        self.assertTrue(source.closed.wait(DEADLINE))
        self.assertFalse(source.asked.is_set())

    def test_closed(self) -> None:
        """Our own close ends all sound with ConnectionClosed, and closes the sources."""
        source = Blocked(bytes(CHUNK_SIZE))
        futures = [self.play(sound(60)), self.play(source)]
        self.chunks(2)
        self.agent.close()
        for future in futures:
            self.assertRaises(ConnectionClosed, future.result, DEADLINE)
        self.assertTrue(source.closed.wait(DEADLINE))
        self.assertRaises(ConnectionClosed, self.play, sound(1))
        # As if the connection had closed during the call.
        late = Blocked()
        future = self.agent._audio().play("0", open_sound(late), 0.2, False, None)
        self.assertRaises(ConnectionClosed, future.result, DEADLINE)
        self.assertTrue(late.closed.wait(DEADLINE))
        self.assertFalse(late.asked.is_set())

    def test_reconnect(self) -> None:
        """If the agent leaves, its sound fails; the next connection gets the set-up again."""
        future = self.play(sound(60))
        self.chunks(2)
        self.simulated.drop()
        self.assertRaises(ConnectionClosed, future.result, DEADLINE)
        self.agent = self.server.accept(DEADLINE)
        before = len(self.simulated.audio)
        data = sound(0.1, 2)
        self.assertTrue(self.play(data).result(DEADLINE))
        self.assertEqual(self.simulated.audio[before:], data)
        self.assertEqual(self.lines.count("__AV_SETMODEL,0"), 2)

    def test_peer_that_does_not_read(self) -> None:
        """A peer that stops reading delays no stop; the rest ends within send_timeout, unlogged."""
        server = self.serve(send_timeout=0.5)
        with Client(server) as client:
            agent = server.accept(DEADLINE)
            futures = [agent.speak_audio(model, sound(60)) for model in "01"]
            client.lines(3)
            client.data_frame()
            fill(agent)
            with self.assertNoLogs("mmdagent_remote", "ERROR"):
                agent.stop_speaking("0")
                self.assertIs(futures[0].result(DEADLINE), False)
                error = futures[1].exception(DEADLINE)
            self.assertIsInstance(error, (TimeoutError, ConnectionClosed))

    def test_shutdown(self) -> None:
        """shutdown() ends the sound, and names the thread of a source that is stuck."""
        source = Blocked()
        future = self.play(source)
        self.assertTrue(source.asked.wait(DEADLINE))
        names = self.server.shutdown(timeout=0.5)
        self.assertEqual([name.rpartition("-")[2] for name in names], ["audio"])
        self.assertRaises(ConnectionClosed, future.result, DEADLINE)
        source.release.set()
        self.assertTrue(source.closed.wait(DEADLINE))

    def test_source_raises(self) -> None:
        """Sound before the source's error is played, its future fails, the next sound is played."""
        def source() -> Iterator[bytes]:
            yield sound(0.2)
            raise LookupError("no voice")
        future, second = self.play(source()), self.play(sound(0.1))
        with self.assertRaisesRegex(LookupError, "no voice"):
            future.result(DEADLINE)
        self.assertTrue(second.result(DEADLINE))
        self.assertEqual(self.simulated.audio, sound(0.2) + sound(0.1))

    def test_too_many(self) -> None:
        """A thousand clips may wait; one more fails with QueueFull."""
        source = Blocked(bytes(CHUNK_SIZE))
        futures = [self.play(source), *(self.play(b"") for _ in range(MAX_CLIPS)), self.play(b"")]
        self.assertRaises(QueueFull, futures[-1].result, DEADLINE)
        self.agent.stop_speaking("0")
        self.assertEqual({future.result(DEADLINE) for future in futures[:-1]}, {False})
        source.release.set()
        self.assertTrue(source.closed.wait(DEADLINE))

    def test_refused(self) -> None:
        """A wrong argument raises at once, and nothing is sent."""
        for model in ("", "a,b", "a|b", "a\nb", "\0", "x" * 201):
            with self.subTest(model), self.assertRaises(InvalidMessage):
                self.agent.speak_audio(model, b"")
        for model in (None, True, b"0"):
            with self.subTest(model), self.assertRaises(TypeError):
                self.agent.speak_audio(model, b"")  # type: ignore[arg-type]
        for options, error in (({"lead": -1}, ValueError), ({"lead": 31}, ValueError),
                               ({"lead": float("nan")}, ValueError), ({"lead": None}, TypeError),
                               ({"progress": 1}, TypeError), ({"rate": 0}, ValueError),
                               ({"channels": "1"}, TypeError)):
            with self.subTest(options), self.assertRaises(error):
                self.play(b"", **options)
        for source, error in ((None, TypeError), (5, TypeError), ("no such file", OSError)):
            with self.subTest(source), self.assertRaises(error):
                self.play(source)
        self.assertEqual(self.simulated.received, [])


class HandlerTests(TestCase):
    """In a handler."""

    def test_while_a_hook_is_busy(self) -> None:
        """The sound goes on while on_message sleeps, even if it was started there."""
        class Speaking(Agent):
            def on_message(self, message: str) -> None:
                self.speak_audio("0", sound(0.5)).add_done_callback(done.append)
                busy.wait(DEADLINE)
        done: list[Future[bool]] = []
        busy = threading.Event()
        with Server(Speaking, port=0) as server, SimulatedAgent(server.url, chatter=False) as agent:
            agent.emit("KEY|a")
            wait_until(lambda: done, "the sound was heard")
            self.assertTrue(done[0].result())
            self.assertEqual(agent.audio, sound(0.5))
            busy.set()


if __name__ == "__main__":
    unittest.main()
