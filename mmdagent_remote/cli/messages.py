"""``mmdagent-remote messages``: lists MMDAgent-EX's messages, from the table of this package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..profile import echo_of
from ..vocabulary.table import entries
from .families import STYLES, family_of
from .options import UsageError
from .terminal import Part, Screen
from .text import table, to_json, wrap

#: Up to this many messages that match a word are described in full.
_IN_FULL = 6
#: The column where texts begin, after their labels.
_INDENT = 10

_Entry = Mapping[str, Any]
_KINDS = {"command": "command: you send it", "event": "event: MMDAgent-EX says it",
          "wire": "a command for Plugin_Remote itself; it is not echoed"}


def add_to(commands: Any) -> list[argparse.ArgumentParser]:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "messages", help="MMDAgent-EX's messages: arguments, answers, silent failures",
        description="List the messages of MMDAgent-EX. With a WORD, those that have it in their\n"
        "name, or else in their description; a few are described in full.",
        epilog="example: mmdagent-remote messages SYNTH_START\n"
        "         mmdagent-remote messages timer")
    parser.add_argument("word", nargs="?", default="", metavar="WORD", help="a name or a part of one")
    parser.add_argument("--json", action="store_true", help="print them as a list in JSON")
    parser.set_defaults(run=run)
    return [parser]


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    found = find(options.word)
    if not found:
        raise UsageError(f"no message has {options.word!r} in its name or description")
    screen = Screen(sys.stdout)
    if options.json:
        print(to_json(found, 1))
        return 0
    if options.word and len(found) <= _IN_FULL:
        for number, entry in enumerate(found):
            for parts in [[""]] * bool(number) + list(in_full(entry, screen.columns)):
                screen.line(*parts)
        return 0
    rows = [(form_of(entry), entry["summary"]) for entry in found]
    for first, second in table(rows, screen.columns):
        name = first.partition("|")[0]
        screen.line((name, STYLES[family_of(name)]), first[len(name):], second)
    screen.line("")
    screen.line(f"{len(found)} messages; mmdagent-remote messages NAME describes one in full.")
    return 0


def find(word: str) -> list[_Entry]:
    """The entries of this name, else those with the word in the name, else in the description."""
    every = list(entries().values())
    name = word.partition("|")[0].upper()
    exact = [entry for entry in every if entry["name"] == name]
    if exact or not word:
        return exact or every
    named = [entry for entry in every if name in entry["name"].upper()]
    return named or [entry for entry in every if any(
        word.lower() in (entry.get(key) or "").lower()
        for key in ("summary", "notes", "silent_failures"))]


def form_of(entry: _Entry) -> str:
    """A message with its arguments; optional ones are in brackets."""
    separator: str = entry.get("separator", "|")
    return separator.join([entry["name"], *(
        arg["name"] if arg["required"] else f"[{arg['name']}]" for arg in entry["args"])])


def in_full(entry: _Entry, columns: int) -> Iterator[list[Part]]:
    """The full description of one message, as lines for a screen."""
    style = STYLES[family_of(entry["name"])]
    yield [(entry["name"], style + " bold"), "  " + _KINDS[entry["direction"]]]
    yield from _paragraph("", entry["summary"], columns)
    for number, form in enumerate(_forms(entry)):
        yield from _paragraph("form" if number == 0 else "or", form, columns)
    described = [arg for arg in entry["args"] if _about(arg)]
    if described:
        rows = [(arg["name"], _about(arg)) for arg in described]
        for first, second in table(rows, columns - _INDENT):
            yield [" " * _INDENT, (first, "bold"), second]
    yield from _paragraph("answer" if entry["direction"] == "command" else "", _answers(entry), columns)
    for label, key in (("silent", "silent_failures"), ("note", "notes"), ("part", "plugin")):
        if entry.get(key):
            yield from _paragraph(label, entry[key], columns)


def _forms(entry: _Entry) -> Sequence[str]:
    separator = entry.get("separator", "|")
    forms = entry.get("forms")
    if not forms:
        return [form_of(entry)]
    return [separator.join([entry["name"], *(
        f"[{name[:-1]}]" if name.endswith("?") else name for name in form)]) for form in forms]


def _about(arg: Mapping[str, Any]) -> str:
    texts = [arg.get("desc"), arg.get("type"),
             "one of " + ", ".join(map(str, arg["choices"])) if arg.get("choices") else "",
             f"default {arg['default']}" if arg.get("default") not in (None, "") else "",
             "may be repeated" if arg.get("repeat") else ""]
    return "; ".join(text for text in texts if text)


def _answers(entry: _Entry) -> str:
    if entry["direction"] == "command":
        answers = entry.get("answers") or []
        if answers:
            return " and then ".join(answers)
        return "none; only its echo shows that it arrived" if echo_of(entry["name"]) else \
            "none, and no echo"
    made_by = entry.get("answer_to") or []
    return "It answers " + ", ".join(made_by) + "." if made_by else ""


def _paragraph(label: str, text: str, columns: int) -> Iterator[list[Part]]:
    if not text:
        return
    for number, line in enumerate(wrap(text, columns - _INDENT)):
        head = "  " + (label if number == 0 else "")
        yield [(f"{head:<{_INDENT}}", "bold"), line]
