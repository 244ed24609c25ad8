"""Who waits for which message on one connection. No socket here, and no thread of its own.

A line is offered to the waits where it is read, before it goes to ``on_message`` or into the queue.
It answers at most one, the oldest that matches, and is then gone. Echoes answer nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Optional

from ..message import Message
from ..vocabulary.pattern import Matcher, Pattern, describe, matcher_of
from .courier import FutureElsewhere

#: Lines that the text of a timeout shows.
_LAST_LINES = 5

#: Waits of one connection: more are a loop that went wrong.
MAX_WAITS = 10_000


class Wait:
    """One pending wait, and the future that it ends.

    Args:
        patterns: any of them answers it.
        run: where its callbacks run, if not where it is resolved: they are user code, which
            must not run in the thread that reads.
    """

    def __init__(self, patterns: Iterable[Pattern],
                 run: Optional[Callable[[Callable[[], None]], None]] = None) -> None:
        self.future: Future[Message] = Future() if run is None else FutureElsewhere(run)
        found = tuple(patterns)
        if not found:
            raise TypeError("there is no pattern to wait for")
        self._matchers: list[Matcher] = [matcher_of(pattern) for pattern in found]
        self.description = describe(found)

    def matches(self, message: Message) -> bool:
        """Whether this message answers it. Calls the user's predicates."""
        return any(matcher(message) for matcher in self._matchers)

    # By whoever claimed it, and so once. A cancel() that comes later finds that it cannot be cancelled.

    def resolve(self, message: Message) -> bool:
        """End it well. False: its user has cancelled it, and the message is still to be had."""
        if not self.future.set_running_or_notify_cancel():
            return False
        self.future.set_result(message)
        return True

    def fail(self, error: BaseException) -> None:
        """End it badly."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class Waits:
    """The pending waits of one connection. Every method from any thread.

    Its lock guards the two collections, is a leaf, and is never held over a predicate.
    """

    __slots__ = ("pending", "version", "_lock", "_last")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Those that nobody has ended yet. Public for its truth alone, which is asked for each message.
        self.pending: dict[Wait, None] = {}
        self._last: list[str] = []
        # Counts registrations, for a reader to see that there was one meanwhile.
        self.version = 0

    def __bool__(self) -> bool:
        return bool(self.pending)

    def add(self, wait: Wait) -> None:
        """Register; from now on lines are offered to it.

        Raises:
            RuntimeError: there are far too many.
        """
        with self._lock:
            if len(self.pending) >= MAX_WAITS:
                raise RuntimeError(f"{MAX_WAITS} waits are pending on one connection")
            self.pending[wait] = None
            self.version += 1

    def claim(self, wait: Wait) -> bool:
        """Whether it is the caller who may end it; true for one caller only."""
        with self._lock:
            if wait not in self.pending:
                return False
            del self.pending[wait]
            return True

    def offer(self, message: Message) -> bool:
        """Show a line to all waits, oldest first. True: one took it."""
        if message.is_echo:
            return False
        with self._lock:
            waits = list(self.pending)
            self._last = [*self._last[1 - _LAST_LINES:], message]
        for wait in waits:
            if wait.future.cancelled():
                if self.claim(wait):
                    wait.future.set_running_or_notify_cancel()
                continue
            try:
                matches = wait.matches(message)
            except Exception as error:  # The user's predicate: its own wait ends with it.
                if self.claim(wait):
                    wait.fail(error)
                continue
            if matches and self.claim(wait) and wait.resolve(message):
                return True
        return False

    def fail_all(self, make_error: Callable[[], BaseException]) -> None:
        """End all of them badly."""
        with self._lock:
            waits = list(self.pending)
        for wait in waits:
            if self.claim(wait):
                wait.fail(make_error())

    def timeout_text(self, wait: Wait, timeout: Optional[float]) -> str:
        """What a TimeoutError says."""
        with self._lock:
            last = list(self._last)
        seen = "; the last lines were: " + ", ".join(f"{line[:80]!r}" for line in last) if last else \
            "; no line came"
        return f"no {wait.description} within {timeout} s{seen}"
