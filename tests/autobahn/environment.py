"""The environment of the suite: CPython 2.7, for which it was written, with packages of that time.

It is prepared once and kept in the user's cache until the recipe here changes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from .process import ProcessError, run

#: The last version that makes environments for Python 2.7.
VIRTUALENV = "virtualenv==20.21.1"

#: The arguments of ``pip install``, step by step. Building Twisted needs what the first step
#: installs. The third step has all that the suite needs, in versions known to work.
STEPS = (
    ("setuptools==44.0.0", "incremental==16.10.1", "pyOpenSSL==19.1.0", "cryptography==3.3.2"),
    ("--no-build-isolation", "Twisted==19.10.0"),
    ("zope.interface==4.6.0", "txaio==2.1.0", "jinja2==2.11.3", "markupsafe==1.1.1", "Werkzeug==1.0.1",
     "klein==17.10.0", "service_identity==18.1.0", "unittest2==1.1.0", "six==1.16.0",
     "autobahn[twisted,accelerate]==0.10.9"),
    ("--no-deps", "autobahntestsuite==0.8.2"),
)

#: Seconds for one step, which may have to compile, or download over a slow line.
STEP_DEADLINE = 600.0

#: Prints the interpreter's path if it is a CPython 2.7.
_PROBE = ("import platform, sys; "
          "print(sys.executable if platform.python_implementation() == 'CPython' "
          "and sys.version_info[:2] == (2, 7) else '')")


def find_python27() -> Optional[str]:
    """The path of a CPython 2.7, or None.

    Raises:
        ProcessError: PYTHON27 names something else; a user who sets it does not want a skip.
    """
    if named := os.environ.get("PYTHON27"):
        if found := _probe(named):
            return found
        raise ProcessError(f"PYTHON27={named} is no CPython 2.7")
    return next(filter(None, map(_probe, _candidates())), None)


def _candidates() -> Iterator[str]:
    if on_path := shutil.which("python2.7"):
        yield on_path
    yield from map(str, sorted(Path.home().glob(".pyenv/versions/2.7*/bin/python2.7"), reverse=True))


def _probe(command: str) -> str:
    # It must be run, since pyenv puts a python2.7 on PATH that only says that there is none.
    try:
        done = subprocess.run([command, "-E", "-c", _PROBE], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else done.stdout.strip()


def prepare(python27: str) -> str:
    """Make the environment, unless it is there.

    Returns:
        the path of its Python.

    Raises:
        ProcessError: a step failed.
    """
    cache = _cache()
    ready, recipe = cache / "environment", _recipe(python27)
    if not _is_made_by(ready, recipe):
        cache.mkdir(parents=True, exist_ok=True)
        print(f"Preparing the suite in {ready}, once; this takes a minute or two.", flush=True)
        with tempfile.TemporaryDirectory(prefix="unfinished-", dir=cache) as directory:
            _make(Path(directory), python27)
            (Path(directory) / "new" / "recipe").write_text(recipe, "ascii")
            _put(Path(directory), ready, recipe)
    return str(ready / "bin" / "python")


def _cache() -> Path:
    # The XDG specification says that a relative path there must be ignored.
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "mmdagent-remote-autobahn"


def _recipe(python27: str) -> str:
    return hashlib.sha256(repr((VIRTUALENV, STEPS, python27)).encode()).hexdigest()


def _is_made_by(environment: Path, recipe: str) -> bool:
    try:
        return (environment / "recipe").read_text("ascii") == recipe
    except FileNotFoundError:
        return False


def _make(directory: Path, python27: str) -> None:
    tool, new, log = directory / "tool", directory / "new", directory / "log"
    tool_python, new_python = str(tool / "bin" / "python"), str(new / "bin" / "python")
    commands = [
        [sys.executable, "-m", "venv", str(tool)],
        [tool_python, "-m", "pip", "install", VIRTUALENV],
        [tool_python, "-m", "virtualenv", "--no-periodic-update", "--python", python27, str(new)],
        *([new_python, "-m", "pip", "install", *step] for step in STEPS),
    ]
    for command in commands:
        run(command, log, STEP_DEADLINE)


def _put(directory: Path, ready: Path, recipe: str) -> None:
    # A single rename, so that the environment is complete at any time. An old one is deleted with
    # the directory. If another run was faster, both use its environment, and ours is deleted.
    try:
        if ready.exists() and not _is_made_by(ready, recipe):
            ready.rename(directory / "old")
        (directory / "new").rename(ready)
    except OSError:
        if not _is_made_by(ready, recipe):
            raise
