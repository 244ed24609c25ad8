"""The speech of one model: which utterance is next, and how each one ends. Pure.

MMDAgent-EX has one mouth for each model, and its events name only the model. A second SYNTH_START
cuts off the first, an unknown voice causes no event at all, and the content's own script may speak
as well. So utterances are queued here, and each has a deadline to begin and a deadline to end.

Input: the lines that were received (echoes too), calls, and the time. Output: actions, which are
lines to send and utterances that have ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, Optional, Union

from ..message import Message

#: Seconds to wait until a voice begins to speak. A voice that does not exist never begins. The first
#: utterance of a model loads its voice: over 3 s when three models do so at once on a busy machine.
START_TIMEOUT = 10.0
#: Seconds to wait until it has ended: this for any text, and more for each character.
STOP_TIMEOUT = 60.0
SECONDS_A_CHARACTER = 0.3
#: Seconds to wait for the end of a stopped utterance. Then the stop is sent once more, since it can
#: be lost: the plugin clears its flag when it begins to speak. After the same time again the next
#: one begins.
DRAIN_TIMEOUT = 1.0
#: Utterances that may wait for one model.
MAX_UTTERANCES = 1000


class Utterance:
    """One text to be spoken, in one line or several.

    Args:
        lines: the commands, each at most as long as a line may be.
        begin: called when its turn comes; returns False if it is no longer wanted.
        takes_turns: it must not sound while another such utterance of any model does.
    """

    def __init__(self, lines: list[str], begin: Callable[[], bool], *,
                 takes_turns: bool = False) -> None:
        self.lines = deque(lines)
        self.begin = begin
        self.takes_turns = takes_turns


class Send(NamedTuple):
    """Send this line."""

    line: str


class End(NamedTuple):
    """This utterance has ended. True: spoken to the end. False: stopped or cut off. Or an error."""

    utterance: Utterance
    outcome: Union[bool, Exception]


Action = Union[Send, End]


class Turn:
    """Which mouth may speak with a voice that must not sound together with another's. Not thread-safe.

    Two models that speak at the same time with Flite voices crash MMDAgent-EX at times.
    """

    def __init__(self) -> None:
        self._holder: Optional[Mouth] = None
        self._waiting: deque[Mouth] = deque()

    def take(self, mouth: Mouth) -> bool:
        """Whether it is this mouth's turn; if not, it is remembered, first come, first served."""
        if self._holder is None and (not self._waiting or self._waiting[0] is mouth):
            if self._waiting:
                self._waiting.popleft()
            self._holder = mouth
        if self._holder is not mouth and mouth not in self._waiting:
            self._waiting.append(mouth)
        return self._holder is mouth

    def give_back(self, mouth: Mouth) -> None:
        """This mouth is silent; harmless if the turn was not its own."""
        if self._holder is mouth:
            self._holder = None

    def withdraw(self, mouth: Mouth) -> None:
        """This mouth does not wait for the turn any more; if it has it, it keeps it."""
        if mouth in self._waiting:
            self._waiting.remove(mouth)

    @property
    def next(self) -> Optional[Mouth]:
        """The mouth that may take the turn now."""
        return self._waiting[0] if self._holder is None and self._waiting else None


class _Phase(Enum):
    """What is known of the current line."""

    SENT = "sent"
    STARTED = "started"


