"""Programs that this one starts, each with a deadline, and ends with all their children."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path


class ProcessError(Exception):
    """A program failed, or was not done in time; the text has the end of its output."""


def run(command: Sequence[str], log: Path, deadline: float) -> None:
    """Run a program, with its output in a file.

    Raises:
        ProcessError: it failed, or did not end within the deadline.
    """
    # Settings for our own Python must not reach another one. Unbuffered, so that the last line
    # tells where it hangs.
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    env["PYTHONUNBUFFERED"] = "1"
    with log.open("wb") as output:
        # In its own session, so that a terminal's Ctrl-C reaches only us, and we end all of it.
        process = subprocess.Popen(command, cwd=log.parent, env=env, stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"not done within {deadline:.0f} s\n{_tail(log)}") from None
        finally:
            _end(process)
    if status:
        raise ProcessError(f"exit status {status}\n{_tail(log)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    # Only while it is not reaped: after that its number may belong to another process group.
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace").splitlines()
    return "\n".join(f"  | {line}" for line in lines[-10:])
