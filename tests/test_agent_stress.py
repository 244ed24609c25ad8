"""Dialogues at high speed: threads that wait and speak, a busy handler, lost answers, reconnects.

By hand for longer: ``STRESS_SECONDS=300 python -m unittest tests.test_agent_stress``.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import unittest
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import wait as wait_all
from typing import Any, Optional

from mmdagent_remote import Agent, ConnectionClosed, Message, Server, on
from mmdagent_remote.testing import SimulatedAgent
from tests.support import DEADLINE, TestCase, wait_until

#: Seconds for all tests of this file together.
SECONDS = float(os.environ.get("STRESS_SECONDS", "6"))

_KEYS = "SAID"


class Book:
    """The futures, lines, faults and counts of all connections of a test."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []
        self.heard: dict[str, list[int]] = {}
        self.faults: list[BaseException] = []
        self.counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def count(self, what: str) -> None:
        """Count one more of this kind."""
        with self._lock:
            self.counts[what] = self.counts.get(what, 0) + 1


class Catcher(logging.Handler):
    """Notes what is logged as an error."""

    def __init__(self, book: Book) -> None:
        super().__init__(logging.ERROR)
        self._book = book

    def emit(self, record: logging.LogRecord) -> None:
        """Add the record to the faults."""
        self._book.faults.append(AssertionError(self.format(record)))


class Talker(Agent):
    """Sleeps at random, and calls ask() in its own thread at random."""

    book: Book

    def __init__(self) -> None:
        self.chance = random.Random()

    @on(_KEYS)
    def said(self, name: str, number: str) -> None:
        """Note a numbered line: each must come, in order, here or in a wait."""
        self.book.heard.setdefault(name, []).append(int(number))
        if self.chance.random() < 0.05:
            time.sleep(self.chance.uniform(0.0, 0.02))
        if self.chance.random() < 0.05:
            ask(self, self.book, self.chance, "own")

    def on_error(self, error: Exception) -> None:
        self.book.faults.append(error)


def ask(agent: Agent, book: Book, chance: random.Random, name: str) -> None:
    """One thing that a script may do, chosen at random."""
    name = f"{name}{chance.randrange(10**9)}"
    kind = chance.choice(["request", "request", "submit", "submit", "cancel", "say", "say", "stop",
                          "wait_for", "nothing"])
    timeout = chance.choice([0.0, 0.02, 0.2, None])
    if kind == "request":
        assert agent.request("VALUE_SET", name, 1, timeout=2.0).args == (name,)
    elif kind == "submit":
        book.futures.append(agent.submit("TIMER_START", name, 1, until=f"TIMER_EVENT_STOP|{name}",
                                         timeout=timeout or 2.0))
    elif kind == "cancel":
        future = agent.submit("VALUE_SET", name, 1, until=f"VALUE_EVENT_SET|{name}", timeout=2.0)
        book.futures.append(future)
        future.cancel()
    elif kind == "say":
        book.futures.append(agent.say(chance.randrange(3), "v", name))
    elif kind == "stop":
        agent.stop_speaking(chance.randrange(3))
    elif kind == "wait_for":
        agent.wait_for("NEVER", timeout=timeout or 0.0)
    else:
        assert kind == "nothing"
        agent.request("LOST_COMMAND", until=f"NEVER|{name}", timeout=0.01)


