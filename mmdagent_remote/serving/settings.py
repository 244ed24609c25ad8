"""A server's settings: which path goes to which handler, and who may connect. Pure.

Also judges the options that a user gives, each with a sentence that says what is wrong.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

from ..limits import Limits
from ..profile import MMDAGENT_EX, STRICT, Profile

#: A class, or anything that returns an instance when it is called without arguments.
Factory = Callable[[], Any]

# After a 429, MMDAgent-EX tries chat-1, then chat-1-2, then chat-1-2-3: so many suffixes at most.
_MOST_SUFFIXES = 100

#: What a browser sends: scheme, host and port, and nothing behind them (RFC 6454, section 7).
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s]+")
#: A token of RFC 9110, as which a subprotocol is offered.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PROFILES = {profile.name: profile for profile in (STRICT, MMDAGENT_EX)}


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


# The options of Server, each judged where the server is made

def host_of(host: object) -> Optional[str]:
    """A host to listen on; None: all interfaces.

    Raises:
        TypeError: it is neither; the text says so if it looks like a port.
    """
    if host is not None and not isinstance(host, str):
        hint = f"; a port is given as port={host}" if isinstance(host, int) else ""
        raise TypeError(f"host must be a str or None, not {host!r}{hint}")
    return host


def ssl_context_of(context: object) -> Optional[ssl.SSLContext]:
    """A context for a server's TLS; None: no TLS.

    Raises:
        TypeError, ValueError: it is no context, or one for clients.
    """
    if context is None:
        return None
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(f"ssl_context must be an ssl.SSLContext, not {context!r}: make one with "
                        "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), and load_cert_chain()")
    if context.protocol == ssl.PROTOCOL_TLS_CLIENT:
        raise ValueError("this ssl_context is for clients: make one for a server with "
                         "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)")
    return context


def origins_of(origins: Union[str, Iterable[str], None]) -> frozenset[str]:
    """The origins that may connect.

    Raises:
        TypeError: one is not a ``str``.
        ValueError: one can never match what a browser sends.
    """
    found = names_of(origins, "an origin")
    for origin in found:
        if origin not in ("*", "null") and not _ORIGIN.fullmatch(origin):
            raise ValueError(f"no browser sends the origin {origin!r}: it is scheme, host and port, "
                             "without a slash at the end, such as 'http://localhost:5000'")
    return frozenset(found)


def subprotocols_of(subprotocols: Union[str, Iterable[str], None]) -> tuple[str, ...]:
    """Subprotocols, in their order.

    Raises:
        TypeError, ValueError: one is not a ``str``, or no client can offer it.
    """
    found = names_of(subprotocols, "a subprotocol")
    for name in found:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"no client can offer the subprotocol {name!r}: it is one word of ASCII")
    return found


def profile_of(profile: object) -> Optional[Profile]:
    """A profile, or its name in any case, with ``-`` or ``_``; None: by the request.

    Raises:
        TypeError, ValueError: it is neither, or there is no profile of this name.
    """
    if profile is None or isinstance(profile, Profile):
        return profile
    if not isinstance(profile, str):
        raise TypeError(f"profile must be a Profile or its name, not {profile!r}")
    found = _PROFILES.get(profile.upper().replace("-", "_"))
    if found is None:
        raise ValueError(f"there is no profile {profile!r}; there are {', '.join(_PROFILES)}")
    return found


def names_of(names: Union[str, Iterable[str], None], what: str) -> tuple[str, ...]:
    """Several names, or one.

    Raises:
        TypeError: one is not a ``str``.
    """
    found = (names,) if isinstance(names, str) else tuple(names or ())
    for name in found:
        if not isinstance(name, str):
            raise TypeError(f"{what} must be a str, not {name!r}")
    return found


def _callable(handler: Factory) -> Factory:
    if not callable(handler):
        raise TypeError(f"a handler must be a class or a callable, not {handler!r}")
    return handler
