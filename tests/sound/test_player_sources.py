"""Sources that are slow, endless or faulty: each has its thread, and delays nothing else."""

from __future__ import annotations

import sys
import threading
import unittest
from collections.abc import Iterator
from unittest.mock import patch

from mmdagent_remote.sound.player import READ_AHEAD, Reader

from ..support import DEADLINE, TestCase, wait_until
from .test_player import Blocked, PlayerCase, sound


class ReaderTests(TestCase):
    """The reader between the source's thread and the schedule."""

    def test_room(self) -> None:
        """When enough is read ahead, put() waits until something is taken."""
        reader, told = Reader(), []
        self.assertTrue(reader.put(bytes(READ_AHEAD)))
        self.in_thread(lambda: told.append(reader.put(b"xx")))
        self.assertEqual(told, [])
        self.assertEqual(reader.take(), bytes(1280))
        wait_until(lambda: told, "there was room")
        self.assertEqual(told, [True])

    def test_stop(self) -> None:
        """A stop wakes a waiting put(), which returns False: no more is wanted."""
        reader, told = Reader(), []
        reader.put(bytes(READ_AHEAD))
        self.in_thread(lambda: told.append(reader.put(b"xx")))
        reader.stop()
        wait_until(lambda: told, "it was released")
        self.assertEqual(told, [False])

    def test_end(self) -> None:
        """The error comes after the last sound; half a sample at the end is dropped."""
        reader = Reader()
        self.assertEqual(reader.take(), b"")
        reader.put(b"abc")
        self.assertEqual(reader.take(), b"")
        reader.end(error := KeyError())
        self.assertIsNone(reader.error)
        self.assertEqual([reader.take(), reader.take()], [b"ab", None])
        self.assertIs(reader.error, error)


class SlowTests(PlayerCase):
    """Sources that take their time."""

    def test_each_piece_leaves_at_once(self) -> None:
        """A piece is played while the next is awaited; the end may come long after the last."""
        played = [threading.Event() for _ in range(3)]

        def source() -> Iterator[bytes]:
            for index, event in enumerate(played):
                yield sound(0.04, index)
                event.wait(DEADLINE)
        future = self.play(source())
        for index, event in enumerate(played):
            self.chunks(index + 1)
            # The player does not poll the source; it waits until the source has something.
            wait_until(lambda: self.agent._player._playback.next_time is None, "nothing is due")
            self.assertFalse(future.done())
            event.set()
        self.assertTrue(future.result(DEADLINE))
        self.assertEqual(self.simulated.audio, b"".join(sound(0.04, index) for index in range(3)))
        threads = self.agent._connected().spawned
        wait_until(lambda: not [each for each in threads if each.name.endswith("-audio")])

    def test_they_act_themselves(self) -> None:
        """A source may stop itself, queue another sound, or close the connection."""
        queued = []

        def source() -> Iterator[bytes]:
            yield sound(0.08)
            queued.append(self.play(sound(0.08, 2)))
            self.agent.stop_speaking("0")
            queued.append(self.play(closing()))
            yield sound(0.08)

        def closing() -> Iterator[bytes]:
            self.agent.close()
            yield sound(0.08)
        self.assertIs(self.play(source()).result(DEADLINE), False)
        self.assertIs(queued[0].result(DEADLINE), False)
        self.assertEqual(getattr(queued[1].exception(DEADLINE), "code", None), 1000)

    def test_empty_pieces(self) -> None:
        """A source that yields only empty pieces does not pile up jobs."""
        given, most = 0, 0

        def spinning() -> Iterator[bytes]:
            nonlocal given, most
            for given in range(20000):
                most = max(most, len(self.agent._connected().courier._jobs))
                yield b""
            yield sound(0.04)
        self.assertTrue(self.play(spinning()).result(DEADLINE))
        self.assertLess(most, 100)
        self.assertEqual(self.simulated.audio, sound(0.04))


class FaultyTests(PlayerCase):
    """Sources that break."""

    def test_source_exits(self) -> None:
        """What a source raises, even SystemExit, goes to its future; the next sound is played."""
        class Exiting(Blocked):
            def close(self) -> None:
                sys.exit("close")

        def source(error: BaseException) -> Iterator[bytes]:
            yield sound(0.04)
            raise error
        errors = (SystemExit(1), KeyboardInterrupt(), GeneratorExit())
        futures = [self.play(source(error)) for error in errors]
        exiting = Exiting(sound(0.04))
        exiting.release.set()
        with self.assertLogs("mmdagent_remote", "WARNING"):
            self.assertTrue(self.play(exiting).result(DEADLINE))
        for future, error in zip(futures, errors):
            self.assertIs(future.exception(DEADLINE), error)

    def test_a_close_that_blocks(self) -> None:
        """A source stopped before its turn, and whose close() blocks, delays nothing else."""
        class Closing(Blocked):
            def close(self) -> None:
                self.asked.set()
                self.release.wait(DEADLINE)
        current, source = self.play(sound(60)), Closing()
        waiting = self.agent.speak_audio("1", source)
        self.agent.stop_speaking("1")
        self.assertTrue(source.asked.wait(DEADLINE))
        self.assertIs(waiting.result(1), False)
        before = len(self.simulated.audio_chunks)
        self.chunks(before + 10)
        self.agent.stop_speaking("0")
        self.assertIs(current.result(1), False)
        source.release.set()

    def test_no_thread(self) -> None:
        """If no thread can be started, the call raises, and the source is closed."""
        source = Blocked()
        with patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")):
            self.assertRaises(RuntimeError, self.play, source)
        self.assertTrue(source.closed.is_set())
        self.assertTrue(self.play(b"").result(DEADLINE))

    def test_no_thread_for_the_source(self) -> None:
        """If a source's thread cannot start, its future fails, and the next sound is played."""
        start = threading.Thread.start

        def refuse(thread: threading.Thread) -> None:
            if thread.name.endswith("-audio"):
                raise RuntimeError("can't start new thread")
            start(thread)
        source = Blocked()
        with patch.object(threading.Thread, "start", refuse):
            with self.assertRaisesRegex(RuntimeError, "new thread"):
                self.play(source).result(DEADLINE)
        self.assertTrue(source.closed.wait(DEADLINE))
        self.assertTrue(self.play(sound(0.04)).result(DEADLINE))


if __name__ == "__main__":
    unittest.main()
