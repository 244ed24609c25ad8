"""``mouth.py``: another sender speaks with the same model, and lines come late."""

from __future__ import annotations

import unittest

from mmdagent_remote.speech.mouth import SECONDS_A_CHARACTER, START_TIMEOUT, STOP_TIMEOUT
from tests.speech.test_mouth import START, STOP, SpeechCase

THEIRS = "SYNTH_START|0|v|theirs"


class OtherTests(SpeechCase):
    """"Theirs": a SYNTH_START that is not our echo."""

    def test_cuts_off(self) -> None:
        """Theirs ends ours with False; our next waits until theirs has ended."""
        self.say("a")
        self.say("b")
        self.echo("a")
        self.see(START, THEIRS)
        self.check("a", a=False)
        self.see(STOP, START)
        self.check("a", a=False)
        self.see(STOP)
        self.check("a b", a=False)

    def test_cuts_off_before_the_start(self) -> None:
        """Theirs ends ours even if ours was echoed but had not begun to speak."""
        self.say("a")
        self.echo("a")
        self.see(THEIRS)
        self.check("a", a=False)

    def test_cuts_off_a_long_one(self) -> None:
        """The remaining lines of ours are not sent."""
        self.say("a", "b")
        self.see(START, THEIRS, STOP, START, STOP)
        self.check("a", a=False)

    def test_waited_for(self) -> None:
        """An utterance that is said while theirs speaks waits for its end."""
        self.see(THEIRS, START)
        self.say("a")
        self.check("")
        self.see(STOP)
        self.check("a")

    def test_its_stop_never_ends_ours(self) -> None:
        """If theirs came first, and ours cuts it off, its events do not count for ours."""
        self.say("a")
        self.see(THEIRS, START)
        self.echo("a")
        self.see(STOP)
        self.check("a")
        self.see(START)
        self.check("a")
        self.see(STOP)
        self.check("a", a=True)

    def test_no_such_voice(self) -> None:
        """Theirs that does not begin delays ours only for START_TIMEOUT."""
        self.see(THEIRS)
        self.say("a")
        self.wait(START_TIMEOUT - 0.01)
        self.check("")
        self.wait(0.02)
        self.check("a")

    def test_never_ends(self) -> None:
        """Theirs that does not end delays ours only for the time of its own text."""
        self.see(THEIRS, START)
        self.say("a")
        self.wait(STOP_TIMEOUT)
        self.check("")
        self.wait(SECONDS_A_CHARACTER * (len(THEIRS) + 1))
        self.check("a")

    def test_sent_by_hand(self) -> None:
        """A SYNTH_START that the script sent without say() counts as theirs."""
        self.say("a")
        self.echo("a")
        self.see(START)
        self.echo("by hand")
        self.check("a", a=False)


class LateTests(SpeechCase):
    """Lines that come late."""

    def test_late_echo_of_what_was_given_up(self) -> None:
        """Late events of an utterance that was given up do not end the next."""
        self.say("a")
        self.say("b")
        self.wait(START_TIMEOUT)
        self.echo("a")
        self.see(START)
        self.echo("b")
        self.see(STOP)
        self.check("a b", a=TimeoutError)
        self.see(START, STOP)
        self.check("a b", a=TimeoutError, b=True)

    def test_start_before_the_echo(self) -> None:
        """If the peer echoes, a start before our echo is not ours, so theirs cannot end ours."""
        self.say("a")
        self.echo("a")
        self.see(START, THEIRS)
        self.stop()
        self.see(STOP)
        self.say("b")
        self.see(START, STOP)
        self.check("a / b", a=False)
        self.echo("b")
        self.see(START, STOP)
        self.check("a / b", a=False, b=True)

    def test_late_stop(self) -> None:
        """A stop event after all have ended is ignored."""
        self.say("a")
        self.see(START, STOP, STOP, START, STOP)
        self.say("b")
        self.see(STOP)
        self.check("a b", a=True)


if __name__ == "__main__":
    unittest.main()
