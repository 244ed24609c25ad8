"""The rounds: in each, every server has its turn with the same client."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Optional

from .contestants import Contestant, why_not
from .figures import Result, Row, Sample, count_for, labels
from .process import Child, ChildError, end_all
from .works import Work

#: Seconds that a run may take beyond its planned time, before it is aborted.
_PATIENCE = 60.0
#: Seconds until the threads of newly opened connections are idle.
_REST = 0.5
#: Seconds for the connections of one run to end in the server, before another has its turn.
_SETTLE = 30.0
#: Seconds of the first run, which only shows how fast the server is.
_FIRST = 0.005


class Failed(Exception):
    """A server did not do its work."""


class Benchmark:
    """All works on all contestants.

    Args:
        rounds: of each work.
        seconds: of one work on one server in one round.
        tell: called with a line about the progress.
    """

    def __init__(self, works: Sequence[Work], contestants: Sequence[Contestant], rounds: int,
                 seconds: float, tell: Callable[[str], None]) -> None:
        self._works, self._rounds, self._seconds, self._tell = works, rounds, seconds, tell
        self.result = Result(list(contestants), rounds=rounds)
        self._names = labels(self.result.contestants)
        self._load: Optional[Child] = None
        self._servers: dict[int, Child] = {}
        self._ports: dict[int, int] = {}
        self._core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None

    def run(self) -> None:
        """Fill the result. Whatever happens, all that was started is ended."""
        try:
            for number, work in enumerate(self._works, 1):
                self._tell(f"[{number}/{len(self._works)}] {work.title.strip()}"
                           f"{f', {work.scale}' if work.growth else ''}")
                self.result.rows.append(Row(work))
                self._measure(self.result.rows[-1])
        finally:
            end_all()

    def _measure(self, row: Row) -> None:
        self._start_servers(row)
        counts = {place: self._guard(row, place, self._calibrate) for place in list(self._servers)}
        for number in range(self._rounds_of(row.work)):
            # The order rotates, so that each server comes first in some round.
            places = list(row.samples)
            start = number % max(len(places), 1)
            for place in places[start:] + places[:start]:
                if place in row.samples:
                    count = counts[place] or 0
                    sample = self._guard(row, place, partial(self._sample, count=count))
                    if place in row.samples and sample is not None:
                        row.samples[place].append(sample)
            if row.work.is_memory and number + 1 < self._rounds_of(row.work):
                self._end_servers()
                self._start_servers(row)
        self._end_servers()

    def _rounds_of(self, work: Work) -> int:
        # Opening a thousand connections takes long, and their memory does not scatter.
        if work.connections < 1000:
            return self._rounds
        return min(self._rounds, 3 if work.connections == 1000 else 1)

    def _guard(self, row: Row, place: int, function: Callable[[Work, int], Any]) -> Any:
        # A server that fails is left out for this work; the others go on.
        try:
            return function(row.work, place)
        except (Failed, ChildError) as error:
            row.samples.pop(place, None)
            row.missing[place] = f"failed: {str(error).splitlines()[0]}"
            self.result.faults.append(f"{row.work.name}, {self._names[place]}: {error}")
            self.result.failed.add(place)
            if place in self._servers:
                self._servers.pop(place).end(patience=0.0)
        return None

    # One run

    def _calibrate(self, work: Work, place: int) -> int:
        """How many messages one run needs to take its planned time."""
        count = work.smallest
        if work.is_memory:
            return count
        for seconds in (_FIRST, self._seconds / 4, self._seconds):
            spent = self._run(work, place, count)[0]["seconds"]
            if count == work.smallest and spent >= self._seconds:
                break  # Even the smallest count takes longer than planned.
            count = count_for(seconds, spent, count, work.smallest, work.largest)
            count -= count % work.batch
        return count * work.times

    def _sample(self, work: Work, place: int, count: int) -> Sample:
        done, before, after = self._run(work, place, count)
        messages, seconds = work.messages(count), done["seconds"]
        if work.is_memory:
            return Sample(memory=(after["rss"] - before["rss"]) / work.connections,
                          threads=(after["threads"] - before["threads"]) / work.connections)
        return Sample(messages / seconds, (after["cpu"] - before["cpu"]) / messages,
                      done["p50"], done["p99"], done["cpu"] / seconds)

    def _run(self, work: Work, place: int, count: int) -> tuple[dict[str, Any], ...]:
        server = self._servers[place]
        threads = server.ask("measure")["threads"]
        self._do("open", work=work.as_json(), port=self._ports[place], count=count,
                 core=self._core if work.one_core else None)
        before = server.ask("measure")
        done = self._do("run")
        if work.is_memory:
            time.sleep(_REST)
        after = server.ask("measure")
        if work.is_memory:
            self._do("check")
            # Thousands of threads that all end at once keep the machine busy for minutes.
            self._servers.pop(place).end(patience=0.0)
        self._do("end")
        if not work.is_memory:
            _settle(server, threads)
        return done, before, after

    def _do(self, command: str, **arguments: Any) -> dict[str, Any]:
        if self._load is None:
            self._load = Child("load", [sys.executable, "-m", "tests.benchmark.load"])
        try:
            answer = self._load.ask({"do": command, **arguments}, self._seconds * 4 + _PATIENCE)
        except ChildError:
            self._end_load()
            raise
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    # The processes

    def _start_servers(self, row: Row) -> None:
        for place, contestant in enumerate(self.result.contestants):
            if reason := row.missing.get(place) or why_not(contestant, row.work):
                row.missing[place] = reason
                continue
            order = json.dumps(contestant.order(row.work, self._core))
            self._servers[place] = Child(self._names[place], [
                contestant.python or sys.executable, "-m", "tests.benchmark.serve", order])
        # All import at the same time, then each must report its port.
        for place in list(self._servers):
            self._guard(row, place, lambda work, at: self._await_server(row, at))

    def _await_server(self, row: Row, place: int) -> None:
        answer = self._servers[place].answer()
        if "missing" in answer:
            row.missing[place] = answer["missing"]
            self._servers.pop(place).end()
        else:
            self._ports[place] = answer["port"]
            row.samples.setdefault(place, [])

    def _end_servers(self) -> None:
        while self._servers:
            self._servers.popitem()[1].end()

    def _end_load(self) -> None:
        if self._load is not None:
            self._load.end()
            self._load = None


def _settle(server: Child, threads: int) -> None:
    # Its remaining work must not disturb the next server.
    end = time.monotonic() + _SETTLE
    while server.ask("measure")["threads"] > threads and time.monotonic() < end:
        time.sleep(0.005)
