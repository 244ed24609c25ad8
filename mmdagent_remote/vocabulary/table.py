"""The messages of MMDAgent-EX, from the table in ``messages.json``. Pure.

The table has 186 entries, from MMDAgent-EX's documentation and its source. Where the two
differ, the source was followed, and the entry's note says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from ..message import Message


@cache
def entries() -> Mapping[str, Mapping[str, Any]]:
    """Return all entries of the table, by name. The file is read at the first call."""
    text = (files(__package__) / "messages.json").read_text("utf-8")
    return {entry["name"]: entry for entry in json.loads(text)["messages"]}


def answer_to(command: Message) -> str:
    """Return the pattern of a command's answer: its type, and the arguments that it repeats.

    Raises:
        ValueError: it is not a command that MMDAgent-EX answers, as far as the table knows.
    """
    entry = entries().get(command.type)
    if entry is None or entry["direction"] != "command":
        raise ValueError(f"{command.type} is no command in the table of MMDAgent-EX's messages; "
                         "say which message answers it with until=")
    if not entry.get("answers"):
        raise ValueError(f"MMDAgent-EX answers {command.type} with no message; "
                         "use send(), or say what to wait for with until=")
    return "|".join([entry["answers"][0], *_keys(entry, command.args)])


def _keys(entry: Mapping[str, Any], args: tuple[str, ...]) -> list[str]:
    """Return the arguments that the answer repeats, in the answer's order."""
    places = entry.get("key_args") or []
    for form in entry.get("forms") or []:
        names = [entry["args"][place]["name"] for place in places]
        # Some commands take their arguments in another order when there are more of them.
        if len(form) == len(args) and all(name in form for name in names):
            places = [form.index(name) for name in names]
    return [args[place] for place in places if place < len(args)]
