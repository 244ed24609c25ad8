"""One test file in a process of its own, for ``parallel.py``: ``python -m tests.worker OPTIONS``."""

from __future__ import annotations

import faulthandler
import json
import sys
import traceback
import unittest
import warnings
from pathlib import Path
from typing import Any


class Notes(unittest.TestResult):
    """Writes down what a result is told, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[list[Any]] = []

    def _note(self, kind: str, test: Any, *details: object) -> None:
        self.events.append([kind, str(test), test.id(), test.shortDescription(), *details])

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self._note("start", test)

    def stopTest(self, test: Any) -> None:
        super().stopTest(test)
        self._note("stop", test)

    def addSuccess(self, test: Any) -> None:
        super().addSuccess(test)
        self._note("success", test)

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self._note("error", test, self.errors[-1][1])

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self._note("failure", test, self.failures[-1][1])

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            is_failure = issubclass(err[0], test.failureException)
            self._note("failure" if is_failure else "error", subtest,
                       (self.failures if is_failure else self.errors)[-1][1])

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        self._note("skip", test, reason)

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self._note("expected", test, self.expectedFailures[-1][1])

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        self._note("unexpected", test)

    def addDuration(self, test: Any, elapsed: float) -> None:
        if hasattr(super(), "addDuration"):
            super().addDuration(test, elapsed)
        self._note("duration", test, elapsed)


def main(words: dict[str, Any]) -> None:
    """Run the file, and write its report when all its tests have ended."""
    faulthandler.dump_traceback_later(words["timeout"])
    if not sys.warnoptions:
        warnings.simplefilter("default")  # As unittest does.
    loader = unittest.TestLoader()
    loader.testNamePatterns = words["patterns"] or None
    result = Notes()
    result.failfast, result.buffer = words["failfast"], words["buffer"]
    result.tb_locals = words["tb_locals"]
    module = words["module"]
    try:
        loader.loadTestsFromName(module).run(result)
    except unittest.SkipTest as skip:
        result.events.append(["skip", module, module, None, str(skip)])
    except Exception:  # Whatever a file raises while it is imported; its tests' own are results.
        result.events.append(["error", module, module, None, traceback.format_exc()])
    # At once, so that a process that is killed leaves a whole report or none.
    report = Path(words["report"])
    report.with_suffix(".part").write_text(json.dumps(result.events), "utf-8")
    report.with_suffix(".part").replace(report)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
