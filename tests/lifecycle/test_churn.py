"""Connects and disconnects in every style: what is left of them, and which hooks were called."""

from __future__ import annotations

import gc
import logging
import random
import threading
import tracemalloc
from collections import Counter

from mmdagent_remote import Server
from mmdagent_remote.connection.connection import Connection
from mmdagent_remote.serving.session import Session

from ..soak.churn import STYLES
from ..soak.handlers import Counts, Flood, Talk
from ..soak.world import World
from ..support import DEADLINE, TestCase, open_files, server_context, wait_until


class Tally:
    """Which connections were opened and closed, by number, so that none is kept alive."""

    def __init__(self) -> None:
        self.opens: Counter[int] = Counter()
        self.closes: Counter[int] = Counter()
        self.lock = threading.Lock()
        self.counts = Counts()

    def handlers(self) -> dict[str, type]:
        """Handler classes that report to this tally."""
        return {"/talk": self._noting(Talk), "/flood": self._noting(Flood)}

    def _noting(self, base: type) -> type:
        tally = self

        class Noting(base):  # type: ignore[misc]
            counts = tally.counts

            def on_open(self) -> None:
                with tally.lock:
                    self.number = len(tally.opens)
                    tally.opens[self.number] += 1
                super().on_open()

            def on_close(self, code: int, reason: str) -> None:
                with tally.lock:
                    tally.closes[self.number] += 1
                super().on_close(code, reason)
        return Noting


def alive() -> int:
    """How many connections and sessions there are in this process, ended ones included."""
    gc.collect()
    return sum(isinstance(each, (Connection, Session)) for each in gc.get_objects())


class ChurnTests(TestCase):
    """A few hundred connections; the soak program makes ten thousand and more."""

    def setUp(self) -> None:
        logger = logging.getLogger("mmdagent_remote")
        logger.setLevel(logging.ERROR)
        self.addCleanup(logger.setLevel, logging.NOTSET)
        self.tally = Tally()
        # Those of a failed test, which unittest keeps with all its objects.
        self.others = alive()
        options = {"close_timeout": 2.0, "open_timeout": 2.0}
        self.plain = self.serve(self.tally.handlers(), **options)
        self.tls = self.serve(self.tally.handlers(), ssl_context=server_context(), **options)

    def make(self, count: int, seed: int) -> World:
        """Make `count` connections in each style, a quarter with TLS, in four threads."""
        world = World((self.plain.port, self.tls.port), seed)

        def work(number: int) -> None:
            chance = random.Random(f"{seed} {number}")
            for style in STYLES:
                for each in range(count // 4):
                    with world.visit(style.__name__, tls=each % 4 == 0) as visit:
                        style(visit, chance)
        for thread in [self.in_thread(work, number) for number in range(4)]:
            thread.join(DEADLINE)
        self.wait_for_silence()
        return world

    def wait_for_silence(self) -> None:
        """Wait until all connections' threads have ended."""
        wait_until(lambda: not any(self.sessions(server) for server in (self.plain, self.tls)))

    def sessions(self, server: Server) -> object:
        """The sessions of a server that have not ended."""
        run = server._run
        return run is not None and run.registry.sessions

    def threads_and_sockets(self) -> tuple[int, int]:
        """The numbers of threads and sockets in this process."""
        sockets = [name for name in open_files() or () if "socket:" in name]
        return threading.active_count(), len(sockets)

    def memory_when_stopped(self) -> int:
        """The bytes in use while both servers are shut down and hold no connection."""
        for server in (self.plain, self.tls):
            self.assertEqual(server.shutdown(), [])
        self.assertEqual(alive(), self.others)
        used, _ = tracemalloc.get_traced_memory()
        for server in (self.plain, self.tls):
            server.start()
        return used

    def test_hooks(self) -> None:
        """However connections come and go, each on_open has exactly one on_close, and no error."""
        with self.assertNoLogs("mmdagent_remote", logging.ERROR):
            world = self.make(16, seed=1)
        self.assertEqual(world.faults, [])
        self.assertEqual(sum(world.styles.values()), 16 * len(STYLES))
        self.assertGreater(len(self.tally.opens), 50)
        self.assertEqual(self.tally.opens, self.tally.closes)
        self.assertEqual(set(self.tally.opens.values()), {1})

    def test_nothing_is_left(self) -> None:
        """After all connections threads and sockets are as before, and memory has not grown."""
        before = self.threads_and_sockets()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.make(8, seed=3)
        first = self.memory_when_stopped()
        world = self.make(16, seed=4)
        made = sum(world.styles.values())
        wait_until(lambda: self.threads_and_sockets() == before, "threads and sockets as before")
        # Each attendant may still hold the last connection that it checked.
        wait_until(lambda: alive() <= 2 + self.others, "connections and sessions are forgotten")
        second = self.memory_when_stopped()
        # A leaked connection is about 10 KB. A tracer of the interpreter takes memory of its own.
        self.assertLess(second - first, 5000 * made)
