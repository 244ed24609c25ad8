"""Writes a recording, line by line, so that even a kill loses nothing. Thread-safe."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from typing import Any, Optional, TextIO

from .options import UsageError
from .recording import encode


class Recorder:
    """Makes the entries of one run, and writes them to a file, if a path is given.

    Args:
        path: the file to create; None: no file. An existing file is never changed.

    Attributes:
        problem: why writing has stopped; None: there was no error.

    Raises:
        UsageError: the file cannot be created.
    """

    def __init__(self, path: Optional[str]) -> None:
        self.problem: Optional[str] = None
        self._path = path
        self._began = time.monotonic()
        self._lock = threading.Lock()  # Keeps lines in order of time; held for one file write.
        self._file: Optional[TextIO] = None
        if path is not None:
            try:
                self._file = open(path, "x", encoding="utf-8", newline="\n")
            except FileExistsError as error:
                raise UsageError(f"{path} is there already; take another name") from error
            except (OSError, ValueError) as error:
                raise UsageError(f"cannot write {path}: {getattr(error, 'strerror', error)}") from error

    def add(self, connection: int, event: str, **more: Any) -> str:
        """Record an event that happens now, and return it as a line of JSON."""
        with self._lock:
            now = datetime.now().astimezone().isoformat(timespec="milliseconds")
            line = encode(time.monotonic() - self._began, now, connection, event, **more)
            if self._file is not None:
                try:
                    self._file.write(line + "\n")
                    self._file.flush()
                except OSError as error:
                    self.problem = (f"the recording ends here: cannot write {self._path}: "
                                    f"{error.strerror}")
                    self._drop()
            return line

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:
                pass  # `problem` already says so.
