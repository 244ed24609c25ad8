"""The statistics of the samples: medians of ratios within each round, growth, and doubts. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Optional

from .contestants import REFERENCE, Contestant
from .works import Work

#: Shares from which on a doubt is reported.
_BUSY_CLIENT = 0.9
_SPREAD = 0.3
_BUSY_MACHINE = 0.05


@dataclass(frozen=True)
class Sample:
    """One work on one server in one round. Times in seconds."""

    rate: float = 0.0
    #: The server's processor time for one message, user and system.
    cpu: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    #: The client's processor time, as a share of the elapsed time.
    client: float = 0.0
    #: Bytes and threads of one connection; only for memory works.
    memory: float = 0.0
    threads: float = 0.0


@dataclass
class Row:
    """One work on all servers, by the contestant's index."""

    work: Work
    samples: dict[int, list[Sample]] = field(default_factory=dict)
    #: Why a contestant has no samples.
    missing: dict[int, str] = field(default_factory=dict)

    def value(self, place: int, name: str) -> Optional[float]:
        """The median over the rounds of one field of the samples."""
        values = [getattr(each, name) for each in self.samples.get(place, [])]
        return median(values) if values else None

    def ratios(self, place: int, reference: int, name: str = "rate") -> list[float]:
        """Each round's value divided by the reference's value in the same round."""
        pairs = zip(self.samples.get(place, []), self.samples.get(reference, []))
        return [getattr(one, name) / getattr(other, name) for one, other in pairs
                if getattr(other, name)]

    def ratio(self, place: int, reference: int, name: str = "rate") -> Optional[float]:
        """The median of the rounds' ratios."""
        found = self.ratios(place, reference, name)
        return median(found) if found else None


@dataclass
class Result:
    """A whole run."""

    contestants: list[Contestant]
    rows: list[Row] = field(default_factory=list)
    rounds: int = 0
    #: The machine and the versions, as text.
    about: dict[str, str] = field(default_factory=dict)
    #: Shares of the processors: busy before the start, used by others meanwhile. None if not known.
    busy_before: Optional[float] = None
    others: Optional[float] = None
    #: The failures of servers.
    faults: list[str] = field(default_factory=list)
    failed: set[int] = field(default_factory=set)
    interrupted: bool = False

    @property
    def have_we_failed(self) -> bool:
        """Whether this package is among the failed servers."""
        return any(self.contestants[place].is_ours for place in self.failed)

    @property
    def reference(self) -> Optional[int]:
        """The index of the contestant that all are compared with."""
        names = [each.name for each in self.contestants]
        return names.index(REFERENCE) if REFERENCE in names else None


def percentile(values: Sequence[int], percent: int) -> float:
    """The smallest value that `percent` of the values do not exceed (nearest rank); 0 if none."""
    if not values:
        return 0.0
    return float(sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)])


def exponent(points: Iterable[tuple[float, float]]) -> Optional[float]:
    """The k of cost = c * scale ** k, from the smallest scale to the largest; 2 is quadratic."""
    found = sorted((scale, cost) for scale, cost in points if scale > 0 and cost > 0)
    if len(found) < 2 or found[0][0] == found[-1][0]:
        return None
    (small, little), (large, much) = found[0], found[-1]
    return math.log(much / little) / math.log(large / small)


def growth(rows: Iterable[Row], place: int) -> Optional[float]:
    """The exponent of the server's processor time over the works of one group."""
    points = []
    for row in rows:
        cpu = row.value(place, "cpu")
        if cpu is not None:
            # The time for all messages together, if their number is what grows.
            points.append((float(row.work.scale), cpu * row.work.times))
    return exponent(points)


def groups(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each group of growth."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.work.growth:
            found.setdefault(row.work.growth, []).append(row)
    return found


def count_for(seconds: float, spent: float, count: int, smallest: int, largest: int) -> int:
    """How many messages take `seconds`, if `count` have taken `spent`."""
    wanted = count * seconds / spent if spent > 0 else largest
    return int(min(max(wanted, smallest), largest))


def doubts(result: Result) -> list[str]:
    """The doubts about the measurement, an item each; lines after its first are its parts."""
    found, names = [], labels(result.contestants)
    if result.busy_before is None:
        found.append("Whether the machine was busy before the start is not known on this system.")
    elif result.busy_before > _BUSY_MACHINE:
        found.append(f"Before the start {result.busy_before:.0%} of the processors were busy.")
    if result.others is not None and result.others > _BUSY_MACHINE:
        found.append(f"Meanwhile other programs took {result.others:.0%} of the processors.")
    if result.rounds < 3:
        found.append(f"Rounds: {result.rounds}. That is too few for a median; look at the order only.")
    busy, wide = [], []
    for row in result.rows:
        shares = {place: row.value(place, "client") or 0.0 for place in row.samples}
        # Growth compares the server's processor time, so the client does not matter there.
        if not row.work.growth:
            busy += _sentence(row.work, names, shares, _BUSY_CLIENT)
        wide += _sentence(row.work, names, _spreads(row, result.reference), _SPREAD)
    if busy:
        found.append("The client was busy for so much of the time, so the server may be faster:\n"
                     + "\n".join(busy))
    if wide:
        found.append("From round to round the ratio (of growth: the processor time) differed by so "
                     "much:\n" + "\n".join(wide))
    return found


def _sentence(work: Work, names: Sequence[str], shares: dict[int, float], bound: float) -> list[str]:
    parts = [f"{names[place]} {share:.0%}" for place, share in shares.items() if share > bound]
    title = f"{work.name} {work.scale}" if work.growth else work.name
    return [f"{title}: {', '.join(parts)}"] if parts else []


def _spreads(row: Row, reference: Optional[int]) -> dict[int, float]:
    if row.work.is_memory:
        return {place: _spread([each.memory for each in samples])
                for place, samples in row.samples.items()}
    if row.work.growth or reference is None:
        return {place: _spread([each.cpu for each in samples]) for place, samples in row.samples.items()}
    return {place: _spread(row.ratios(place, reference)) for place in row.samples if place != reference}


def _spread(ratios: Sequence[float]) -> float:
    # Of five and more the furthest from the median is left out: a single disturbance can cause it.
    found = sorted(ratios, key=lambda ratio: abs(ratio - median(ratios)))
    found = found[:-1] if len(found) >= 5 else found
    return (max(found) - min(found)) / median(found) if found else 0.0


def as_json(result: Result) -> dict[str, Any]:
    """The whole result, with each round. Times in seconds."""
    names = labels(result.contestants)
    works = []
    for row in result.rows:
        peers = {}
        for place, samples in row.samples.items():
            fields = {name: row.value(place, name) for name in Sample.__annotations__}
            peers[names[place]] = {
                **fields, "rounds": [vars(each) for each in samples],
                "ratio": None if result.reference is None else row.ratio(place, result.reference)}
        works.append({"name": row.work.name, "title": row.work.title.strip(), "work": row.work.as_json(),
                      "peers": peers, "missing": {names[at]: why for at, why in row.missing.items()}})
    grown = {name: {names[place]: growth(rows, place) for place in range(len(names))}
             for name, rows in groups(result.rows).items()}
    return {"about": result.about, "busy_before": result.busy_before, "others": result.others,
            "rounds": result.rounds, "peers": names,
            "interrupted": result.interrupted, "works": works, "growth": grown,
            "doubts": doubts(result), "faults": result.faults}


def labels(contestants: Sequence[Contestant]) -> list[str]:
    """A name for each contestant, with the interpreter if there are several."""
    several = len({each.python for each in contestants}) > 1
    return [f"{each.name} on {each.version}" if several else each.name for each in contestants]
