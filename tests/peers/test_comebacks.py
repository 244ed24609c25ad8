"""After any end of a connection MMDAgent-EX comes back to its path, and hears the first line."""

from __future__ import annotations

import logging
import threading
import time
import unittest
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from mmdagent_remote import MMDAGENT_EX, ConnectionClosed, Message, Server
from mmdagent_remote.testing import SimulatedAgent

from ..client import frame
from ..support import DEADLINE, Recorder, TestCase, wait_until

#: A function that ends a connection in one way.
Way = Callable[["Comeback"], object]


class Greeter(Recorder):
    """Sends its number at once, and ends when a line tells it to."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def on_open(self) -> None:
        self.send("GREETING", self.number)
        super().on_open()

    def handle(self) -> None:
        for message in self.messages():
            self.on_message(message)
            if message == "RAISE":
                raise ValueError("handle() failed")
            if message == "RETURN":
                return


class Comeback:
    """A server that numbers its connections, and an agent as fragile as the real one."""

    def __init__(self, case: TestCase, agent_options: Any = None, **options: Any) -> None:
        self.handlers: list[Greeter] = []
        self.server: Server = case.serve(self._greeter, **options)
        self.hanging = threading.Event()
        self.release = threading.Event()
        case.addCleanup(self.release.set)
        self.agent = SimulatedAgent(self.server.url, path="/chat", chatter=False, timeout=DEADLINE,
                                    retry_count=1000, hurry=10, speech_time=self._hang)
        case.addCleanup(self.agent.leave)
        self.agent.start()
        self.agent.wait_connected()
        self.greeted()

    def _greeter(self) -> Greeter:
        self.handlers.append(Greeter(len(self.handlers)))
        return self.handlers[-1]

    def _hang(self, text: str) -> float:
        self.hanging.set()
        self.release.wait(DEADLINE)
        self.hanging.clear()
        return 0.01

    @property
    def handler(self) -> Greeter:
        """The handler of the last connection."""
        return self.handlers[-1]

    def greeted(self) -> None:
        """Wait until the agent heard the last connection's first line."""
        self.agent.expect(f"GREETING|{self.handler.number}", DEADLINE)

    def hang(self) -> None:
        """Make the agent's application hang until ``release`` is set."""
        self.handler.send("SYNTH_START", "0", "voice", "text")
        assert self.hanging.wait(DEADLINE)

    def send_raw(self, data: bytes) -> None:
        """Bytes that the agent would never send."""
        self.agent._client._link.send(data)


def close_amid_lines(it: Comeback) -> None:
    """Our close while more lines wait than can be sent within close_timeout."""
    it.handler.send_lines([f"QUEUED|{number}|{'x' * 500}" for number in range(1500)])
    it.handler.close()


def close_amid_threads(it: Comeback) -> None:
    """Our close while threads send."""
    def send() -> None:
        with suppress(ConnectionClosed):
            while True:
                it.handler.send_lines(["QUEUED|1|" + "x" * 2000] * 3)

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    it.handler.close()
    for thread in threads:
        thread.join(DEADLINE)


def restart_server(it: Comeback) -> None:
    """Shut the server down, and start it again."""
    port = it.server.port
    it.server.shutdown()
    it.server._wanted_port = port
    it.server.start()


def restart_agent(it: Comeback) -> None:
    """Quit the agent, and start it again."""
    it.agent.leave()
    it.agent.start()


WAYS: dict[str, Way] = {
    "our close": lambda it: it.handler.close(),
    "our close with a code that would hang it": lambda it: it.handler.close(4000, "why"),
    "our close while lines wait": close_amid_lines,
    "our close while threads send": close_amid_threads,
    "our close behind a word that is held": lambda it: (it.handler.send("STOP"), it.handler.close()),
    "handle() raises": lambda it: it.agent.emit("RAISE"),
    "handle() returns": lambda it: it.agent.emit("RETURN"),
    "a restart of the server": restart_server,
    "a restart of the agent": restart_agent,
    "a reset": lambda it: it.agent.drop(),
    "an unmasked frame": lambda it: it.send_raw(frame("x", mask=False)),
    "an unknown opcode": lambda it: it.send_raw(frame("x", 3)),
    "a reserved bit": lambda it: it.send_raw(frame("x", rsv=4)),
    "a line that is too long": lambda it: it.agent.emit("x" * 70_000),
    "a message that is too long": lambda it: it.send_raw(frame(b"x" * 1_100_000)),
}


