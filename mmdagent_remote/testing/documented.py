"""The commands of MMDAgent-EX, from the package's table of messages. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..vocabulary.table import entries


@dataclass(frozen=True)
class Command:
    """One command, and which events answer it."""

    name: str
    #: The part of the program that obeys it.
    plugin: str
    #: The least number of arguments that it needs.
    needs: int
    #: The type of each answer; the first one comes when it is obeyed.
    answers: tuple[str, ...]
    #: The indexes of the arguments that the answer repeats.
    key_args: tuple[int, ...]
    #: Whether its first argument is a model.
    is_for_model: bool


@lru_cache(maxsize=1)
def commands() -> Mapping[str, Command]:
    """All commands by their name."""
    return {name: _command(entry) for name, entry in entries().items()
            if entry["direction"] == "command"}


def _command(entry: Mapping[str, Any]) -> Command:
    forms = entry["forms"] or [
        [each["name"] + ("" if each["required"] else "?") for each in entry["args"]]]
    needs = min(sum(not name.endswith(("?", "...")) for name in form) for form in forms)
    return Command(
        name=entry["name"], plugin=entry["plugin"], needs=needs,
        answers=tuple(entry["answers"] or ()), key_args=tuple(entry["key_args"] or ()),
        is_for_model=bool(entry["args"]) and entry["args"][0]["name"] == "model")
