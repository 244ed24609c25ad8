"""Many threads on one connection, and difficult neighbours."""

from __future__ import annotations

import logging
import random
import socket
import sys
import threading
from collections.abc import Callable

from mmdagent_remote import Agent, ConnectionClosed, Message, Server

from ..client import CLOSE, PING, PONG, TEXT, Client, frame
from ..support import DEADLINE, Recorder, TestCase, client_context, server_context, wait_until

WRITERS = 8


class Writers:
    """Eight threads that send numbered lines on one connection until it ends."""

    def __init__(self, agent: Agent) -> None:
        self.sent = [0] * WRITERS
        self.errors: list[Exception] = []
        self._agent = agent

    def write(self, name: int) -> None:
        """Send until the connection ends, in one of the threads."""
        try:
            while True:
                self._agent.send("W", name, self.sent[name], "x" * (self.sent[name] % 50))
                self.sent[name] += 1
        except ConnectionClosed:
            pass
        except Exception as error:
            self.errors.append(error)


class WritersTests(TestCase):
    """Eight threads send, the attendant pings, and one closes."""

    def setUp(self) -> None:
        logger = logging.getLogger("mmdagent_remote.server")
        logger.setLevel(logging.ERROR)
        self.addCleanup(logger.setLevel, logging.NOTSET)

    def test_close_amid(self) -> None:
        """No frame is torn, nothing hangs, and each line whose send returned precedes the Close."""
        self.check_all(rounds=6)

    def test_close_amid_with_fast_switches(self) -> None:
        """The same holds while the interpreter switches threads as often as it can."""
        interval = sys.getswitchinterval()
        self.addCleanup(sys.setswitchinterval, interval)
        sys.setswitchinterval(1e-6)
        self.check_all(rounds=3)

    def check_all(self, rounds: int) -> None:
        """Rounds with every kind of peer, closed by either side."""
        chance = random.Random(7)
        for options in ({}, {"mmdagent": True}, {"tls": True}):
            server = self.start(bool(options.get("tls")))
            for number in range(rounds):
                with self.subTest(**options, round=number):
                    self.check(server, chance.uniform(0.0, 0.15), **options)

    def start(self, tls: bool) -> Server:
        """Start a server that pings as often as possible, and lets a flush take its time."""
        return self.serve(ping_interval=0.02, ping_timeout=DEADLINE, close_timeout=DEADLINE,
                          send_timeout=DEADLINE, max_send_queue=65536,
                          ssl_context=server_context() if tls else None)

    def check(self, server: Server, pause: float, *, mmdagent: bool = False, tls: bool = False) -> None:
        """One connection."""
        with Client(server, mmdagent=mmdagent, tls=client_context() if tls else None) as client:
            agent = server.accept(DEADLINE)
            writers = Writers(agent)
            threads = [self.in_thread(writers.write, name) for name in range(WRITERS)]
            threads.append(self.in_thread(lambda: (agent.wait_closed(pause), agent.close(1000))))
            got = self.read_to_close(client)
            # Answer its Close, or the server would wait for the answer until its timeout.
            client.send(frame(b"\x03\xe8", CLOSE))
            client.sock.close()
            for thread in threads:
                thread.join(DEADLINE)
                self.assertFalse(thread.is_alive())
        self.assertEqual((got, writers.errors), (writers.sent, []))

    def read_to_close(self, client: Client) -> list[int]:
        """Check each frame and line up to the Close, and count the lines of each writer."""
        counts = [0] * WRITERS
        while True:
            found = client.frame()
            if found.opcode == PING:
                client.send(frame(found.payload, PONG))
                continue
            if found.opcode == CLOSE:
                self.assertIn(found.payload, (b"\x03\xe8", b""))
                return counts
            self.assertEqual((found.opcode, found.fin), (TEXT, True))
            self.assertTrue(found.payload.endswith(b"\n"))
            for line in found.payload.decode().split("\n")[:-1]:
                kind, name, number, rest = line.split("|")
                self.assertEqual((kind, int(number), rest),
                                 ("W", counts[int(name)], "x" * (int(number) % 50)))
                counts[int(name)] += 1

    def test_peer_closes_amid(self) -> None:
        """When the peer closes while eight threads send, each send raises, and none hangs."""
        server = self.start(tls=False)
        ends: tuple[Callable[[Client], object], ...] = (
            lambda client: client.send(frame(b"\x03\xe8", CLOSE)),
            lambda client: client.sock.shutdown(socket.SHUT_RDWR))
        for mmdagent in (False, True):
            for end in ends * 3:
                with Client(server, mmdagent=mmdagent) as client:
                    agent = server.accept(DEADLINE)
                    writers = Writers(agent)
                    threads = [self.in_thread(writers.write, name) for name in range(WRITERS)]
                    wait_until(lambda: sum(writers.sent) > 50)
                    client.lines(20)
                    end(client)
                    self.in_thread(self.drain, client).join(DEADLINE)
                    for thread in threads:
                        thread.join(DEADLINE)
                        self.assertFalse(thread.is_alive())
                    self.assertTrue(agent.wait_closed(DEADLINE))
                self.assertEqual(writers.errors, [])

    def drain(self, client: Client) -> None:
        """Read to the end."""
        try:
            client.read_all()
        except OSError:
            pass


