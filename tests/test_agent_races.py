"""``agent.py``: waits and speech in races, and in every kind of thread."""

from __future__ import annotations

import os
import signal
import threading
import unittest
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_all
from contextlib import suppress

from mmdagent_remote import Agent, ConnectionClosed, Message, QueueFull

from mmdagent_remote.connection.waits import Wait
from mmdagent_remote.serving import attendant
from tests.support import DEADLINE, wait_until
from tests.test_agent import AgentCase, Noting


class CallbackTests(AgentCase):
    """Callbacks of futures are user code, which may block, and wait for other futures."""

    def test_waits_for_a_future(self) -> None:
        """A callback may wait for the future of another answer, and of speech."""
        agent, simulated = self.pair(speech_time=0.01)
        for ask in (lambda: agent.submit("VALUE_SET", "v", 7), lambda: agent.say("0", "v", "one")):
            done: Future[object] = Future()

            def ask_again(future: Future[object], done: Future[object] = done) -> None:
                done.set_result((agent.submit("VALUE_SET", "w", 1).result(DEADLINE),
                                 agent.say("0", "v", "two").result(DEADLINE)))
            ask().add_done_callback(ask_again)
            self.assertEqual(done.result(DEADLINE), ("VALUE_EVENT_SET|w", True))

    def test_takes_its_time(self) -> None:
        """While a callback blocks, answers arrive, timeouts expire and speech goes on."""
        agent, simulated = self.pair(speech_time=0.01)
        busy, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)
        agent.submit("VALUE_SET", "v", 7).add_done_callback(
            lambda future: (busy.set(), go_on.wait(DEADLINE)))
        self.assertTrue(busy.wait(DEADLINE))
        late = agent.submit("VALUE_GET", "v", until="NEVER", timeout=0.01)
        self.assertEqual(agent.submit("VALUE_GET", "v").result(DEADLINE), "VALUE_EVENT_GET|v|7")
        self.assertIsInstance(late.exception(DEADLINE), TimeoutError)
        futures = [agent.say("0", "v", text) for text in ("one", "two")]
        self.assertEqual([future.result(DEADLINE) for future in futures], [True, True])

    def test_raises(self) -> None:
        """What a callback raises is logged, and the next one is called."""
        agent, simulated = self.pair()
        done = threading.Event()

        def fail(future: Future[Message]) -> None:
            raise SystemExit("a fault")
        with self.assertLogs("mmdagent_remote.connection", "ERROR") as logs:
            agent.submit("VALUE_SET", "v", 7).add_done_callback(fail)
            agent.submit("VALUE_SET", "v", 7).add_done_callback(lambda future: done.set())
            self.assertTrue(done.wait(DEADLINE))
        self.assertIn("a callback raised", logs.output[0])


