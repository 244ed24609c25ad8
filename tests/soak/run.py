"""The phases of a run: healthy agents alone, then everything at once, then silence."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Optional

from . import trouble
from .agents import healthy
from .book import Balance, Record, settle
from .churn import churn
from .host import Host, Measure, Restart
from .world import Step, World

#: Role, step, seconds between two steps, and how many at once.
_HEALTHY: tuple[tuple[str, Step, float, int], ...] = (
    ("strict", healthy(), 0.02, 6),
    ("agent", healthy(agent=True), 0.02, 5),
    ("strict-tls", healthy(tls=True), 0.02, 2),
    ("agent-tls", healthy(agent=True, tls=True), 0.02, 2),
)
_OTHERS: tuple[tuple[str, Step, float, int], ...] = (
    ("churn", churn, 0.1, 4),
    ("eight", trouble.eight, 0.2, 2),
    ("slow", trouble.slow, 0.5, 2),
    ("stalled", trouble.stalled, 0.2, 2),
    ("vanished", trouble.vanished, 0.2, 3),
    ("hostile", trouble.hostile, 0.1, 2),
    ("raising", trouble.raising, 0.1, 1),
    ("busy", trouble.busy, 0.1, 2),
)

#: Seconds between two broadcasts, and between two restarts at most.
_BROADCASTS = 0.1
_RESTARTS = 15.0
#: Shares of the run: healthy agents alone, and until the memory counts as warm.
_ALONE = 0.1
_WARM = 0.3
#: Seconds for everything to end after the last peer has left.
_SETTLE = 15.0


@dataclass
class Result:
    """The result of a run."""

    world: World
    seconds: float = 0.0
    balance: Balance = field(default_factory=Balance)
    restarts: list[Restart] = field(default_factory=list)
    #: By moment: start, warm, end.
    measures: dict[str, Measure] = field(default_factory=dict)
    #: The measure under load with the most memory.
    peak: Optional[Measure] = None
    #: Memory after each minute.
    minutes: list[int] = field(default_factory=list)


class Soak:
    """One run against a host.

    Args:
        seconds: until the peers are told to leave.
    """

    def __init__(self, host: Host, seconds: float, seed: int) -> None:
        self._host = host
        self._seconds = seconds
        self._chance = random.Random(seed)
        self._records: list[Record] = []
        self._world = World(host.ports, seed)
        self.result = Result(self._world)

    def run(self) -> Result:
        """All phases."""
        result, began = self.result, time.monotonic()
        result.measures["start"] = self._host.measure()
        self._start(_HEALTHY)
        self._world.stop.wait(self._seconds * _ALONE)
        self._world.phase = "disturbed"
        self._start(_OTHERS)
        self._disturb(began)
        self._end()
        result.seconds = time.monotonic() - began
        result.balance = settle(self._world.accounts(), self._records)
        return result

    def end_early(self) -> None:
        """Go on with the last phase. A signal handler may call this."""
        self._world.stop.set()

    def _start(self, roles: tuple[tuple[str, Step, float, int], ...]) -> None:
        for role, step, pause, count in roles:
            for _ in range(count):
                self._world.start(role, step, pause)

    def _disturb(self, began: float) -> None:
        # Broadcasts, restarts and measurements, until the time is up.
        pause = min(_RESTARTS, self._seconds / 4)
        next_restart = time.monotonic() + pause
        while (now := time.monotonic()) < began + self._seconds and not self._world.stop.is_set():
            self._host.broadcast()
            self._measure(now - began)
            if now >= next_restart:
                self._restart()
                next_restart = now + self._chance.uniform(pause / 2, pause)
            self._world.stop.wait(_BROADCASTS)

    def _measure(self, elapsed: float) -> None:
        measure, peak = self._host.measure(), self.result.peak
        self._records += self._host.records()
        if peak is None or measure.rss > peak.rss:
            self.result.peak = measure
        if elapsed >= 60 * (len(self.result.minutes) + 1):
            self.result.minutes.append(measure.rss)
        if "warm" not in self.result.measures and elapsed >= self._seconds * _WARM:
            self.result.measures["warm"] = measure

    def _restart(self) -> None:
        with self._world.closed_gate():
            restart = self._host.restart()
        self.result.restarts.append(restart)
        for name in restart.stuck:
            self._world.fault(f"restart: {name} was still in user code")

    def _end(self) -> None:
        self._world.stop.set()
        self._world.join(30)
        start = self.result.measures["start"]
        _wait(lambda: _is_idle(self._host.measure(), start), _SETTLE)
        self.result.measures["end"] = self._host.measure()
        self._records += self._host.records()


def _is_idle(now: Measure, start: Measure) -> bool:
    return (now.threads, now.files, now.opens) == (start.threads, start.files, now.closes)


def _wait(condition: Callable[[], bool], timeout: float) -> None:
    end = time.monotonic() + timeout
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
