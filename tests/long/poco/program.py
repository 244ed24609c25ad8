"""The client on Poco: built when its source has changed, and run as a program of its own.

Its orders and its reports are described at the top of ``client.cpp``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
import unittest
from functools import cache
from pathlib import Path
from typing import Any

from mmdagent_remote import Server

from ...support import DEADLINE, PROJECT, TestCase, wait_until

SOURCES = Path(__file__).parent
FLAGS = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-pthread"]
LIBRARIES = ["-lPocoNet", "-lPocoFoundation"]


@cache
def build() -> Path:
    """The program. Raises SkipTest, which says what is missing, if it cannot be built."""
    compiler = shutil.which("g++")
    if compiler is None:
        raise unittest.SkipTest("there is no g++ on this machine")
    looked = subprocess.run([compiler, "-E", "-x", "c++", "-"], capture_output=True, text=True,
                            input="#include <Poco/Net/WebSocket.h>\n")
    if looked.returncode:
        raise unittest.SkipTest("there are no headers of Poco (libpoco-dev) on this machine")
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
    sources = b"".join((SOURCES / name).read_bytes() for name in ("client.cpp", "line_buffer.h"))
    name = hashlib.sha256(version + repr(FLAGS).encode() + looked.stdout.encode() + sources).hexdigest()
    program = PROJECT / "build" / "poco" / f"client-{name[:16]}"
    if not program.exists():
        _compile(compiler, program)
    return program


def _compile(compiler: str, program: Path) -> None:
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent) as directory:
        new = Path(directory, "client")
        command = [compiler, *FLAGS, str(SOURCES / "client.cpp"), "-o", str(new), *LIBRARIES]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise AssertionError(result.stderr)
        os.replace(new, program)  # Atomic, since another process may build it as well.


class PocoClient:
    """The running client, and what it has reported so far."""

    def __init__(self, port: int, path: str = "/chat", retries: int = 0) -> None:
        self.reports: list[str] = []
        self._process = subprocess.Popen(
            [build(), "localhost", str(port), path, str(retries)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # Read as bytes, since text would be cut at a CR too.
            self.reports.append(line.decode(errors="backslashreplace").rstrip("\n"))

    def tell(self, order: str) -> None:
        """Give an order."""
        assert self._process.stdin is not None
        self._process.stdin.write(order.encode() + b"\n")
        self._process.stdin.flush()

    def texts(self, kind: str) -> list[str]:
        """The texts of all reports of one kind so far."""
        found = (report.partition(" ") for report in list(self.reports))
        return [text for name, _, text in found if name == kind]

    def expect(self, *reports: str) -> None:
        """Wait until these reports have come in this order, with others between."""
        def came() -> bool:
            rest = iter(list(self.reports))
            return all(report in rest for report in reports)
        wait_until(lambda: came() or not self._reader.is_alive(),
                   lambda: f"{reports} in {self.reports[-20:]}")
        if not came():
            raise AssertionError(f"it ended without {reports}: {self.reports[-20:]}")

    def end(self) -> None:
        """End it by the end of its input, and release everything."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(DEADLINE)
        finally:
            self._process.kill()
            self._process.wait(DEADLINE)
            self._reader.join(DEADLINE)
            self._process.stdout.close()


class PocoCase(TestCase):
    """Starts clients, and ends them with the test."""

    @classmethod
    def setUpClass(cls) -> None:
        build()

    def client(self, port: int, path: str = "/chat", retries: int = 0) -> PocoClient:
        """A running client."""
        client = PocoClient(port, path, retries)
        self.addCleanup(client.end)
        return client

    def connect(self, server: Server, path: str = "/chat", retries: int = 0) -> tuple[PocoClient, Any]:
        """A running client whose connection is open, and its handler."""
        before = set(server.connections)
        client = self.client(server.port, path, retries)
        wait_until(lambda: set(server.connections) - before and client.texts("connected"),
                   f"{client.reports}")
        handler, = set(server.connections) - before
        self.assertTrue(handler.is_mmdagent)
        return client, handler
