"""``mouth.py`` with random events, and with a peer that keeps to the rules."""

from __future__ import annotations

import heapq
import random
import unittest
from typing import Optional, Union

from hypothesis import given, settings
from hypothesis import strategies as st

from mmdagent_remote import Message
from mmdagent_remote.speech.mouth import STOP_TIMEOUT, Action, Mouth, Send, Utterance

_THEIRS = "SYNTH_START|0|v|theirs"

#: What happens, the seconds before it (long enough for timeouts), whether alarms come late.
_steps = st.lists(st.tuples(
    st.sampled_from(["say", "say", "say long", "say unwanted", "stop", "theirs", "start", "start", "end",
                     "end", "echo", "old echo", "odd", "fail"]),
    st.sampled_from([0.0, 0.0, 0.1, 1.0, 3.0, 61.0]), st.booleans()), max_size=60)


class Watched:
    """A mouth, and checks of what must hold after each step."""

    def __init__(self, case: unittest.TestCase) -> None:
        self._case = case
        self.mouth = Mouth("0")
        self.now = 1000.0
        self.sent: list[str] = []
        self.said: list[Utterance] = []
        self.lines: dict[str, Utterance] = {}
        self.ended: dict[Utterance, Union[bool, Exception]] = {}
        self._current: Optional[Utterance] = None

    def note(self, actions: list[Action]) -> list[str]:
        """Carry out actions; returns the lines to send."""
        lines = []
        for action in actions:
            if isinstance(action, Send):
                lines.append(action.line)
                if action.line in self.lines:
                    self._check_turn(self.lines[action.line])
                continue
            self._case.assertNotIn(action.utterance, self.ended, "it ended twice")
            self.ended[action.utterance] = action.outcome
        self.sent += lines
        return lines

    def _check_turn(self, utterance: Utterance) -> None:
        if utterance is self._current:
            return
        self._case.assertNotIn(utterance, self.ended, "it is sent though it has ended")
        place = self.said.index(utterance)
        for other in self.said[:place]:
            self._case.assertIn(other, self.ended, "it is sent before the end of one before it")
        self._current = utterance

    def say(self, *, lines: int = 1, wanted: bool = True) -> list[str]:
        """Add an utterance whose lines differ from all others."""
        texts = [f"SYNTH_START|0|v|{len(self.said)}-{number}" for number in range(lines)]
        utterance = Utterance(texts, lambda: wanted)
        self.said.append(utterance)
        self.lines.update((text, utterance) for text in texts)
        return self.note(self.mouth.add(utterance, self.now))

    def receive(self, line: str, *, echo: bool = False) -> list[str]:
        """A line is received."""
        return self.note(self.mouth.receive(Message(line, is_echo=echo), self.now))

    def pass_time(self, seconds: float, *, is_late: bool = False) -> list[str]:
        """Let time pass, with each alarm in time, or if late with one at the end."""
        end, lines = self.now + seconds, []
        for _ in range(10_000):
            when = self.mouth.next_time
            if when is None or when > end or is_late:
                break
            self.now = max(self.now, when)
            lines += self.note(self.mouth.pass_time(self.now))
        else:
            self._case.fail("the alarm rings for ever")
        self.now = end
        return lines + self.note(self.mouth.pass_time(end))

    def check_all_end(self) -> None:
        """If nothing more comes, every utterance ends by timeout."""
        self.pass_time((len(self.sent) + len(self.said) + 2) * 4 * STOP_TIMEOUT)
        self._case.assertEqual([each for each in self.said if each not in self.ended], [])
        self._case.assertIsNone(self.mouth.next_time)


class ChanceTests(unittest.TestCase):
    """Anything, at any time."""

    @settings(max_examples=300, deadline=None)
    @given(_steps)
    def test_anything(self, steps: list[tuple[str, float, bool]]) -> None:
        """Each utterance ends once, in order, never two are current, and none is stuck."""
        watched = Watched(self)
        for what, seconds, is_late in steps:
            watched.pass_time(seconds, is_late=is_late)
            self.do(watched, what)
        watched.check_all_end()

    def do(self, watched: Watched, what: str) -> None:
        """One step."""
        if what.startswith("say"):
            watched.say(lines=3 if "long" in what else 1, wanted="unwanted" not in what)
        elif what == "stop":
            watched.note(watched.mouth.stop(watched.now))
            self.assertEqual([each for each in watched.said if each not in watched.ended], [])
        elif what == "fail":
            watched.note(watched.mouth.fail(OSError("gone")))
            self.assertEqual([each for each in watched.said if each not in watched.ended], [])
        elif what == "theirs":
            watched.receive(_THEIRS)
        elif what in ("start", "end"):
            watched.receive(f"SYNTH_EVENT_{'START' if what == 'start' else 'STOP'}|0")
        elif "echo" in what and watched.sent:
            watched.receive(watched.sent[0 if "old" in what else -1], echo=True)
        elif what == "odd":
            for line in ("SYNTH_EVENT_STOP", "SYNTH_EVENT_STOP|1", "SYNTH_START|0", "SYNTH_STOP|0"):
                watched.receive(line)


