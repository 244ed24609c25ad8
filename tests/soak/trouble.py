"""Difficult peers: slow, stalled, vanished, hostile; and handlers that raise, block, or race."""

from __future__ import annotations

import random
import socket
import time

from ..client import CLOSE, PING, PONG, Client, frame
from .book import Ending
from .peer import Peer, ServerClosed
from .world import Lost, Visit, World

#: Frames that must be answered with a Close of this code.
_WRONG = (
    (frame("x", rsv=2), 1002), (frame("x", 5), 1002), (frame("x", mask=False), 1002),
    (frame("x", PING, fin=False), 1002), (frame("x", 0), 1002), (frame("x" * 126, PING), 1002),
    (frame(b"\xff\xfe"), 1007), (frame(b"\xff\xfe", 2), 1003), (frame("x" * 70000), 1009),
    (frame("x", fin=False) + frame("x", 0, fin=False) * 4096, 1009), (frame(b"\x00", CLOSE), 1002))

#: Seconds until a peer must be dropped: several times the send_timeout and the ping timeout.
_GIVEN_UP = 15.0


def slow(world: World, chance: random.Random) -> None:
    """Read half a megabyte in small steps, then close; every line must come."""
    with world.visit("slow", tls=chance.random() < 0.3) as visit:
        with visit.connect(f"/flood?count=500&id={visit.id}") as peer:
            _narrow(peer)
            _Reader(world, visit, peer, pause=0.001).read_and_leave(500, Ending.PEER)


def eight(world: World, chance: random.Random) -> None:
    """Eight threads send, and either side closes in the middle of it."""
    tls, ours = chance.random() < 0.3, chance.random() < 0.5
    with world.visit("eight", tls=tls) as visit:
        end = f"&close={chance.uniform(0, 0.5):.3f}" if ours else ""
        agent = chance.random() < 0.5
        with visit.connect(f"/eight?id={visit.id}{end}", agent=agent) as peer:
            reader = _Reader(world, visit, peer)
            if ours:
                reader.read_to_the_end()
            else:
                reader.read_and_leave(chance.randrange(400), Ending.LEFT)


class _Reader:
    """Reads numbered lines of one sender, or of eight."""

    def __init__(self, world: World, visit: Visit, peer: Peer, pause: float = 0.0) -> None:
        self._world = world
        self._visit = visit
        self._peer = peer
        self._pause = pause
        self._next: dict[str, int] = {}

    def read_to_the_end(self) -> None:
        """Read until the server closes; no line may be missing."""
        ending = Ending.CUT
        try:
            while True:
                self._read()
                time.sleep(self._pause)
        except ServerClosed:
            ending = Ending.SERVER
        finally:
            self._visit.account(0, sum(self._next.values()), ending)

    def read_and_leave(self, count: int, then: Ending) -> None:
        """Read `count` lines, then close; lines on their way may be lost, or there must be none."""
        ending, reason = Ending.CUT, ""
        try:
            while sum(self._next.values()) < count:
                self._read()
                time.sleep(self._pause)
            self._peer.send(frame(b"\x03\xe8", CLOSE))
            self._peer.close_code()
            ending = then
        except Lost:
            # On a loaded machine it can read a ping too late; the server must then say so.
            if then is not Ending.PEER or self._visit.disturbed:
                raise
            reason = "timeout"
        finally:
            self._visit.account(0, sum(self._next.values()), ending, reason=reason)

    def _read(self) -> None:
        for line in self._peer.read():
            if line.startswith("B|"):
                continue
            fields = line.split("|")
            name, number = ("", fields[1]) if fields[0] == "D" else (fields[1], fields[2])
            if int(number) != self._next.get(name, 0):
                self._world.fault(f"{self._visit.id}: {line[:30]!r} instead of {self._next}")
            self._next[name] = int(number) + 1


