"""``Agent``: a Handler that knows MMDAgent-EX's vocabulary; what ``Server.accept()`` returns."""

from __future__ import annotations

from types import TracebackType
from typing import Optional

from .handler import Handler


class Agent(Handler):
    """A :class:`Handler` that can also be driven from a plain script.

    As a context manager it closes its connection on exit.
    """

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self.close()
