"""The works that are measured, one for each row of the table. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Work:
    """One work. Its kind is explained in ``drive.py``, its role in ``roles.py``."""

    #: For ``--work``.
    name: str
    #: For the table.
    title: str
    kind: str
    role: str
    #: Bytes of a line, its newline included.
    size: int = 100
    connections: int = 1
    #: Whether server and client share a core, so that a round trip need not wake a second one.
    one_core: bool = False
    tls: bool = False
    #: Lines in one call of the server.
    batch: int = 1
    #: The rounds use this many times the calibrated count.
    times: int = 1
    #: The group of growth. Works of a group show how the cost grows with `scale`.
    growth: str = ""
    scale: int = 0
    #: Whether ``--quick`` includes it.
    quick: bool = False

    @property
    def has_round_trips(self) -> bool:
        """Whether p50 and p99 are meaningful."""
        return self.kind in ("pingpong", "connect")

    @property
    def is_memory(self) -> bool:
        """Whether memory is measured, which needs a fresh process."""
        return self.kind == "memory"

    @property
    def smallest(self) -> int:
        """The least count that makes sense."""
        return max(self.batch, 2 * self.connections if self.kind == "pingpong" else 1)

    @property
    def largest(self) -> int:
        """The largest count: all connections of accept stay open; a broadcast does not wait, so what
        it sends must fit in the kernel; a writer's lines are made beforehand."""
        return {"accept": 800, "broadcast": 400, "connect": 5000, "writers": 50000}.get(self.kind, 10**7)

    def messages(self, count: int) -> int:
        """How many messages `count` is for the server; for writers, sent and received ones."""
        return count * 8 if self.kind == "writers" else count

    def as_json(self) -> dict[str, Any]:
        """The work for the load's process."""
        return asdict(self)


def _connections(count: int) -> Work:
    return Work(f"connections-{count}", f"{count} connections", "pingpong", "echo", connections=count,
                quick=count == 100)


def _memory(count: int) -> Work:
    return Work(f"memory-{count}", f"{count} idle", "memory", "echo", connections=count,
                quick=count == 1000)


_PING_PONG = Work("ping-pong", "ping-pong, one core", "pingpong", "echo", one_core=True, quick=True)
_RECEIVE = Work("receive-100", "receive 100 B", "receive", "sink", quick=True)

#: The rows of the table, in order.
TABLE = (
    _PING_PONG,
    replace(_PING_PONG, name="ping-pong-tls", title="ping-pong, TLS", tls=True, quick=False),
    _RECEIVE,
    replace(_RECEIVE, name="receive-100-tls", title="receive 100 B, TLS", tls=True, quick=False),
    replace(_RECEIVE, name="receive-1287", title="receive 1287 B", size=1287),
    replace(_RECEIVE, name="receive-8192", title="receive 8 KB", size=8192),
    Work("echo", "echo, pipelined", "echo", "echo", quick=True),
    Work("send", "send 100 B", "send", "send", quick=True),
    Work("send-lines", "send_lines, by 100", "send", "send", batch=100, quick=True),
    _connections(10), _connections(100), _connections(500), _connections(1000),
    Work("writers", "4 writers, 1 reader", "writers", "writers", quick=True),
    Work("connect", "connect and close", "connect", "echo", quick=True),
    Work("accept", "accept, 4 at a time", "accept", "echo"),
    _memory(1000), _memory(5000),
)

#: How the cost grows, group by group.
GROWTH = (
    *(replace(_RECEIVE, name="growth-number", title="number of messages", times=times, growth="number",
              scale=times, quick=False) for times in (1, 16)),
    *(replace(_RECEIVE, name="growth-size", title="size of a message", size=size, growth="size",
              scale=size, quick=False) for size in (1024, 8192, 61440)),
    *(Work("growth-broadcast", "broadcast to N", "broadcast", "broadcast", connections=number,
           growth="broadcast", scale=number) for number in (10, 100, 400)),
    *(Work("growth-bytewise", "byte by byte", "bytewise", "sink", size=size, growth="bytewise",
           scale=size) for size in (1024, 8192, 61440)),
)

WORKS = TABLE + GROWTH

NAMES = tuple(dict.fromkeys(work.name for work in WORKS))


def choose(names: list[str], quick: bool) -> list[Work]:
    """The works with these names; without names all, or the quick ones."""
    if names:
        return [work for work in WORKS if work.name in names]
    return [work for work in WORKS if work.quick or not quick]
