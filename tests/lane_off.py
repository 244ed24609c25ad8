"""The suite without the fast lane: ``python -m tests.lane_off``.

Arguments are those of ``python -m unittest``; without any it is the whole suite. What runs in other
processes, samples for example, keeps the lane.
"""

from __future__ import annotations

import sys
import unittest

from mmdagent_remote.websocket import fastlane

if __name__ == "__main__":
    fastlane.AVAILABLE = False
    unittest.main(module=None, argv=["python -m tests.lane_off", *(sys.argv[1:] or ["discover"])])
