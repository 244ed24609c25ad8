"""The suite without the fast lane: ``python -m tests.lane_off``."""

from __future__ import annotations

from .variants import main

if __name__ == "__main__":
    main("lane_off")
