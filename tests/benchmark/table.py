"""The result as text, at 100 columns. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Optional

from .contestants import Contestant
from .figures import Result, Row, doubts, groups, growth, labels

_LABEL = 22
_COLUMN = 7
_WIDTH = 100

#: The value of a cell, from a row and a column, and how it is written.
Cell = Callable[[Row, int], Optional[float]]
Format = Callable[[Optional[float]], str]


def table(result: Result) -> str:
    """The whole page."""
    parts = [[f"{name}: {text}" for name, text in result.about.items()]]
    if any("-lane" in each.heading for each in result.contestants):
        parts.append(["-lane: fast_lane=False; -C: without the C unmasker of the extra speed"])
    if result.interrupted:
        parts.append(["INTERRUPTED: what follows is what there was by then."])
    plain = [row for row in result.rows if not row.work.growth and not row.work.is_memory]
    round_trips = [row for row in plain if row.work.has_round_trips]
    reference = result.reference
    if reference is None:
        parts.append(_grid("Messages a second", result.contestants, plain,
                           lambda row, at: row.value(at, "rate")))
    else:
        where = reference
        parts.append(_grid(
            "Rate, as a multiple of websockets.sync in the same round (its own: messages a second)",
            result.contestants, plain, lambda row, at: (
                row.value(at, "rate") if at == where else row.ratio(at, where))))
    parts.append(_grid("Processor time of the server for one message, in µs", result.contestants,
                       plain, _scaled("cpu", 1e6)))
    parts.append(_grid("A round trip, median (p50), in µs unless it is said", result.contestants,
                       round_trips, _scaled("p50", 1), span))
    parts.append(_grid("A round trip, 99 of 100 are as fast (p99), in µs unless it is said",
                       result.contestants, round_trips, _scaled("p99", 1), span))
    memory = [row for row in result.rows if row.work.is_memory]
    parts.append(_grid("Memory of one idle connection, in KB", result.contestants, memory,
                       _scaled("memory", 1 / 1000)))
    parts.append(_grid("Threads of one idle connection", result.contestants, memory,
                       _scaled("threads", 1)))
    parts.append(_growth(result))
    parts += [_reasons(result), _list("Not measured cleanly", doubts(result)),
              _list("Faults", result.faults)]
    return "\n\n".join("\n".join(part) for part in parts if part)


def short(value: Optional[float]) -> str:
    """A number in at most five characters, with three significant digits."""
    if value is None:
        return "-"
    for unit, factor in (("M", 1e6), ("k", 1e3)):
        if abs(value) >= (factor * 10 if unit == "k" else factor):
            return f"{value / factor:.{1 if abs(value) < factor * 100 else 0}f}{unit}"
    return f"{value:.{2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0}f}"


def span(seconds: Optional[float]) -> str:
    """A time in at most six characters, in microseconds if it has no unit."""
    if seconds is None or seconds < 0.00995:
        return short(None if seconds is None else seconds * 1e6)
    if seconds < 0.9995:
        return f"{seconds * 1e3:.{1 if seconds < 0.0995 else 0}f}ms"
    return f"{seconds:.{1 if seconds < 99.5 else 0}f}s"


def _scaled(name: str, factor: float) -> Cell:
    def cell(row: Row, place: int) -> Optional[float]:
        value = row.value(place, name)
        return None if value is None else value * factor
    return cell


def _grid(title: str, contestants: Sequence[Contestant], rows: Sequence[Row], cell: Cell,
          form: Format = short) -> list[str]:
    if not rows:
        return []
    lines = [title, *_heading(contestants)]
    for row in rows:
        cells = [cell(row, place) for place in range(len(contestants))]
        lines.append(_line(row.work.title, map(form, cells)))
    return lines


def _line(label: str, texts: Iterable[str]) -> str:
    return f"{label:<{_LABEL}}" + "".join(f" {text:>{_COLUMN - 1}}" for text in texts)


def _heading(contestants: Sequence[Contestant]) -> list[str]:
    columns = [list(each.heading) for each in contestants]
    if len({each.python for each in contestants}) > 1:
        columns = [[*column, each.version] for column, each in zip(columns, contestants)]
    height = max(map(len, columns))
    rows = zip(*([""] * (height - len(column)) + column for column in columns))
    lines = [" " * _LABEL + "".join(f"{name:>{_COLUMN}}" for name in row) for row in rows]
    return [*map(str.rstrip, lines), "-" * (_LABEL + _COLUMN * len(contestants))]


def _growth(result: Result) -> list[str]:
    found = groups(result.rows)
    if not found:
        return []
    lines = ["Growth of the server's processor time, as an exponent: 1 is linear, 2 quadratic",
             *_heading(result.contestants)]
    for rows in found.values():
        exponents = [growth(rows, place) for place in range(len(result.contestants))]
        lines.append(_line(rows[0].work.title, map(short, exponents)))
    return lines


def _reasons(result: Result) -> list[str]:
    # The reasons for each "-"; faults have a list of their own.
    names = labels(result.contestants)
    reasons: dict[str, dict[str, None]] = {}
    for row in result.rows:
        for place, reason in row.missing.items():
            if not reason.startswith("failed"):
                reasons.setdefault(reason, {})[names[place]] = None
    return _list("Why there is a -", [f"{', '.join(who)}: {why}." for why, who in reasons.items()])


def _list(title: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    lines = [title]
    for item in items:
        first, *rest = item.splitlines()
        lines += textwrap.wrap(first, _WIDTH, initial_indent="  - ", subsequent_indent="    ")
        for line in rest:
            lines += textwrap.wrap(line, _WIDTH, initial_indent="    ", subsequent_indent="      ",
                                   break_on_hyphens=False)
    return lines
