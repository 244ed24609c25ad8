"""A server's settings: which path goes to which handler, and who may connect. Pure."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

from ..limits import Limits
from ..profile import Profile

#: A class, or anything that returns an instance when it is called without arguments.
Factory = Callable[[], Any]

# After a 429, MMDAgent-EX tries chat-1, then chat-1-2, then chat-1-2-3: so many suffixes at most.
_MOST_SUFFIXES = 100


class Routes:
    """Finds the handler of a path.

    Args:
        handler: one handler for all paths (or for `path`), or a dict of them by path.
        path: the only path, or None for any.
        follow_suffixes: ``/chat-1`` goes where ``/chat`` goes.
    """

    def __init__(self, handler: Union[Factory, Mapping[str, Factory]], path: Optional[str], *,
                 follow_suffixes: bool) -> None:
        self._follow_suffixes = follow_suffixes
        self._any: Optional[Factory] = None
        self._by_path: dict[str, Factory] = {}
        if isinstance(handler, Mapping):
            if path is not None:
                raise ValueError("give the paths in the dict of handlers, or path=, not both")
            if not handler:
                raise ValueError("the dict of handlers is empty")
            self._by_path = {normal_path(key): _callable(value) for key, value in handler.items()}
            if len(self._by_path) < len(handler):
                raise ValueError(f"two handlers for one path: {list(handler)}")
        elif path is None:
            self._any = _callable(handler)
        else:
            self._by_path = {normal_path(path): _callable(handler)}

    @property
    def first_path(self) -> str:
        """A path that leads to a handler, for the address to show."""
        return next(iter(self._by_path), "/")

    def find(self, path: str) -> Optional[Factory]:
        """The handler of a request's decoded path, or None."""
        if self._any is not None:
            return self._any
        found = self._by_path.get(path)
        for _ in range(_MOST_SUFFIXES if self._follow_suffixes else 0):
            path, dash, number = path.rpartition("-")
            if found is not None or not (dash and number.isdecimal()):
                break
            found = self._by_path.get(path)
        return found


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything about a server that does not change while it runs."""

    limits: Limits
    routes: Routes
    exclusive: bool
    ssl_context: Optional[ssl.SSLContext]
    origins: frozenset[str]
    subprotocols: tuple[str, ...]
    compression: bool
    profile: Optional[Profile]
    #: That of a client which is recognised as MMDAgent-EX.
    mmdagent: Profile
    fast_lane: bool

    def allows_origin(self, origin: Optional[str]) -> bool:
        """Whether a request with this Origin may connect: listed exactly, or None (no browser)."""
        return origin is None or "*" in self.origins or origin in self.origins

    def choose_subprotocol(self, offered: Sequence[str]) -> Optional[str]:
        """Our first subprotocol that the client offers."""
        return next((name for name in self.subprotocols if name in offered), None)


def normal_path(path: str) -> str:
    """A path with its leading slash.

    Raises:
        TypeError: it is not a ``str``.
        ValueError: it has a query.
    """
    if not isinstance(path, str):
        raise TypeError(f"a path must be a str, not {type(path).__name__}")
    if "?" in path:
        raise ValueError(f"a path is compared without its query: {path!r}")
    return path if path.startswith("/") else "/" + path


def _callable(handler: Factory) -> Factory:
    if not callable(handler):
        raise TypeError(f"a handler must be a class or a callable, not {handler!r}")
    return handler
