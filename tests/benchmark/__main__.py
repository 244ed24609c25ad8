"""The command line: ``python -m tests.benchmark``; see docs/benchmark.md."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from . import contestants, plot, works
from .figures import as_json
from .machine import Machine
from .ours import has_lane
from .run import Benchmark
from .table import table

GOOD, FAULTS, USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143

_EPILOG = """\
examples:
  python -m tests.benchmark --quick
  python -m tests.benchmark --json now.json --plot now.png
  python -m tests.benchmark --work receive-100 echo --peer websockets message
  python -m tests.benchmark --python python3.11 --python python3.13 --work ping-pong

exit status: 0 it is done; 1 this package did not do a work, see "Faults"; 2 an option is wrong, or
a file cannot be written; 130 Ctrl-C, with what there was by then
"""

#: Prints the version, with a t behind that of a free-threaded build.
_PROBE = ("import platform, sysconfig; print(platform.python_version() + "
          "('t' if sysconfig.get_config_var('Py_GIL_DISABLED') else ''))")


def main() -> int:
    """Run it; returns the exit status."""
    # SIGTERM ends what was started, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    options = _options()
    benchmark = Benchmark(options.works, options.contestants, options.rounds, options.seconds,
                          lambda line: print(line, file=sys.stderr, flush=True))
    result = benchmark.result
    result.about = _about(options)
    try:
        machine = Machine()
        result.busy_before = machine.before
        benchmark.run()
    except KeyboardInterrupt:
        result.interrupted = True
    else:
        result.others = machine.others()
    print(table(result), flush=True)
    try:
        if options.json:
            options.json.write_text(json.dumps(as_json(result), indent=1) + "\n", encoding="utf-8")
        if options.plot:
            plot.draw(plot.bars(result), options.plot)
    except OSError as error:
        print(f"cannot write: {error}", file=sys.stderr)
        return USAGE
    return INTERRUPTED if result.interrupted else FAULTS if result.have_we_failed else GOOD


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmark", epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Compare the speed of this package with that of other blocking WebSocket servers.")
    parser.add_argument("--quick", action="store_true", help="fewer works, two short rounds: a minute")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each work (default: 5)")
    parser.add_argument("--seconds", type=float, metavar="S",
                        help="of one work on one server in one round (default: 0.5)")
    parser.add_argument("--work", action="extend", nargs="+", default=[], metavar="NAME",
                        choices=works.NAMES, help="only these: " + ", ".join(works.NAMES))
    names = list(contestants.everybody(has_lane()))
    parser.add_argument("--peer", action="extend", nargs="+", default=[], metavar="NAME",
                        choices=names, help="only these: " + ", ".join(names))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the rates there")
    parser.add_argument("--python", action="append", default=[], metavar="PATH",
                        help="run the servers in this interpreter; several are compared")
    options = parser.parse_args()
    _check(parser, options)
    return options


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    # Wrong options are found before the run, which takes minutes.
    options.rounds = (2 if options.quick else 5) if options.rounds is None else options.rounds
    options.seconds = (0.08 if options.quick else 0.5) if options.seconds is None else options.seconds
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if not 0 < options.seconds < 60 or not math.isfinite(options.seconds):
        parser.error("--seconds must be above 0 and below 60")
    if options.plot and not plot.is_there():
        parser.error("--plot needs matplotlib: python -m pip install -e '.[dev]'")
    for path in filter(None, (options.json, options.plot)):
        if not path.absolute().parent.is_dir():
            parser.error(f"there is no directory {path.absolute().parent}")
    try:
        # Absolute, since the servers run in the project's directory. Links are not followed, as
        # that would leave a venv.
        found = [os.path.abspath(shutil.which(name) or name) for name in options.python]
        options.pythons = {path: _version(path) for path in found or [sys.executable]}
    except (OSError, subprocess.SubprocessError) as error:
        parser.error(f"--python: {error}")
    options.contestants = contestants.choose(options.peer, options.pythons, has_lane())
    options.works = works.choose(options.work, options.quick)


def _version(python: str) -> str:
    done = subprocess.run([python, "-c", _PROBE], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=30, check=True)
    return done.stdout.strip()


def _about(options: argparse.Namespace) -> dict[str, str]:
    packages = []
    for name in ("websockets", "simple-websocket", "websocket-server", "wsproto"):
        try:
            packages.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            packages.append(f"no {name}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"Servers": "CPython " + ", ".join(options.pythons.values()),
            "Machine": f"{cores} cores, {platform.system()}, {platform.machine()}",
            "Beside": ", ".join(packages),
            "Rounds": f"{options.rounds}, in each {options.seconds} s for each work and server"}


if __name__ == "__main__":
    sys.exit(main())
