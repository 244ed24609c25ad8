"""The load of the machine by other programs, if the system tells it."""

from __future__ import annotations

import os
import time
from typing import Optional

#: Seconds of the measurement before the start.
_LOOK = 0.5


class Machine:
    """Measures the load before the start; :meth:`others` is about the time from then on."""

    def __init__(self) -> None:
        #: The share of the processors that was busy before the start.
        self.before = self._look()
        self._busy, self._own, self._since = _busy_seconds(), _own_seconds(), time.monotonic()

    def others(self) -> Optional[float]:
        """The share of the processors that others used since, without our own ended processes."""
        busy = _busy_seconds()
        if busy is None or self._busy is None:
            return None
        theirs = busy - self._busy - (_own_seconds() - self._own)
        return max(theirs, 0.0) / (time.monotonic() - self._since) / (os.cpu_count() or 1)

    def _look(self) -> Optional[float]:
        first = _busy_seconds()
        if first is None:
            # An average over a minute, so it includes earlier load.
            return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else None
        time.sleep(_LOOK)
        return ((_busy_seconds() or first) - first) / _LOOK / (os.cpu_count() or 1)


def _busy_seconds() -> Optional[float]:
    # The sum of all processors since boot: user, nice, system, irq, softirq, steal.
    try:
        with open("/proc/stat", encoding="ascii") as file:
            values = [int(value) for value in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    user, nice, system, _idle, _wait, irq, softirq, steal = values
    return (user + nice + system + irq + softirq + steal) / float(os.sysconf("SC_CLK_TCK"))


def _own_seconds() -> float:
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system
