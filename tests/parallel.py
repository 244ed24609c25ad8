"""Test files side by side, each in a process of its own, and their results in one summary.

Nearly all of a test's time is waiting, so several files run at once. A worker process runs one file,
``python -m tests.worker``, and writes down what happened; here it is told to the result that unittest
made, file by file. So ``-v``, ``-k``, ``-f``, ``-b``, ``--locals`` and the summary are unittest's own.
A file that is named on the command line runs in the process of unittest, as always.
"""

from __future__ import annotations

import fnmatch
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple, Optional

TESTS = Path(__file__).parent
PROJECT = TESTS.parent

#: Files at once. Three for each processor use it well, and disturb each other little.
AT_ONCE = 3 * (os.cpu_count() or 1)
#: Seconds that one file may take. A minute before, the worker prints where its threads are.
FILE_TIMEOUT = 300.0
#: Seconds that a worker has to end by itself after Ctrl-C.
_GRACE = 2.0
#: They take the longest, so they begin first. It costs nothing but time when this is out of date.
_LONGEST = ("tests.websocket.test_fastlane_streams", "tests.samples.test_samples",
            "tests.test_callbacks", "tests.test_server", "tests.long.poco.test_simulated",
            "tests.cli.test_cli", "tests.complaints.test_shutdown", "tests.samples.test_dialogue",
            "tests.sound.test_player", "tests.test_handler", "tests.peers.test_promises")


class Told:
    """A test that ran elsewhere, as far as a result asks."""

    failureException = AssertionError

    def __init__(self, text: str, name: str, description: Optional[str]) -> None:
        self._text = text
        self._name = name
        self._description = description

    def __str__(self) -> str:
        return self._text

    def id(self) -> str:
        """Its dotted name."""
        return self._name

    def shortDescription(self) -> Optional[str]:
        """The first line of its docstring."""
        return self._description


class Outcome(NamedTuple):
    """What became of one file."""

    module: str
    seconds: float
    #: In their order: what a result is told, the test's text, name and description, and details.
    events: list[list[Any]]
    #: What the file printed.
    output: str


def files_suite(loader: unittest.TestLoader, pattern: str, *, folder: str = "",
                leave_out: str = "") -> unittest.TestSuite:
    """A suite of the test files in a folder of the tests.

    Args:
        loader: whose ``-k`` patterns count.
        pattern: of file names.
        leave_out: another folder, that is not looked into.
    """
    names = []
    for path in (TESTS / folder).rglob("test*.py"):
        place = path.relative_to(TESTS)
        if fnmatch.fnmatch(path.name, pattern) and place.parts[0] != leave_out:
            names.append(".".join(("tests", *place.with_suffix("").parts)))
    return FilesSuite(names, loader.testNamePatterns or [])


