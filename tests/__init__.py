"""The tests. ``python -m unittest`` runs their files side by side; see ``parallel.py``."""

from __future__ import annotations

import unittest
from typing import Optional

from . import parallel, variants

variants.apply()


def load_tests(loader: unittest.TestLoader, standard_tests: unittest.TestSuite,
               pattern: Optional[str]) -> unittest.TestSuite:
    """All but ``tests/long``, which ``python -m tests.long`` runs."""
    return parallel.files_suite(loader, pattern or "test*.py", leave_out="long")
