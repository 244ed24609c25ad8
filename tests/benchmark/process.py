"""The programs that this one starts: commands and answers are lines of JSON, with deadlines."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Optional

PROJECT = Path(__file__).parent.parent.parent

#: Seconds for the start, and for an answer that needs no work.
START_DEADLINE = 60.0
#: Seconds for a program to end by itself, before it is killed.
_PATIENCE = 3.0


#: The programs that have not been ended.
_running: list[Child] = []


class ChildError(Exception):
    """A program has ended, or did not answer in time; the text has the end of its output."""


@contextmanager
def held_signals() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM, so that no program is forgotten while it starts or ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number))
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for caught in came[:1]:
            signal.raise_signal(caught)


class Child:
    """A module of this package that runs in a process of its own.

    Args:
        name: for its thread and for errors.
        command: the interpreter and its arguments.
    """

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self._answers: queue.SimpleQueue[Optional[str]] = queue.SimpleQueue()
        # A queue can be waited for with a deadline on every system, a pipe cannot.
        self._reader = threading.Thread(target=self._read, daemon=True, name=f"benchmark-{name}")
        with held_signals():
            self._errors: IO[bytes] = tempfile.TemporaryFile()
            # In its own session, so that a terminal's Ctrl-C reaches only us, and we end it.
            self._process = subprocess.Popen(
                command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=self._errors, text=True, encoding="utf-8", bufsize=1,
                start_new_session=os.name == "posix")
            self._reader.start()
            _running.append(self)

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    def ask(self, command: Any, deadline: float = START_DEADLINE) -> dict[str, Any]:
        """Send a command, and return its answer.

        Args:
            deadline: seconds.

        Raises:
            ChildError: there is none.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # It has ended; the answer will say so.
        return self.answer(deadline)

    def answer(self, deadline: float = START_DEADLINE) -> dict[str, Any]:
        """The next answer."""
        try:
            line = self._answers.get(timeout=deadline)
        except queue.Empty:
            raise ChildError(f"no answer within {deadline:.0f} s{self._tail()}") from None
        if line is None:
            raise ChildError(f"it has ended{self._tail()}")
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            raise ChildError(f"no answer, but {line[:80]!r}{self._tail()}") from None
        return answer

    def end(self, patience: float = _PATIENCE) -> None:
        """Let it end, or kill it after `patience` seconds. Idempotent."""
        with held_signals():
            if self in _running:
                _running.remove(self)
                self._end(patience)

    def _end(self, patience: float) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass  # It has ended already.
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._process.stdout.close()
            self._errors.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def _tail(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").splitlines()
        return "".join(f"\n  | {line}" for line in lines[-8:])


def end_all() -> None:
    """Kill all programs that still run, without waiting."""
    with held_signals():
        for child in list(_running):
            child.end(patience=0.0)
