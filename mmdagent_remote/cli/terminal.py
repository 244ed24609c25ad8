"""What is printed: in colour on a terminal where ``rich`` is installed, else plain text.

Plain it is also with ``NO_COLOR``, on a terminal that calls itself dumb, and in a pipe. Any thread may
print: a line is one write.
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

#: A text, or a text and its style in the words of rich.
Part = Union[str, tuple[str, str]]

#: Tells how far something is: seconds done, and seconds in all, if that is known.
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
        """Print one line; control characters in it are written out.

        Raises:
            OSError: whoever read it has gone.
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
        """A spinner with a text, as long as this lasts; without colours, a line."""
        if self._console is None:
            self.line(text)
            yield
            return
        # Not the default: a console without Unicode would show its numbers.
        with self._console.status(escape(text), spinner="line"):
            yield

    @contextmanager
    def progress(self, text: str) -> Iterator[Progress]:
        """A bar that grows, as long as this lasts; without colours, a line."""
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
    """rich's console for a stream; None: it gets plain text."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=stream, highlight=False, markup=False, emoji=False)


def prepare() -> None:
    """Make the process fit for a terminal: its encoding, and SIGTERM."""
    # A console that lacks a character shows another; it must not end the program.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    if threading.current_thread() is threading.main_thread():
        # A service manager's stop is a Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def drop_output() -> None:
    """Standard output cannot be flushed any more; let the interpreter not try."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def interrupt_main() -> None:
    """End the main thread, as Ctrl-C does, since whoever read our output has gone."""
    drop_output()
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
