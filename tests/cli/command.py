"""The command line in this process: what it prints, and its exit status."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import NamedTuple
from unittest import mock

from mmdagent_remote.cli import main


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


def run_main(*arguments: str) -> Done:
    """Run the command line to its end, and leave signals and logging as they were.

    It has 80 columns, however wide the terminal of the tests is.
    """
    handlers, level = logging.root.handlers[:], logging.root.level
    is_main = threading.current_thread() is threading.main_thread()
    terminate = signal.getsignal(signal.SIGTERM)
    out, err = StringIO(), StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            try:
                with mock.patch.dict(os.environ, COLUMNS="80"):
                    status = main(arguments)
            except SystemExit as error:
                status = error.code
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        if is_main:
            signal.signal(signal.SIGTERM, terminate)
    return Done(status, out.getvalue(), err.getvalue())


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def is_open(port: int) -> bool:
    """Whether something listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), 20).close()
    except ConnectionRefusedError:
        return False
    return True
