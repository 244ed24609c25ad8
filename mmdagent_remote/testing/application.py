"""What an application answers to a message, and when. Pure: the caller passes the time.

It simulates MMDAgent-EX behind its connection: timers, variables, text areas, and, if it has a
model, speech and motions. The table of messages says which event answers which command.
"""

from __future__ import annotations

import heapq
import operator
from collections.abc import Callable
from itertools import count
from typing import NamedTuple, Optional, Union

from ..message import MAX_ARGS
from .documented import Command, commands

#: The parts that a bare application has, without a model.
_BARE = frozenset({"Variables", "TextArea", "every plugin"})

#: One video frame, 1/30 s. Timers are checked only after a frame, so they are never early.
_FRAME = 1 / 30
_IDLE_AFTER = 15.0
_CLOCK_EVERY = 30.0

_OPERATORS = {"EQ": operator.eq, "NE": operator.ne, "LE": operator.le,
              "LT": operator.lt, "GE": operator.ge, "GT": operator.gt}

#: Activities that begin, last, and end: the part of the type before _START and _STOP.
_ACTIVITIES = frozenset({"SYNTH", "SPEAK", "LIPSYNC", "SOUND", "CAPTION", "MOVE", "TURN", "ROTATE",
                         "SUBFST"})

#: Seconds, or a function of the text that is spoken.
SpeechTime = Union[float, Callable[[str], float]]


class Said(NamedTuple):
    """A line of the application, and the part of the application that says it."""

    plugin: str
    line: str


class _Later(NamedTuple):
    time: float
    number: int
    #: The activity that lasts until then: its kind and its name.
    key: tuple[str, str]
    said: tuple[Said, ...]


