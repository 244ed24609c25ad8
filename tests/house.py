"""The house: which wing a module is in, which wings it may import from, and a picture of that.

``python -m tests.house`` draws the picture anew, in ``docs/design.md``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).parent.parent
PACKAGE = PROJECT / "mmdagent_remote"
NAME = PACKAGE.name
PAGE = PROJECT / "docs" / "design.md"

GROUND = {"errors", "limits", "mdf", "message", "profile"}
#: From the ground up. A wing imports only from the rows above its own.
ROWS = [
    ("ground",),
    ("vocabulary", "websocket"),
    ("connection",),
    ("speech", "sound", "handler"),
    ("agent",),
    ("serving",),
    ("server",),
    ("mmdagent_remote",),
    ("callbacks", "testing"),
    ("cli",),
    ("__main__",),
]
LEVEL = {wing: level for level, wings in enumerate(ROWS) for wing in wings}


class Import(NamedTuple):
    """One import of a module."""

    #: Of this package: its name in it, with slashes. Else the top-level name.
    module: str
    is_ours: bool
    #: Under ``if TYPE_CHECKING:``.
    is_for_types: bool


def modules() -> dict[str, Path]:
    """The package's modules by their name in it: ``message``, ``websocket/lines``."""
    return {path.relative_to(PACKAGE).with_suffix("").as_posix(): path for path in PACKAGE.rglob("*.py")}


def wing_of(module: str) -> str:
    """The wing of a module: its folder; at the top, ``ground`` or its own name."""
    if module == "__init__":
        return NAME
    return "ground" if module in GROUND else module.partition("/")[0]


def imports_of(source: str, importer: str, known: Mapping[str, object]) -> Iterator[Import]:
    """What a module imports.

    Args:
        importer: its name in the package.
        known: the names of all modules.
    """
    package = importer.split("/")[:-1]
    for node, is_for_types in _nodes(ast.parse(source), False):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first, *rest = alias.name.split(".")
                is_ours = first == NAME
                yield Import(_module(rest, known) if is_ours else first, is_ours, is_for_types)
        elif isinstance(node, ast.ImportFrom):
            parts = node.module.split(".") if node.module else []
            if node.level == 0 and parts[0] != NAME:
                yield Import(parts[0], False, is_for_types)
                continue
            parts = parts[1:] if node.level == 0 else package[:len(package) + 1 - node.level] + parts
            for module in {_module([*parts, alias.name], known): None for alias in node.names}:
                yield Import(module, True, is_for_types)


def _module(parts: list[str], known: Mapping[str, object]) -> str:
    """The module that a dotted name is in, or is: the last parts can be names inside it."""
    for size in range(len(parts), 0, -1):
        name = "/".join(parts[:size])
        for module in (name, f"{name}/__init__"):
            if module in known:
                return module
    return "__init__"


def _nodes(node: ast.AST, is_for_types: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for part, flag in ((child.body, True), (child.orelse, is_for_types)):
                for other in part:
                    yield other, flag
                    yield from _nodes(other, flag)
            continue
        yield child, is_for_types
        yield from _nodes(child, is_for_types)


def imports() -> Iterator[tuple[str, Import]]:
    """All imports of the package, with the module that has each."""
    found = modules()
    for name, path in sorted(found.items()):
        for each in imports_of(path.read_text("utf-8"), name, found):
            yield name, each


def picture() -> str:
    """The wings and their imports, as Mermaid."""
    direct: dict[str, set[str]] = {wing: set() for wing in LEVEL}
    for_types: set[tuple[str, str]] = set()
    for name, each in imports():
        wings = wing_of(name), wing_of(each.module)
        if each.is_ours and wings[0] != wings[1]:
            if each.is_for_types:
                for_types.add(wings)
            else:
                direct[wings[0]].add(wings[1])
    lines = ["flowchart TB"]
    for row in ROWS:
        lines += [f'    {wing}["{_label(wing)}"]' for wing in row]
    for row in ROWS:
        for wing in row:
            below = direct[wing]
            # What follows from other arrows is left out.
            nearest = below - {far for near in below for far in _reached(near, direct)}
            lines += [f"    {wing} --> {other}" for other in sorted(nearest)]
    # The upper one first, and no arrowhead, or the layout would put the lower one on top.
    lines += [f"    {other} -.- {one}" for one, other in sorted(for_types)
              if other not in _reached(one, direct)]
    return "\n".join(lines)


def _reached(wing: str, direct: Mapping[str, set[str]]) -> set[str]:
    found = set(direct[wing])
    return found.union(*(_reached(other, direct) for other in found))


def _label(wing: str) -> str:
    if wing == "ground":
        return " ".join(f"{name}.py" for name in sorted(GROUND))
    if wing == NAME:
        return "mmdagent_remote/__init__.py"
    return f"{wing}/" if (PACKAGE / wing).is_dir() else f"{wing}.py"


def with_picture(page: str) -> str:
    """The page, with the picture as it is now in its place.

    Raises:
        ValueError: it has no place for it.
    """
    begin, end = "```mermaid\n", "\n```"
    before, found, rest = page.partition(begin)
    if not found:
        raise ValueError("there is no mermaid block")
    return before + begin + picture() + end + rest.partition(end)[2]


if __name__ == "__main__":
    PAGE.write_text(with_picture(PAGE.read_text("utf-8")), "utf-8")
