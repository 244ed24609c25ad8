"""The fast lane with wsproto, compared with wsproto alone, in 20,000 streams."""

from __future__ import annotations

import unittest

from ..websocket import test_fastlane_streams


class LongDifferentialTest(test_fastlane_streams.DifferentialTest):
    """The same as in the suite, for longer."""

    streams = 20_000


if __name__ == "__main__":
    unittest.main()
