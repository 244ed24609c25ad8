"""When each chunk leaves, with a simulated clock."""

from __future__ import annotations

import unittest
from typing import Optional, Union

from mmdagent_remote.profile import MMDAGENT_EX
from mmdagent_remote.sound.format import CHUNK_SIZE, seconds_of
from mmdagent_remote.sound.playback import (AGENT_DELAY, BUSY_PAUSE, LEAST_PAUSE, MAX_CLIPS,
                                            PATIENCE, Action, Chunk, Clip, Done, Line, Playback)

CHUNK = seconds_of(CHUNK_SIZE)


class Sound:
    """A clip's sound: how many chunks are there, and whether more will come."""

    def __init__(self, chunks: int, *, is_over: bool = True) -> None:
        self.left = chunks
        self.is_over = is_over
        self.error: Optional[Exception] = None

    def take(self) -> Optional[bytes]:
        """The next chunk, b"" if there is none yet, None at the end."""
        if self.left:
            self.left -= 1
            return bytes(CHUNK_SIZE)
        return None if self.is_over else b""


class Stage:
    """A playback, its clock, and what it did at which time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.stuck = False
        self.playback = Playback()
        self.done: list[tuple[float, Action]] = []

    def clip(self, chunks: int = 50, *, model: str = "0", lead: float = 0.2, live: bool = False,
             is_over: bool = True, wanted: bool = True) -> Clip:
        """A new clip, queued."""
        clip = Clip(model, Sound(chunks, is_over=is_over), lead, live, lambda: wanted)
        self.keep(self.playback.add(clip, self.now, self.stuck))
        return clip

    def keep(self, actions: list[Action]) -> None:
        """Note the actions and their time."""
        self.done += [(self.now, action) for action in actions]

    def step(self) -> None:
        """Advance the playback now."""
        self.keep(self.playback.advance(self.now, self.stuck))

    def run(self, seconds: float = float("inf"), late: float = 0.0) -> None:
        """Let time pass, and wake the playback when it asks for that, or `late` seconds later."""
        end = self.now + seconds
        while (when := self.playback.next_time) is not None and when <= end:
            self.now = max(self.now, when) + late
            self.step()
        if end != float("inf"):
            self.now = max(self.now, end)

    def stop(self, model: str = "0") -> None:
        """Stop a model."""
        self.keep(self.playback.stop(model, self.now, self.stuck))

    @property
    def lines(self) -> list[str]:
        """The lines sent."""
        return [action.line for _, action in self.done if isinstance(action, Line)]

    def chunks(self, clip: Optional[Clip] = None) -> list[float]:
        """When the chunks of a clip, or all, left."""
        return [when for when, action in self.done
                if isinstance(action, Chunk) and clip in (None, action.clip)]

    def outcome(self, clip: Clip) -> Union[None, tuple[float, object]]:
        """When and how a clip ended."""
        found = [(when, action.outcome) for when, action in self.done
                 if isinstance(action, Done) and action.clip is clip]
        assert len(found) <= 1, found
        return found[0] if found else None


class PaceTests(unittest.TestCase):
    """One clip."""

    def test_ten_minutes(self) -> None:
        """For ten minutes each chunk leaves within 5 ms of its time, though each is 3 ms late."""
        stage = Stage()
        clip = stage.clip(15000)
        stage.run(late=0.003)
        times = stage.chunks(clip)
        self.assertEqual(len(times), 15000)
        self.assertAlmostEqual(times[-1], 100 + 14999 * CHUNK - 0.2, delta=0.005)
        for index, when in enumerate(times[20:], 20):
            self.assertAlmostEqual(when, 100 + index * CHUNK - 0.2, delta=0.005)
        when, outcome = stage.outcome(clip)
        self.assertIs(outcome, True)
        self.assertAlmostEqual(when, 100 + 600 + AGENT_DELAY, delta=0.01)

    def test_lead(self) -> None:
        """The agent has the lead beforehand, no more, and the lead is not sent as a burst."""
        for lead in (0.0, 0.04, 0.2, 2.0, 30.0):
            with self.subTest(lead):
                stage = Stage()
                clip = stage.clip(2000, lead=lead)
                stage.run()
                times = stage.chunks(clip)
                ahead = [100 + (index + 1) * CHUNK - when for index, when in enumerate(times)]
                self.assertLessEqual(max(ahead), lead + CHUNK + 1e-6)
                self.assertAlmostEqual(ahead[-1], lead + CHUNK)
                least = min(b - a for a, b in zip(times, times[1:]))
                self.assertGreaterEqual(least, LEAST_PAUSE - 1e-6)
                self.assertGreater(least, MMDAGENT_EX.gap)

    def test_slow_source(self) -> None:
        """After a pause of the source, time counts from the next chunk, without a burst."""
        stage = Stage()
        clip = stage.clip(10, is_over=False)
        stage.run(5)
        clip.feed.left, clip.feed.is_over = 10, True
        stage.step()
        stage.run()
        times = stage.chunks(clip)
        self.assertEqual(times[10], 105.0)
        when, outcome = stage.outcome(clip)
        self.assertIs(outcome, True)
        self.assertAlmostEqual(when, 105 + 10 * CHUNK + AGENT_DELAY)

    def test_lateness_is_made_good(self) -> None:
        """Chunks that come a little late, however often, do not shift later ones."""
        stage = Stage()
        clip = stage.clip(0, lead=0.0, is_over=False)
        late = PATIENCE - 0.001
        for index in range(500):
            stage.run(100 + index * CHUNK + late * (index % 5 == 4) - stage.now)
            clip.feed.left += 1
            stage.step()
        clip.feed.is_over = True
        stage.run()
        self.assertEqual(len(stage.chunks(clip)), 500)
        self.assertAlmostEqual(stage.outcome(clip)[0], 100 + 500 * CHUNK + AGENT_DELAY, delta=PATIENCE)

    def test_stuck(self) -> None:
        """While a chunk waits in the send queue no other is sent; the next check is soon."""
        stage = Stage()
        clip = stage.clip(10)
        stage.stuck = True
        stage.run(3)
        self.assertEqual(len(stage.chunks(clip)), 1)
        self.assertLessEqual(stage.playback.next_time - stage.now, BUSY_PAUSE)
        stage.stuck = False
        stage.run()
        self.assertGreater(stage.outcome(clip)[0], 103 + 9 * CHUNK + AGENT_DELAY - 0.001)

    def test_stuck_at_the_end(self) -> None:
        """The last chunk counts as heard only after it has left, however long that took."""
        stage = Stage()
        clip = stage.clip(1)
        stage.stuck = True
        stage.run(3)
        stage.stuck = False
        stage.run()
        self.assertGreater(stage.outcome(clip)[0], 103 + AGENT_DELAY - 0.001)

    def test_played(self) -> None:
        """The time heard is the time sent minus the lead, and never negative."""
        stage = Stage()
        clip = stage.clip(50)
        self.assertEqual(stage.playback.played(clip, stage.now), 0.0)
        stage.run(1)
        self.assertAlmostEqual(stage.playback.played(clip, stage.now), 1.0, delta=0.05)

    def test_nothing(self) -> None:
        """A clip without sound is done at once, without any line."""
        stage = Stage()
        clip = stage.clip(0)
        self.assertEqual(stage.done, [(100.0, Done(clip, True))])
        self.assertIsNone(stage.playback.next_time)


class LinesTests(unittest.TestCase):
    """The lines before and after the sound."""

    def test_once(self) -> None:
        """The set-up is sent once per connection; each clip that is not live ends with SNDBRKS."""
        stage = Stage()
        stage.clip(2)
        stage.clip(2)
        stage.run()
        self.assertEqual(stage.lines, ["__AV_START", "__AV_SETMODEL,0", "SNDFILE", "SNDBRKS", "SNDBRKS"])

    def test_order(self) -> None:
        """The set-up comes before the first chunk, SNDBRKS after the last."""
        stage = Stage()
        stage.clip(3)
        stage.run()
        kinds = [type(action).__name__ for _, action in stage.done]
        self.assertEqual(kinds, ["Line"] * 3 + ["Chunk"] * 3 + ["Line", "Done"])

    def test_live(self) -> None:
        """A live clip starts with SNDSTRM and has no SNDBRKS; the kind is sent when it changes."""
        stage = Stage()
        for live in (True, True, False, True):
            stage.clip(2, live=live)
        stage.run()
        self.assertEqual(stage.lines[2:], ["SNDSTRM", "SNDFILE", "SNDBRKS", "SNDSTRM"])

    def test_two_models(self) -> None:
        """A clip of another model waits until the sound before was heard, then its model is set."""
        stage = Stage()
        first, second, third = stage.clip(10), stage.clip(10, model="1"), stage.clip(10, model="1")
        stage.run()
        heard = 100 + 10 * CHUNK + AGENT_DELAY
        self.assertAlmostEqual(stage.outcome(first)[0], heard)
        self.assertAlmostEqual(stage.chunks(second)[0], heard)
        self.assertEqual(stage.lines, ["__AV_START", "__AV_SETMODEL,0", "SNDFILE", "SNDBRKS",
                                       "__AV_SETMODEL,1", "SNDBRKS", "SNDBRKS"])
        self.assertAlmostEqual(stage.outcome(third)[0], heard + 20 * CHUNK + AGENT_DELAY)

    def test_same_model(self) -> None:
        """Clips of one model follow each other without a pause."""
        stage = Stage()
        first, second = stage.clip(25), stage.clip(25)
        stage.run()
        self.assertAlmostEqual(stage.chunks(second)[0] - stage.chunks(first)[-1], CHUNK)
        self.assertAlmostEqual(stage.outcome(first)[0], 101 + AGENT_DELAY)
        self.assertAlmostEqual(stage.outcome(second)[0], 102 + AGENT_DELAY)


class EndTests(unittest.TestCase):
    """How a clip may end."""

    def test_stop(self) -> None:
        """A stop ends the current clip, with SNDBRKS, and those of its model that wait."""
        stage = Stage()
        current, waiting, other = stage.clip(), stage.clip(), stage.clip(5, model="1")
        stage.run(0.5)
        stage.stop()
        for clip in (current, waiting):
            self.assertEqual(stage.outcome(clip), (100.5, False))
        self.assertEqual(stage.lines[3:], ["SNDBRKS"])
        stage.run()
        self.assertEqual(len(stage.chunks(other)), 5)
        self.assertIs(stage.outcome(other)[1], True)

    def test_stop_of_what_was_sent(self) -> None:
        """A clip that is sent but not yet heard is also stopped: False, without another line."""
        stage = Stage()
        clip = stage.clip(10)
        stage.run(10 * CHUNK)
        self.assertIsNone(stage.outcome(clip))
        stage.stop()
        self.assertEqual(stage.outcome(clip)[1], False)
        self.assertEqual(stage.lines.count("SNDBRKS"), 1)

    def test_stop_of_another_model(self) -> None:
        """A stop of one model changes nothing for another."""
        stage = Stage()
        clip = stage.clip(10)
        stage.run(0.1)
        stage.stop("1")
        stage.run()
        self.assertIs(stage.outcome(clip)[1], True)

    def test_live_stop(self) -> None:
        """A live clip is stopped without SNDBRKS, and a clip that sent nothing without any line."""
        stage = Stage()
        stage.clip(live=True)
        stage.run(0.1)
        stage.stop()
        self.assertEqual(stage.lines[-1], "SNDSTRM")
        stage = Stage()
        stage.clip(0, is_over=False)
        stage.stop()
        self.assertEqual(stage.lines, [])

    def test_order_of_a_stop(self) -> None:
        """A stop ends the clips in order, and before its line is sent, which a peer may delay."""
        stage = Stage()
        clips = [stage.clip(1), stage.clip(), stage.clip()]
        stage.run(0.1)
        before = len(stage.done)
        stage.stop()
        self.assertEqual([action for _, action in stage.done[before:]],
                         [*(Done(clip, False) for clip in clips), Line("SNDBRKS")])

    def test_next_after_a_stop(self) -> None:
        """A clip after a stop waits until the lead that the agent already has is played."""
        stage = Stage()
        stage.clip(200, lead=1.0)
        stage.run(3)
        stage.stop()
        clip = stage.clip(5, lead=0.0)
        stage.run()
        self.assertAlmostEqual(stage.chunks(clip)[0], 104, delta=CHUNK)

    def test_error(self) -> None:
        """Sound before the source's error is played; then the clip fails, and the next begins."""
        class Empty(Exception):
            def __len__(self) -> int:
                return 0
        stage = Stage()
        clip, second = stage.clip(10), stage.clip(1)
        clip.feed.error = error = Empty()
        stage.run()
        self.assertEqual(len(stage.chunks(clip)), 10)
        self.assertIs(stage.outcome(clip)[1], error)
        self.assertIs(stage.outcome(second)[1], True)
        self.assertEqual(stage.lines.count("SNDBRKS"), 2)

    def test_unwanted(self) -> None:
        """A clip that is no longer wanted when its turn comes is skipped."""
        stage = Stage()
        stage.clip(5)
        unwanted, last = stage.clip(wanted=False), stage.clip(5)
        stage.run()
        self.assertEqual(stage.chunks(unwanted), [])
        self.assertIs(stage.outcome(unwanted)[1], False)
        self.assertIs(stage.outcome(last)[1], True)

    def test_fail(self) -> None:
        """When the connection has ended, all clips fail, in order, and no line is sent."""
        stage = Stage()
        clips = [stage.clip(2), stage.clip(), stage.clip()]
        stage.run(0.1)
        lines, error = stage.lines, RuntimeError()
        stage.keep(stage.playback.fail(error))
        self.assertEqual([action.clip for _, action in stage.done if isinstance(action, Done)], clips)
        self.assertEqual(stage.lines, lines)
        self.assertIsNone(stage.playback.next_time)
        self.assertEqual(stage.playback.advance(stage.now + 60, False), [])

    def test_full(self) -> None:
        """At most MAX_CLIPS clips may wait."""
        stage = Stage()
        for _ in range(MAX_CLIPS):
            stage.clip()
        self.assertFalse(stage.playback.is_full)
        stage.clip()
        self.assertTrue(stage.playback.is_full)


if __name__ == "__main__":
    unittest.main()
