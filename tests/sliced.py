"""The suite on the branch that macOS and Windows take, where every wait is sliced: ``python -m tests.sliced``."""

from __future__ import annotations

from .variants import main

if __name__ == "__main__":
    main("sliced")