class Mouth:
    """The mouth of one model. Not thread-safe. Every method returns what to do, in order.

    Args:
        turn: shared by the mouths of one application; None: this one shares nothing.
    """

    def __init__(self, model: str, turn: Optional[Turn] = None) -> None:
        self.model = model
        self._turn = turn or Turn()
        self._waiting: deque[Utterance] = deque()
        self._current: Optional[Utterance] = None
        self._line = ""
        self._phase = _Phase.SENT
        self._has_echo = False
        self._peer_echoes = False
        self._deadline = 0.0
        # An utterance that is not ours (say, the script's): its deadline, and whether it has begun.
        self._other_until: Optional[float] = None
        self._other_started = False
        self._other_size = 0
        # The deadline for the end event of an utterance that we stopped.
        self._drain_until: Optional[float] = None
        self._stopped_line = ""
        # A second stop is to be sent, if no end event comes.
        self._stops_again = False

    @property
    def is_full(self) -> bool:
        """Whether no more can wait."""
        return len(self._waiting) >= MAX_UTTERANCES

    @property
    def next_time(self) -> Optional[float]:
        """When :meth:`pass_time` has something to do."""
        times = [time for time in (self._other_until, self._drain_until,
                                   self._deadline if self._current else None) if time is not None]
        return min(times, default=None)

    # Calls

    def add(self, utterance: Utterance, now: float) -> list[Action]:
        """Queue it; it is spoken when all before it have ended."""
        self._waiting.append(utterance)
        return self._next(now)

    def stop(self, now: float) -> list[Action]:
        """Drop what waits, and stop what is being spoken, also if it is not ours."""
        actions: list[Action] = [End(utterance, False) for utterance in self._waiting]
        self._waiting.clear()
        # It keeps a turn that it has, until what it stopped is silent.
        self._turn.withdraw(self)
        if self._current is None and self._other_until is None:
            return actions
        if self._current:
            self._stopped_line = self._line
        actions += [Send(f"SYNTH_STOP|{self.model}"), *self._end_current(False)]
        self._other_until = None
        # The end event of this one must not be taken for the end of a new utterance.
        self._drain_until = now + DRAIN_TIMEOUT
        self._stops_again = True
        return actions

    def proceed(self, now: float) -> list[Action]:
        """Speak what waits, if it may begin now: another mouth has given its turn back."""
        return self._next(now)

    def fail(self, error: Exception) -> list[Action]:
        """End everything with an error."""
        actions = self._end_current(error)
        actions += [End(utterance, error) for utterance in self._waiting]
        self._waiting.clear()
        self._turn.withdraw(self)
        self._turn.give_back(self)
        return actions

    def pass_time(self, now: float) -> list[Action]:
        """Give up what takes too long."""
        actions: list[Action] = []
        if self._current and now >= self._deadline:
            what = ("did not end in time" if self._phase is _Phase.STARTED else
                    f"did not begin to speak within {START_TIMEOUT:g} s; is there such a voice?")
            actions += self._end_current(
                TimeoutError(f"model {self.model} {what}: {self._line[:80]!r}"))
        if self._other_until is not None and now >= self._other_until:
            self._other_until = None
        if self._drain_until is not None and now >= self._drain_until:
            if self._stops_again and self._other_until is None:
                self._stops_again = False
                self._drain_until = now + DRAIN_TIMEOUT
                return [*actions, Send(f"SYNTH_STOP|{self.model}")]
            self._drain_until = None
        return actions + self._next(now)

    # Lines received

    def receive(self, message: Message, now: float) -> list[Action]:
        """Handle a line; lines about other models or other things change nothing."""
        if message.args[:1] != (self.model,):
            return []
        self._peer_echoes |= message.is_echo
        if message.type == "SYNTH_START":
            return self._started_by_command(message, now)
        if message.is_echo:
            return []
        if message.type == "SYNTH_EVENT_START":
            self._began(now)
        elif message.type == "SYNTH_EVENT_STOP":
            return self._stopped(now)
        return []

    def _started_by_command(self, message: Message, now: float) -> list[Action]:
        if message.is_echo and self._current and message == self._line:
            # Echoes come in the order in which commands are obeyed: ours has cut off any before it.
            self._has_echo = True
            self._other_until = None
            self._deadline = max(self._deadline, now + START_TIMEOUT)
            return []
        if message.is_echo and message == self._stopped_line:
            return []
        self._other_until = now + START_TIMEOUT
        # Others need not wait for a mouth that cannot begin. It comes back when it can.
        self._turn.withdraw(self)
        self._other_started = False
        self._other_size = len(message)
        if self._current and self._phase is _Phase.SENT and not self._has_echo:
            return []  # It was obeyed before ours. Ours follows and cuts it off.
        return self._end_current(False)

    def _began(self, now: float) -> None:
        # A peer that echoes at all sends the echo before the event.
        is_ours = self._has_echo or not self._peer_echoes and self._other_until is None
        if self._current and self._phase is _Phase.SENT and is_ours:
            self._phase = _Phase.STARTED
            self._deadline = now + STOP_TIMEOUT + SECONDS_A_CHARACTER * len(self._line)
        elif self._other_until is not None:
            self._other_started = True
            self._other_until = now + STOP_TIMEOUT + SECONDS_A_CHARACTER * self._other_size

    def _stopped(self, now: float) -> list[Action]:
        if self._drain_until is None and self._current and self._phase is _Phase.STARTED:
            if self._current.lines:
                return self._speak(now)
            return [*self._end_current(True), *self._next(now)]
        self._drain_until = None
        if self._other_started:
            self._other_until = None
        return self._next(now)

    # One after the other

    def _next(self, now: float) -> list[Action]:
        actions: list[Action] = []
        if self._current is None and self._drain_until is None:
            self._turn.give_back(self)
        while (self._waiting and self._current is None and self._other_until is None
               and self._drain_until is None):
            if self._waiting[0].takes_turns and not self._turn.take(self):
                return actions
            utterance = self._waiting.popleft()
            if utterance.begin():
                self._current = utterance
                return actions + self._speak(now)
            self._turn.give_back(self)
            actions.append(End(utterance, False))
        if not self._waiting:
            self._turn.withdraw(self)
        return actions

    def _speak(self, now: float) -> list[Action]:
        if self._current is None:
            return []
        self._line = self._current.lines.popleft()
        self._phase = _Phase.SENT
        self._has_echo = False
        self._deadline = now + START_TIMEOUT
        return [Send(self._line)]

    def _end_current(self, outcome: Union[bool, Exception]) -> list[Action]:
        utterance, self._current = self._current, None
        return [End(utterance, outcome)] if utterance is not None else []
