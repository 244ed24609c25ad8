"""The whole suite without the fast lane: ``python -m tests.lane_off``.

What runs in other processes, samples for example, keeps it.
"""

from __future__ import annotations

import unittest

from mmdagent_remote import fastlane

if __name__ == "__main__":
    fastlane.AVAILABLE = False
    unittest.main(module=None, argv=["python -m tests.lane_off", "discover"])
