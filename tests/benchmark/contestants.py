"""Which servers are measured. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Optional

from .works import Work


@dataclass(frozen=True)
class Contestant:
    """One server, and the way it is used."""

    #: For ``--peer``.
    name: str
    #: Above its column: lines of at most six characters.
    heading: tuple[str, ...]
    #: Which function in ``others.py``, ``floor.py`` or ``ours.py`` starts it.
    server: str
    #: For ours: ``message``, ``text`` or ``read_line``.
    api: str = ""
    #: For ours: ``Server``'s option; None for its default.
    fast_lane: Optional[bool] = None
    #: For ours: whether the package with the C unmasker is hidden from it.
    pure: bool = False
    #: The interpreter, and its version.
    python: str = ""
    version: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it is this package."""
        return self.server == "ours"

    def order(self, work: Work, core: Optional[int]) -> dict[str, Any]:
        """The order for the server's process."""
        return {"server": self.server, "api": self.api, "fast_lane": self.fast_lane, "pure": self.pure,
                "role": work.role, "size": work.size, "batch": work.batch, "tls": work.tls,
                "core": core if work.one_core else None}


#: All others are compared with it.
REFERENCE = "websockets"

_OTHERS = (
    Contestant("websockets", ("web", "socket", "s.sync"), "websockets"),
    Contestant("simple-websocket", ("simple", "-web", "socket"), "simple_websocket"),
    Contestant("websocket-server", ("web", "socket", "server"), "websocket_server"),
    Contestant("floor", ("floor",), "floor"),
)
_OURS = (
    Contestant("message", ("on_", "mes-", "sage"), "ours", "message"),
    Contestant("text", ("on_", "text"), "ours", "text"),
    Contestant("read_line", ("read_", "line"), "ours", "read_line"),
)


def everybody(has_lane: bool) -> dict[str, Contestant]:
    """All contestants by name, in the order of the columns.

    Args:
        has_lane: whether ``Server`` has an option ``fast_lane``.
    """
    found = [*_OTHERS, *_OURS]
    if has_lane:
        found += [replace(each, name=f"{each.name}-no-lane", fast_lane=False,
                          heading=(*each.heading, "-lane")) for each in _OURS]
        found += [replace(each, name=f"{each.name}-pure", pure=True, heading=(*each.heading, "-C"))
                  for each in _OURS]
    return {each.name: each for each in found}


def choose(names: list[str], pythons: dict[str, str], has_lane: bool) -> list[Contestant]:
    """The contestants with these names, or as many as a table has room for; for each interpreter.

    Args:
        pythons: the interpreters, each with its version.

    Raises:
        KeyError: no contestant has this name.
    """
    found = everybody(has_lane)
    if not names and len(pythons) > 1:
        names = [REFERENCE, "floor", "message"]
    elif not names:
        names = [name for name in found if not name.endswith("-pure") or name == "text-pure"]
    return [replace(found[name], python=python, version=version)
            for name in names for python, version in pythons.items()]


def why_not(contestant: Contestant, work: Work) -> str:
    """Why a contestant cannot do a work, or need not; empty if it can."""
    if contestant.server in ("simple_websocket", "websocket_server") and work.batch > 1:
        # The reference has no such call either, but sends one by one, since a comparison needs it.
        return "has no call that sends several messages"
    if contestant.api == "read_line" and work.role in ("writers", "broadcast"):
        return "writes as on_message does"
    if contestant.api in ("text", "read_line") and (
            work.batch > 1 or work.kind in ("connect", "accept", "memory")):
        return "the same code as on_message here"
    if contestant.pure and work.role != "sink" and work.kind != "echo":
        return "only what it receives is unmasked"
    return ""
