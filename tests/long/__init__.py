"""Tests that attack for minutes, and tests that need a compiler: ``python -m tests.long``.

The files run in parallel, as those of the suite do. A test that the machine cannot run is skipped
with the reason.
"""

from __future__ import annotations

import unittest
from typing import Optional

from .. import parallel


def load_tests(loader: unittest.TestLoader, standard_tests: unittest.TestSuite,
               pattern: Optional[str]) -> unittest.TestSuite:
    """Load all tests of this folder."""
    return parallel.files_suite(loader, pattern or "test*.py", folder="long")