class Peer:
    """A peer that obeys and reports in order, with random delays."""

    def __init__(self, watched: Watched, chance: random.Random) -> None:
        self._watched = watched
        self._chance = chance
        self._due: list[tuple[float, int, str, str]] = []
        self._last = {"to peer": 0.0, "to us": 0.0}
        self._count = 0
        self._speaking: Optional[tuple[str, int]] = None
        self.spoken: set[str] = set()

    def put(self, kind: str, line: str, delay: float) -> None:
        """Schedule an event; lines in one direction keep their order."""
        when = self._watched.now + delay
        if kind in self._last:
            when = self._last[kind] = max(when, self._last[kind])
        self._count += 1
        heapq.heappush(self._due, (when, self._count, kind, line))

    def run(self, seconds: float) -> None:
        """Let time pass, with all alarms and events in it."""
        end = self._watched.now + seconds
        while True:
            alarm, due = self._watched.mouth.next_time, self._due[0][0] if self._due else end
            when = max(self._watched.now, min(end, due, end if alarm is None else alarm))
            self._watched.now = when
            self.send(self._watched.note(self._watched.mouth.pass_time(when)))
            if self._due and self._due[0][0] <= when:
                self._happen(*heapq.heappop(self._due)[1:])
            elif when == end:
                return

    def _happen(self, number: int, kind: str, line: str) -> None:
        if kind == "to peer":
            self._obey(line)
        elif kind == "to us":
            ours = line in self._watched.lines or line == "SYNTH_STOP|0"
            self.send(self._watched.receive(line, echo=ours))
        elif self._speaking == (line, number):
            self.spoken.add(line)
            self._end()

    def send(self, lines: list[str]) -> None:
        """Send our lines to the peer, with a delay."""
        for line in lines:
            self.put("to peer", line, self._chance.choice([0.0, 0.01, 0.2]))

    def _tell(self, line: str) -> None:
        self.put("to us", line, self._chance.choice([0.0, 0.01, 0.2]))

    def _end(self) -> None:
        self._speaking = None
        self._tell("SYNTH_EVENT_STOP|0")

    def _obey(self, line: str) -> None:
        self._tell(line)
        if self._speaking is not None:
            self._end()
        if line.startswith("SYNTH_START"):
            self._tell("SYNTH_EVENT_START|0")
            self.put("over", line, self._chance.choice([0.01, 0.3, 2.0]))
            self._speaking = (line, self._count)


class PeerTests(unittest.TestCase):
    """A peer that keeps to the rules, and whose content also speaks."""

    @settings(max_examples=200, deadline=None)
    @given(st.integers(), st.lists(st.tuples(
        st.sampled_from(["say", "say", "say", "say long", "stop", "theirs"]),
        st.sampled_from([0.0, 0.01, 0.1, 0.3, 2.0])), max_size=30))
    def test_true_is_true(self, seed: int, steps: list[tuple[str, float]]) -> None:
        """True means spoken to the end; without stops and theirs all are True; none times out."""
        watched = Watched(self)
        watched.receive("SYNTH_STOP|0", echo=True)  # From now on the peer is known to echo.
        peer = Peer(watched, random.Random(seed))
        for what, seconds in steps:
            peer.run(seconds)
            if what == "theirs":
                peer.put("to peer", _THEIRS, 0.0)
            elif what == "stop":
                peer.send(watched.note(watched.mouth.stop(watched.now)))
            else:
                peer.send(watched.say(lines=2 if "long" in what else 1))
        peer.run(1000.0)
        is_calm = not {"stop", "theirs"} & {what for what, _ in steps}
        for utterance in watched.said:
            outcome = watched.ended[utterance]
            lines = {line for line, whose in watched.lines.items() if whose is utterance}
            self.assertIn(outcome, (True, False))
            if outcome or is_calm:
                self.assertTrue(outcome)
                self.assertLessEqual(lines, peer.spoken)


if __name__ == "__main__":
    unittest.main()
