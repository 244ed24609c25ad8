"""The sets of cases, reading a report of the suite, and judging it. Pure.

A set names each of its cases, so that a report that lacks one fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

OK, INFORMATIONAL = "OK", "INFORMATIONAL"


@dataclass(frozen=True)
class CaseSet:
    """Cases that are run together, and what is expected of each."""

    name: str
    #: How many cases each group has: ``{"1.1": 8}`` is 1.1.1 to 1.1.8.
    groups: Mapping[str, int]
    #: Seconds for the whole set, many times what it needs, since a case can hang the suite.
    deadline: float
    #: Options of the server under test.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Cases for which the suite gives only this verdict, whatever the server does.
    informational: frozenset[str] = frozenset()

    def ids(self) -> Iterator[str]:
        """Every case, in the suite's order."""
        for group, count in self.groups.items():
            for number in range(1, count + 1):
                yield f"{group}.{number}"

    def patterns(self) -> list[str]:
        """The same cases as patterns of the suite: whole sections."""
        return list(dict.fromkeys(f"{group.partition('.')[0]}.*" for group in self.groups))

    def expected(self, case_id: str) -> str:
        """The verdict that a case must have, both on its behavior and on its close."""
        return INFORMATIONAL if case_id in self.informational else OK


#: Section 6, UTF-8, has 23 groups.
_UTF8 = (3, 4, 2, 4, 5, 11, 4, 2, 4, 3, 5, 8, 5, 10, 1, 3, 5, 5, 5, 7, 8, 34, 7)

BASIC = CaseSet(
    "basic",
    {"1.1": 8, "1.2": 8, "2": 11, "3": 7, "4.1": 5, "4.2": 5, "5": 20,
     **{f"6.{group}": count for group, count in enumerate(_UTF8, 1)},
     "7.1": 6, "7.3": 6, "7.5": 1, "7.7": 13, "7.9": 9, "7.13": 2, "10.1": 1},
    deadline=300, informational=frozenset({"7.1.6", "7.13.1", "7.13.2"}))

#: Messages of up to 16 MiB, in up to 65536 fragments.
LIMITS = CaseSet(
    "limits",
    {"9.1": 6, "9.2": 6, "9.3": 9, "9.4": 9, "9.5": 6, "9.6": 6, "9.7": 6, "9.8": 6},
    deadline=1800, options={"max_message_size": 64 << 20, "max_fragments": 1 << 16})

COMPRESSION = CaseSet(
    "compression",
    {**{f"12.{group}": 18 for group in range(1, 6)}, **{f"13.{group}": 18 for group in range(1, 8)}},
    deadline=3600, options={"max_message_size": 64 << 20, "compression": True})

SETS = {each.name: each for each in (BASIC, LIMITS, COMPRESSION)}


class Case(NamedTuple):
    """The suite's verdict on one case."""

    id: str
    behavior: str
    close: str
    #: Whether Close frames went both ways, and the server ended TCP first (RFC 6455, 7.1.1).
    clean: bool


class Result(NamedTuple):
    """The result of one set."""

    case_set: CaseSet
    cases: Sequence[Case]
    faults: Sequence[str]
    seconds: float


class ReportError(ValueError):
    """The text is no report of one server."""


def read_report(read: Callable[[str], str]) -> list[Case]:
    """Read the report of one server.

    Args:
        read: returns the text of one of the report's files.

    Raises:
        ReportError: it is not such a report.
    """
    try:
        (entries,) = json.loads(read("index.json")).values()
        return [_read_case(case_id, entry, read) for case_id, entry in entries.items()]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ReportError(f"no report of one server: {error!r}") from error


def _read_case(case_id: str, entry: Mapping[str, str], read: Callable[[str], str]) -> Case:
    # The index does not say how an informational case ended; only the case's own file does.
    details = json.loads(read(entry["reportfile"]))
    clean = details["wasClean"] and not details["droppedByMe"]
    return Case(case_id, entry["behavior"], entry["behaviorClose"], clean)


def judge(case_set: CaseSet, cases: Sequence[Case]) -> list[str]:
    """A line for each case that is not as expected; empty if there is none."""
    found = {case.id: case for case in cases}
    faults = []
    for case_id in case_set.ids():
        case = found.pop(case_id, None)
        if case is None:
            faults.append(f"{case_id}: not in the report")
        elif not _is_good(case_set, case):
            faults.append(_describe(case))
    return faults + [f"{_describe(case)}; not a case of this set" for case in found.values()]


def _is_good(case_set: CaseSet, case: Case) -> bool:
    expected = case_set.expected(case.id)
    return case.clean and case.behavior == case.close == expected


def _describe(case: Case) -> str:
    return (f"{case.id}: behavior {case.behavior}, close {case.close}, "
            f"{'clean' if case.clean else 'not clean'}")


def table(results: Sequence[Result]) -> str:
    """The results, a row for each set."""
    rows = ["set           cases     OK  informational  other  seconds"]
    for case_set, cases, faults, seconds in results:
        good = [case_set.expected(case.id) for case in cases if _is_good(case_set, case)]
        rows.append(f"{case_set.name:<12}{len(cases):7}{good.count(OK):7}{good.count(INFORMATIONAL):15}"
                    f"{len(faults):7}{seconds:9.1f}")
    return "\n".join(rows)
