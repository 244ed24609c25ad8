"""Lines of one read are taken together, and are still kept in order, found, dropped and counted."""

from __future__ import annotations

import threading
import unittest
from typing import Any

from mmdagent_remote import Agent, ConnectionClosed, Handler
from mmdagent_remote.errors import QueueFull

from ..client import Client, frame
from ..support import DEADLINE, Recorder, TestCase, wait_until


def burst(*lines: str) -> bytes:
    """A frame for each line."""
    return b"".join(frame(line) for line in lines)


class Holding(Agent):
    """Notes its lines, and blocks in the first until `go_on` is set."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.held = threading.Event()
        self.go_on = threading.Event()

    def on_message(self, message: Any) -> None:
        self.seen.append(message)
        self.held.set()
        self.go_on.wait(DEADLINE)


class AtOnceTest(TestCase):
    """Lines that are sent directly, without the queue."""

    def test_nothing_overtakes(self) -> None:
        """A line that is sent while others wait for a slow peer comes after them."""
        server = self.serve(Recorder, send_timeout=DEADLINE)
        with Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            count = 0
            while not server.broadcast(f"{count}|" + "x" * 10_000):
                count += 1
            last = self.in_thread(handler.send, "last")
            # send() returns at once if the kernel has just taken some more.
            wait_until(lambda: handler._connected().wire._wire.locked() or not last.is_alive(),
                       "it waits for the peer")
            found = client.lines(count + 1)
            last.join(DEADLINE)
        self.assertEqual([line.partition("|")[0] for line in found], [*map(str, range(count)), "last"])

    def test_not_behind_the_seal(self) -> None:
        """Once a close has begun, neither lines nor messages can be sent."""
        server = self.serve(Recorder)
        with Client(server):
            handler = server.wait_connected(DEADLINE)
            connection = handler._connected()
            connection.begin_close(1000, "")
            for send in (handler.send, handler.write_line, handler.send_text,
                         lambda line: handler.send_lines([line, line])):
                with self.assertRaises(ConnectionClosed):
                    send("late")
            connection.end_close(1000, "")


class ReadAheadTest(TestCase):
    """While the handler is busy with its first line, the others of the same read are ready."""

    def held(self, *lines: str, **options: Any) -> tuple[Holding, Client]:
        """A handler that is blocked in the first of these lines."""
        server = self.serve(Holding, **options)
        client = Client(server)
        self.addCleanup(client.sock.close)
        agent: Any = server.wait_connected(DEADLINE)
        self.addCleanup(agent.go_on.set)
        client.send(burst(*lines))
        self.assertTrue(agent.held.wait(DEADLINE))
        return agent, client

    def test_a_wait_finds_one(self) -> None:
        """A wait in another thread takes the oldest line that matches; the others stay in order."""
        agent, _ = self.held("a", "b|1", "c", "b|2", "d")
        self.assertEqual(agent.wait_for("b", timeout=DEADLINE), "b|1")
        agent.go_on.set()
        wait_until(lambda: agent.seen == ["a", "c", "b|2", "d"])

    def test_equal_lines(self) -> None:
        """Of several equal lines a wait takes one."""
        agent, _ = self.held("a", "b", "b", "b")
        agent.wait_for("b", timeout=DEADLINE)
        agent.go_on.set()
        wait_until(lambda: agent.seen == ["a", "b", "b"])

    def test_waits_and_reader_at_once(self) -> None:
        """However reader and other threads' waits interleave, each line comes once, in order."""
        for _ in range(30):
            agent, client = self.held(*(f"{'w' if number % 5 == 0 else 'n'}|{number}"
                                        for number in range(1, 61)))
            agent.go_on.set()
            taken = []
            for _ in range(12):
                try:
                    taken.append(agent.wait_for("w", timeout=0.001))
                except TimeoutError:
                    break
            wait_until(lambda: len(agent.seen) + len(taken) >= 60)
            places = [int(line.partition("|")[2]) for line in agent.seen]
            self.assertEqual(places, sorted(places))
            self.assertEqual(sorted([*agent.seen, *taken], key=lambda line: int(line[2:])),
                             [f"{'w' if number % 5 == 0 else 'n'}|{number}" for number in range(1, 61)])
            client.sock.close()
            wait_until(lambda: agent.closed)

    def test_read_line_takes_the_next(self) -> None:
        """read_line() in a hook takes the next line, which on_message then does not see."""
        class Pairs(Recorder):
            def on_message(self, message: Any) -> None:
                self.messages_seen.append(f"{message} {self.read_line(DEADLINE)}")

        server = self.serve(Pairs)
        with Client(server) as client:
            handler: Any = server.wait_connected(DEADLINE)
            client.send(burst("a", "b", "c", "d"))
            wait_until(lambda: handler.messages_seen == ["a b", "c d"])

    def test_pushed_lines_come_first(self) -> None:
        """Lines that a hook passes to on_text are read before those that are ready."""
        class Pushes(Recorder):
            def on_message(self, message: Any) -> None:
                super().on_message(message)
                if message == "a":
                    self.on_text("x\ny")

        server = self.serve(Pushes)
        with Client(server) as client:
            handler: Any = server.wait_connected(DEADLINE)
            client.send(burst("a", "b", "c"))
            wait_until(lambda: handler.messages_seen == ["a", "x", "y", "b", "c"])

    def test_own_close_drops_them(self) -> None:
        """After our own close no more lines are delivered."""
        agent, _ = self.held("a", "b", "c")
        agent.close()
        agent.go_on.set()
        wait_until(lambda: not agent.server._run.registry.sessions)
        self.assertEqual(agent.seen, ["a"])

    def test_the_peers_end_comes_behind_them(self) -> None:
        """Every line is delivered before the peer's end."""
        agent, client = self.held("a", "b", "c")
        client.sock.close()
        agent.go_on.set()
        wait_until(lambda: agent.seen == ["a", "b", "c"])

    def test_they_count(self) -> None:
        """Ready lines count towards max_queue: with a full queue a wait fails."""
        agent, _ = self.held("a", "b", "c", "d", "e", max_queue=4)
        with self.assertRaises(QueueFull):
            agent.wait_for("never", timeout=DEADLINE)
        agent.go_on.set()
        wait_until(lambda: agent.seen == ["a", "b", "c", "d", "e"])

    def test_later_lines_stay_behind(self) -> None:
        """Lines that came while the handler was busy follow those that were ready."""
        agent, client = self.held("a", "b")
        client.send(burst("c", "d"))
        wait_until(lambda: len(agent._connected()._queue.waiting) == 2, "the attendant has read")
        client.send(burst("e", "f"))
        agent.go_on.set()
        wait_until(lambda: len(agent.seen) == 6)
        self.assertEqual(agent.seen, list("abcdef"))

    def test_a_fault_behind_them(self) -> None:
        """The answers to lines leave before the Close for a fault that follows the lines."""
        class Echo(Handler):
            def on_message(self, message: Any) -> None:
                self.send(message)

        with Client(self.serve(Echo)) as client:
            client.send(burst("a", "b") + b"\xc1\x80\0\0\0\0" + burst("c"))
            self.assertEqual(client.lines(2), ["a", "b"])
            self.assertEqual(client.frame().payload[:2], (1002).to_bytes(2, "big"))


if __name__ == "__main__":
    unittest.main()
