"""``python -m tests.autobahn [basic|limits|compression|all] [--lane-off] [--keep DIR]``."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from mmdagent_remote.websocket import fastlane

from .environment import find_python27, prepare
from .process import ProcessError
from .report import SETS, CaseSet, table
from .suite import run_set

#: Exit statuses. 77 is what automake's test driver takes for "skipped".
GOOD, BAD, NOT_RUN, SKIPPED, INTERRUPTED, TERMINATED = 0, 1, 2, 77, 130, 143


def main() -> int:
    """Find Python 2.7, prepare, run, judge; returns the exit status."""
    options = _options()
    # SIGTERM ends what was started, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        python27 = find_python27()
        if python27 is None:
            print("skipped: no CPython 2.7, the only one in which the Autobahn suite runs "
                  "(PYTHON27 is not set, and there is none on PATH or in ~/.pyenv/versions)")
            return SKIPPED
        python = prepare(python27)
    except ProcessError as error:
        print(f"cannot run the suite: {error}", file=sys.stderr)
        return NOT_RUN
    with tempfile.TemporaryDirectory() as directory:
        return _run(options.sets, python, (options.keep or Path(directory)).absolute())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.autobahn",
        description="Run the Autobahn WebSocket test suite against an echo server with this package.",
        epilog="exit status: 0 every verdict as expected; 1 another verdict; 2 it could not be run; "
        "77 skipped, since there is no CPython 2.7")
    parser.add_argument("set", nargs="?", choices=[*SETS, "all"], default="basic",
                        help="which cases (default: basic)")
    parser.add_argument("--lane-off", action="store_true", help="every frame goes through wsproto")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the suite's reports there")
    options = parser.parse_args()
    fastlane.AVAILABLE = not options.lane_off
    options.sets = list(SETS.values()) if options.set == "all" else [SETS[options.set]]
    return options


def _run(sets: Iterable[CaseSet], python: str, directory: Path) -> int:
    results = []
    for case_set in sets:
        print(f"Running {case_set.name}: {len(list(case_set.ids()))} cases.", flush=True)
        results.append(run_set(case_set, python, directory / case_set.name))
        for fault in results[-1].faults:
            print(fault, flush=True)
    print(table(results))
    return BAD if any(result.faults for result in results) else GOOD


if __name__ == "__main__":
    try:
        status = main()
    except KeyboardInterrupt:
        status = INTERRUPTED
        print("interrupted", file=sys.stderr)
    sys.exit(status)
