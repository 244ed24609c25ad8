"""The waits for messages on one connection. This module has no socket and no thread.

A line is offered to the waits when it is read, before it goes to ``on_message`` or into the queue.
It answers at most one, the oldest that matches, and then goes nowhere else. Echoes answer none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Optional

from ..message import Message
from ..vocabulary.pattern import Matcher, Pattern, describe, matcher_of
from .courier import FutureElsewhere

#: How many of the last lines the text of a timeout shows.
_LAST_LINES = 5

#: Pending waits of one connection: more come from a loop that went wrong.
MAX_WAITS = 10_000


class Wait:
    """One pending wait, and the future that it ends.

    Args:
        patterns: any of them answers it.
        run: runs the future's callbacks: they are user code, which must not run in the thread
            that reads. None: they run where the future is resolved.
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

    # Called by the thread that claimed it, and so once. A later cancel() returns False.

    def resolve(self, message: Message) -> bool:
        """End it with a message. False: its user cancelled it, and the message is still unused."""
        if not self.future.set_running_or_notify_cancel():
            return False
        self.future.set_result(message)
        return True

    def fail(self, error: BaseException) -> None:
        """End it with an error."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class Waits:
    """The pending waits of one connection. Any thread may call any method.

    Its lock guards the two collections. It is a leaf lock, never held while a predicate runs.
    """

    __slots__ = ("pending", "version", "_lock", "_last")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Those that have not ended yet. Public only for its truth value, tested for each message.
        self.pending: dict[Wait, None] = {}
        self._last: list[str] = []
        # Counts registrations, so that the thread that reads sees that there was one meanwhile.
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
        """Claim a wait, to end it. True for one caller only, which must then end it."""
        with self._lock:
            if wait not in self.pending:
                return False
            del self.pending[wait]
            return True

    def offer(self, message: Message) -> bool:
        """Offer a line to the waits, oldest first. True: one took it."""
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
            except Exception as error:  # The user's predicate raised: only its own wait fails.
                if self.claim(wait):
                    wait.fail(error)
                continue
            if matches and self.claim(wait) and wait.resolve(message):
                return True
        return False

    def fail_all(self, make_error: Callable[[], BaseException]) -> None:
        """End all waits with an error, each with one of its own."""
        with self._lock:
            waits = list(self.pending)
        for wait in waits:
            if self.claim(wait):
                wait.fail(make_error())

    def timeout_text(self, wait: Wait, timeout: Optional[float]) -> str:
        """The text of a TimeoutError for a wait. The timeout is in seconds."""
        with self._lock:
            last = list(self._last)
        seen = "; the last lines were: " + ", ".join(f"{line[:80]!r}" for line in last) if last else \
            "; no line came"
        return f"no {wait.description} within {timeout} s{seen}"
