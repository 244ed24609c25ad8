"""``courier.py``: jobs that run at once or at a given time, in one thread."""

from __future__ import annotations

import gc
import logging
import threading
import time
import unittest
import weakref
from collections.abc import Callable
from concurrent.futures import Future

from mmdagent_remote.connection.courier import Courier, FutureElsewhere

from ..support import DEADLINE, TestCase, wait_until

_log = logging.getLogger("tests.courier")


class CourierTests(TestCase):
    """run(), run_at() and stop()."""

    def setUp(self) -> None:
        self.threads: set[threading.Thread] = set()
        self.courier = Courier("courier", _log, self.threads.add, self.threads.discard)
        self.addCleanup(self.courier.stop)
        self.done: list[object] = []

    def note(self, what: object) -> Callable[[], None]:
        """A job that notes that it ran."""
        return lambda: self.done.append(what)

    def block(self) -> threading.Event:
        """Keep the thread busy until the event is set."""
        started, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)
        self.courier.run(lambda: (started.set(), go_on.wait(DEADLINE)) and None)
        self.assertTrue(started.wait(DEADLINE))
        return go_on

    def test_no_thread_before_the_first_job(self) -> None:
        """One thread starts with the first job; it is registered, and unregistered when it ends."""
        self.assertEqual(self.threads, set())
        for number in range(100):
            self.courier.run(self.note(number))
        self.assertEqual([thread.name for thread in self.threads], ["courier"])
        wait_until(lambda: len(self.done) == 100)
        self.courier.stop()
        wait_until(lambda: not self.threads)

    def test_order(self) -> None:
        """The jobs of each calling thread run in the order in which they were given."""
        def give(name: int) -> None:
            for number in range(200):
                self.courier.run(self.note((name, number)))
        for thread in [self.in_thread(give, name) for name in range(4)]:
            thread.join(DEADLINE)
        wait_until(lambda: len(self.done) == 800)
        for name in range(4):
            own = [mark for mark in self.done if mark[0] == name]  # type: ignore[index]
            self.assertEqual(own, [(name, number) for number in range(200)])

    def test_times(self) -> None:
        """Jobs for later run in the order of their times, never early, after those that are due."""
        now = time.monotonic()
        ran: list[float] = []
        for delay in (0.1, 0.05):
            self.courier.run_at(now + delay, self.note(delay))
            self.courier.run_at(now + delay, lambda: ran.append(time.monotonic()))
        self.courier.run(self.note("now"))
        wait_until(lambda: len(ran) == 2)
        self.assertEqual(self.done, ["now", 0.05, 0.1])
        self.assertGreaterEqual(ran[0], now + 0.05)
        self.assertGreaterEqual(ran[1], now + 0.1)

    def test_far_away(self) -> None:
        """A job at a time too far away to wait for does no harm."""
        for when in (float("inf"), 1e12):
            self.courier.run_at(when, self.note("never"))
        self.courier.run(self.note("first"))
        wait_until(lambda: self.done == ["first"])
        self.courier.run(self.note("second"))
        wait_until(lambda: self.done == ["first", "second"])

    def test_faults(self) -> None:
        """A job that raises, even SystemExit, is logged, and the thread goes on."""
        for error in (ValueError("a fault"), SystemExit(3)):
            def job(error: BaseException = error) -> None:
                raise error
            with self.subTest(error), self.assertLogs(_log, logging.ERROR) as logs:
                self.courier.run(job)
                self.courier.run(self.note(error))
                wait_until(lambda: error in self.done)
            self.assertIn("internal error", logs.output[0])

    def test_stop(self) -> None:
        """stop() lets the jobs that are due finish, drops those for later, and can be repeated."""
        go_on = self.block()
        self.courier.run(self.note("due"))
        self.courier.run_at(time.monotonic() + 3600, self.note("later"))
        self.courier.stop()
        self.courier.stop()
        go_on.set()
        wait_until(lambda: not self.threads)
        self.assertEqual(self.done, ["due"])

    def test_one_after_the_other_after_stop(self) -> None:
        """While the thread runs its last jobs, a new job runs after them."""
        go_on = self.block()
        self.courier.stop()
        self.courier.run(lambda: self.done.append(threading.current_thread().name))
        self.assertEqual(self.done, [])
        go_on.set()
        wait_until(lambda: self.done == ["courier"])

    def test_after_the_end(self) -> None:
        """Once the thread has ended a job runs at once, in the caller; one for later is dropped."""
        self.courier.run(self.note("first"))
        self.courier.stop()
        wait_until(lambda: not self.threads)
        self.courier.stop()
        self.courier.run(lambda: self.done.append(threading.get_ident()))
        self.courier.run_at(time.monotonic() + 0.01, self.note("later"))
        self.assertEqual(self.done, ["first", threading.get_ident()])

    def test_never_used(self) -> None:
        """A courier that is stopped before its first job never starts a thread."""
        self.courier.stop()
        self.courier.run(self.note("here"))
        self.assertEqual((self.done, self.threads), (["here"], set()))

    def test_no_thread_to_be_had(self) -> None:
        """If no thread can be started, run() raises, and the next job tries again."""
        class Refused(threading.Thread):
            def start(self) -> None:
                raise RuntimeError("can't start new thread")
        self.addCleanup(setattr, threading, "Thread", threading.Thread)
        usual, threading.Thread = threading.Thread, Refused  # type: ignore[misc]
        with self.assertRaises(RuntimeError):
            self.courier.run(self.note("refused"))
        threading.Thread = usual  # type: ignore[misc]
        self.assertEqual(self.threads, set())
        self.courier.run(self.note("second"))
        wait_until(lambda: self.done == ["second"])

    def test_stop_races_run(self) -> None:
        """Every job that races with stop() runs exactly once."""
        for _ in range(50):
            courier = Courier("racing", _log, self.threads.add, self.threads.discard)
            done: list[int] = []

            def give() -> None:
                for number in range(50):
                    courier.run(lambda number=number: done.append(number))  # type: ignore[misc]
            thread = self.in_thread(give)
            courier.stop()
            thread.join(DEADLINE)
            wait_until(lambda: not self.threads)
            self.assertEqual(sorted(done), list(range(50)))

    def test_void_jobs_are_forgotten(self) -> None:
        """Jobs for later that are no longer needed are not kept until their time."""
        class Thing:
            pass
        kept: list[weakref.ref[Thing]] = []
        for _ in range(2000):
            thing = Thing()
            kept.append(weakref.ref(thing))
            self.courier.run_at(time.monotonic() + 3600, lambda thing=thing: None,  # type: ignore[misc]
                                lambda: True)
        del thing
        gc.collect()
        self.assertLess(sum(each() is not None for each in kept), 200)

    def test_not_void(self) -> None:
        """Jobs that are still needed are kept, however many others are dropped."""
        when = time.monotonic() + 0.5
        for number in range(500):
            self.courier.run_at(when, self.note(number), lambda: False)
            self.courier.run_at(when, self.note("void"), lambda: True)
        wait_until(lambda: len([mark for mark in self.done if mark != "void"]) == 500)
        self.assertEqual([mark for mark in self.done if mark != "void"], list(range(500)))


class FutureElsewhereTest(unittest.TestCase):
    """A future whose callbacks run in another thread."""

    def test_callbacks(self) -> None:
        """It is done at once; each callback is handed over as a job, then or when it is added."""
        jobs: list[Callable[[], None]] = []
        future: FutureElsewhere[int] = FutureElsewhere(jobs.append)
        seen: list[Future[int]] = []
        future.add_done_callback(seen.append)
        future.set_result(3)
        self.assertEqual((future.result(0), seen, len(jobs)), (3, [], 1))
        future.add_done_callback(seen.append)
        self.assertEqual((seen, len(jobs)), ([], 2))
        for job in jobs:
            job()
        self.assertEqual(seen, [future, future])


if __name__ == "__main__":
    unittest.main()
