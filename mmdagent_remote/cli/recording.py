"""Recordings: one JSON object for each line of a connection, and for its begin and end. Pure.

::

    {"t": 1.532, "time": "2026-01-31T10:00:01.532+09:00", "connection": 1,
     "event": "received", "line": "RECOG_EVENT_STOP|hello"}

Each object takes one line. ``t`` is in seconds since the recording began. ``event`` is ``open`` (with
``path`` and ``address``), ``received`` (from the agent; ``echo`` is true for an echo), ``sent``, or
``close`` (with ``code`` and ``reason``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from .text import to_json

_EVENTS = frozenset({"open", "received", "sent", "close"})


class RecordingError(ValueError):
    """This is not a recording; the text says where and why."""


class Entry(NamedTuple):
    """One line of a recording, as far as a replay needs it."""

    t: float
    connection: int
    event: str
    line: str
    is_echo: bool


def encode(t: float, time: str, connection: int, event: str, **more: Any) -> str:
    """One line of a recording, without its newline."""
    return to_json({"t": round(t, 3), "time": time, "connection": connection, "event": event, **more})


def read(lines: Iterable[str]) -> Iterator[Entry]:
    """Yield the entries of a recording one by one, so that it may be of any length.

    A last line that was cut off, because its program was killed, is left out.

    Raises:
        RecordingError: a line is not an entry.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _entry(json.loads(line))
        except json.JSONDecodeError as error:
            if line.endswith("\n"):
                raise RecordingError(f"line {number} is no JSON: {error.msg}") from error
            return
        except (KeyError, TypeError, ValueError) as error:
            raise RecordingError(f"line {number} is no entry of a recording: {error}") from error


def _entry(found: Any) -> Entry:
    if not isinstance(found, dict):
        raise TypeError("it is no JSON object")
    if found.get("event") not in _EVENTS:
        raise ValueError(f"there is no event {found.get('event')!r}")
    line, t = found.get("line", ""), found.get("t")
    if isinstance(t, bool) or not isinstance(t, (int, float)) or not 0 <= t < 1e9:
        raise ValueError(f"t is {t!r}, not seconds")
    if not isinstance(line, str) or "\n" in line or "\r" in line:
        raise ValueError("its line is not one line of text")
    number = found.get("connection", 1)
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError(f"connection is {number!r}, not a number")
    return Entry(float(t), number, found["event"], line, found.get("echo") is True)
