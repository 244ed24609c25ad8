"""The command line: ``python -m tests.long``, with the arguments of ``python -m unittest``."""

from __future__ import annotations

import unittest

if __name__ == "__main__":
    unittest.main("tests.long")
