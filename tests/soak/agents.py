"""Healthy agents: each line numbered, answered, and accounted for."""

from __future__ import annotations

import random
import time
from typing import Optional

from ..client import CLOSE, frame
from .book import Ending
from .peer import Peer, ServerClosed
from .world import Step, Visit, World

_NORMAL = b"\x03\xe8"


class Conversation:
    """Numbered lines to ``Talk``, and its numbered answers, on one connection."""

    def __init__(self, world: World, visit: Visit, chance: random.Random, peer: Peer, *,
                 agent: bool) -> None:
        self._world = world
        self._visit = visit
        self._chance = chance
        self._peer = peer
        self._agent = agent
        self._sent = self._received = self._gaps = 0
        self._broadcast: Optional[int] = None

    def hold(self) -> None:
        """Talk from the first line to the end, by either side, and then report what was seen."""
        ending = Ending.CUT
        try:
            ending = self._talk_and_leave()
        finally:
            self._peer.sock.close()
            self._visit.account(self._sent, self._received, ending, gaps=self._gaps)

    def _talk_and_leave(self) -> Ending:
        try:
            for _ in range(self._chance.randrange(5, 150)):
                if self._world.stop.wait(self._chance.uniform(0, 0.04)):
                    break
                self._exchange(1 if self._chance.random() < 0.9 else self._chance.randrange(2, 60))
            return self._leave()
        except ServerClosed:
            return Ending.SERVER
        except OSError:
            # What the server sent before it went away can still be read.
            if self._visit.disturbed and self._sees_close():
                return Ending.SERVER
            raise

    def _exchange(self, count: int) -> None:
        # Many lines at once, in one frame or in a frame each, or one line with its time measured.
        phase, began = self._world.phase, time.perf_counter()
        lines = [f"U|{self._sent + number}\n" for number in range(count)]
        if self._chance.random() < 0.5:
            lines = ["".join(lines)]
        # Counted before the send, since a send that fails may have sent a part.
        self._sent += count
        self._peer.send(b"".join(map(frame, lines)))
        while self._received < self._sent:
            self._read()
        if count == 1:
            name = f"{self._visit.style}, {phase}"
            self._world.times[name].append(time.perf_counter() - began)

    def _read(self) -> None:
        for line in self._peer.read():
            kind, _, number = line.partition("|")
            if kind == "D" and int(number) == self._received:
                self._received += 1
            elif kind == "B" and int(number) > (-1 if self._broadcast is None else self._broadcast):
                if self._broadcast is not None:
                    self._gaps += int(number) - self._broadcast - 1
                self._broadcast = int(number)
            else:
                self._world.fault(f"{self._visit.id}: {line!r} after {self._received} answers")

    def _leave(self) -> Ending:
        # MMDAgent-EX never sends a Close.
        if self._chance.random() < 0.1:
            self._peer.reset()
            return Ending.CUT
        if self._agent or self._chance.random() < 0.3:
            self._peer.finish()
            self._peer.read_all()
        else:
            self._peer.send(frame(_NORMAL, CLOSE))
            self._peer.close_code()
        return Ending.PEER

    def _sees_close(self) -> bool:
        try:
            while True:
                self._read()
        except ServerClosed:
            return True
        except (OSError, EOFError):
            return False


def healthy(*, agent: bool = False, tls: bool = False) -> Step:
    """A step: one conversation with one connection."""
    style = ("agent" if agent else "strict") + ("-tls" if tls else "")

    def step(world: World, chance: random.Random) -> None:
        with world.visit(style, tls=tls) as visit:
            peer = visit.connect(f"/talk?id={visit.id}", agent=agent)
            Conversation(world, visit, chance, peer, agent=agent).hold()
    return step
