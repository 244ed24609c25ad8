"""A thread of a connection for work that must not run in the reading thread; made on first use.

Each connection has two. One runs the timed jobs of waits, speech and sound. The other runs the
callbacks of futures: these are user code, which may wait for a future that the first one resolves.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import Optional, TypeVar, Union

Job = Callable[[], None]

_T = TypeVar("_T")

#: Number of jobs above which void ones are dropped for the first time.
_FEW = 64

_LONGEST = 3600.0


class FutureElsewhere(Future[_T]):
    """A future whose callbacks do not run in the thread that resolves it.

    Args:
        run: runs a job in a thread where callbacks may run.
    """

    def __init__(self, run: Callable[[Job], None]) -> None:
        super().__init__()
        self._run = run

    def add_done_callback(self, fn: Callable[[Future[_T]], object]) -> None:
        """Have `fn` called with this future once it is done."""
        super().add_done_callback(lambda _: self._run(lambda: _call(fn, self)))


def _call(function: Callable[[Future[_T]], object], future: Future[_T]) -> None:
    function(future)


class Courier:
    """Runs jobs in order, at once or at a given time, in a thread of its own.

    Its lock guards the heap. It is a leaf lock, and not held while a job runs.

    Args:
        name: of the thread.
        log: for what a job raises.
        started: called with the thread, before it runs.
        ended: called in the thread, at its end.
        fault: what to log when a job raises.
    """

    __slots__ = ("_name", "_log", "_started", "_ended", "_lock", "_changed", "_fault", "_jobs",
                 "_look_at", "_numbers", "_stopping", "_is_over")

    def __init__(self, name: str, log: Union[logging.Logger, logging.LoggerAdapter[logging.Logger]],
                 started: Callable[[threading.Thread], None],
                 ended: Callable[[threading.Thread], None], fault: str = "internal error") -> None:
        self._name = name
        self._log = log
        self._started = started
        self._ended = ended
        self._lock = threading.Lock()
        # Made with the thread: most connections need neither.
        self._changed: Optional[threading.Condition] = None
        self._fault = fault
        self._jobs: list[tuple[float, int, Job, Optional[Callable[[], bool]]]] = []
        self._look_at = _FEW
        self._numbers = count()
        self._stopping = False
        self._is_over = False

    def run(self, job: Job) -> None:
        """Run a job as soon as possible. Any thread."""
        self.run_at(0.0, job)

    def run_at(self, when: float, job: Job, is_void: Optional[Callable[[], bool]] = None) -> None:
        """Run a job at a given time. Any thread.

        Once the courier's thread has ended, the caller's thread runs a job with `when` 0, and any
        other job is dropped.

        Args:
            when: seconds of the monotonic clock; 0: now.
            is_void: whether the job is no longer needed, so that it can be dropped early.
        """
        with self._lock:
            if not self._is_over:
                if self._changed is None:
                    self._changed = self._start()
                heapq.heappush(self._jobs, (when, next(self._numbers), job, is_void))
                if len(self._jobs) > self._look_at:
                    self._drop_void()
                self._changed.notify()
                return
        if not when:
            self._do(job)

    def stop(self) -> None:
        """End the thread after the jobs that are due; later jobs are dropped. Any thread."""
        with self._lock:
            self._stopping = True
            if self._changed is None:
                self._is_over = True
            else:
                self._changed.notify()

    def _start(self) -> threading.Condition:
        # Under the lock, so that stop() finds the thread either started or not needed.
        changed = threading.Condition(self._lock)
        thread = threading.Thread(target=self._work, args=(changed,), name=self._name, daemon=True)
        self._started(thread)
        try:
            thread.start()
        except RuntimeError:  # There are too many threads; the next job tries again.
            self._ended(thread)
            raise
        return changed

    def _work(self, changed: threading.Condition) -> None:
        try:
            while (job := self._next(changed)) is not None:
                self._do(job)
        finally:
            self._ended(threading.current_thread())

    def _next(self, changed: threading.Condition) -> Union[Job, None]:
        with changed:
            while True:
                now = time.monotonic()
                if self._jobs and self._jobs[0][0] <= now:
                    return heapq.heappop(self._jobs)[2]
                if self._stopping:
                    self._is_over = True
                    self._jobs.clear()
                    return None
                # wait() accepts no timeout above a certain length.
                changed.wait(min(self._jobs[0][0] - now, _LONGEST) if self._jobs else None)

    def _drop_void(self) -> None:
        self._jobs = [each for each in self._jobs if each[3] is None or not each[3]()]
        heapq.heapify(self._jobs)
        self._look_at = 2 * len(self._jobs) + _FEW

    def _do(self, job: Job) -> None:
        try:
            job()
        except (Exception, SystemExit) as error:  # Other jobs still need the thread.
            self._log.error(self._fault, exc_info=error)
