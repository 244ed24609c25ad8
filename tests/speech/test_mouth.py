"""``mouth.py``: one model's utterances, with a simulated clock."""

from __future__ import annotations

import unittest
from typing import Union

from mmdagent_remote import Message
from mmdagent_remote.speech.mouth import (DRAIN_TIMEOUT, MAX_UTTERANCES, SECONDS_A_CHARACTER,
                                          START_TIMEOUT, STOP_TIMEOUT, Action, Mouth, Send, Turn,
                                          Utterance)

START, STOP = "SYNTH_EVENT_START|0", "SYNTH_EVENT_STOP|0"
THEIRS = "SYNTH_START|0|v|theirs"


def line_of(text: str) -> str:
    """The command that speaks a text."""
    return f"SYNTH_START|0|v|{text}"


class SpeechCase(unittest.TestCase):
    """A mouth, the time, what was sent, and how each utterance ended."""

    def setUp(self) -> None:
        self.mouth = Mouth("0")
        self.now = 100.0
        self.sent: list[str] = []
        self.ended: dict[str, Union[bool, type[Exception]]] = {}
        self.names: dict[Utterance, str] = {}

    def note(self, actions: list[Action]) -> None:
        """Carry out actions."""
        for action in actions:
            if isinstance(action, Send):
                self.sent.append(action.line)
                continue
            name, outcome = self.names[action.utterance], action.outcome
            self.assertNotIn(name, self.ended)
            self.ended[name] = outcome if isinstance(outcome, bool) else type(outcome)

    def say(self, *texts: str, wanted: bool = True) -> None:
        """Add an utterance with a line for each text, named after the first."""
        utterance = Utterance([line_of(text) for text in texts], lambda: wanted)
        self.names[utterance] = texts[0]
        self.note(self.mouth.add(utterance, self.now))

    def stop(self) -> None:
        """stop_speaking()."""
        self.note(self.mouth.stop(self.now))

    def see(self, *lines: str, echo: bool = False) -> None:
        """Lines are received."""
        for line in lines:
            self.note(self.mouth.receive(Message(line, is_echo=echo), self.now))

    def echo(self, text: str) -> None:
        """The echo of a line of ours."""
        self.see(line_of(text), echo=True)

    def wait(self, seconds: float) -> None:
        """Let time pass; pass_time() is called each time that next_time asks for."""
        end = self.now + seconds
        while (when := self.mouth.next_time) is not None and when <= end:
            self.now = max(self.now, when)
            self.note(self.mouth.pass_time(self.now))
        self.now = end
        self.note(self.mouth.pass_time(self.now))

    def check(self, sent: str, **ended: Union[bool, type[Exception]]) -> None:
        """Compare the texts sent (a stop is "/") and the outcomes."""
        texts = [line.split("|")[3] if "START" in line else "/" for line in self.sent]
        self.assertEqual((" ".join(texts), self.ended), (sent, ended))


