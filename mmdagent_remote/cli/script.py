"""Scripts for the simulated agent: what its user says and presses, and when. Pure.

::

    # seconds   what
    1           hear hello, who are you?
    +2.5        key a
    +1          send TAPPED|0|head
    30          end

A time is in seconds since the connection, or with ``+`` since the line before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import InvalidMessage
from ..message import Message
from ..profile import STRICT
from ..websocket.lines import prepare_line


class ScriptError(ValueError):
    """A line of a script is wrong; the text says which, and why."""


class Step(NamedTuple):
    """The agent's lines at one time; no lines: the end."""

    time: float
    lines: tuple[str, ...]


def parse(text: str) -> list[Step]:
    """The steps of a script, in order.

    Raises:
        ScriptError: a line is wrong.
    """
    steps: list[Step] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        try:
            before = steps[-1].time if steps else 0.0
            steps.append(_step(line, before))
        except ValueError as error:
            raise ScriptError(f"line {number}: {error}") from error
        if len(steps) > 1 and not steps[-2].lines:
            raise ScriptError(f"line {number}: this comes after the end")
    return steps


def _step(line: str, before: float) -> Step:
    when, _, what = line.partition(" ")
    if "\t" in when:
        when, _, what = line.partition("\t")
    time = _time(when)
    if when.startswith("+"):
        time += before
    if time < before:
        raise ValueError(f"{when} is before {before:g}, the time of the line before")
    verb, _, rest = what.strip().partition(" ")
    return Step(time, tuple(_lines(verb, rest.strip())))


def _time(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"{text!r} is no time; a line begins with seconds, such as 2.5 or +2.5")
    return seconds


def _lines(verb: str, rest: str) -> Iterator[str]:
    if verb == "end" and not rest:
        return
    if verb not in ("hear", "key", "send"):
        raise ValueError(f"{verb!r} is not known; after the time comes hear TEXT, key KEY, "
                         "send LINE or end")
    if not rest:
        raise ValueError(f"nothing to {verb}")
    try:
        if verb == "send":
            prepare_line(rest, STRICT)
            yield rest
        elif verb == "key":
            yield str(Message.of("KEY", rest))
        else:
            yield "RECOG_EVENT_START"
            yield str(Message.of("RECOG_EVENT_STOP", rest))
    except InvalidMessage as error:
        raise ValueError(str(error)) from error
