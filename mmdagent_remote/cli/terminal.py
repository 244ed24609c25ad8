"""Prints in colour on a terminal where ``rich`` is installed, else plain text.

It is plain text also with ``NO_COLOR``, on a terminal that calls itself dumb, and in a pipe. Any
thread may print: a line is one write.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Optional, TextIO, Union

from .text import escape

#: A text, or a text and its style in rich's notation.
Part = Union[str, tuple[str, str]]

#: Reports progress: seconds done, and seconds in total, if known.
Progress = Callable[[float, Optional[float]], None]

#: Longer lines are hard to read.
_MAX_COLUMNS = 100


class Screen:
    """One of the two standard streams.

    Args:
        stream: ``sys.stdout`` or ``sys.stderr``.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._console = _console(stream)

    @property
    def columns(self) -> int:
        """How many columns a text may take."""
        return max(20, min(shutil.get_terminal_size((80, 24)).columns, _MAX_COLUMNS))

    def line(self, *parts: Part) -> None:
        """Print one line; control characters in it are escaped.

        Raises:
            OSError: the reader of the stream has gone.
        """
        texts = [(part, "") if isinstance(part, str) else part for part in parts]
        if self._console is None:
            self._stream.write("".join(escape(text) for text, _ in texts) + "\n")
            self._stream.flush()
            return
        from rich.text import Text
        self._console.print(Text.assemble(*[(escape(text), style) for text, style in texts]),
                            soft_wrap=True)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show a spinner with a text while the block runs; in plain text, print one line."""
        if self._console is None:
            self.line(text)
            yield
            return
        # Not the default spinner: a console without Unicode would show its characters' numbers.
        with self._console.status(escape(text), spinner="line"):
            yield

    @contextmanager
    def progress(self, text: str) -> Iterator[Progress]:
        """Show a progress bar while the block runs; in plain text, print one line."""
        if self._console is None:
            self.line(text)
            yield lambda done, total: None
            return
        from rich.progress import BarColumn, Progress as Bar, TextColumn, TimeRemainingColumn
        with Bar(TextColumn("{task.description}", markup=False), BarColumn(), TextColumn(
                "{task.completed:.1f} s"), TimeRemainingColumn(), console=self._console) as bar:
            task = bar.add_task(escape(text), total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)


def _console(stream: TextIO) -> Any:
    """The rich console for a stream; None: print plain text."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=stream, highlight=False, markup=False, emoji=False)


def prepare() -> None:
    """Prepare the process for a terminal: the encoding, and SIGTERM."""
    # A character that the console lacks is escaped; it must not end the program.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    if threading.current_thread() is threading.main_thread():
        # A service manager stops a program with SIGTERM. It does the same as Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def drop_output() -> None:
    """Redirect standard output to the null device, since the interpreter's flush would fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def interrupt_main() -> None:
    """Interrupt the main thread, as Ctrl-C does, since the reader of our output has gone."""
    drop_output()
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
