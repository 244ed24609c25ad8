"""Reads an ``.mdf`` as MMDAgent-EX does, and keeps line numbers. Pure.

What MMDAgent-EX's source does, and many would not expect:

- a name begins in the first column and ends at ``=``; blanks are part of it, and case matters;
- blanks before a value are part of it, blanks after it are not; a comment cannot follow a value;
- if two lines have the same name, the last one counts;
- a byte order mark is part of the first line;
- ``%ENV{NAME}`` is an environment variable; without its ``}`` the whole file is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

_BOM = "\ufeff"
_VARIABLE = re.compile(r"%ENV\{(.*?)\}")


class Setting(NamedTuple):
    """One line ``name=value``; the number counts from 1."""

    number: int
    name: str
    value: str


@dataclass
class MdfFile:
    """The content of an ``.mdf``."""

    encoding: str
    settings: list[Setting] = field(default_factory=list)
    has_bom: bool = False
    #: The first line with ``%ENV{`` and no ``}``.
    broken_line: Optional[Setting] = None

    def last(self, name: str) -> Optional[Setting]:
        """The line that counts for a name."""
        return next((each for each in reversed(self.settings) if each.name == name), None)


def decode(data: bytes) -> tuple[str, str]:
    """The text and its encoding: UTF-16 if marked, else UTF-8, else Shift_JIS, else Latin-1."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace"), "utf-16"
    for encoding in ("utf-8", "cp932"):
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            pass
    return data.decode("latin-1"), "latin-1"


def parse(data: bytes, environment: Mapping[str, str]) -> MdfFile:
    """Read a file.

    Args:
        data: its bytes.
        environment: the variables for ``%ENV{NAME}``; one that is not set is empty.
    """
    text, encoding = decode(data)
    file = MdfFile(encoding, has_bom=text.startswith(_BOM) and encoding == "utf-8")
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r\t ")
        if line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if "%ENV{" in _VARIABLE.sub("", line) and file.broken_line is None:
            file.broken_line = Setting(number, name, value)
        if equals:
            value = _VARIABLE.sub(lambda found: environment.get(found.group(1), ""), value)
            file.settings.append(Setting(number, name, value))
    return file


def number_of(value: str) -> int:
    """The number that MMDAgent-EX reads from a value: the integer at its beginning, else 0."""
    found = re.match(r"\s*([+-]?[0-9]+)", value)
    return int(found.group(1)) if found else 0
