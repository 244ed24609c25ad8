"""The client's process: ``python -m tests.benchmark.load``. It answers each line of its parent."""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
from typing import Any, Optional

from .drive import Drive
from .figures import percentile
from .frames import WrongReply
from .serve import CERTIFICATE, allow_many_files
from .works import Work

#: All cores, as they were at the start.
_CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


class Load:
    """Carries out commands, one work after another."""

    def __init__(self) -> None:
        self._drive: Optional[Drive] = None
        self._context = ssl.create_default_context(cafile=str(CERTIFICATE))

    def open(self, work: dict[str, Any], port: int, count: int, core: Optional[int]) -> dict[str, Any]:
        """Connect and prepare."""
        if _CORES:
            os.sched_setaffinity(0, _CORES if core is None else {core})
        found = Work(**work)
        self._drive = Drive(found, port, count, self._context if found.tls else None)
        return {}

    def run(self) -> dict[str, Any]:
        """Do the work, and time it."""
        drive = self._drive
        assert drive is not None
        cpu, began = time.process_time(), time.perf_counter()
        drive.run()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        drive.after()
        return {"seconds": seconds, "cpu": cpu,
                "p50": percentile(drive.times, 50) / 1e9, "p99": percentile(drive.times, 99) / 1e9}

    def check(self) -> dict[str, Any]:
        """Check that all connections are still open."""
        assert self._drive is not None
        self._drive.check()
        return {}

    def end(self) -> dict[str, Any]:
        """Close all connections."""
        if self._drive is not None:
            self._drive.end()
            self._drive = None
        return {}

    def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command; an error is returned as its answer."""
        try:
            answer: dict[str, Any] = getattr(self, command.pop("do"))(**command)
            return answer
        except (BlockingIOError, TimeoutError):
            error = "no reply in time"
        except WrongReply as wrong:
            error = str(wrong)
        except OSError as broken:
            error = f"the connection broke: {broken}"
        self.end()
        return {"error": error}


def main() -> None:
    """Answer until the input ends."""
    allow_many_files()
    load = Load()
    for line in sys.stdin:
        print(json.dumps(load.obey(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