class Answering(Recorder):
    """Answers each line."""

    def on_message(self, message: Message) -> None:
        if not message.is_echo:
            self.send("GOT", message)


class Flooding(Recorder):
    """Sends until it fails."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0

    def on_open(self) -> None:
        try:
            while True:
                self.send("F", self.sent, "x" * 1000)
                self.sent += 1
        except (ConnectionClosed, TimeoutError):
            pass


class NeighboursTests(TestCase):
    """Slow, stalled and dead peers affect themselves only."""

    def test_healthy_ones_are_served(self) -> None:
        """Beside a slow, a stalled and a dead client twenty others get every answer in order."""
        server = self.serve({"/": Answering, "/flood": Flooding}, send_timeout=DEADLINE,
                            ping_interval=0.2, ping_timeout=0.6)
        over = threading.Event()
        self.addCleanup(over.set)
        with (Client(server, "/flood") as slow, Client(server, "/flood") as stalled,
              Client(server, mmdagent=True) as dead):
            handlers = self.handlers_of(server, slow, stalled, dead)
            slow_lines: list[str] = []
            self.in_thread(self.read_slowly, slow, over, slow_lines)
            self.in_thread(self.show_life, stalled, over)
            wait_until(lambda: handlers[1]._connected().wire.is_stuck)
            done: list[int] = []
            for number in range(20):
                self.in_thread(self.converse, server, number, done)
            wait_until(lambda: len(done) == 20)
            # The dead one was dropped, the others were not.
            self.assertTrue(handlers[2].done.wait(DEADLINE))
            self.assertEqual(handlers[2].closes, [(1011, "keepalive ping timeout")])
            self.assertEqual([handler.closed for handler in handlers[:2]], [False, False])
            over.set()
            self.assertGreater(len(slow_lines), 0)
            self.assertEqual([int(line.split("|")[1]) for line in slow_lines],
                             list(range(len(slow_lines))))

    def handlers_of(self, server: Server, *clients: Client) -> list[Recorder]:
        """The handlers of clients."""
        wait_until(lambda: len(server.connections) == len(clients))
        by_address = {handler.remote_address: handler for handler in server.connections}
        return [by_address[client.sock.getsockname()] for client in clients]  # type: ignore[misc]

    def read_slowly(self, client: Client, over: threading.Event, lines: list[str]) -> None:
        """Read a frame at a time, with pauses."""
        while not over.wait(0.01):
            try:
                client.send(frame(b"", PONG))
                lines += client.lines(1)
            except OSError:
                if not over.is_set():
                    raise

    def show_life(self, client: Client, over: threading.Event) -> None:
        """Read nothing, but send pongs as a sign of life."""
        while not over.wait(0.05):
            try:
                client.send(frame(b"", PONG))
            except OSError:
                if not over.is_set():  # Otherwise the test has closed it meanwhile.
                    raise

    def converse(self, server: Server, number: int, done: list[int]) -> None:
        """Make fifty round trips."""
        with Client(server, mmdagent=bool(number % 2)) as client:
            for each in range(50):
                client.text(f"{number}.{each}\n")
                lines = client.lines(1)
                if number % 2:
                    client.text("".join(f"{line}\n" for line in lines))
                self.assertEqual(lines, [f"GOT|{number}.{each}"])
        done.append(number)
