"""MMDAgent-EX hears what on_open sends, can always send, and is never dropped without need."""

from __future__ import annotations

import statistics
import threading
import time
import unittest
from typing import Any, TypeVar

from mmdagent_remote import Message
from mmdagent_remote.testing import SimulatedAgent

from ..client import PING, PONG, Client, frame
from ..support import DEADLINE, Recorder, TestCase, wait_until

#: Generous: tens of milliseconds are promised, and without the mechanisms for that it takes longer.
LATE = 0.5

T = TypeVar("T", bound=Recorder)


class TalkCase(TestCase):
    """Connects simulated agents that are as fragile as the real one."""

    def agent(self, url: str, **options: Any) -> SimulatedAgent:
        """A started agent that leaves when the test ends."""
        agent = SimulatedAgent(url, **{"chatter": False, "timeout": DEADLINE, **options})
        self.addCleanup(agent.leave)
        return agent.start()

    def pair(self, kind: type[T], agent_options: Any = None, **options: Any) -> tuple[SimulatedAgent, T]:
        """A connected agent, and its handler."""
        server = self.serve(kind, **options)
        agent = self.agent(server.url, **agent_options or {})
        # The server lists it earlier, and what it says before it is connected is lost.
        agent.wait_connected()
        handler = server.wait_connected(DEADLINE)
        assert isinstance(handler, kind)
        return agent, handler


class Eager(Recorder):
    """Sends at once as many lines as its client asks for."""

    def on_open(self) -> None:
        for number in range(int(self.query["lines"][0])):
            self.send("GREETING", number)
        super().on_open()


class OnOpenTest(TalkCase):
    """Lines sent in on_open."""

    def test_all_arrive(self) -> None:
        """Any number of lines sent in on_open arrives in order, soon, on a hundred connections."""
        # A ping after LATE seconds pushes out a stuck line, which then counts as late, not as lost.
        server = self.serve(Eager, ping_interval=LATE)
        times = []
        for round_number in range(20):
            counts = [1, 2, 5, 1, 300 if round_number % 5 == 0 else 20]
            began = time.monotonic()
            agents = [self.agent(server.url, path=f"/chat?lines={count}") for count in counts]
            for agent, count in zip(agents, counts):
                agent.expect(f"GREETING|{count - 1}", DEADLINE)
                times.append(time.monotonic() - began)
                self.assertEqual(agent.received, [f"GREETING|{number}" for number in range(count)])
                self.assertIsNone(agent.crashed)
                agent.leave()
        self.assertEqual(len(times), 100)
        self.assertLess(statistics.median(times), LATE)


class Stamping(Recorder):
    """Notes when each of the agent's own lines came."""

    def __init__(self) -> None:
        super().__init__()
        self.times: dict[str, float] = {}
        self.echoed = 0

    def on_message(self, message: Message) -> None:
        if message.is_echo:
            self.echoed += 1
        else:
            self.times[str(message)] = time.monotonic()


