"""What all peers share: the phase, the gate for restarts, counts and faults."""

from __future__ import annotations

import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from .book import Account, Ending
from .peer import Peer

#: The exceptions of a client whose server goes away; AssertionError is a refused handshake.
Lost = (OSError, EOFError, AssertionError)

Step = Callable[["World", random.Random], None]


class World:
    """One run. Any thread may call every method.

    Args:
        ports: the plain port, and the TLS port.
    """

    def __init__(self, ports: tuple[int, int], seed: int) -> None:
        self.phase = "undisturbed"
        self.stop = threading.Event()
        self.faults: list[str] = []
        #: Connections made, by style.
        self.styles: Counter[str] = Counter()
        #: Seconds of the healthy agents' round trips, and of pings while a handler is busy.
        self.times: dict[str, list[float]] = defaultdict(list)
        self._ports = ports
        self._seed = seed
        self._accounts: list[Account] = []
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._gate = threading.Event()
        self._gate.set()
        self._generation = 0
        self._threads: list[threading.Thread] = []

    # Roles

    def start(self, role: str, step: Step, pause: float) -> None:
        """Repeat a step in a thread of its own until the end, `pause` seconds apart on the average."""
        name = f"{role}-{len(self._threads)}"
        thread = threading.Thread(target=self._repeat, args=(name, step, pause), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _repeat(self, name: str, step: Step, pause: float) -> None:
        chance = random.Random(f"{self._seed} {name}")
        while not self.stop.wait(chance.uniform(0, 2 * pause)):
            try:
                step(self, chance)
            except Exception as error:  # Every exception belongs in the report.
                self.fault(f"{name}: {error!r}")

    def join(self, timeout: float) -> None:
        """Wait until all roles have ended."""
        for thread in self._threads:
            thread.join(timeout)
            if thread.is_alive():
                self.fault(f"{thread.name} does not end")

    # Restarts

    @contextmanager
    def closed_gate(self) -> Iterator[None]:
        """Let no peer in while the server is away; current visits count as disturbed."""
        self._gate.clear()
        self._generation += 1
        try:
            yield
        finally:
            self._gate.set()

    def disturbed(self, visit: Visit) -> bool:
        """Whether the server was restarted during a visit."""
        return visit.generation != self._generation

    @contextmanager
    def visit(self, style: str, *, tls: bool = False) -> Iterator[Visit]:
        """A connection of some style; its loss is a fault unless the server was restarted."""
        self._gate.wait()
        with self._lock:
            self.styles[style] += 1
            visit = Visit(self, style, next(self._numbers), self._generation, self._ports[tls], tls=tls)
        try:
            yield visit
        except Lost as error:
            if not self.disturbed(visit):
                self.fault(f"{visit.id}: {error!r}")

    # Counts

    def fault(self, text: str) -> None:
        """Note a fault."""
        with self._lock:
            self.faults.append(text)

    def account(self, account: Account) -> None:
        """Keep a peer's account of its connection."""
        with self._lock:
            self._accounts.append(account)

    def accounts(self) -> list[Account]:
        """All accounts so far."""
        with self._lock:
            return list(self._accounts)


class Visit:
    """One connection to be made."""

    def __init__(self, world: World, style: str, number: int, generation: int, port: int, *,
                 tls: bool) -> None:
        self.style = style
        self.id = f"{style}-{number}"
        self.generation = generation
        self._world = world
        self._port = port
        self._tls = tls

    def connect(self, path: str, *, agent: bool = False, open: bool = True, tls: bool = True) -> Peer:
        """Connect; with ``tls=False`` without TLS, even to the TLS port."""
        return Peer(self._port, path, agent=agent, open=open, tls=self._tls and tls)

    @property
    def disturbed(self) -> bool:
        """Whether the server was restarted meanwhile."""
        return self._world.disturbed(self)

    def account(self, sent: int, received: int, ending: Ending, **more: object) -> None:
        """Report what the peer has seen. A restart meanwhile excuses lost lines."""
        if self.disturbed and ending is not Ending.SERVER:
            ending = Ending.CUT
        self._world.account(Account(self.id, sent, received, ending, **more))  # type: ignore[arg-type]
