"""The suite on the branch that macOS and Windows take: ``python -m tests.sliced``.

Arguments are those of ``python -m unittest``; without any it is the whole suite.

One private constant chooses that branch; here it is set before any socket is made.
"""

from __future__ import annotations

import sys
import unittest

from mmdagent_remote.connection import transport

if __name__ == "__main__":
    transport.SLICED_WAITS = True
    unittest.main(module=None, argv=["python -m tests.sliced", *(sys.argv[1:] or ["discover"])])