class OrderTests(SpeechCase):
    """One after the other."""

    def test_spoken(self) -> None:
        """An utterance is sent at once, and its outcome is True when its voice has stopped."""
        self.say("a")
        self.check("a")
        self.echo("a")
        self.see(START)
        self.check("a")
        self.see(STOP)
        self.check("a", a=True)
        self.assertIsNone(self.mouth.next_time)

    def test_queue(self) -> None:
        """Each utterance is sent, in order, when the one before has ended, not earlier."""
        for text in "abc":
            self.say(text)
        self.see(START)
        self.check("a")
        self.see(STOP)
        self.check("a b", a=True)
        self.see(STOP)  # Does not belong to this one, which has not started.
        self.check("a b", a=True)
        self.see(START, STOP, START, STOP)
        self.check("a b c", a=True, b=True, c=True)

    def test_lines(self) -> None:
        """The lines of a long utterance follow each other; it ends with the last."""
        self.say("a", "b", "c")
        self.see(START, STOP, START, STOP)
        self.check("a b c")
        self.see(START, STOP)
        self.check("a b c", a=True)

    def test_other_models(self) -> None:
        """Events, commands and echoes for other models or of other types change nothing."""
        self.say("a")
        self.see("SYNTH_EVENT_START|1", "SYNTH_EVENT_STOP|1", "SYNTH_EVENT_START", "SYNTH_EVENT_STOP|00",
                 "SYNTH_START|1|v|x", "SYNTH_START", "LIPSYNC_EVENT_START|0", "KEY|0")
        self.see(START)
        self.see("SYNTH_EVENT_STOP|1", "MOTION_EVENT_DELETE|0", "SYNTH_STOP|0")
        self.check("a")
        self.see(STOP)
        self.check("a", a=True)

    def test_echoes_of_events(self) -> None:
        """The echo of an event that we sent ourselves does not count as an event."""
        self.say("a")
        self.see(START, STOP, echo=True)
        self.wait(START_TIMEOUT)
        self.check("a", a=TimeoutError)

    def test_not_wanted(self) -> None:
        """An utterance no longer wanted when its turn comes is not sent, and ends with False."""
        self.say("a")
        self.say("b", wanted=False)
        self.say("c")
        self.see(START, STOP)
        self.check("a c", a=True, b=False)

    def test_bound(self) -> None:
        """The queue is full at its bound, not counting the current utterance."""
        for number in range(MAX_UTTERANCES + 1):
            self.assertFalse(self.mouth.is_full)
            self.say(str(number))
        self.assertTrue(self.mouth.is_full)

    def test_fail(self) -> None:
        """The end of the connection ends all utterances with its error."""
        for text in "abc":
            self.say(text)
        self.note(self.mouth.fail(OSError("gone")))
        self.check("a", a=OSError, b=OSError, c=OSError)
        self.assertIsNone(self.mouth.next_time)


class TimeTests(SpeechCase):
    """A voice that never begins or never ends."""

    def test_never_begins(self) -> None:
        """Without a start event in time an utterance fails, and the queue goes on."""
        self.say("a")
        self.say("b")
        self.wait(START_TIMEOUT - 0.01)
        self.check("a")
        self.wait(0.02)
        self.check("a b", a=TimeoutError)
        self.see(START, STOP)
        self.check("a b", a=TimeoutError, b=True)

    def test_texts_of_errors(self) -> None:
        """The error names the model and the line, and distinguishes no start from no end."""
        for events, words in (((), "did not begin.*voice"), ((START,), "did not end")):
            mouth = Mouth("7")
            mouth.add(Utterance(["SYNTH_START|7|v|text"], lambda: True), 0.0)
            for event in events:
                mouth.receive(Message(event.replace("0", "7")), 0.0)
            end, = mouth.pass_time(1e6)
            self.assertRegex(str(end.outcome), f"model 7 {words}.*SYNTH_START.7.v.text")  # type: ignore

    def test_echo_gives_time(self) -> None:
        """The time to begin counts from the echo, since a busy peer may obey late."""
        self.say("a")
        self.wait(START_TIMEOUT - 0.1)
        self.echo("a")
        self.wait(START_TIMEOUT - 0.1)
        self.check("a")
        self.wait(0.2)
        self.check("a", a=TimeoutError)

    def test_never_ends(self) -> None:
        """Without a stop event in time, more for longer texts, it fails, and the queue goes on."""
        for text in ("a", "x" * 1000):
            with self.subTest(len(text)):
                self.setUp()
                self.say(text)
                self.say("b")
                self.see(START)
                self.wait(STOP_TIMEOUT + SECONDS_A_CHARACTER * len(text))
                self.assertEqual(self.ended, {})
                self.wait(SECONDS_A_CHARACTER * 20)
                self.check(f"{text} b", **{text: TimeoutError})

    def test_each_line_has_its_time(self) -> None:
        """Each line of an utterance has the whole time to begin; if one does not, all fail."""
        self.say("a", "b", "c")
        self.wait(START_TIMEOUT - 1)
        self.see(START, STOP)
        self.wait(START_TIMEOUT - 1)
        self.check("a b")
        self.wait(1)
        self.check("a b", a=TimeoutError)


