"""The suite with every reading thread going through the turnstile: ``python -m tests.crowded``."""

from __future__ import annotations

from .variants import main

if __name__ == "__main__":
    main("crowded")
