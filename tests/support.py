"""What all tests share: a base class that finds leaks, and waits with deadlines."""

from __future__ import annotations

import gc
import os
import signal
import ssl
import threading
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional, Union

from mmdagent_remote import Handler, Server

DATA = Path(__file__).parent / "data"
PROJECT = Path(__file__).parent.parent

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that runs us in the background sets this; programs of the tests would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Seconds after which a wait for an event fails; long enough for a loaded machine.
DEADLINE = 20.0


def wait_until(condition: Callable[[], object], what: Union[str, Callable[[], str]] = "",
               timeout: float = DEADLINE) -> None:
    """Wait until a condition holds, or fail.

    Args:
        what: what was waited for; a function tells it as it is at the end.
    """
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            text = what() if callable(what) else what or condition
            raise AssertionError(f"did not come true within {timeout} s: {text}")
        time.sleep(0.002)


def open_files() -> Optional[set[str]]:
    """Our open descriptors and what they are, where /proc tells."""
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return None
    found = set()
    for name in names:
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            pass  # The listing's own descriptor.
    return found


def server_context() -> ssl.SSLContext:
    """TLS with the test certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(DATA / "localhost-cert.pem", DATA / "localhost-key.pem")
    return context


def client_context() -> ssl.SSLContext:
    """TLS that trusts the test certificate."""
    return ssl.create_default_context(cafile=str(DATA / "localhost-cert.pem"))


def fill(handler: Handler) -> None:
    """Send to a peer that does not read, until its queue and the kernel are full and stay so."""
    def stays_full() -> bool:
        while not handler.server.broadcast("x" * 10_000):
            pass
        # The kernel may take more a moment later, until its buffers are full as well.
        return not handler.wait_closed(0.2) and bool(handler.server.broadcast("x" * 10_000))
    wait_until(stays_full, "its queue stays full")


class TestCase(unittest.TestCase):
    """Fails a test that leaves a thread or a socket behind."""

    def run(self, result: Optional[unittest.TestResult] = None) -> Optional[unittest.TestResult]:
        """Note threads and files before setUp, and compare after all other cleanups."""
        gc.collect()
        self._threads_before = set(threading.enumerate())
        self._files_before = open_files()
        self.addCleanup(self._check_leaks)  # The first cleanup added runs last.
        return super().run(result)

    def _check_leaks(self) -> None:
        wait_until(lambda: not self._new_threads(), lambda: f"threads end: {self._new_threads()}")
        gc.collect()
        wait_until(lambda: not self._new_files(), lambda: f"files close: {self._new_files()}")

    def _new_threads(self) -> set[threading.Thread]:
        return set(threading.enumerate()) - self._threads_before

    def _new_files(self) -> set[str]:
        now = open_files()
        if now is None or self._files_before is None:
            return set()
        kinds = ("socket:", "pipe:", "anon_inode:")  # anon_inode: epoll and eventfd.
        return {name for name in now - self._files_before if any(kind in name for kind in kinds)}

    def serve(self, handler: Any = None, **options: Any) -> Server:
        """A started server on a free port, shut down when the test ends."""
        options.setdefault("port", 0)
        server = Server(handler, **options).start()
        self.addCleanup(self._end, server)
        return server

    def _end(self, server: Server) -> None:
        self.assertEqual(server.shutdown(timeout=DEADLINE), [])

    def in_thread(self, function: Callable[..., object], *args: Any) -> threading.Thread:
        """Run a function in a thread that has ended when the test ends."""
        thread = threading.Thread(target=function, args=args, daemon=True)
        thread.start()
        self.addCleanup(self._join, thread)
        return thread

    def _join(self, thread: threading.Thread) -> None:
        thread.join(DEADLINE)
        self.assertFalse(thread.is_alive(), f"{thread.name} has ended")


class Recorder(Handler):
    """A handler that records its hook calls, for tests to check."""

    def __init__(self) -> None:
        self.messages_seen: list[str] = []
        self.errors: list[Exception] = []
        self.closes: list[tuple[int, str]] = []
        self.opened = threading.Event()
        self.done = threading.Event()

    def on_open(self) -> None:
        self.opened.set()

    def on_message(self, message: Any) -> None:
        self.messages_seen.append(message)

    def on_error(self, error: Exception) -> None:
        self.errors.append(error)

    def on_close(self, code: int, reason: str) -> None:
        self.closes.append((code, reason))
        self.done.set()