class StopTests(SpeechCase):
    """stop_speaking()."""

    def test_nothing(self) -> None:
        """If there is nothing to stop, nothing is sent."""
        self.stop()
        self.check("")

    def test_current_and_waiting(self) -> None:
        """The voice is stopped once, and all utterances end with False."""
        for text in "abc":
            self.say(text)
        self.see(START)
        self.stop()
        self.check("a /", a=False, b=False, c=False)

    def test_next_waits_for_the_end(self) -> None:
        """An utterance after a stop waits for the stopped one's end, which does not end it."""
        self.say("a")
        self.see(START)
        self.stop()
        self.say("b")
        self.check("a /", a=False)
        self.see(STOP)
        self.check("a / b", a=False)
        self.see(START)
        self.check("a / b", a=False)
        self.see(STOP)
        self.check("a / b", a=False, b=True)

    def test_no_end_comes(self) -> None:
        """Without an end event an utterance is stopped once more, and then the next is sent."""
        self.say("a")
        self.stop()
        self.say("b")
        self.wait(DRAIN_TIMEOUT - 0.01)
        self.check("a /", a=False)
        self.wait(0.02)
        self.check("a / /", a=False)
        self.wait(DRAIN_TIMEOUT - 0.02)
        self.check("a / /", a=False)
        self.wait(0.02)
        self.check("a / / b", a=False)

    def test_an_end_at_the_second_stop(self) -> None:
        """The next utterance follows the end event that the second stop brings."""
        self.say("a")
        self.stop()
        self.say("b")
        self.wait(DRAIN_TIMEOUT)
        self.see(STOP)
        self.check("a / / b", a=False)

    def test_no_second_stop_for_somebody_else(self) -> None:
        """What the content has begun to say since the stop is not stopped."""
        self.say("a")
        self.stop()
        self.see(THEIRS)
        self.wait(DRAIN_TIMEOUT)
        self.check("a /", a=False)

    def test_before_its_start(self) -> None:
        """The start and stop of an utterance that was stopped early do not count for the next."""
        self.say("a")
        self.stop()
        self.say("b")
        self.echo("a")
        self.see("SYNTH_STOP|0", echo=True)
        self.see(START, STOP)
        self.check("a / b", a=False)
        self.echo("b")
        self.see(START, STOP)
        self.check("a / b", a=False, b=True)

    def test_twice(self) -> None:
        """A second stop during the first drops what was said meanwhile, and sends nothing."""
        self.say("a")
        self.see(START)
        self.stop()
        self.say("b")
        self.stop()
        self.check("a /", a=False, b=False)
        self.see(STOP)
        self.say("c")
        self.check("a / c", a=False, b=False)

    def test_somebody_begins_meanwhile(self) -> None:
        """Another sender's utterance that begins and ends during a stop delays nothing later."""
        self.say("a")
        self.stop()
        self.say("b")
        self.see(THEIRS, START, STOP)
        self.check("a / b", a=False)

    def test_twice_before_the_echo(self) -> None:
        """The late echo of what was stopped, even twice, is not taken for another sender's."""
        self.say("a")
        self.see(THEIRS, START)
        self.stop()
        self.see(THEIRS)
        self.stop()
        self.echo("a")
        self.say("b")
        self.wait(2 * DRAIN_TIMEOUT)
        self.check("a / / / b", a=False)

    def test_somebody_elses(self) -> None:
        """An utterance of another sender is stopped as well."""
        self.see(THEIRS, START)
        self.stop()
        self.check("/")
        self.say("a")
        self.see(STOP)
        self.check("/ a")


