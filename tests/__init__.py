"""The tests. ``python -m unittest`` runs their files side by side; see ``parallel.py``.

- ``websocket``, ``connection``, ``serving``, ``speech``, ``sound``, ``vocabulary``, ``testing``,
  ``cli``: the tests of that wing, a file or several for each module. Those of the top are here.
- ``peers``, ``lifecycle``, ``complaints``, ``samples``: the whole server, and programs that use it.
- ``long``: attacks, and what needs a compiler; ``python -m tests.long``.
- ``benchmark``, ``soak``, ``autobahn``: programs to be run by hand, and tests that they work.
- ``support.py`` has the base class, ``client.py`` a client that does what it is told.
"""

from __future__ import annotations

import unittest
from typing import Optional

from . import parallel, variants

variants.apply()


def load_tests(loader: unittest.TestLoader, standard_tests: unittest.TestSuite,
               pattern: Optional[str]) -> unittest.TestSuite:
    """All but ``tests/long``, which ``python -m tests.long`` runs."""
    return parallel.files_suite(loader, pattern or "test*.py", leave_out="long")
