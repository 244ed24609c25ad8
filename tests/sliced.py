"""The suite with sliced waits, as on macOS and Windows: ``python -m tests.sliced``."""

from __future__ import annotations

from .variants import main

if __name__ == "__main__":
    main("sliced")
