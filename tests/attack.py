"""What the tests of hostile peers share: the peak of memory, the log, floods."""

from __future__ import annotations

import logging
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

from mmdagent_remote import Message

from .client import Client
from .support import DEADLINE, Recorder, TestCase, wait_until

#: Seconds. What is promised within a tenth of a second may take this long on a loaded machine.
LATE = 8.0

#: How many bytes of our memory an attack may take.
MOST_MEMORY = 2_000_000

#: SO_LINGER of 0 seconds: close() sends a reset.
RESET = b"\1\0\0\0\0\0\0\0"


class Echo(Recorder):
    """Sends every line back."""

    def on_message(self, message: Message) -> None:
        super().on_message(message)
        self.send(message)


class LogLines(logging.Handler):
    """Keeps every record."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record, unless it is about the server itself, not a connection."""
        if record.name != "mmdagent_remote.server":
            self.records.append(record)

    def at(self, level: int) -> list[str]:
        """The texts of the records at this level or above."""
        return [each.getMessage() for each in self.records if each.levelno >= level]


class HostileCase(TestCase):
    """Measures what an attack costs."""

    def setUp(self) -> None:
        # Without the warning that TLS is not on port 443.
        server_log = logging.getLogger("mmdagent_remote.server")
        server_log.setLevel(logging.ERROR)
        self.addCleanup(server_log.setLevel, logging.NOTSET)

    @contextmanager
    def memory_bounded(self, most: int = MOST_MEMORY) -> Iterator[None]:
        """Fails if the peak of memory inside exceeds the memory before by `most` bytes.

        Counts what Python allocates in this process, the client's part too.
        """
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            yield
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        self.assertLess(peak, most)

    @contextmanager
    def logged(self) -> Iterator[LogLines]:
        """All that the package logs about connections; fails on a traceback."""
        logger, lines = logging.getLogger("mmdagent_remote"), LogLines()
        level, propagate = logger.level, logger.propagate
        logger.addHandler(lines)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        try:
            yield lines
        finally:
            logger.removeHandler(lines)
            logger.setLevel(level)
            logger.propagate = propagate
        self.assertFalse([each for each in lines.records if each.exc_info])

    def assert_idle(self) -> None:
        """No thread of this process spins: for half a second it uses little of a core."""
        # Several tries: short work that is still under way ends, an endless loop does not.
        def half_a_second() -> float:
            began = time.process_time()
            threading.Event().wait(0.5)
            return time.process_time() - began
        self.assertTrue(any(half_a_second() < 0.2 for _ in range(5)), "somebody turns in circles")

    def assert_served(self, client: Client) -> None:
        """A client of an Echo server gets its line back soon."""
        began = time.monotonic()
        client.text("still here\n")
        self.assertEqual(client.lines(1), ["still here"])
        self.assertLess(time.monotonic() - began, LATE)

    def flood(self, client: Client, piece: bytes, count: int) -> int:
        """Send a piece `count` times, or until that fails; returns how often it was sent."""
        for sent in range(count):
            try:
                client.send(piece)
            except OSError:
                return sent
        return count


def reset(client: Client) -> None:
    """End a client's connection with RST."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.sock.close()


def wait_done(handler: object) -> None:
    """Wait until a Recorder's connection has ended."""
    assert isinstance(handler, Recorder)
    wait_until(handler.done.is_set, "on_close was called", 2 * DEADLINE)
