"""What a simulated agent has received: tests read it and wait for it. Any thread may use it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Optional

from ..message import Message
from ..vocabulary.pattern import Pattern, describe, matcher_of

#: Lines kept.
_MAX_LINES = 100_000
#: Bytes of sound kept: half an hour.
_MAX_SOUND = 64 * 1024 * 1024
#: Lines that a failure shows.
_SHOWN = 10


class Record:
    """The lines, the sound, and the state of the agent.

    Args:
        state: returns the state of the agent, in a few words.
    """

    def __init__(self, state: Callable[[], str]) -> None:
        self._state = state
        self._news = threading.Condition()
        self._lines: deque[Message] = deque(maxlen=_MAX_LINES)
        self._open: deque[Message] = deque(maxlen=_MAX_LINES)
        # The count of all lines ever added, so that a waiter knows which are new to it.
        self._added = 0
        self._sound_size = 0
        self.chunks: list[tuple[float, bytes]] = []
        self.crashed: Optional[str] = None
        self.has_ended = False

    # For the agent's thread

    def begin(self) -> None:
        """Note that the agent starts."""
        self.crashed = None
        self.has_ended = False

    def add(self, line: str) -> None:
        """Add a received line; :meth:`notify` wakes the waiters."""
        with self._news:
            self._lines.append(Message(line))
            self._open.append(self._lines[-1])
            self._added += 1

    def add_sound(self, now: float, data: bytes) -> None:
        """Add a received chunk of sound."""
        if data and self._sound_size + len(data) <= _MAX_SOUND:
            self._sound_size += len(data)
            self.chunks.append((now, data))

    def crash(self, reason: str) -> None:
        """Note that the agent crashed, hangs or is deaf; the first reason counts."""
        self.crashed = self.crashed or reason
        self.notify()

    def end(self) -> None:
        """Note that the agent's thread ends."""
        self.has_ended = True
        self.notify()

    def notify(self) -> None:
        """Wake the waiters: something has changed."""
        with self._news:
            self._news.notify_all()

    # For the test

    @property
    def lines(self) -> list[Message]:
        """The lines received."""
        with self._news:
            return list(self._lines)

    def wait(self, condition: Callable[[], object], timeout: float) -> None:
        """Wait until a condition holds, at most ``timeout`` seconds."""
        with self._news:
            self._news.wait_for(condition, timeout)

    def expect(self, pattern: Pattern, timeout: float) -> Message:
        """Wait for a line that matches, and take it.

        Raises:
            AssertionError: none came in time, or the agent ended or crashed.
        """
        end = time.monotonic() + timeout
        matches = matcher_of(pattern)
        seen = 0
        with self._news:
            while True:
                # Each line is checked only once: a predicate may be slow and the lines many.
                first = len(self._open) - min(self._added - seen, len(self._open))
                for index, line in enumerate(islice(self._open, first, None), first):
                    if matches(line):
                        del self._open[index]
                        return line
                seen = self._added
                left = end - time.monotonic()
                if left <= 0 or self.has_ended or self.crashed:
                    raise AssertionError(self._failure(pattern, timeout if left <= 0 else None))
                self._news.wait(left)

    def forget(self, line: Message) -> None:
        """Remove a line, as if it had not been received."""
        with self._news:
            self._lines.remove(line)

    def _failure(self, pattern: Pattern, timeout: Optional[float]) -> str:
        when = f" within {timeout:g} s" if timeout is not None else ""
        text = f"the agent did not receive {describe((pattern,))}{when}; it is {self._state()}\n"
        if not self._lines:
            return text + "It received nothing."
        last = list(self._lines)[-_SHOWN:]
        return text + f"The last of {self._added} lines that it received:\n" + "\n".join(
            f"  {line}" for line in last)
