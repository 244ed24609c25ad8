"""The result as a picture. Its content is pure; matplotlib, of the extra ``dev``, only draws it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple, Optional

from .figures import Result, labels


class Bars(NamedTuple):
    """A group of bars for each work, with a bar for each contestant."""

    title: str
    works: list[str]
    #: By contestant; None for no bar.
    values: dict[str, list[Optional[float]]]


def bars(result: Result) -> Bars:
    """The bars to draw: the ratios, or the rates if there is no reference."""
    rows = [row for row in result.rows if not row.work.growth and not row.work.is_memory]
    reference = result.reference
    values: dict[str, list[Optional[float]]] = {}
    for place, name in enumerate(labels(result.contestants)):
        if place != reference:
            values[name] = [row.value(place, "rate") if reference is None
                            else row.ratio(place, reference) for row in rows]
    title = "messages a second" if reference is None else "rate, as a multiple of websockets.sync"
    return Bars(title, [row.work.name for row in rows], values)


def is_there() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(data: Bars, path: Path) -> None:
    """Draw it into a file.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib.figure import Figure

    height = 0.8 / max(len(data.values), 1)
    figure = Figure(figsize=(10, 1.5 + len(data.works) * max(0.35, len(data.values) * 0.12)),
                    layout="constrained")
    axes = figure.subplots()
    for number, (name, values) in enumerate(data.values.items()):
        there = [(at + (number + 0.5) * height - 0.4, value)
                 for at, value in enumerate(values) if value is not None]
        axes.barh([at for at, _ in there], [value for _, value in there], height, label=name)
    axes.set_yticks(range(len(data.works)), data.works)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel(data.title)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.grid(axis="x", which="both", alpha=0.3)
    axes.legend(loc="best", fontsize="small")
    figure.savefig(path, dpi=120)
