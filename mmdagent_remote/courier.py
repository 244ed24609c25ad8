"""One thread of a connection for what must not run in the one that reads: made on first use.

It resolves futures, whose callbacks are user code, and keeps the times of speech.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Union

Job = Callable[[], None]


class Courier:
    """Runs jobs in order, at once or at a time, in a thread of its own.

    Its lock guards the heap, is a leaf, and is not held over a job.

    Args:
        name: of the thread.
        log: for what a job raises.
        started: called with the thread, before it runs.
        ended: called in the thread, at its end.
    """

    def __init__(self, name: str, log: Union[logging.Logger, logging.LoggerAdapter[logging.Logger]],
                 started: Callable[[threading.Thread], None],
                 ended: Callable[[threading.Thread], None]) -> None:
        self._name = name
        self._log = log
        self._started = started
        self._ended = ended
        self._changed = threading.Condition(threading.Lock())
        self._jobs: list[tuple[float, int, Job]] = []
        self._numbers = count()
        self._has_thread = False
        self._stopping = False

    def run(self, job: Job) -> None:
        """Run it as soon as possible. Any thread."""
        self.run_at(0.0, job)

    def run_at(self, when: float, job: Job) -> None:
        """Run it at a time of the monotonic clock; after :meth:`stop`, at once and here."""
        thread = None
        with self._changed:
            if not self._stopping:
                heapq.heappush(self._jobs, (when, next(self._numbers), job))
                self._changed.notify()
                if not self._has_thread:
                    self._has_thread = True
                    thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                    # Under the lock: stop() finds it started, or not needed.
                    self._started(thread)
                    thread.start()
                return
        if not when:
            self._do(job)

    def stop(self) -> None:
        """End the thread behind the jobs that are due; those for later are dropped. Any thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def _work(self) -> None:
        try:
            while (job := self._next()) is not None:
                self._do(job)
        finally:
            self._ended(threading.current_thread())

    def _next(self) -> Union[Job, None]:
        with self._changed:
            while True:
                now = time.monotonic()
                if self._jobs and self._jobs[0][0] <= now:
                    return heapq.heappop(self._jobs)[2]
                if self._stopping:
                    self._jobs.clear()
                    return None
                self._changed.wait(self._jobs[0][0] - now if self._jobs else None)

    def _do(self, job: Job) -> None:
        try:
            job()
        except Exception as error:  # A fault must not end the thread that others count on.
            self._log.error("internal error", exc_info=error)
