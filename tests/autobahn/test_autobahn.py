"""How ``python -m tests.autobahn`` judges a report, which unlike the suite needs no Python 2.7."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Iterable
from pathlib import Path

from tests.autobahn.process import ProcessError, run
from tests.autobahn.report import (BASIC, COMPRESSION, INFORMATIONAL, LIMITS, OK, SETS, Case, CaseSet,
                                   ReportError, Result, judge, read_report, table)
from tests.support import DEADLINE, PROJECT, TestCase, wait_until

SMALL = CaseSet("small", {"1.1": 3, "7": 2}, deadline=1, informational=frozenset({"7.2"}))


def good(case_set: CaseSet = SMALL) -> dict[str, Case]:
    """Every case of a set with its expected verdict."""
    return {case_id: Case(case_id, case_set.expected(case_id), case_set.expected(case_id), True)
            for case_id in case_set.ids()}


def changed(case_id: str, **fields: object) -> list[Case]:
    """The same cases with one of them changed."""
    cases = good()
    cases[case_id] = cases[case_id]._replace(**fields)
    return list(cases.values())


def report(cases: Iterable[Case], dropped: bool = False) -> dict[str, str]:
    """The files of a report, in the suite's form."""
    index, files = {}, {}
    for case in cases:
        name = f"ours_case_{case.id.replace('.', '_')}.json"
        index[case.id] = {"behavior": case.behavior, "behaviorClose": case.close, "duration": 1,
                          "remoteCloseCode": 1000, "reportfile": name}
        files[name] = json.dumps({"id": case.id, "wasClean": case.clean, "droppedByMe": dropped})
    return {"index.json": json.dumps({"ours": index}), **files}


