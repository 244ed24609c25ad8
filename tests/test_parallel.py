"""``parallel.py`` and ``worker.py``: files that run elsewhere are told as if they had run here."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from . import parallel
from .parallel import FilesSuite
from .support import DEADLINE, PROJECT, wait_until

EVERY_OUTCOME = '''
import unittest

class ATest(unittest.TestCase):
    def test_error(self):
        """It raises."""
        value = {}["key"]

    @unittest.expectedFailure
    def test_expected(self):
        self.assertEqual(1, 2)

    def test_failure(self):
        """It fails."""
        local = 5
        self.assertEqual(local, 2, "said so")

    def test_parts(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertEqual(number, 1)

    @unittest.skip("not today")
    def test_skipped(self):
        pass

    def test_success(self):
        """It is good."""

    @unittest.expectedFailure
    def test_unexpected(self):
        pass

class BTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise OSError("no class")

    def test_never(self):
        pass
'''


class ParallelTest(unittest.TestCase):
    """A suite of files in a folder of the test's own."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(mock.patch.dict(os.environ, PYTHONPATH=str(self.folder)))

    def write(self, **files: str) -> list[str]:
        """Write modules; returns their names."""
        for name, text in files.items():
            (self.folder / f"{name}.py").write_text(text, "utf-8")
        return list(files)

    def run_files(self, names: list[str], *patterns: str, **options: Any) -> tuple[Any, str]:
        """The result, and what was printed."""
        printed = io.StringIO()
        runner = unittest.TextTestRunner(printed, **options)
        with mock.patch("sys.stderr", printed):
            return runner.run(FilesSuite(names, list(patterns))), printed.getvalue()

    def test_every_outcome(self) -> None:
        """Whatever becomes of a test, the result has it, traceback included, as if it had run here."""
        names = self.write(every_outcome=EVERY_OUTCOME)
        there, _ = self.run_files(names, tb_locals=True)
        sys.path.insert(0, str(self.folder))
        self.addCleanup(sys.path.remove, str(self.folder))
        self.addCleanup(sys.modules.pop, "every_outcome", None)
        here = unittest.TextTestRunner(io.StringIO(), tb_locals=True).run(
            unittest.TestLoader().loadTestsFromName("every_outcome"))

        def told(result: Any) -> list[Any]:
            rows = [[(test.id(), test.shortDescription(), re.sub("0x[0-9a-f]+", "0x", text))
                     for test, text in found] for found in (
                result.failures, result.errors, result.skipped, result.expectedFailures)]
            return [*rows, [test.id() for test in result.unexpectedSuccesses], result.testsRun]
        self.assertEqual(told(there), told(here))
        self.assertEqual(len(there.failures), 3)

    def test_a_line_for_each_file(self) -> None:
        """A file is one line: its name, its time and its dots."""
        names = self.write(one="import unittest\nclass T(unittest.TestCase):\n"
                               "    def test_a(self): pass\n    def test_b(self): self.skipTest('x')\n",
                           two="import unittest\nclass T(unittest.TestCase):\n"
                               "    def test_a(self): self.fail()\n")
        result, printed = self.run_files(names)
        self.assertRegex(printed, r"(?m)^one +\d+\.\d s \.s$")
        self.assertRegex(printed, r"(?m)^two +\d+\.\d s F$")
        self.assertEqual((result.testsRun, result.wasSuccessful()), (3, False))

    def test_options(self) -> None:
        """-k, -v, -q and -f do what they do elsewhere."""
        names = self.write(every_outcome=EVERY_OUTCOME)
        self.assertEqual(self.run_files(names, "*success*")[0].testsRun, 1)
        self.assertIn("test_success (every_outcome.ATest.test_success)\nIt is good. ... ok",
                      self.run_files(names, "*success*", verbosity=2)[1])
        self.assertNotIn("every_outcome", self.run_files(names, "*success*", verbosity=0)[1])
        self.assertEqual(self.run_files(names, failfast=True)[0].testsRun, 1)

    def test_a_file_that_dies(self) -> None:
        """A process that ends before its tests have is an error, with what it printed."""
        names = self.write(dying="import os\nprint('last words', flush=True)\nos._exit(3)\n")
        result, printed = self.run_files(names)
        self.assertIn("status: 3", result.errors[0][1])
        self.assertIn("last words", printed)

    def test_a_file_that_does_not_end_well(self) -> None:
        """A process that fails after its last test is an error, though the tests were good."""
        names = self.write(ending="import atexit, os, unittest\natexit.register(os._exit, 3)\n"
                                  "class T(unittest.TestCase):\n    def test_a(self): pass\n")
        result, _ = self.run_files(names)
        self.assertEqual((result.testsRun, len(result.errors)), (1, 1))
        self.assertIn("status: 3", result.errors[0][1])

    def test_buffer(self) -> None:
        """With -b an error outside a test is told, too, and what a failing test printed is shown."""
        names = self.write(every_outcome=EVERY_OUTCOME, broken="1 / 0\n",
                           loud="import unittest\nclass T(unittest.TestCase):\n"
                                "    def test_a(self):\n        print('aloud')\n        self.fail()\n")
        result, _ = self.run_files(names, buffer=True)
        self.assertIn("ZeroDivisionError", "".join(text for _, text in result.errors))
        self.assertIn("aloud", "".join(text for _, text in result.failures))

    def test_a_file_that_cannot_be_imported(self) -> None:
        """It is an error with its traceback."""
        result, _ = self.run_files(self.write(broken="1 / 0\n"))
        self.assertIn("ZeroDivisionError", result.errors[0][1])

    def test_a_file_that_hangs(self) -> None:
        """It is ended after a time, and says where its threads are."""
        self.enterContext(mock.patch.object(parallel, "FILE_TIMEOUT", 12.0))
        names = self.write(hanging="import time, unittest\nclass T(unittest.TestCase):\n"
                                   "    def test_a(self): time.sleep(1000)\n")
        result, printed = self.run_files(names)
        self.assertIn("none in 12.0 s", result.errors[0][1])
        self.assertIn("hanging.py", printed)

    @unittest.skipUnless(os.name == "posix", "Ctrl-C is sent as a signal")
    def test_ctrl_c(self) -> None:
        """One Ctrl-C ends the files that run, all that they started, and those that wait."""
        noted = self.folder / "pids"
        text = ("import os, pathlib, subprocess, sys, unittest\nclass T(unittest.TestCase):\n"
                "    def test_a(self):\n"
                "        sleep = 'import time; time.sleep(1000)'\n"
                "        child = subprocess.Popen([sys.executable, '-c', sleep])\n"
                f"        with open({str(noted)!r}, 'a') as file:\n"
                "            file.write(f'{os.getpid()} {child.pid} ')\n"
                "        child.wait()\n")
        names = self.write(**{f"waiting{number}": text for number in range(parallel.AT_ONCE + 2)})
        program = subprocess.Popen(
            [sys.executable, "-c", "import sys, unittest\nfrom tests.parallel import FilesSuite\n"
             "unittest.TextTestRunner().run(FilesSuite(sys.argv[1:], []))", *names],
            cwd=PROJECT, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(self.folder)})
        self.addCleanup(program.stderr.close)
        self.addCleanup(program.kill)
        wait_until(lambda: noted.exists() and len(noted.read_text().split()) == 2 * parallel.AT_ONCE)
        begin = time.monotonic()
        program.send_signal(signal.SIGINT)
        self.assertNotEqual(program.wait(DEADLINE), 0)
        self.assertLess(time.monotonic() - begin, DEADLINE)
        self.assertIn(b"KeyboardInterrupt", program.stderr.read())
        pids = [int(word) for word in noted.read_text().split()]
        self.assertEqual(len(pids), 2 * parallel.AT_ONCE, "none of the others has begun")
        wait_until(lambda: not any(is_there(pid) for pid in pids))


def is_there(pid: int) -> bool:
    """Whether a process runs; one that has ended, and that its parent has not asked for, does not."""
    try:
        os.kill(pid, 0)
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


if __name__ == "__main__":
    unittest.main()
