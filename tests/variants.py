"""The suite with one thing changed in the engine, on every machine alike.

``python -m tests.sliced``, ``tests.lane_off`` and ``tests.crowded`` take the arguments of
``python -m unittest``; without any it is the whole suite. Each test file runs in a process of its own,
so the environment carries the choice there. Samples and other programs run unchanged.
"""

from __future__ import annotations

import os
import sys
import unittest

_VARIABLE = "MMDAGENT_REMOTE_TESTS"


def apply() -> None:
    """Change what the environment says, before any socket is made."""
    name = os.environ.get(_VARIABLE)
    if name == "sliced":
        from mmdagent_remote.connection import transport
        transport.SLICED_WAITS = True
    elif name == "lane_off":
        from mmdagent_remote.websocket import fastlane
        fastlane.AVAILABLE = False
    elif name == "crowded":
        from mmdagent_remote.connection import turnstile
        turnstile.TURNSTILE_FROM = -1  # type: ignore[attr-defined]


def main(name: str) -> None:
    """Run the suite, or what the command line names, so changed."""
    os.environ[_VARIABLE] = name
    apply()
    unittest.main(module=None, argv=[f"python -m tests.{name}", *sys.argv[1:]])
