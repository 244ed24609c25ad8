"""One run of the suite: our echo server in this process, and the suite as its client in another."""

from __future__ import annotations

import json
import time
from pathlib import Path

from mmdagent_remote import Handler, Server

from .process import ProcessError, run
from .report import CaseSet, ReportError, Result, judge, read_report

#: Replaces the script in bin/, which holds the path where the environment was made.
_WSTEST = "from autobahntestsuite.wstest import run; run()"


class Echo(Handler):
    """Returns each message as it came."""

    def on_text(self, text: str) -> None:
        self.send_text(text)

    def on_binary(self, data: bytes) -> None:
        self.send_binary(data)


def run_set(case_set: CaseSet, python: str, directory: Path,
            handler: type[Handler] = Echo) -> Result:
    """Run one set of cases and judge it.

    Args:
        case_set: which cases.
        python: the interpreter of the suite's environment.
        directory: where its report goes.
        handler: the handler of the server.
    """
    start = time.monotonic()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "index.json").unlink(missing_ok=True)  # One of an earlier run must not count.
    with Server(handler, host="127.0.0.1", port=0, **case_set.options) as server:
        _write_spec(case_set, server.url, directory)
        try:
            run([python, "-c", _WSTEST, "-m", "fuzzingclient", "-s", "spec.json"],
                directory / "wstest.log", case_set.deadline)
            cases = read_report(lambda name: (directory / name).read_text("utf-8"))
            faults = judge(case_set, cases)
        except (ProcessError, ReportError, FileNotFoundError) as error:
            cases, faults = [], [f"no report: {error}"]
        held = server.shutdown()
    faults += [f"thread {name} did not end" for name in held]
    return Result(case_set, cases, faults, time.monotonic() - start)


def _write_spec(case_set: CaseSet, url: str, directory: Path) -> None:
    spec = {"outdir": ".", "servers": [{"agent": "mmdagent_remote", "url": url}],
            "cases": case_set.patterns(), "exclude-cases": [], "exclude-agent-cases": {}}
    (directory / "spec.json").write_text(json.dumps(spec, indent=4), "utf-8")