def stalled(world: World, chance: random.Random) -> None:
    """Never read what is sent; the server drops the connection.

    Sends to an agent are paced, so its ping timeout can come before its buffers are full.
    """
    with world.visit("stalled", tls=chance.random() < 0.3) as visit:
        with visit.connect(f"/flood?count=1000000&id={visit.id}", agent=chance.random() < 0.3) as peer:
            _narrow(peer)
            # The end comes behind data that we do not read, so it cannot be seen here.
            world.stop.wait(_GIVEN_UP)
            given_up = not world.stop.is_set() and not visit.disturbed
            visit.account(0, 0, Ending.CUT, reason="timeout" if given_up else "")


def vanished(world: World, chance: random.Random) -> None:
    """Answer no ping; the server drops the connection."""
    with world.visit("vanished", tls=chance.random() < 0.3) as visit:
        with visit.connect(f"/talk?id={visit.id}", agent=chance.random() < 0.5) as peer:
            gone = _wait_for_end(world, peer)
            if not gone and not world.stop.is_set() and not visit.disturbed:
                world.fault(f"{visit.id}: was not given up")
            undisturbed = gone and not visit.disturbed
            visit.account(0, 0, Ending.CUT, reason="ping timeout" if undisturbed else "")


def _wait_for_end(world: World, peer: Peer) -> bool:
    deadline = time.monotonic() + _GIVEN_UP
    peer.sock.settimeout(0.2)
    while time.monotonic() < deadline and not world.stop.is_set():
        try:
            if not peer.sock.recv(65536):
                return True
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False


def hostile(world: World, chance: random.Random) -> None:
    """Send noise before or after the handshake, or frames that must be refused."""
    with world.visit("hostile", tls=chance.random() < 0.2) as visit:
        kind = chance.randrange(3)
        with visit.connect("/talk", open=kind > 0, agent=kind == 2 and chance.random() < 0.3) as peer:
            if kind < 2:
                peer.send(chance.randbytes(chance.choice((1, 100, 10000))))
                peer.reset()
                return
            data, code = chance.choice(_WRONG)
            peer.send(frame("U|0\n") + data)
            _expect_close(peer, code)


def _expect_close(peer: Peer, code: int) -> None:
    # An agent's invalid bytes are accepted, and other faults get an empty Close.
    if peer.agent:
        peer.finish()
        peer.read_all()
    else:
        found = Client.close_code(peer)
        assert found == code, f"closed with {found}, not {code}"


def raising(world: World, chance: random.Random) -> None:
    """Every hook raises at every line, but each line arrives, and the connection goes on."""
    with world.visit("raising") as visit:
        with visit.connect(f"/raise?id={visit.id}", agent=chance.random() < 0.5) as peer:
            _send_and_close(visit, peer, chance.randrange(30))


def busy(world: World, chance: random.Random) -> None:
    """While a handler blocks, a ping is answered, and lines wait in order."""
    with world.visit("busy", tls=chance.random() < 0.3) as visit:
        with visit.connect(f"/busy?id={visit.id}") as peer:
            peer.send(frame("U|0\n"))
            world.stop.wait(0.1)
            began = time.perf_counter()
            peer.send(frame(b"there?", PING))
            found = peer.frame()
            while (found.opcode, found.payload) != (PONG, b"there?"):
                found = peer.frame()
            if not visit.disturbed:
                world.times["pong"].append(time.perf_counter() - began)
            # More than its queue holds.
            _send_and_close(visit, peer, 600, first=1)


def _send_and_close(visit: Visit, peer: Peer, count: int, first: int = 0) -> None:
    ending = Ending.CUT
    try:
        peer.send(b"".join(frame(f"U|{number}\n") for number in range(first, first + count)))
        peer.send(frame(b"\x03\xe8", CLOSE))
        peer.close_code()
        ending = Ending.PEER
    finally:
        visit.account(first + count, 0, ending)


def _narrow(peer: Peer) -> None:
    # Otherwise the kernel would buffer megabytes for us.
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