class FilesSuite(unittest.TestSuite):
    """Runs test files in processes of their own.

    Args:
        modules: their names.
        patterns: of the tests to run; all, if there are none.
    """

    def __init__(self, modules: list[str], patterns: list[str]) -> None:
        super().__init__()
        self._modules = sorted(modules, key=lambda name: (name not in _LONGEST, name))
        self._patterns = patterns
        self._workers: set[subprocess.Popen[bytes]] = set()
        self._is_over = False

    def countTestCases(self) -> int:
        """The number of files: they are not loaded here."""
        return len(self._modules)

    def run(self, result: unittest.TestResult, debug: bool = False) -> unittest.TestResult:
        """Run them, and tell the result of each file when it has ended."""
        pool = ThreadPoolExecutor(AT_ONCE, "test-file")
        try:
            options = self._options(result)
            files = [pool.submit(self._run_file, name, options) for name in self._modules]
            for outcome in self._outcomes(files, result):
                tell(outcome, result)
        finally:
            # After Ctrl-C and -f: nobody waits for what still runs.
            self._is_over = True
            pool.shutdown(wait=False, cancel_futures=True)
            self._end_workers()
            pool.shutdown()
        return result

    @staticmethod
    def _outcomes(files: list[Future[Optional[Outcome]]],
                  result: unittest.TestResult) -> Iterator[Outcome]:
        for file in as_completed(files):
            outcome = file.result()
            if outcome is not None:
                yield outcome
            if result.shouldStop:
                return

    def _options(self, result: unittest.TestResult) -> dict[str, Any]:
        return {"patterns": self._patterns, "failfast": result.failfast, "buffer": result.buffer,
                "tb_locals": result.tb_locals}

    def _run_file(self, module: str, options: dict[str, Any]) -> Optional[Outcome]:
        # In a thread of the pool.
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="tests-") as folder:
            report, printed = Path(folder, "report.json"), Path(folder, "printed.txt")
            words = {**options, "module": module, "report": str(report),
                     "timeout": max(FILE_TIMEOUT - 60, FILE_TIMEOUT / 2)}
            with printed.open("wb") as out:
                worker = subprocess.Popen(
                    [sys.executable, *(f"-W{each}" for each in sys.warnoptions), "-m", "tests.worker",
                     json.dumps(words)], cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=out,
                    stderr=subprocess.STDOUT, start_new_session=True)
            self._workers.add(worker)
            try:
                if self._is_over:
                    _kill(worker)
                status: Any = worker.wait(FILE_TIMEOUT)
            except subprocess.TimeoutExpired:
                _kill(worker)
                worker.wait()
                status = f"none in {FILE_TIMEOUT} s"
            finally:
                self._workers.discard(worker)
            if self._is_over:
                return None
            output = printed.read_text("utf-8", "replace")
            events = json.loads(report.read_text("utf-8")) if report.exists() else []
            if status != 0:
                # Before its tests had ended, or after: a thread that goes on, a crash at exit.
                events.append(["error", module, module, None,
                               f"The file's process did not end well; status: {status}\n"])
        return Outcome(module, time.monotonic() - begin, events, output)

    def _end_workers(self) -> None:
        workers = list(self._workers)
        for worker in workers:
            # Ctrl-C, as if it had been typed in that file's own terminal.
            _signal(worker, signal.SIGINT)
        end = time.monotonic() + _GRACE
        for worker in workers:
            try:
                worker.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                pass
            _kill(worker)


def _signal(worker: subprocess.Popen[bytes], number: int) -> None:
    # The worker leads a process group, so what its tests started ends as well.
    try:
        if os.name == "posix":
            os.killpg(worker.pid, number)
        else:
            worker.terminate()
    except OSError:
        pass  # It has ended, with all that it started.


def _kill(worker: subprocess.Popen[bytes]) -> None:
    _signal(worker, signal.SIGKILL if os.name == "posix" else signal.SIGTERM)


def tell(outcome: Outcome, result: unittest.TestResult) -> None:
    """Tell a result what became of one file, in one line if it shows any."""
    stream: Any = getattr(result, "stream", None)
    in_dots = getattr(result, "dots", False)  # Not of a silent one, nor of -v.
    if in_dots:
        name = outcome.module.removeprefix("tests.").replace(".", "/")
        stream.write(f"{name:<34} {outcome.seconds:5.1f} s ")
    for kind, text, name, description, *details in outcome.events:
        _TELL[kind](result, Told(text, name, description), *details)
    if in_dots:
        stream.write("\n")
        stream.flush()
    if outcome.output.strip():
        print(outcome.output.rstrip(), file=sys.stderr)


#: Has a result write down a failure; its text is put in its place.
_NO_ERROR: Any = (AssertionError, AssertionError(), None)


def _tell_error(result: unittest.TestResult, test: Any, text: str) -> None:
    # What was printed is in the text already; and outside a test there is nothing to capture.
    buffer, result.buffer = result.buffer, False
    result.addError(test, _NO_ERROR)
    result.buffer = buffer
    result.errors[-1] = (test, text)


def _tell_failure(result: unittest.TestResult, test: Any, text: str) -> None:
    result.addFailure(test, _NO_ERROR)
    result.failures[-1] = (test, text)


def _tell_expected_failure(result: unittest.TestResult, test: Any, text: str) -> None:
    result.addExpectedFailure(test, _NO_ERROR)
    result.expectedFailures[-1] = (test, text)


def _tell_duration(result: unittest.TestResult, test: Any, seconds: float) -> None:
    if hasattr(result, "addDuration"):  # Since Python 3.12.
        result.addDuration(test, seconds)


_TELL: dict[str, Any] = {
    "start": lambda result, test: result.startTest(test),
    "stop": lambda result, test: result.stopTest(test),
    "success": lambda result, test: result.addSuccess(test),
    "skip": lambda result, test, reason: result.addSkip(test, reason),
    "unexpected": lambda result, test: result.addUnexpectedSuccess(test),
    "error": _tell_error,
    "failure": _tell_failure,
    "expected": _tell_expected_failure,
    "duration": _tell_duration,
}
