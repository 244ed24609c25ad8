"""The table of a run, and what is wrong with it."""

from __future__ import annotations

from statistics import median, quantiles
from typing import Any

from .run import Result

#: How much memory the allocator may keep from the warm server to its end.
_RSS_SLACK = 16 << 20

_MIB = 1 << 20


def verdict(result: Result) -> list[str]:
    """All that is wrong; empty if the run has passed."""
    found = [*result.world.faults, *result.balance.faults]
    if result.balance.lost:
        found.append(f"{result.balance.lost} lines were lost")
    start, end = result.measures["start"], result.measures["end"]
    warm = result.measures.get("warm")
    for name in ("threads", "files"):
        before, after = getattr(start, name), getattr(end, name)
        if after != before:
            found.append(f"{name} leaked: {before} at the start, {after} at the end")
    if end.opens != end.closes:
        found.append(f"on_open was called {end.opens} times, on_close {end.closes} times")
    if warm is not None and end.rss > warm.rss + _RSS_SLACK:
        found.append(f"memory grew by {(end.rss - warm.rss) / _MIB:.1f} MiB after it was warm")
    return found


def figures(result: Result) -> dict[str, Any]:
    """All figures, for the table and as JSON."""
    balance = result.balance
    return {
        "seconds": round(result.seconds, 1),
        "connections": dict(sorted(result.world.styles.items())),
        "lines": {
            "up sent": balance.up_sent, "up received": balance.up_received,
            "down sent": balance.down_sent, "down received": balance.down_received,
            "lost": balance.lost,
            **{f"not delivered, {where}": number
               for where, number in sorted(balance.forgone.items()) if number},
            "connections accounted for": balance.accounts},
        "round trips": {name: _times(values) for name, values in sorted(result.world.times.items())
                        if values},
        "server": {moment: {**measure._asdict(), "rss": round(measure.rss / _MIB, 1)}
                   for moment, measure in _moments(result)},
        "memory by minute": [round(rss / _MIB, 1) for rss in result.minutes],
        "restarts": {
            "number": len(result.restarts),
            "slowest shutdown": round(max((r.seconds for r in result.restarts), default=0.0), 3)},
        "faults": verdict(result),
    }


def _moments(result: Result) -> list[tuple[str, Any]]:
    moments = dict(result.measures)
    end = moments.pop("end")
    return [*moments.items(), *([("peak", result.peak)] if result.peak else []), ("end", end)]


def _times(seconds: list[float]) -> dict[str, float]:
    if len(seconds) == 1:
        seconds = seconds * 2
    return {"number": len(seconds), "median ms": round(median(seconds) * 1000, 2),
            "99 % ms": round(quantiles(seconds, n=100)[98] * 1000, 2),
            "most ms": round(max(seconds) * 1000, 2)}


def table(data: dict[str, Any]) -> str:
    """The figures as text."""
    rows = [f"soak: {data['seconds']} s, {sum(data['connections'].values())} connections, "
            f"{data['restarts']['number']} restarts "
            f"(slowest shutdown {data['restarts']['slowest shutdown']} s)"]
    rows += _columns("connections made", data["connections"])
    rows += _columns("lines", data["lines"])
    rows += _grid("round trips", data["round trips"])
    rows += _grid("server process (rss in MiB)", data["server"])
    if data["memory by minute"]:
        rows += ["", "rss by minute  " + "  ".join(map(str, data["memory by minute"]))]
    rows += ["", f"faults: {len(data['faults'])}", *(f"  {text}" for text in data["faults"][:40])]
    return "\n".join(rows)


def _columns(title: str, values: dict[str, Any]) -> list[str]:
    return ["", title, *(f"  {name:<34}{value:>12}" for name, value in values.items())]


def _grid(title: str, lines: dict[str, dict[str, Any]]) -> list[str]:
    heads = list(next(iter(lines.values()), {}))
    rows = ["", f"{title:<36}" + "".join(f"{head:>12}" for head in heads)]
    return rows + [f"  {name:<34}" + "".join(f"{line[head]:>12}" for head in heads)
                   for name, line in lines.items()]