class FloodTest(TalkCase):
    """A loop of sends."""

    def test_it_talks_meanwhile(self) -> None:
        """A loop of 3000 sends arrives whole and in order, and the agent's lines come meanwhile."""
        lines, delays, meanwhile = self.flood(3000)
        self.assertGreater(lines, 5)
        self.assertLess(statistics.median(delays), LATE)
        self.assertGreater(meanwhile, lines // 2, "most of it came before the last line was there")

    # The last 4096 lines are remembered. Lines that still wait to be sent must not count.
    def test_echoes_of_a_long_queue(self) -> None:
        """Every line that comes back is an echo, however many wait to be sent."""
        agent, handler = self.pair(Stamping)
        handler.send_lines(f"LINE|{number}|{'x' * 180}" for number in range(5000))
        agent.expect("LINE|4999", DEADLINE)
        wait_until(lambda: handler.echoed + len(handler.times) == 5000)
        self.assertEqual(handler.times, {})

    def flood(self, count: int) -> tuple[int, list[float], int]:
        """Send lines; return the agent's event count, their delays, and how many came meanwhile."""
        agent, handler = self.pair(Stamping)
        lines = [f"LINE|{number:05}|{'x' * 200}" for number in range(count)]
        sender = self.in_thread(lambda: [handler.send(line) for line in lines])
        said: dict[str, float] = {}
        while not (agent.received and agent.received[-1] == lines[-1]):
            line = f"KEY|{len(said)}"
            said[line] = time.monotonic()
            agent.emit(line)
            time.sleep(0.03)  # The pace of a typist, which leaves the processor to the others.
        last = time.monotonic()
        sender.join(DEADLINE)
        wait_until(lambda: handler.echoed == count and len(handler.times) == len(said))
        self.assertTrue(agent.received == lines, "whole and in order")
        self.assertIsNone(agent.crashed)
        self.assertEqual(list(handler.times), list(said))
        return (len(said), [handler.times[line] - said[line] for line in said],
                sum(when < last for when in handler.times.values()))


class Troubled(Recorder):
    """Raises in each hook, and blocks when a line tells it to."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    def on_open(self) -> None:
        super().on_open()
        raise ValueError("on_open")

    def on_message(self, message: Message) -> None:
        super().on_message(message)
        if message.type == "WAIT":
            self.release.wait(DEADLINE)
        raise ValueError(message)


class NeedTest(TalkCase):
    """Events that are no reason to end a connection."""

    def test_errors_and_absence(self) -> None:
        """A handler that raises at every line and blocks for many pings keeps its connection."""
        agent, handler = self.pair(Troubled, {"dies_when_lost": True},
                                   ping_interval=0.05, ping_timeout=2)
        agent.emit("FAIL|1")
        agent.emit("WAIT")
        agent.emit("FAIL|2")
        wait_until(lambda: "WAIT" in handler.messages_seen)
        # The attendant checks once a second, so more than twice in this time.
        self.assertFalse(handler.wait_closed(4.0))
        handler.release.set()
        handler.send("STILL", "there")
        agent.expect("STILL|there", DEADLINE)
        wait_until(lambda: len(handler.messages_seen) == 4)
        self.assertEqual(handler.messages_seen, ["FAIL|1", "WAIT", "FAIL|2", "STILL|there"])
        wait_until(lambda: len(handler.errors) == 5)
        self.assertEqual([str(error) for error in handler.errors],
                         ["on_open", *handler.messages_seen])
        self.assertTrue(agent.connected and agent.connects == 1 and agent.crashed is None)

    def test_one_late_pong(self) -> None:
        """A ping that is answered only after the next one was sent does not end the connection."""
        server = self.serve(Recorder, ping_interval=0.1, ping_timeout=3)
        with Client(server, "/chat", mmdagent=True) as client:
            handler = server.wait_connected(DEADLINE)
            for _ in range(2):
                first, second = client.frame(), client.frame()
                self.assertEqual((first.opcode, second.opcode), (PING, PING))
                client.send(frame(first.payload, PONG))
            handler.send("STILL", "there")
            self.assertEqual(client.lines(1), ["STILL|there"])
            self.assertFalse(handler.closed)

    def test_an_agent_that_is_busy(self) -> None:
        """An agent whose application hangs for longer than the ping interval keeps its connection."""
        release = threading.Event()
        self.addCleanup(release.set)

        def hang(text: str) -> float:
            release.wait(DEADLINE)
            return 0.01

        agent, handler = self.pair(Recorder, {"dies_when_lost": True, "speech_time": hang},
                                   ping_interval=0.1, ping_timeout=DEADLINE)
        handler.send("SYNTH_START", "0", "voice", "Wait")
        self.assertFalse(handler.wait_closed(2.0))
        release.set()
        handler.send("STILL", "there")
        agent.expect("STILL|there", DEADLINE)
        wait_until(lambda: "SYNTH_EVENT_STOP|0" in handler.messages_seen)
        self.assertTrue(agent.connected and agent.connects == 1 and agent.crashed is None)


if __name__ == "__main__":
    unittest.main()
