"""The soak program, for a moment; see ``tests/soak``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from ..support import PROJECT, TestCase
from .book import Account, Ending, Record, settle


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start the program, with its output in pipes."""
    return subprocess.Popen([sys.executable, "-m", "tests.soak", *arguments], cwd=PROJECT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


class ProgramTests(TestCase):
    """python -m tests.soak."""

    def finish(self, process: subprocess.Popen[str]) -> str:
        """Wait for an end with status 0, and return what it printed."""
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
            process.communicate()
        self.assertEqual((process.returncode, err), (0, ""), out)
        return out

    def test_a_moment(self) -> None:
        """A run of three seconds loses no line, leaks nothing, and ends with the table."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "figures.json"
            out = self.finish(start("--minutes", "0.05", "--seed", "1", "--json", str(path)))
            data = json.loads(path.read_text(encoding="utf-8"))
        for title in ("connections made", "lines", "round trips", "server process"):
            self.assertIn(f"\n{title}", out)
        self.assertIn("\nfaults: 0", out)
        self.assertEqual(data["lines"]["lost"], 0)
        self.assertGreater(data["lines"]["up received"], 100)
        self.assertGreater(data["lines"]["down received"], 100)
        self.assertEqual(data["server"]["end"]["opens"], data["server"]["end"]["closes"])

    @unittest.skipUnless(os.name == "posix", "needs POSIX signals")
    def test_ctrl_c(self) -> None:
        """Ctrl-C, which reaches both processes, ends the run early and quietly, with the table."""
        process = start("--minutes", "10")
        assert process.stdout is not None
        self.assertIn("seed", process.stdout.readline())
        self.assertIn("running", process.stdout.readline())
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        self.assertIn("\nfaults: 0", self.finish(process))
        self.assertLess(time.monotonic() - began, 60)


class BookTests(unittest.TestCase):
    """The comparison of what both sides say."""

    def faults(self, account: Account, **record: object) -> list[str]:
        """The faults of one connection; the server's side is right unless `record` changes it."""
        right = Record(account.id, account.sent, account.received, 0, 0, 0, "")
        return settle([account], [right._replace(**record)]).faults

    def test_nothing_wrong(self) -> None:
        """A connection on which both sides agree has no fault, whatever its end."""
        for ending in Ending:
            self.assertEqual(self.faults(Account("a", 5, 7, ending)), [])

    def test_lost(self) -> None:
        """A missing line is lost or forgone, depending on the connection's end."""
        for ending, up, down in ((Ending.PEER, True, True), (Ending.LEFT, True, False),
                                 (Ending.SERVER, False, True), (Ending.CUT, False, False)):
            with self.subTest(ending):
                account = Account("a", 5, 7, ending)
                self.assertEqual(bool(self.faults(account, received=4)), up)
                self.assertEqual(bool(self.faults(account, sent=8)), down)
        self.assertEqual(self.faults(Account("a", 5, 7, Ending.SERVER), sent=8, unsent=1), [])

    def test_wrong(self) -> None:
        """Disorder, an unexcused gap, an unsent line and another reason are faults."""
        account = Account("a", 5, 7, Ending.PEER, gaps=1, reason="x")
        self.assertEqual(self.faults(account, missed=1, reason="x"), [])
        for wrong in ({"missed": 0}, {"reason": "y"}, {"disorder": 1}, {"received": 6}, {"sent": 6}):
            with self.subTest(wrong):
                self.assertEqual(len(self.faults(account, **{"missed": 1, "reason": "x", **wrong})), 1)

    def test_on_close(self) -> None:
        """A connection with no on_close, or with two, is a fault."""
        account, record = Account("a", 0, 0, Ending.CUT), Record("a", 0, 0, 0, 0, 0, "")
        self.assertIn("no on_close", settle([account], []).faults[0])
        self.assertIn("twice", settle([account], [record, record]).faults[0])
