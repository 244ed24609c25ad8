"""What attacks for minutes on purpose, and what needs a compiler: ``python -m tests.long``.

Its files run side by side, as those of the suite do. What a machine lacks is skipped, and says so.
"""

from __future__ import annotations

import unittest
from typing import Optional

from .. import parallel


def load_tests(loader: unittest.TestLoader, standard_tests: unittest.TestSuite,
               pattern: Optional[str]) -> unittest.TestSuite:
    """All of this folder."""
    return parallel.files_suite(loader, pattern or "test*.py", folder="long")