class StressTests(TestCase):
    """Everything at the same time."""

    def setUp(self) -> None:
        self.book = Book()
        self.end = time.monotonic() + SECONDS / 3
        self.seed = random.randrange(10**9)
        self.addCleanup(setattr, threading, "excepthook", threading.excepthook)
        threading.excepthook = lambda hook: self.book.faults.append(hook.exc_value or SystemExit())
        for name in ("mmdagent_remote", "concurrent.futures"):
            logger, catcher = logging.getLogger(name), Catcher(self.book)
            logger.addHandler(catcher)
            self.addCleanup(logger.removeHandler, catcher)

    def talk(self, agent: Callable[[], Optional[Agent]], number: int) -> None:
        """Call ask() until the time is over."""
        chance = random.Random(f"{self.seed} {number}")
        while time.monotonic() < self.end:
            current = agent()
            if current is None or current.closed:
                time.sleep(0.005)
                continue
            try:
                ask(current, self.book, chance, f"t{number}-")
                self.book.count("answered")
            except TimeoutError:
                self.book.count("timed out")
            except ConnectionClosed:
                self.book.count("closed")
            except BaseException as error:  # In a thread, where the test would not see it.
                self.book.faults.append(error)
                raise

    @staticmethod
    def newest(server: Server) -> Optional[Agent]:
        """The newest connection, if there is one."""
        return next((each for each in server.connections[::-1] if isinstance(each, Agent)), None)

    def chat(self, simulated: SimulatedAgent, pause: float) -> int:
        """Send numbered lines from the agent until the time is over; returns how many."""
        number = 0
        while time.monotonic() < self.end:
            simulated.emit(f"{_KEYS}|user|{number}")
            number += 1
            time.sleep(pause)
        return number

    def handler(self) -> type[Talker]:
        """A handler class that writes into the book of this test."""
        class Own(Talker):
            book = self.book

            def said(self, name: str, number: str) -> None:
                try:
                    Talker.said(self, name, number)
                except TimeoutError:
                    pass
        return Own

    def check_futures(self) -> None:
        """Every future is done, with a result or an expected error, and there was no fault."""
        futures = self.book.futures
        self.assertEqual(wait_all(futures, 2 * DEADLINE).not_done, set(), f"seed {self.seed}")
        for future in futures:
            try:
                future.result(0)
            except (TimeoutError, ConnectionClosed, CancelledError):
                pass
        self.assertEqual(self.book.faults, [], f"seed {self.seed}")

    def test_dialogue(self) -> None:
        """On one connection all futures end, and a busy handler gets every line once, in order."""
        server = self.serve(self.handler())
        with SimulatedAgent(server.url, chatter=False, hurry=100, speech_time=1.0,
                            fragile=False) as simulated:
            agent = server.wait_connected(DEADLINE)
            assert isinstance(agent, Talker)
            threads = [self.in_thread(self.talk, lambda: agent, number) for number in range(5)]
            count = self.chat(simulated, 0.002)
            for thread in threads:
                thread.join(DEADLINE)
            wait_until(lambda: len(self.book.heard.get("user", [])) == count)
            self.check_futures()
            self.assertEqual(self.book.heard, {"user": list(range(count))})
            # A wait whose future was cancelled is forgotten at the next line, or at its time.
            wait_until(lambda: not agent._connected().waits)
            self.assertGreater(self.book.counts["answered"], 20)

    def test_lines_and_waits(self) -> None:
        """Lines that one thread reads and others wait for come once, in order in each thread."""
        server = self.serve(None)
        with SimulatedAgent(server.url, chatter=False, fragile=False) as simulated:
            agent = server.accept(DEADLINE)
            read: list[int] = []
            waited: dict[int, list[int]] = {number: [] for number in range(3)}

            def read_all() -> None:
                while True:
                    try:
                        line = Message(agent.read_line(random.uniform(0.0, 0.02)))
                    except TimeoutError:
                        continue
                    if line.args == ("end",):
                        return
                    read.append(int(line.args[1]))

            def wait_for_some(number: int) -> None:
                while time.monotonic() < self.end:
                    try:
                        line = agent.wait_for(f"{_KEYS}|user", timeout=random.choice([0.0, 0.001, 0.01]))
                    except TimeoutError:
                        continue
                    waited[number].append(int(line.args[1]))
            threads = [self.in_thread(read_all),
                       *(self.in_thread(wait_for_some, number) for number in waited)]
            count = self.chat(simulated, 0.0005)
            for thread in threads[1:]:
                thread.join(DEADLINE)
            simulated.emit(f"{_KEYS}|end")
            threads[0].join(DEADLINE)
        for got in (read, *waited.values()):
            self.assertEqual(got, sorted(got))
        self.assertEqual(self.book.faults, [])
        self.assertEqual(sorted(sum(waited.values(), read)), list(range(count)))
        self.assertGreater(sum(map(len, waited.values())), 0)

    def test_reconnects(self) -> None:
        """With reconnects and lost answers, the futures of all connections and all threads end."""
        server = self.serve(self.handler())
        simulated = SimulatedAgent(server.url, chatter=False, hurry=100, speech_time=1.0, fragile=False,
                                   retry_count=1000)
        with simulated:
            threads = [self.in_thread(self.talk, lambda: self.newest(server), number)
                       for number in range(5)]
            chance = random.Random(self.seed)
            simulated.ignore("TIMER_START")
            while time.monotonic() < self.end:
                time.sleep(chance.uniform(0.05, 0.3))
                simulated.drop()
                self.book.count("drops")
            for thread in threads:
                thread.join(DEADLINE)
        self.check_futures()
        self.assertGreater(self.book.counts["drops"], 2)


if __name__ == "__main__":
    unittest.main()
