"""The whole suite on the branch that macOS and Windows take: ``python -m tests.sliced``.

One private constant chooses that branch; here it is set before any socket is made.
"""

from __future__ import annotations

import unittest

from mmdagent_remote import transport

if __name__ == "__main__":
    transport.SLICED_WAITS = True
    unittest.main(module=None, argv=["python -m tests.sliced", "discover"])
