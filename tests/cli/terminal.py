"""A program in a pseudo-terminal, and the screen that the user would see."""

from __future__ import annotations

import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from fcntl import ioctl
from typing import Any

import pyte

from ..support import DEADLINE, PROJECT, wait_until

COLUMNS, LINES = 80, 24
#: Makes a typed Ctrl-C a signal.
_OWN_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
#: Makes ``rich`` look as if it was not installed.
_WITHOUT_RICH = "import sys; sys.modules['rich'] = None; "


class Terminal:
    """The command line in a terminal of 80 columns, until the with statement ends.

    Args:
        with_rich: False: as if ``rich`` was not installed.
        environment: variables besides ours.
    """

    def __init__(self, *arguments: str, with_rich: bool = True, environment: Any = None) -> None:
        self._screen = pyte.HistoryScreen(COLUMNS, LINES, history=1000)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.raw = b""
        self._master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        code = (_OWN_TERMINAL + ("" if with_rich else _WITHOUT_RICH)
                + "from mmdagent_remote.cli import main; raise SystemExit(main())")
        variables = {name: value for name, value in os.environ.items()
                     if name not in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS")}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, *arguments], cwd=PROJECT,
            env={**variables, "TERM": "xterm-256color", **(environment or {})},
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return  # Linux raises this when the program has ended.
            if not data:
                return
            with self._lock:
                self.raw += data
                self._stream.feed(data)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    @property
    def rows(self) -> list[str]:
        """The rows of the screen."""
        with self._lock:
            return [row.rstrip() for row in self._screen.display]

    def expect(self, text: str) -> str:
        """Wait until a row has a text, and return that row."""
        wait_until(lambda: any(text in row for row in self.rows), lambda: f"{text!r} in {self}")
        return next(row for row in reversed(self.rows) if text in row)

    def color(self, text: str) -> str:
        """The colour of the first character of a text on the screen."""
        with self._lock:
            for number in reversed(range(LINES)):
                row = self._screen.buffer[number]
                column = "".join(row[each].data or "" for each in range(COLUMNS)).find(text)
                if column >= 0:
                    return str(row[column].fg)
        raise AssertionError(f"{text!r} cannot be seen: {self}")

    def end(self) -> int:
        """Wait for the program's end, and return its status."""
        status = self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return status

    def __str__(self) -> str:
        return "\n".join(filter(None, self.rows))

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(DEADLINE)
        os.close(self._master)