class TurnTests(unittest.TestCase):
    """Voices that must not sound together."""

    def setUp(self) -> None:
        turn = Turn()
        self.turn, self.now = turn, 100.0
        self.mouths = {model: Mouth(model, turn) for model in "012"}
        self.sent: list[str] = []
        self.ended: list[tuple[str, Union[bool, Exception]]] = []
        self.names: dict[Utterance, str] = {}

    def do(self, actions: list[Action]) -> None:
        """Carry out actions, and let the next mouth speak, as Speaker does."""
        for action in actions:
            if isinstance(action, Send):
                self.sent.append(action.line)
            else:
                self.ended.append((self.names[action.utterance], action.outcome))
        other = self.turn.next
        if other is not None:
            self.do(other.proceed(self.now))

    def say(self, model: str, text: str, *, flite: bool = True, wanted: bool = True) -> None:
        utterance = Utterance([f"SYNTH_START|{model}|v|{text}"], lambda: wanted, takes_turns=flite)
        self.names[utterance] = text
        self.do(self.mouths[model].add(utterance, self.now))

    def see(self, model: str, *kinds: str) -> None:
        for kind in kinds:
            self.do(self.mouths[model].receive(Message(f"SYNTH_EVENT_{kind}|{model}"), self.now))

    def texts(self) -> list[str]:
        return [line.split("|")[-1] for line in self.sent if "START" in line]

    def test_one_after_the_other(self) -> None:
        """Of several models one speaks at a time, first come, first served, each in its own order."""
        for model, text in (("0", "a"), ("1", "b"), ("0", "c"), ("2", "d")):
            self.say(model, text)
        for count, model in enumerate("0120", 1):
            self.assertEqual(len(self.texts()), count)
            self.see(model, "START", "STOP")
        self.assertEqual(self.texts(), ["a", "b", "d", "c"])
        self.assertEqual(self.ended, [(text, True) for text in ("a", "b", "d", "c")])

    def test_others_do_not_wait(self) -> None:
        """Other voices speak meanwhile, before and behind those that wait."""
        self.say("0", "a")
        self.say("1", "b", flite=False)
        self.say("2", "c")
        self.assertEqual(self.texts(), ["a", "b"])
        self.see("1", "START", "STOP")
        self.assertEqual(self.texts(), ["a", "b"])
        self.see("0", "START", "STOP")
        self.assertEqual(self.texts(), ["a", "b", "c"])

    def test_a_stop(self) -> None:
        """A stopped one keeps its turn until it is silent, or a while has passed."""
        self.say("0", "a")
        self.say("1", "b")
        self.do(self.mouths["0"].stop(self.now))
        self.assertEqual(self.texts(), ["a"])
        self.see("0", "STOP")
        self.assertEqual(self.texts(), ["a", "b"])

    def test_two_stops(self) -> None:
        """A second stop does not give the turn away while the first is not over."""
        self.say("0", "a")
        self.say("1", "b")
        for _ in range(2):
            self.do(self.mouths["0"].stop(self.now))
            self.say("0", "c")
            self.assertEqual(self.texts(), ["a"])
        self.see("0", "STOP")
        self.assertEqual(self.texts(), ["a", "b"])
        self.see("1", "START", "STOP")
        self.assertEqual(self.texts(), ["a", "b", "c"])

    def test_a_mouth_that_cannot_begin(self) -> None:
        """While the content speaks with a model that waits for its turn, the next in line goes first."""
        self.say("0", "a")
        self.say("1", "b")
        self.say("2", "c")
        self.do(self.mouths["1"].receive(Message("SYNTH_START|1|mei|theirs"), self.now))
        self.see("1", "START")
        self.see("0", "START", "STOP")
        self.assertEqual(self.texts(), ["a", "c"])
        self.see("1", "STOP")
        self.see("2", "START", "STOP")
        self.assertEqual(self.texts(), ["a", "c", "b"])

    def test_what_ends_before_its_turn(self) -> None:
        """What is stopped, cancelled or failed while it waits holds up nobody."""
        self.say("0", "a")
        self.say("1", "b")
        self.say("2", "c")
        self.do(self.mouths["1"].stop(self.now))
        self.do(self.mouths["2"].fail(OSError()))
        self.say("1", "d", wanted=False)
        self.say("2", "e")
        self.see("0", "START", "STOP")
        self.assertEqual(self.texts(), ["a", "e"])

    def test_a_voice_that_does_not_begin(self) -> None:
        """A time-out gives the turn back."""
        self.say("0", "a")
        self.say("1", "b")
        self.now += START_TIMEOUT
        self.do(self.mouths["0"].pass_time(self.now))
        self.assertEqual(self.texts(), ["a", "b"])


if __name__ == "__main__":
    unittest.main()