class WaitRaceTests(AgentCase):
    """Waits."""

    def slow_scan(self) -> None:
        """Let the attendant come only when it is called, not by its periodic scan."""
        for name in ("_SCAN", "_SCAN_MOST"):
            self.addCleanup(setattr, attendant, name, getattr(attendant, name))
            setattr(attendant, name, 4 * DEADLINE)

    def test_reader_goes_away(self) -> None:
        """A wait is served at once after the reader stops reading, at its answer or its timeout."""
        self.slow_scan()

        class Going(Noting):
            def on_open(self) -> None:
                for leave in (lambda: self.request("VALUE_SET", "own", 1), self.time_out):
                    in_time.wait(DEADLINE)
                    in_time.clear()
                    leave()
                    away.set()
                    go_on.wait(DEADLINE)
                    go_on.clear()

            def time_out(self) -> None:
                with suppress(TimeoutError):
                    while True:
                        self.read_line(0.05)
        in_time, away, go_on = threading.Event(), threading.Event(), threading.Event()
        self.addCleanup(go_on.set)
        agent, simulated = self.pair(Going)
        for number in range(2):
            future = agent.submit("VALUE_SET", "v", 1, until=f"KEY|{number}", timeout=None)
            in_time.set()
            self.assertTrue(away.wait(DEADLINE))
            away.clear()
            simulated.emit(f"KEY|{number}")
            self.assertEqual(future.result(DEADLINE), f"KEY|{number}")
            go_on.set()

    def test_submit_and_say_before_sleep(self) -> None:
        """What a hook submits or says is served at once, even if the hook then blocks."""
        self.slow_scan()
        go_on = threading.Event()
        self.addCleanup(go_on.set)

        class Sleeping(Noting):
            def on_message(self, message: Message) -> None:
                if message == "GO":
                    self.futures = [self.say("0", "v", "one"), self.say("0", "v", "two")]
                elif message == "GO ON":
                    self.futures = [self.submit("VALUE_SET", "v", 1)]
                else:
                    return
                asked.set()
                go_on.wait(DEADLINE)
                go_on.clear()
        asked = threading.Event()
        agent, simulated = self.pair(Sleeping, speech_time=0.01)
        for line in ("GO", "GO ON"):
            simulated.emit(line)
            self.assertTrue(asked.wait(DEADLINE))
            asked.clear()
            for future in agent.futures:
                self.assertTrue(future.result(DEADLINE))
            go_on.set()

    def test_in_every_thread(self) -> None:
        """Waits work in on_open and in spawned threads; in on_close they end at once."""
        found: list[object] = []

        class Everywhere(Noting):
            def on_open(self) -> None:
                found.append(self.request("VALUE_SET", "v", 1))
                self.spawn(lambda: found.append(self.request("VALUE_GET", "v")))

            def on_close(self, code: int, reason: str) -> None:
                for ask in (lambda: self.wait_for("KEY", timeout=None),
                            lambda: self.request("VALUE_GET", "v", timeout=None),
                            lambda: self.submit("VALUE_GET", "v"), lambda: self.say("0", "v", "x")):
                    try:
                        ask()
                    except ConnectionClosed:
                        found.append("closed")
                self.stop_speaking("0")
        agent, simulated = self.pair(Everywhere)
        wait_until(lambda: len(found) == 2)
        simulated.leave()
        wait_until(lambda: len(found) == 6, str(found))
        self.assertEqual(found, ["VALUE_EVENT_SET|v", "VALUE_EVENT_GET|v|1", *["closed"] * 4])

    def test_no_time(self) -> None:
        """With a timeout of 0 or less, a wait checks once and times out; no wait remains."""
        class Asking(Noting):
            def on_open(self) -> None:
                ask_all(self)
                done.set()
        done = threading.Event()

        def ask_all(agent: Agent) -> None:
            for timeout in (0, -1, 0.0):
                for ask in (lambda: agent.wait_for("NEVER", timeout=timeout),
                            lambda: agent.request("VALUE_SET", "v", 1, until="NEVER", timeout=timeout),
                            lambda: agent.submit("A", until="NEVER", timeout=timeout).result(DEADLINE)):
                    with self.assertRaises(TimeoutError):
                        ask()
        for handler in (Asking, None):
            agent, simulated = self.pair(handler)
            if handler is None:
                ask_all(agent)
            self.assertTrue(done.wait(DEADLINE))
            self.assertFalse(agent._connected().waits)
            self.assertEqual(getattr(agent, "errors", []), [])

    def test_wrong_use(self) -> None:
        """No pattern, or a timeout that is not a number, is a TypeError, and no wait remains."""
        agent, simulated = self.pair()
        for ask in (lambda: agent.wait_for(), lambda: agent.submit("A", until=[]),
                    lambda: agent.request("A", until=()), lambda: agent.wait_for("A", timeout="1"),
                    lambda: agent.submit("A", until="A", timeout="1")):
            with self.assertRaises(TypeError):
                ask()
            self.assertFalse(agent._connected().waits)
        self.assertEqual(simulated.received, [])

    def test_endless(self) -> None:
        """An infinite timeout does not delay another."""
        agent, simulated = self.pair()
        endless = agent.submit("A", until="KEY", timeout=float("inf"))
        soon = agent.submit("A", until="NEVER", timeout=0.01)
        self.assertIsInstance(soon.exception(DEADLINE), TimeoutError)
        simulated.emit("KEY|a")
        self.assertEqual(endless.result(DEADLINE), "KEY|a")

    def test_predicate_that_sends(self) -> None:
        """A predicate may send."""
        agent, simulated = self.pair()
        future = agent.submit("VALUE_SET", "v", 1,
                              until=lambda message: agent.send("VALUE_SET", "w", 1) or "|w" in message)
        self.assertEqual(future.result(DEADLINE), "VALUE_EVENT_SET|w")

    def test_registered_while_a_line_is_offered(self) -> None:
        """A wait that registers while a line is offered to others still gets the line."""
        agent, simulated = self.pair(None)
        late = Wait(("KEY",))

        def register(message: Message) -> bool:
            if not found:
                found.append(agent._connected().look_back(late))
            return False
        found: list[object] = []
        agent.submit("A", until=register)
        simulated.emit("KEY|a")
        self.assertEqual(late.future.result(DEADLINE), "KEY|a")
        self.assertEqual(found, [None])

    def test_shutdown(self) -> None:
        """shutdown() ends every kind of wait."""
        agent, simulated = self.pair(None)
        futures = [agent.submit("A", until="NEVER", timeout=None), agent.say("0", "v", "x" * 1000)]
        ended = threading.Event()

        def ask(call: Callable[[], object]) -> None:
            try:
                call()
            except ConnectionClosed:
                ended.set()
        thread = self.in_thread(ask, lambda: agent.wait_for("NEVER", timeout=None))
        wait_until(lambda: len(agent._connected().waits.pending) == 2)
        self.assertEqual(agent.server.shutdown(timeout=DEADLINE), [])
        thread.join(DEADLINE)
        self.assertTrue(ended.is_set())
        for future in futures:
            self.assertIsInstance(future.exception(DEADLINE), ConnectionClosed)

    def test_answered_submits_are_forgotten(self) -> None:
        """An answered wait is not kept in memory until its timeout."""
        agent, simulated = self.pair(fragile=False)
        for number in range(20):
            futures = [agent.submit("VALUE_SET", "v", n, timeout=3600) for n in range(50)]
            self.assertEqual(len(wait_all(futures, DEADLINE).done), 50)
        self.assertLess(len(agent._connected().courier._jobs), 500)

    @unittest.skipUnless(os.name == "posix", "needs POSIX signals")
    def test_ctrl_c(self) -> None:
        """Ctrl-C interrupts a wait, which then takes no line."""
        agent, simulated = self.pair(None)
        self.addCleanup(signal.signal, signal.SIGINT,
                        signal.signal(signal.SIGINT, signal.default_int_handler))

        def interrupt() -> None:
            wait_until(lambda: agent._connected().waits)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        thread = self.in_thread(interrupt)
        with self.assertRaises(KeyboardInterrupt):
            agent.wait_for("KEY", timeout=None)
            thread.join(DEADLINE)
        self.assertFalse(agent._connected().waits)
        simulated.emit("KEY|a")
        self.assertEqual(agent.read_line(DEADLINE), "KEY|a")


