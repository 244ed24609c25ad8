"""``docs/complaints.md``: every complaint has its row, and every test named there exists."""

from __future__ import annotations

import importlib
import re
import unittest
from pathlib import Path
from typing import NamedTuple

from ..support import PROJECT

_PAGE = PROJECT / "docs" / "complaints.md"
_TEST = re.compile(r"`tests/([\w/]+)\.py::(\w+)\.(test_\w+)`")
_COUNT = 57


class Row(NamedTuple):
    """A row of the table."""

    number: int
    thread: str
    complaint: str
    here: str
    test: str


def module_name(file: str) -> str:
    """The module of a file that the page names."""
    return f"tests.{file.replace('/', '.')}"


def rows() -> list[Row]:
    """The table's rows below its head."""
    found = []
    for line in _PAGE.read_text(encoding="utf-8").splitlines():
        if re.match(r"\| \d", line):
            number, *rest = (cell.strip() for cell in line.strip("|").split(" | "))
            found.append(Row(int(number), *rest))
    return found


class TableTest(unittest.TestCase):
    """The page and the tests."""

    def test_every_complaint_has_its_row(self) -> None:
        """Rows 1 to 57 are there, once and in order, and no cell is empty."""
        self.assertEqual([row.number for row in rows()], list(range(1, _COUNT + 1)))
        for row in rows():
            self.assertTrue(all(row), row)

    def test_every_thread_is_named(self) -> None:
        """A thread is a project and a number."""
        for row in rows():
            for thread in row.thread.split(", "):
                self.assertRegex(thread, r"^[\w-]+ #\d+$")

    def test_every_test_exists(self) -> None:
        """Every row names tests that exist, or says why the complaint does not apply."""
        for row in rows():
            with self.subTest(row.number):
                named = _TEST.findall(row.test)
                self.assertEqual(_TEST.sub("", row.test).strip(", ") if named else "", "")
                if not named:
                    self.assertRegex(row.test, r"^does not apply: \w")
                for module, case, name in named:
                    found = getattr(importlib.import_module(module_name(module)), case)
                    self.assertTrue(callable(getattr(found, name)))

    def test_every_test_has_its_row(self) -> None:
        """A test's docstring begins with the number and a thread of the row that names it."""
        by_test = {(module, case, name): row for row in rows()
                   for module, case, name in _TEST.findall(row.test)
                   if module.startswith("complaints/")}
        for path in (PROJECT / "tests" / "complaints").glob("test_*.py"):
            if path.name == Path(__file__).name:
                continue
            name = f"complaints/{path.stem}"
            module = importlib.import_module(module_name(name))
            for suite in unittest.defaultTestLoader.loadTestsFromModule(module):
                for test in suite:
                    self.check(by_test, name, test)

    def check(self, by_test: dict[tuple[str, str, str], Row], module: str, test: object) -> None:
        """Check one test's docstring against its row."""
        assert isinstance(test, unittest.TestCase)
        key = (module, type(test).__name__, test._testMethodName)
        self.assertIn(key, by_test)
        number, thread = re.match(r"(\d+), ([\w-]+ #\d+): ", test._testMethodDoc).groups()
        self.assertEqual(int(number), by_test[key].number)
        self.assertIn(thread, by_test[key].thread.split(", "))
