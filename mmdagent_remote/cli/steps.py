"""What happens to a simulated agent, and when: from a script, or from a recording."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Optional

from .mdf import decode
from .options import UsageError
from .recording import Entry, RecordingError, read
from .script import ScriptError, Step, parse

#: Bytes. Scripts are short, unlike recordings.
_MAX_SCRIPT = 1024 * 1024


@contextmanager
def open_steps(script: Optional[str], recording: Optional[str],
               connection: Optional[int]) -> Iterator[tuple[Iterable[Step], bool]]:
    """Yield the steps to play, and whether the agent is to say only what was recorded.

    Args:
        script: the path of a script, or None.
        recording: the path of a recording, or None. Without both there are no steps.
        connection: play only this one of a recording's connections; None: all.

    Raises:
        UsageError: the file cannot be read, or is not a script.
    """
    name = script or recording
    if name is None:
        yield (), False
        return
    try:
        if script:
            with open(name, "rb") as file:
                data = file.read(_MAX_SCRIPT + 1)
            if len(data) > _MAX_SCRIPT:
                raise ScriptError(f"it is longer than {_MAX_SCRIPT} bytes")
            yield parse(decode(data)[0].lstrip("\ufeff")), False
        else:
            with open(name, encoding="utf-8-sig", newline="\n") as lines:
                yield replay(lines, connection), True
    except OSError as error:
        if error.filename != name:
            raise
        raise UsageError(f"cannot read {name}: {error.strerror}", 2) from error
    except ScriptError as error:
        raise UsageError(f"{name}: {error}", 2) from error


def replay(lines: Iterable[str], connection: Optional[int]) -> Iterator[Step]:
    """Yield what the agent of a recording said, and its end. A recording may be of any length.

    Raises:
        RecordingError: it is not a recording, or has nothing of this connection.
    """
    first: Optional[float] = None
    last = 0.0
    for entry in read(lines):
        if connection not in (None, entry.connection):
            continue
        first = entry.t if first is None else first
        # One file may hold two recordings. Time must not go back at the second.
        last = max(last, entry.t - first)
        if _is_said_by_agent(entry):
            yield Step(last, (entry.line,))
    if first is None:
        raise RecordingError("there is nothing in it" + (
            "" if connection is None else f" of connection {connection}"))
    yield Step(last, ())


def _is_said_by_agent(entry: Entry) -> bool:
    return entry.event == "received" and not entry.is_echo and entry.line != ""
