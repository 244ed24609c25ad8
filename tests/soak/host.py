"""The process of the server: started, controlled and measured from outside.

A process of its own, so that its threads, descriptors and memory are only the server's.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import signal
import ssl
import threading
import time
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from mmdagent_remote import Server

from ..support import DATA
from .book import Record
from .handlers import HANDLERS, Counted

#: Short, so that each timeout occurs in a run of a minute.
OPTIONS: dict[str, Any] = {
    "send_timeout": 1.0, "ping_interval": 0.2, "ping_timeout": 4.0, "close_timeout": 1.0,
    "open_timeout": 2.0, "max_queue": 256, "max_connections": 400}

#: Below the ports that the system gives to clients. Otherwise one of our clients could take the
#: port of a server that restarts.
_PORTS = range(20000, 30000)


class Measure(NamedTuple):
    """The process at one moment."""

    threads: int
    files: int
    #: Bytes.
    rss: int
    opens: int
    closes: int
    errors: int


class Restart(NamedTuple):
    """One restart of both servers."""

    #: The time of the slower shutdown().
    seconds: float
    #: Threads that shutdown() found in user code.
    stuck: list[str]


class Errors(logging.Handler):
    """Keeps the errors that the package logs; a soak should have none."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.texts) < 20:
            self.texts.append(f"logged: {self.format(record)}")


class Host:
    """The parent's side of the process."""

    def __init__(self) -> None:
        # Otherwise each thread gets a glibc heap, and the memory that these keep looks like a leak.
        os.environ.setdefault("MALLOC_ARENA_MAX", "1")
        self._ours, theirs = multiprocessing.get_context("spawn").Pipe()
        self._lock = threading.Lock()
        self._process = multiprocessing.get_context("spawn").Process(
            target=_main, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        #: The plain port, and the TLS port.
        self.ports: tuple[int, int] = self._ours.recv()

    def measure(self) -> Measure:
        """Measure the process."""
        measure: Measure = self._ask("measure")
        return measure

    def restart(self) -> Restart:
        """Shut both servers down, and start them on their ports again."""
        restart: Restart = self._ask("restart")
        return restart

    def broadcast(self) -> None:
        """Send one numbered line to all connections."""
        self._ask("broadcast")

    def records(self) -> list[Record]:
        """The connections that have ended since the last call."""
        records: list[Record] = self._ask("records")
        return records

    def stop(self) -> list[str]:
        """End the process; returns what it logged as errors."""
        errors: list[str] = self._ask("stop")
        self._process.join(10)
        self._ours.close()
        return errors

    def kill(self) -> None:
        """Kill the process, whatever it does."""
        self._process.kill()
        self._process.join()

    def _ask(self, command: str) -> Any:
        with self._lock:
            self._ours.send(command)
            if not self._ours.poll(60):
                raise TimeoutError(f"the server's process does not answer to {command!r}")
            return self._ours.recv()


# In the process

class _Servers:
    """A plain server and one with TLS, with the same handlers."""

    def __init__(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(DATA / "localhost-cert.pem", DATA / "localhost-key.pem")
        self.errors = Errors()
        logging.getLogger("mmdagent_remote").addHandler(self.errors)
        logging.getLogger("mmdagent_remote").propagate = False
        self._broadcasts = 0
        self._servers = [_start_anywhere(), _start_anywhere(ssl_context=context)]

    @property
    def ports(self) -> tuple[int, int]:
        return self._servers[0].port, self._servers[1].port

    def measure(self) -> Measure:
        counts = Counted.counts
        return Measure(threading.active_count(), _open_files(), _rss(), counts.opens, counts.closes,
                       counts.errors)

    def restart(self) -> Restart:
        seconds, stuck = 0.0, []
        for server in self._servers:
            began = time.monotonic()
            stuck += server.shutdown()
            seconds = max(seconds, time.monotonic() - began)
        for server in self._servers:
            server.start()
        return Restart(seconds, stuck)

    def broadcast(self) -> None:
        for server in self._servers:
            for handler in server.broadcast("B", self._broadcasts):
                assert isinstance(handler, Counted)
                handler.missed += 1
        self._broadcasts += 1

    def records(self) -> list[Record]:
        return Counted.counts.take_records()

    def stop(self) -> list[str]:
        for server in self._servers:
            self.errors.texts += [f"still in user code: {name}" for name in server.shutdown()]
        return self.errors.texts


def _start_anywhere(**options: Any) -> Server:
    for port in random.sample(_PORTS, 50):
        try:
            return Server(HANDLERS, "127.0.0.1", port, **OPTIONS, **options).start()
        except OSError:
            continue  # Another program uses it.
    raise OSError("no free port")


def _main(pipe: Connection) -> None:
    # Ctrl-C reaches the whole process group, but the parent tells this process when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    servers = _Servers()
    pipe.send(servers.ports)
    command = ""
    while command != "stop":
        try:
            command = pipe.recv()
        except EOFError:
            return  # The parent is gone.
        pipe.send(getattr(servers, command)())


def _open_files() -> int:
    try:
        # Without the descriptor of the listing itself.
        return len(os.listdir("/proc/self/fd")) - 1
    except OSError:
        return 0


def _rss() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