class SpeechRaceTests(AgentCase):
    """Speech."""

    def test_cancel(self) -> None:
        """An utterance that is cancelled before its turn is not spoken, and is forgotten."""
        agent, simulated = self.pair(speech_time=0.05)
        first, second = agent.say("0", "slt_v", "one"), agent.say("0", "slt_v", "two")
        self.assertTrue(second.cancel())
        self.assertTrue(agent.say("0", "slt_v", "three").result(DEADLINE))
        self.assertTrue(first.result(DEADLINE))
        self.assertEqual([line.args[2] for line in simulated.received], ["one", "three"])
        self.assertEqual(wait_all([second], DEADLINE).done, {second})
        wait_until(lambda: not agent._speech()._futures)

    def test_too_many_models(self) -> None:
        """Beyond the bound of models, say() returns a future that fails with QueueFull."""
        agent, simulated = self.pair()
        for number in range(1000):
            agent.stop_speaking(number)
        self.assertIsInstance(agent.say("one more", "v", "x").exception(DEADLINE), QueueFull)
        self.assertTrue(agent.say("0", "v", "x").result(DEADLINE))

    def test_stop_in_the_middle_of_a_piece(self) -> None:
        """After a stop no sentence of a stream is spoken, even if the piece is already read."""
        agent, simulated = self.pair(speech_time=0.01)

        class Piece(str):
            def __bool__(self) -> bool:
                agent.stop_speaking("0")
                return True
        self.assertFalse(agent.say_stream("0", "v", iter([Piece("One. Two.")])).result(DEADLINE))
        agent.request("VALUE_SET", "v", 1)
        self.assertEqual(simulated.received, ["VALUE_SET|v|1"])

    def test_after_the_end(self) -> None:
        """If threads speak and stop while the connection ends, every future is done."""
        agent, simulated = self.pair(speech_time=0.01)
        futures: list[Future[bool]] = []

        def speak(model: int) -> None:
            try:
                while True:
                    futures.append(agent.say(model, "v", "one"))
                    if len(futures) % 7 == 0:
                        agent.stop_speaking(model)
            except ConnectionClosed:
                agent.stop_speaking(model)
        threads = [self.in_thread(speak, number) for number in range(4)]
        wait_until(lambda: len(futures) > 500)
        simulated.leave()
        for thread in threads:
            thread.join(DEADLINE)
        self.assertEqual(wait_all(futures, DEADLINE).not_done, set())
        wait_until(lambda: not agent._speech()._futures)


if __name__ == "__main__":
    unittest.main()