class Application:
    """The application behind one simulated agent.

    Args:
        model: it has models that speak and move. Any alias counts as one.
        hurry: how many times faster its time runs.
        speech_time: seconds, or a function of the text.
        motion_time: seconds that a motion, a movement or a sound lasts.
        clock: returns the hour and the minute; None: the application says nothing unasked.
        ignored: types of commands that fail, and so get no answer; the caller may change it.
    """

    def __init__(self, *, model: bool = True, hurry: float = 1.0, speech_time: SpeechTime = 0.1,
                 motion_time: float = 0.1, clock: Optional[Callable[[], tuple[int, int]]] = None,
                 ignored: Optional[set[str]] = None) -> None:
        self.speech_time = speech_time
        self.motion_time = motion_time
        self._model = model
        self._hurry = hurry
        self._clock = clock
        self._ignored = set() if ignored is None else ignored
        self._commands = commands()
        self._values: dict[str, tuple[str, ...]] = {}
        self._areas: set[str] = set()
        self._models: set[str] = set()
        self._gone: set[str] = set()
        self._numbers = count()
        self._later: list[_Later] = []
        # What is running: timers, speech, motions. An entry of the heap that is not here is void.
        self._running: dict[tuple[str, str], Optional[_Later]] = {}
        self._is_idle = False

    # For the caller

    def start(self, now: float) -> list[Said]:
        """Start it; return what it says then."""
        if self._clock is None:
            return []
        self.heard(now)
        self._begin(now, ("clock", ""), _CLOCK_EVERY)
        plugins = ["Variables", "TextArea", "VIManager", "Audio", "Remote"]
        return [*(Said(each, f"PLUGIN_EVENT_ENABLE|{each}") for each in plugins), self._time_of_day()]

    def heard(self, now: float) -> list[Said]:
        """Note that something arrived from the server; return what it says then."""
        if self._clock is None:
            return []
        was_idle, self._is_idle = self._is_idle, False
        self._begin(now, ("idle", ""), _IDLE_AFTER)
        return [Said("Remote", "AVATAR_EVENT_IDLE|STOP")] if was_idle else []

    def issue(self, line: str, now: float) -> list[Said]:
        """Issue a message; return what it says at once."""
        name, *fields = line.split("|")
        command = self._commands.get(name)
        # Empty fields collapse, so the fields after them move up. At most ten arguments are read.
        args = [field for field in fields if field][:MAX_ARGS]
        if (command is None or name in self._ignored or len(args) < command.needs
                or not (self._model or command.plugin in _BARE)
                or command.is_for_model and args[0] in self._gone and name != "MODEL_ADD"):
            return []
        return [Said(_who(command), each) for each in self._obey(command, args, now)]

    def word(self, text: str) -> list[Said]:
        """Handle a word for Plugin_Remote itself; return what it says at once."""
        state = {"__AV_START": "START", "__AV_END": "END"}.get(text)
        return [Said("Remote", f"AVATAR|{state}")] if state and text not in self._ignored else []

    def due(self, now: float) -> list[Said]:
        """Return what it says now, because its time has come."""
        found: list[Said] = []
        while self._later and self._later[0].time <= now:
            entry = heapq.heappop(self._later)
            if self._running.get(entry.key) is not entry:
                continue
            del self._running[entry.key]
            if entry.key[0] == "clock":
                self._begin(entry.time, entry.key, _CLOCK_EVERY)
                found.append(self._time_of_day())
            elif entry.key[0] == "idle":
                self._is_idle = True
                found.append(Said("Remote", "AVATAR_EVENT_IDLE|START"))
            found += entry.said
        return found

    def plugin_of(self, line: str) -> Optional[str]:
        """The part of the program that obeys a line, if any does."""
        command = self._commands.get(line.partition("|")[0])
        return _who(command) if command else None

    # Commands

    def _obey(self, command: Command, args: list[str], now: float) -> list[str]:
        name = command.name
        kind, _, verb = name.partition("_")
        if kind in _ACTIVITIES and verb in ("START", "START_IF", "STOP"):
            return self._act(kind, verb, args, now)
        special = {"TIMER": self._timer, "VALUE": self._value, "TEXTAREA": self._textarea,
                   "MOTION": self._motion}.get(kind)
        if special is not None:
            return special(verb, args, now)
        if name in ("MODEL_ADD", "MODEL_DELETE"):
            return self._model_command(verb, args)
        if name == "AVATAR_CONTROL":
            return [f"AVATAR_EVENT_CONTROL|{args[0]}D"] if args[0] in ("ENABLE", "DISABLE") else []
        if name == "RECOG_MODIFY":
            return [] if args[0].startswith("PREDICT") else ["|".join(["RECOG_EVENT_MODIFY", *args])]
        if name in ("INFOTEXT_FILE", "INFOTEXT_STRING"):
            return ["INFOTEXT_EVENT_SHOW"]  # Only the user closes it, so no close event follows.
        if name == "MENU":
            return ["|".join(["MENU_EVENT", *args[:3 if "ITEM" in args[0] else 2]])]
        if name == "MODEL_BINDFACE" and len(args) == 7:
            return [f"MODEL_EVENT_BINDFACE|{args[0]}|{args[3]}|{args[4]}"]
        if name == "MODEL_BINDBONE" and len(args) == 9:
            return [f"MODEL_EVENT_BINDBONE|{args[3]}|{args[4]}"]
        if command.answers and command.key_args:
            return ["|".join([command.answers[0], *(args[each] for each in command.key_args)])]
        return []

    def _act(self, kind: str, verb: str, args: list[str], now: float) -> list[str]:
        key, stop = (kind, args[0]), f"{kind}_EVENT_STOP|{args[0]}"
        ended = [stop] if key in self._running else []
        self._running.pop(key, None)
        if verb == "STOP":
            return [stop] if kind == "SPEAK" else ended
        seconds = self._lasts(kind, args)
        if seconds is None:
            self._running[key] = None
        else:
            self._begin(now, key, seconds, stop)
        return [*ended, f"{kind}_EVENT_START|{args[0]}"]

    def _lasts(self, kind: str, args: list[str]) -> Optional[float]:
        if kind == "SUBFST":
            return None
        if kind == "CAPTION":
            return (_number(args[6]) or 0.0) * _FRAME
        if kind not in ("SYNTH", "SPEAK", "LIPSYNC"):
            return self.motion_time
        # The text of speech ends at the first '|'.
        return self.speech_time(args[-1 if kind != "SYNTH" else 2]) if callable(
            self.speech_time) else self.speech_time

    def _timer(self, verb: str, args: list[str], now: float) -> list[str]:
        key = ("TIMER", args[0])
        was_running = self._running.pop(key, None) is not None
        if verb == "START":
            stop = f"TIMER_EVENT_STOP|{args[0]}"
            self._begin(now, key, (_number(args[1]) or 0.0) + _FRAME, stop)
            cancelled = [f"TIMER_EVENT_CANCELLED|{args[0]}"] if was_running else []
            return [*cancelled, f"TIMER_EVENT_START|{args[0]}"]
        if verb == "STOP":
            return [f"TIMER_EVENT_STOP|{args[0]}"] if was_running else []
        return [f"TIMER_EVENT_CANCELLED|{args[0]}"]

    def _value(self, verb: str, args: list[str], now: float) -> list[str]:
        name = args[0]
        if verb == "SET":
            self._values[name] = tuple(args[1:3])
            return [f"VALUE_EVENT_SET|{name}"]
        value = self._values.get(name)
        if value is None:
            return []
        if verb == "GET":
            return ["|".join(["VALUE_EVENT_GET", name, *value])]
        if verb == "UNSET":
            del self._values[name]
            return [f"VALUE_EVENT_UNSET|{name}"]
        compare, left, right = _OPERATORS.get(args[1]), _number(value[0]), _number(args[2])
        if compare is None or left is None or right is None:
            return []
        result = "TRUE" if compare(left, right) else "FALSE"
        return [f"VALUE_EVENT_EVAL|{name}|{args[1]}|{args[2]}|{result}"]

    def _textarea(self, verb: str, args: list[str], now: float) -> list[str]:
        is_there = args[0] in self._areas
        if is_there == (verb == "ADD"):
            return []  # In use, or unknown: it says nothing.
        if verb == "ADD":
            self._areas.add(args[0])
        elif verb == "DELETE":
            self._areas.remove(args[0])
        return [f"TEXTAREA_EVENT_{verb}|{args[0]}"]

    def _motion(self, verb: str, args: list[str], now: float) -> list[str]:
        key = ("MOTION", f"{args[0]}|{args[1]}")
        if verb == "ADD":
            self._running[key] = None
            if "LOOP" not in args[3:5]:
                self._begin(now, key, self.motion_time, f"MOTION_EVENT_DELETE|{key[1]}")
        elif key not in self._running:
            return []
        elif verb == "DELETE":
            del self._running[key]
        return [f"MOTION_EVENT_{verb}|{key[1]}"]

    def _model_command(self, verb: str, args: list[str]) -> list[str]:
        alias = args[0]
        if verb == "ADD":
            if alias in self._models:
                return []
            self._models.add(alias)
            self._gone.discard(alias)
        else:
            self._models.discard(alias)
            self._gone.add(alias)
            for key in [each for each in self._running if each[1].partition("|")[0] == alias
                        and each[0] in _ACTIVITIES | {"MOTION"}]:
                del self._running[key]
        return [f"MODEL_EVENT_{verb}|{alias}"]

    # Time

    def _begin(self, now: float, key: tuple[str, str], seconds: float, *lines: str) -> None:
        begun_by = self._commands.get("MOTION_ADD" if key[0] == "MOTION" else f"{key[0]}_START")
        said = tuple(Said(_who(begun_by) if begun_by else "Remote", line) for line in lines)
        entry = _Later(now + seconds / self._hurry, next(self._numbers), key, said)
        self._running[key] = entry
        heapq.heappush(self._later, entry)
        # Each line heard moves the idle time and leaves a void entry. This bounds their number.
        if len(self._later) > 2 * len(self._running) + 64:
            self._later = [each for each in self._later if self._running.get(each.key) is each]
            heapq.heapify(self._later)

    def _time_of_day(self) -> Said:
        hour, minute = self._clock() if self._clock else (0, 0)
        return Said("MMDAgent", f"CURRENT_TIME|{hour:02}|{minute:02}")


def _who(command: Command) -> str:
    return "MMDAgent" if command.plugin in ("core", "every plugin") else command.plugin.partition(",")[0]


def _number(text: str) -> Optional[float]:
    try:
        return float(text)
    except ValueError:
        return None
