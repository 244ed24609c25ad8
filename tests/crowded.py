"""The suite with every thread going through the turnstile: ``python -m tests.crowded``.

Arguments are those of ``python -m unittest``; without any it is the whole suite. What runs in other
processes, samples for example, has too few connections for it.
"""

from __future__ import annotations

import sys
import unittest

from mmdagent_remote.connection import turnstile

if __name__ == "__main__":
    turnstile.TURNSTILE_FROM = -1
    unittest.main(module=None, argv=["python -m tests.crowded", *(sys.argv[1:] or ["discover"])])