class FirstLineTest(TestCase):
    """The first line on the next connection."""

    def setUp(self) -> None:
        # These ends log warnings and tracebacks, as they should.
        logger = logging.getLogger("mmdagent_remote")
        self.addCleanup(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL)

    def check(self, it: Comeback, way: Way) -> None:
        """After a connection ends the agent is back, unharmed, and hears the next first line."""
        before = it.handler
        way(it)
        wait_until(lambda: it.handler is not before)
        it.greeted()
        self.assertIsNone(it.agent.crashed)
        self.assertLessEqual({line.type for line in it.agent.received},
                             {"GREETING", "QUEUED", "STOP", "SYNTH_START"})
        wait_until(lambda: before.done.is_set())
        self.assertEqual(len(before.closes), 1)
        self.assertEqual(it.handler.number, before.number + 1, "once back, it stays")

    def test_each_way(self) -> None:
        """However a connection ends, the first line of the next one is intact."""
        it = Comeback(self)
        for name, way in WAYS.items():
            with self.subTest(name):
                self.check(it, way)

    def test_ping_timeout(self) -> None:
        """The next first line is intact when an agent that hung was dropped, and goes on."""
        def hang(it: Comeback) -> None:
            it.hang()
            assert it.handler.wait_closed(DEADLINE)
            it.release.set()

        it = Comeback(self, ping_interval=0.1, ping_timeout=1.5)
        self.check(it, hang)
        self.assertEqual(it.handlers[0].closes[0][0], 1011)

    def test_send_timeout(self) -> None:
        """The next first line is intact after a send timeout in the middle of a frame."""
        def flood(it: Comeback) -> None:
            it.hang()
            with suppress(TimeoutError, ConnectionClosed):
                while True:
                    it.handler.send_lines(["QUEUED|1|" + "x" * 1000] * 50)
            it.release.set()

        it = Comeback(self, profile=replace(MMDAGENT_EX, gap=0.001), send_timeout=0.3,
                      max_send_queue=50_000)
        self.check(it, flood)
        self.assertEqual(it.handlers[0].closes[0], (1006, "send timeout"))

    def test_shutdown_with_ten(self) -> None:
        """shutdown() with ten agents is quick, and each hears the first line after a restart."""
        server = self.serve(lambda: Greeter(1))
        agents = [SimulatedAgent(server.url, chatter=False, retry_count=1000, hurry=10, name=str(number))
                  for number in range(10)]
        for agent in agents:
            self.addCleanup(agent.leave)
            agent.start()
        for agent in agents:
            agent.expect("GREETING|1", DEADLINE)
        port, began = server.port, time.monotonic()
        self.assertEqual(server.shutdown(), [])
        self.assertLess(time.monotonic() - began, 4.0)
        server._wanted_port = port
        server.start()
        for agent in agents:
            agent.expect("GREETING|1", DEADLINE)
            self.assertEqual(agent.received, ["GREETING|1"] * 2)
            self.assertEqual((agent.crashed, agent.connects), (None, 2))


class ExclusiveTest(TestCase):
    """exclusive=True."""

    def agent(self, server: Server, **options: Any) -> SimulatedAgent:
        """A connected agent that leaves when the test ends."""
        agent = SimulatedAgent(server.url, path="/chat", chatter=False, timeout=DEADLINE, **options)
        self.addCleanup(agent.leave)
        return agent.__enter__()

    def test_a_second_agent(self) -> None:
        """A second agent comes back on /chat-1, and its handler's path says so."""
        server = self.serve(Recorder, path="/chat", exclusive=True)
        first = self.agent(server)
        second = self.agent(server, retry_count=1)
        self.assertEqual((first.path, second.path), ("/chat", "/chat-1"))
        self.assertEqual([handler.path for handler in server.connections], ["/chat", "/chat-1"])
        server.connections[1].send("FOR", "the second")
        second.expect("FOR|the second", DEADLINE)
        self.assertEqual(first.received, [])

    def test_back_at_once(self) -> None:
        """An agent that is back at once after a lost connection or a restart has its path again."""
        paths = []
        busy = threading.Semaphore(0)
        release = threading.Event()

        class Busy(Recorder):
            def on_open(self) -> None:
                paths.append(self.path)

            def on_message(self, message: Message) -> None:
                busy.release()
                release.wait(DEADLINE)

        server = self.serve(Busy, path="/chat", exclusive=True)
        self.addCleanup(release.set)
        # It has only one attempt, so a single refusal would end it.
        agent = self.agent(server)
        for number in range(50):
            # The handler is busy, so it does not read the end.
            agent.emit("KEY|a")
            self.assertTrue(busy.acquire(timeout=DEADLINE))
            times = agent.connects
            if number % 2:
                agent.leave()
                agent.start()
                agent.wait_connected(DEADLINE)
            else:
                agent.drop()
                agent.wait_connected(DEADLINE, times=times + 1)
        wait_until(lambda: len(paths) == 51)
        self.assertEqual(set(paths), {"/chat"})
        self.assertEqual(agent.path, "/chat")


if __name__ == "__main__":
    unittest.main()
