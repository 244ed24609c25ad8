"""The command line: ``python -m tests.soak``; see the package's docstring."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from .host import Host
from .report import figures, table
from .run import Soak


def main() -> int:
    """Run it, and return 0 if nothing was lost and nothing leaked."""
    options = _options()
    print(f"seed {options.seed}", flush=True)
    host = Host()
    try:
        soak = Soak(host, options.minutes * 60, options.seed)
        # An exception instead could come in the middle of a command to the host.
        signal.signal(signal.SIGINT, lambda *_: soak.end_early())
        print(f"running for {options.minutes} minutes; Ctrl-C ends it with the table", flush=True)
        result = soak.run()
        result.world.faults += host.stop()
    finally:
        host.kill()
    data = figures(result)
    print(table(data))
    if options.json:
        options.json.write_text(json.dumps({"seed": options.seed, **data}, indent=1) + "\n",
                                encoding="utf-8")
    return 1 if data["faults"] else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="See tests/soak.")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--seed", type=int, default=int(time.time()),
                        help="of every choice by chance (default: the time)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
