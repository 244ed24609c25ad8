"""What each side says about a connection, and whether both agree. Pure.

*Up* is from the peer to the server, *down* from the server to the peer. Lines that the
contract allows to be lost are counted apart: those behind a reset, behind our own close, or
behind the peer's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


class Ending(Enum):
    """How a connection ended, as the peer saw it."""

    #: The peer had all answers, and closed or sent FIN: no line may be missing either way.
    PEER = "peer"
    #: The peer closed or sent FIN while lines came: the rest of those may be lost.
    LEFT = "left"
    #: The server's Close frame was seen: every line that it sent before must have arrived.
    SERVER = "server"
    #: A reset, or a restart whose Close frame was not seen: the rest of both ways may be lost.
    CUT = "cut"


_BEHIND = {Ending.LEFT: "behind the peer's close", Ending.SERVER: "behind our close",
           Ending.CUT: "behind a reset"}


class Account(NamedTuple):
    """A connection as its peer saw it."""

    id: str
    sent: int
    received: int
    ending: Ending
    #: How many broadcasts were left out.
    gaps: int = 0
    #: How the reason that on_close got must end, where that is certain.
    reason: str = ""


class Record(NamedTuple):
    """A connection as its handler saw it."""

    id: str
    received: int
    sent: int
    #: Lines whose number was not the next one.
    disorder: int
    #: How many broadcasts returned this handler as failed.
    missed: int
    #: How many lines the server says it could not send before the end.
    unsent: int
    reason: str


@dataclass
class Balance:
    """The sums over all connections."""

    up_sent: int = 0
    up_received: int = 0
    down_sent: int = 0
    down_received: int = 0
    lost: int = 0
    #: How many lines were not delivered, as the contract allows, by kind of end.
    forgone: Counter[str] = field(default_factory=Counter)
    accounts: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, peer: Account, server: Record) -> None:
        """Compare and add up one connection."""
        self.accounts += 1
        self.up_sent += peer.sent
        self.up_received += server.received
        self.down_sent += server.sent
        self.down_received += peer.received
        up, down = peer.sent - server.received, server.sent - peer.received
        self._settle(peer, "up", up, 0, may_lose=peer.ending in (Ending.SERVER, Ending.CUT))
        self._settle(peer, "down", down, server.unsent,
                     may_lose=peer.ending in (Ending.LEFT, Ending.CUT))
        if server.disorder:
            self.faults.append(f"{peer.id}: {server.disorder} lines out of order at the server")
        if peer.gaps > server.missed:
            self.faults.append(f"{peer.id}: {peer.gaps} broadcasts missing, {server.missed} refused")
        if not server.reason.endswith(peer.reason):
            self.faults.append(f"{peer.id}: ended by {server.reason!r}, not by {peer.reason!r}")

    def _settle(self, peer: Account, way: str, missing: int, excused: int, *, may_lose: bool) -> None:
        if missing < 0 and not may_lose:
            self.faults.append(f"{peer.id}: {-missing} lines {way} that nobody counted as sent")
        missing = max(0, missing)
        forgone = missing if may_lose else min(missing, excused)
        self.forgone[_BEHIND[peer.ending] if may_lose else "told as unsent"] += forgone
        self.lost += missing - forgone
        if missing > forgone:
            self.faults.append(f"{peer.id}: {missing - forgone} lines lost {way} ({peer.ending.value})")


def settle(accounts: Iterable[Account], records: Iterable[Record]) -> Balance:
    """Compare what both sides say about every connection."""
    balance = Balance()
    known: dict[str, Record] = {}
    for record in records:
        if record.id in known:
            balance.faults.append(f"{record.id}: on_close twice")
        known[record.id] = record
    for account in accounts:
        found = known.pop(account.id, None)
        if found is None:
            balance.faults.append(f"{account.id}: opened, but no on_close")
        else:
            balance.add(account, found)
    return balance