class SetsTest(unittest.TestCase):
    """Which cases there are."""

    def test_counts(self) -> None:
        """The sets have 247, 54 and 216 cases, no two the same."""
        self.assertEqual([len(set(each.ids())) for each in SETS.values()], [247, 54, 216])
        self.assertEqual([len(list(each.ids())) for each in SETS.values()], [247, 54, 216])

    def test_ids(self) -> None:
        """A case's id is its group and its number."""
        self.assertEqual(list(SMALL.ids()), ["1.1.1", "1.1.2", "1.1.3", "7.1", "7.2"])

    def test_patterns(self) -> None:
        """The patterns name whole sections."""
        self.assertEqual(BASIC.patterns(), ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"])
        self.assertEqual(LIMITS.patterns(), ["9.*"])
        self.assertEqual(COMPRESSION.patterns(), ["12.*", "13.*"])

    def test_informational(self) -> None:
        """Three cases of the basic set are informational, and no others."""
        found = [case_id for each in SETS.values() for case_id in each.ids()
                 if each.expected(case_id) == INFORMATIONAL]
        self.assertEqual(found, ["7.1.6", "7.13.1", "7.13.2"])

    def test_page(self) -> None:
        """The page of figures has a row for each set, with as many cases as it has."""
        page = (PROJECT / "docs" / "conformance.md").read_text("utf-8")
        rows = re.findall(r"^\| `(\w+)` \|[^|]*\| (\d+) \| (\d+) \| (\d+) \| 0 \|", page, re.MULTILINE)
        self.assertEqual(rows, [
            (name, str(len(good(each))), str(len(good(each)) - len(each.informational)),
             str(len(each.informational))) for name, each in SETS.items()])
        for case_id in BASIC.informational:
            self.assertIn(f"**{case_id}**", page)


class ReadTest(unittest.TestCase):
    """read_report()."""

    def test_what_is_read(self) -> None:
        """A report becomes its cases, in order, each with both verdicts and whether it ended cleanly."""
        cases = changed("1.1.2", behavior="NON-STRICT", close="UNCLEAN", clean=False)
        self.assertEqual(read_report(report(cases).__getitem__), cases)

    def test_a_connection_that_the_suite_had_to_drop(self) -> None:
        """A connection that the suite had to end instead of the server is not clean."""
        read = read_report(report(good().values(), dropped=True).__getitem__)
        self.assertEqual({case.clean for case in read}, {False})

    def test_what_is_no_report(self) -> None:
        """Anything but the report of exactly one server is an error that says so."""
        files = report(good().values())
        for text in ("", "[", "[]", "{}", "1", "null", '{"ours": 1}', '{"ours": {"1.1.1": {}}}',
                     '{"ours": {}, "others": {}}', '{"ours": {"1.1.1": {"reportfile": "none"}}}'):
            with self.subTest(text), self.assertRaisesRegex(ReportError, "no report of one server"):
                read_report({**files, "index.json": text}.__getitem__)


class JudgeTest(unittest.TestCase):
    """judge()."""

    def test_good(self) -> None:
        """A report with every verdict as expected has no fault."""
        for each in (SMALL, *SETS.values()):
            self.assertEqual(judge(each, list(good(each).values())), [])

    def test_behavior(self) -> None:
        """A case that is not strict, failed, or got another verdict is named with its verdict."""
        for verdict in ("NON-STRICT", "FAILED", "UNIMPLEMENTED", INFORMATIONAL, "anything", ""):
            self.assertEqual(judge(SMALL, changed("1.1.2", behavior=verdict)),
                             [f"1.1.2: behavior {verdict}, close OK, clean"])

    def test_close(self) -> None:
        """A case of which only the close is wrong is named."""
        for verdict in ("UNCLEAN", "FAILED", "WRONG CODE", "FAILED BY CLIENT", INFORMATIONAL):
            self.assertEqual(judge(SMALL, changed("7.1", close=verdict)),
                             [f"7.1: behavior OK, close {verdict}, clean"])

    def test_unclean(self) -> None:
        """A close that was not clean is named, even if the suite does not demand a clean one."""
        self.assertEqual(judge(SMALL, changed("7.1", clean=False)),
                         ["7.1: behavior OK, close OK, not clean"])
        self.assertEqual(judge(SMALL, changed("7.2", clean=False)),
                         ["7.2: behavior INFORMATIONAL, close INFORMATIONAL, not clean"])

    def test_informational(self) -> None:
        """For an informational case any other verdict is named, even a good one."""
        self.assertEqual(judge(SMALL, changed("7.2", behavior=OK, close=OK)),
                         ["7.2: behavior OK, close OK, clean"])

    def test_missing(self) -> None:
        """A case that is not in the report is named."""
        cases = good()
        del cases["1.1.3"]
        self.assertEqual(judge(SMALL, list(cases.values())), ["1.1.3: not in the report"])

    def test_too_few(self) -> None:
        """For a report that broke off, or an empty one, each missing case is named."""
        self.assertEqual(judge(SMALL, list(good().values())[:3]),
                         ["7.1: not in the report", "7.2: not in the report"])
        self.assertEqual(len(judge(BASIC, [])), 247)

    def test_too_many(self) -> None:
        """A case that is not of the set is named, whatever its verdict."""
        self.assertEqual(judge(SMALL, [*good().values(), Case("8.1", OK, OK, True)]),
                         ["8.1: behavior OK, close OK, clean; not a case of this set"])


class TableTest(unittest.TestCase):
    """table()."""

    def test_rows(self) -> None:
        """Each set has a row: its cases, the good ones, the others, and the time."""
        bad = changed("1.1.2", behavior="FAILED")
        rows = table([Result(BASIC, list(good(BASIC).values()), [], 7.24),
                      Result(SMALL, bad, judge(SMALL, bad), 60)]).splitlines()
        self.assertEqual(rows[0].split(), ["set", "cases", "OK", "informational", "other", "seconds"])
        self.assertEqual(rows[1].split(), ["basic", "247", "244", "3", "0", "7.2"])
        self.assertEqual(rows[2].split(), ["small", "5", "3", "1", "1", "60.0"])
        self.assertEqual(len({len(row) for row in rows}), 1)


@unittest.skipUnless(os.name == "posix", "the command is for POSIX systems")
class ProcessTest(TestCase):
    """Starting programs, and the command itself without Python 2.7."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def run_python(self, code: str) -> None:
        """Run a few lines of Python."""
        run([sys.executable, "-c", code], self.directory / "log", DEADLINE)

    def test_success(self) -> None:
        """A program that succeeds leaves its output in the file."""
        self.run_python("print('hello')")
        self.assertEqual((self.directory / "log").read_text(), "hello\n")

    def test_failure(self) -> None:
        """A program that fails is an error with its status and its last lines."""
        with self.assertRaisesRegex(ProcessError, r"\Aexit status 3\n  \| last words\Z"):
            self.run_python("print('last words'); raise SystemExit(3)")

    def test_deadline(self) -> None:
        """A program that hangs is ended at the deadline, with all that it started."""
        with self.assertRaisesRegex(ProcessError, r"\Anot done within 2 s"):
            run(["sh", "-c", "sleep 100 & echo $!; wait"], self.directory / "log", 2)
        child = int((self.directory / "log").read_text())
        wait_until(lambda: not _runs(child), "the child has ended")

    def command(self, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the command where the only Python 2.7 is one that `environ` names."""
        empty = str(self.directory)
        return subprocess.run(
            [sys.executable, "-m", "tests.autobahn"], cwd=PROJECT, capture_output=True, text=True,
            timeout=DEADLINE * 3, check=False, stdin=subprocess.DEVNULL,
            env={**{key: value for key, value in os.environ.items() if key != "PYTHON27"},
                 "PATH": empty, "HOME": empty, "XDG_CACHE_HOME": empty, **environ})

    def test_skipped(self) -> None:
        """Without a Python 2.7 it says so in one line, and exits with 77."""
        done = self.command()
        self.assertEqual((done.returncode, done.stderr), (77, ""))
        self.assertRegex(done.stdout, r"\Askipped: no CPython 2\.7.*\n\Z")

    def test_a_wrong_one_is_named(self) -> None:
        """Another Python under the name of PYTHON27 is an error, not a reason to skip."""
        done = self.command(PYTHON27=sys.executable)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn(f"PYTHON27={sys.executable} is no CPython 2.7", done.stderr)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # In a container without an init an orphan is not reaped, and stays a zombie.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()


if __name__ == "__main__":
    unittest.main()
