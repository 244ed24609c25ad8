"""``agent.py``: waiting for answers, speaking, and methods for messages; with a simulated agent."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any
from unicodedata import normalize

from mmdagent_remote import Agent, ConnectionClosed, InvalidMessage, Message, QueueFull, Server, on
from mmdagent_remote.testing import SimulatedAgent
from tests.client import Client
from tests.support import DEADLINE, TestCase, wait_until


class Noting(Agent):
    """Notes what reaches on_message."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.errors: list[Exception] = []

    def on_message(self, message: Message) -> None:
        if not message.is_echo:
            self.seen.append(message)

    def on_error(self, error: Exception) -> None:
        self.errors.append(error)


class AgentCase(TestCase):
    """A server and one simulated agent."""

    def pair(self, handler: Any = Noting, **options: Any) -> tuple[Any, SimulatedAgent]:
        """A handler (or what accept() returns), and the agent at the other end."""
        server = self.serve(handler)
        simulated = SimulatedAgent(server.url, chatter=False, **options)
        simulated.start()
        self.addCleanup(simulated.leave)
        simulated.wait_connected()
        if handler is None:
            return server.accept(DEADLINE), simulated
        return server.wait_connected(DEADLINE), simulated


class WaitTests(AgentCase):
    """request(), wait_for() and submit()."""

    def test_request(self) -> None:
        """The answer to a command comes back to any thread, and nothing else is lost."""
        agent, simulated = self.pair()
        self.assertEqual(agent.request("VALUE_SET", "v", 3), "VALUE_EVENT_SET|v")
        self.assertEqual(agent.request("VALUE_GET|v").args, ("v", "3"))
        simulated.emit("KEY|a")
        self.assertEqual(agent.request("VALUE_GET", "v", timeout=None), "VALUE_EVENT_GET|v|3")
        wait_until(lambda: agent.seen == ["KEY|a"])

    def test_request_of_an_accepted_agent(self) -> None:
        """request() also works on what accept() returns; other lines wait for read_line."""
        agent, simulated = self.pair(None)
        simulated.emit("KEY|a")
        self.assertEqual(agent.request("VALUE_SET", "v", 3), "VALUE_EVENT_SET|v")
        simulated.emit("KEY|b")
        lines = [line for line in (agent.read_line(DEADLINE) for _ in range(3)) if "KEY" in line]
        self.assertEqual(lines, ["KEY|a", "KEY|b"])

    def test_request_in_a_hook(self) -> None:
        """In a hook, request() reads in its own thread; other lines reach on_message afterwards."""
        class Asking(Noting):
            def on_message(self, message: Message) -> None:
                if message == "GO":
                    simulated.emit("KEY|a")
                    self.seen.append(
                        self.request("TIMER_START", "t", "0.05", until="TIMER_EVENT_STOP|t"))
                    simulated.emit("KEY|b")
                else:
                    super().on_message(message)
        agent, simulated = self.pair(Asking)
        simulated.emit("GO")
        wait_until(lambda: len(agent.seen) == 4, agent.seen)
        self.assertEqual((agent.seen[0], agent.seen[3]), ("TIMER_EVENT_STOP|t", "KEY|b"))

    def test_first_of_several(self) -> None:
        """Of several patterns the first to match wins, so a barge-in can end a wait."""
        agent, simulated = self.pair()
        future = agent.submit(
            "TIMER_START", "t", "30", until=("TIMER_EVENT_STOP|t", "RECOG_EVENT_START"))
        simulated.emit("RECOG_EVENT_START")
        self.assertEqual(future.result(DEADLINE), "RECOG_EVENT_START")

    def test_what_cannot_answer(self) -> None:
        """A command that is unknown, or has no answer, is refused before it is sent."""
        agent, simulated = self.pair()
        with self.assertRaisesRegex(ValueError, "answers CAMERA with no message"):
            agent.request("CAMERA", "0,0,0", "0,0,0", 50, 27)
        with self.assertRaisesRegex(ValueError, "MY_COMMAND is no command.*until="):
            agent.submit("MY_COMMAND")
        with self.assertRaises(InvalidMessage):
            agent.request("VALUE_GET", "a|b")
        self.assertFalse(agent._connected().waits)
        agent.request("VALUE_SET", "v", 1)
        self.assertEqual(simulated.received, ["VALUE_SET|v|1"])

    def test_wait_for_looks_back(self) -> None:
        """wait_for() takes the oldest matching line not delivered yet; the others stay in order."""
        agent, simulated = self.pair(None)
        for line in ("KEY|a", "RECOG_EVENT_STOP|x", "KEY|b", "RECOG_EVENT_STOP|y"):
            simulated.emit(line)
        self.assertEqual(agent.read_line(DEADLINE), "KEY|a")
        self.assertEqual(agent.wait_for("RECOG_EVENT_STOP|y", timeout=DEADLINE), "RECOG_EVENT_STOP|y")
        self.assertEqual(agent.wait_for("RECOG_EVENT_STOP", timeout=0), "RECOG_EVENT_STOP|x")
        self.assertEqual(agent.read_line(DEADLINE), "KEY|b")

    def test_each_line_answers_one(self) -> None:
        """A line goes to the oldest wait that matches, so each wait gets its own line."""
        agent, simulated = self.pair()
        futures = [agent.submit("VALUE_SET", "v", 1, until=re.compile(r"KEY\|.")) for _ in range(3)]
        for key in "abc":
            simulated.emit(f"KEY|{key}")
        self.assertEqual([future.result(DEADLINE) for future in futures], ["KEY|a", "KEY|b", "KEY|c"])
        self.assertEqual([line for line in agent.seen if "KEY" in line], [])

    def test_echoes_never_answer(self) -> None:
        """The echo of a command is not its answer, whatever the pattern."""
        agent, simulated = self.pair()
        simulated.ignore("VALUE_SET")
        with self.assertRaises(TimeoutError):
            agent.request("VALUE_SET", "v", 1, until=lambda message: "v" in message, timeout=0.2)

    def test_timeout(self) -> None:
        """A timeout names the patterns and the last lines; a late line goes to the handler."""
        agent, simulated = self.pair()
        simulated.emit("KEY|a")
        wait_until(lambda: agent.seen)
        # Lines are only remembered while there is a wait. This one lasts longer than the next.
        other = agent.submit("VALUE_GET", "v", until="NEVER", timeout=None)
        simulated.emit("KEY|c")
        wait_until(lambda: "KEY|c" in agent.seen)
        future = agent.submit("KEYVALUE_SET", "a", until=("KEY|b", re.compile("X+")), timeout=0.1)
        for call in (lambda: future.result(DEADLINE), lambda: agent.wait_for("KEY|b", timeout=0.1)):
            with self.assertRaisesRegex(TimeoutError, r"no 'KEY\|b'"):
                call()
        self.assertRegex(str(future.exception()), r"or /X\+/ within 0.1 s; the last lines.*KEY\|c")
        self.assertTrue(other.cancel())
        simulated.emit("KEY|b")
        wait_until(lambda: agent.seen == ["KEY|a", "KEY|c", "KEY|b"])

    def test_the_end(self) -> None:
        """Pending waits, of every kind, end with the connection."""
        class Asking(Noting):
            def on_open(self) -> None:
                try:
                    self.wait_for("NEVER", timeout=None)
                except ConnectionClosed as error:
                    self.errors.append(error)
                    raise
        agent, simulated = self.pair(Asking)
        future = agent.submit("VALUE_GET", "v", until="NEVER", timeout=None)
        caught: list[Exception] = []

        def ask() -> None:
            try:
                agent.request("VALUE_GET", "v", until="NEVER", timeout=None)
            except ConnectionClosed as error:
                caught.append(error)
        thread = self.in_thread(ask)
        wait_until(lambda: len(agent._connected().waits.pending) == 3)
        simulated.leave()
        thread.join(DEADLINE)
        self.assertIsInstance(future.exception(DEADLINE), ConnectionClosed)
        self.assertEqual((len(caught), len(agent.errors)), (1, 1))
        with self.assertRaises(ConnectionClosed):
            agent.wait_for("NEVER")
        with self.assertRaises(ConnectionClosed):
            agent.submit("VALUE_GET", "v")

    def test_while_the_handler_is_busy(self) -> None:
        """Answers also arrive during a long call of user code in the handler."""
        busy, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)

        class Busy(Noting):
            def on_message(self, message: Message) -> None:
                if message == "GO":
                    busy.set()
                    go_on.wait(DEADLINE)
                super().on_message(message)
        agent, simulated = self.pair(Busy)
        simulated.emit("GO")
        busy.wait(DEADLINE)
        for number in range(10):
            answer = agent.request("VALUE_SET", "v", number, timeout=DEADLINE)
            self.assertEqual(answer, "VALUE_EVENT_SET|v")
        simulated.emit("KEY|a")
        go_on.set()
        wait_until(lambda: agent.seen == ["GO", "KEY|a"])

    def test_a_full_queue(self) -> None:
        """A full queue fails a pending wait with QueueFull, since its answer cannot be read."""
        server = self.serve(None, max_queue=5)
        client = Client(server)
        self.addCleanup(client.sock.close)
        agent = server.accept(DEADLINE)
        future = agent.submit("A", until="NEVER")
        client.text("KEY|a\n" * 10)
        self.assertIsInstance(future.exception(DEADLINE), QueueFull)
        with self.assertRaises(QueueFull):
            agent.wait_for("NEVER", timeout=DEADLINE)
        self.assertEqual([agent.read_line(DEADLINE) for _ in range(10)], ["KEY|a"] * 10)

    def test_a_predicate_that_raises(self) -> None:
        """The wait fails with the predicate's error, and nothing else is affected."""
        agent, simulated = self.pair()
        future = agent.submit("VALUE_SET", "v", 1, until=lambda message: 1 // 0)
        self.assertEqual(agent.request("VALUE_SET", "w", 1), "VALUE_EVENT_SET|w")
        self.assertIsInstance(future.exception(DEADLINE), ZeroDivisionError)

    def test_cancel(self) -> None:
        """A cancelled future takes no line."""
        agent, simulated = self.pair()
        future = agent.submit("VALUE_SET", "v", 1, until="KEY")
        self.assertTrue(future.cancel())
        simulated.emit("KEY|a")
        wait_until(lambda: "KEY|a" in agent.seen)

    def test_callbacks(self) -> None:
        """Callbacks of futures run in a thread of their own, and may call anything."""
        agent, simulated = self.pair()
        done: Future[str] = Future()

        def ask_again(future: Future[Message]) -> None:
            done.set_result(agent.request("VALUE_GET", "v") + threading.current_thread().name)
        agent.submit("VALUE_SET", "v", 7).add_done_callback(ask_again)
        self.assertEqual(done.result(DEADLINE),
                         f"VALUE_EVENT_GET|v|7{agent._connected().name}-futures")

    def test_many_threads(self) -> None:
        """Twenty threads that ask at the same time each get their own answer."""
        agent, simulated = self.pair()
        answers: dict[int, str] = {}

        def ask(number: int) -> None:
            agent.request("VALUE_SET", f"v{number}", number, timeout=DEADLINE)
            answers[number] = agent.request("VALUE_GET", f"v{number}", timeout=DEADLINE)
        for thread in [self.in_thread(ask, number) for number in range(20)]:
            thread.join(DEADLINE)
        self.assertEqual(answers, {n: f"VALUE_EVENT_GET|v{n}|{n}" for n in range(20)})


class DispatchTests(AgentCase):
    """@on."""

    def test_on(self) -> None:
        """Marked methods get the arguments of matching messages; the rest goes to on_message."""
        class Marked(Noting):
            @on("RECOG_EVENT_STOP")
            def heard(self, text: str) -> None:
                self.seen.append(f"heard {text}")

            @on("KEY|a", re.compile(r"KEY\|[xy]"))
            def key(self, key: str) -> None:
                self.seen.append(f"key {key}")

            @on("KEY|a")
            def also(self, key: str) -> None:
                self.seen.append(f"also {key}")

        class Derived(Marked):
            def also(self, key: str) -> None:
                self.seen.append(f"derived {key}")
        agent, simulated = self.pair(Derived)
        for line in ("RECOG_EVENT_STOP|hi", "KEY|a", "KEY|b", "KEY|y"):
            simulated.emit(line)
        wait_until(lambda: len(agent.seen) == 5)
        self.assertEqual(agent.seen, ["heard hi", "key a", "derived a", "KEY|b", "key y"])

    def test_echoes_and_errors(self) -> None:
        """Echoes go only to on_message; what a marked method raises goes to on_error."""
        class Marked(Noting):
            @on("SYNTH_START")
            def somebody_speaks(self, model: str, voice: str, text: str) -> None:
                self.seen.append(text)

            @on("KEY")
            def key(self) -> None:
                """Takes no argument, although the message has one."""
        agent, simulated = self.pair(Marked)
        agent.send("SYNTH_START", 0, "v", "ours")
        simulated.emit("SYNTH_START|0|v|theirs")
        simulated.emit("KEY|a")
        wait_until(lambda: agent.errors)
        self.assertEqual([line for line in agent.seen if "_" not in line], ["theirs"])
        self.assertIsInstance(agent.errors[0], TypeError)

    def test_wrong_use(self) -> None:
        """on() without a pattern, or with a wrong one, raises TypeError at once."""
        for patterns in ((), (1,), (b"KEY",)):
            with self.assertRaises(TypeError):
                on(*patterns)  # type: ignore[arg-type]


class SpeechTests(AgentCase):
    """say(), say_stream() and stop_speaking()."""

    def spoken(self, simulated: SimulatedAgent) -> list[str]:
        """The texts that the agent was told to speak; full-width letters as ASCII."""
        return [normalize("NFKC", line.args[2]) for line in simulated.received
                if line.type == "SYNTH_START"]

    def test_one_after_the_other(self) -> None:
        """Utterances of one model follow each other; each future is True at the end of its own."""
        agent, simulated = self.pair(speech_time=0.05)
        futures = [agent.say("0", "v", text) for text in ("one", "two", "three")]
        self.assertEqual([future.result(DEADLINE) for future in futures], [True] * 3)
        self.assertEqual(self.spoken(simulated), ["one", "two", "three"])
        events = ["SYNTH_EVENT_START|0", "SYNTH_EVENT_STOP|0"] * 3
        wait_until(lambda: [line for line in agent.seen if "SYNTH_EVENT" in line] == events)

    def test_two_models(self) -> None:
        """Two models speak at the same time."""
        agent, simulated = self.pair(speech_time=30.0)
        agent.say("0", "v", "one")
        agent.say("1", "v", "two")
        agent.say("0", "v", "three")
        wait_until(lambda: self.spoken(simulated) == ["one", "two"])

    def test_stop(self) -> None:
        """stop_speaking() stops the voice and drops the queue of that model; later calls speak."""
        agent, simulated = self.pair(speech_time=30.0)
        futures = [agent.say("0", "v", text) for text in ("one", "two")]
        other = agent.say("1", "v", "other")
        wait_until(lambda: "SYNTH_EVENT_START|0" in agent.seen)
        agent.stop_speaking("0")
        self.assertEqual([future.result(DEADLINE) for future in futures], [False, False])
        simulated.speech_time = 0.01
        self.assertTrue(agent.say("0", "v", "again").result(DEADLINE))
        self.assertEqual(self.spoken(simulated), ["one", "other", "again"])
        self.assertFalse(other.done())
        self.assertEqual([line for line in simulated.received if "STOP" in line], ["SYNTH_STOP|0"])

    def test_nothing_to_stop(self) -> None:
        """If there is nothing to stop, nothing is sent."""
        agent, simulated = self.pair()
        agent.stop_speaking("0")
        agent.request("VALUE_SET", "v", 1)
        self.assertEqual(simulated.received, ["VALUE_SET|v|1"])

    def test_somebody_else_speaks(self) -> None:
        """A SYNTH_START of the content cuts ours off; our next waits for its end."""
        agent, simulated = self.pair(speech_time=0.3)
        ours, next_ = agent.say("0", "v", "ours"), agent.say("0", "v", "next")
        wait_until(lambda: "SYNTH_EVENT_START|0" in agent.seen)
        simulated.emit("SYNTH_START|0|v|theirs")
        self.assertFalse(ours.result(DEADLINE))
        self.assertTrue(next_.result(DEADLINE))
        wait_until(lambda: agent.seen.count("SYNTH_EVENT_STOP|0") >= 2)
        self.assertEqual(self.spoken(simulated), ["ours", "next"])

    def test_no_such_voice(self) -> None:
        """If a voice does not begin, its future fails."""
        agent, simulated = self.pair()
        simulated.ignore("SYNTH_START")
        future = agent.say("0", "no_such_voice", "hello")
        self.assertIsInstance(future.exception(DEADLINE), TimeoutError)

    def test_texts(self) -> None:
        """Any text is spoken: cleaned, and cut into several lines if it is too long for one."""
        agent, simulated = self.pair(hurry=100)
        self.assertTrue(agent.say(0, "v", " a|b\nc\0 ").result(DEADLINE))
        self.assertTrue(agent.say("0", "v", "\n ").result(DEADLINE))
        long = "とても長い文です。" * 200
        self.assertTrue(agent.say("0", "v", long).result(DEADLINE))
        spoken = self.spoken(simulated)
        self.assertEqual((spoken[0], "".join(spoken[1:])), ("a|b c", long))
        self.assertIsNone(simulated.crashed)

    def test_english_with_open_jtalk(self) -> None:
        """ASCII text leaves in full width, whatever sends it, and kills nobody; its echo is known."""
        agent, simulated = self.pair(hurry=100)
        self.assertTrue(agent.say("0", "mei", "Hi. " * 500).result(DEADLINE))
        lines = [line for line in simulated.received if line.type == "SYNTH_START"]
        self.assertEqual("".join(line.args[2] for line in lines).count("Ｈｉ．"), 500)
        self.assertGreater(len(lines), 1)
        self.assertLessEqual(max(len(line.encode()) for line in lines), 2046)
        agent.send("SYNTH_START", "1", "mei", "by send")
        agent.send_lines(["SYNTH_START|2|mei|by send_lines"])
        agent.send_text("SYNTH_START|3|mei|by send_text\n")
        agent.server.broadcast("SYNTH_START", "4", "mei", "by broadcast")
        agent.write_line("__AV_MESSAGE,SYNTH_START|5|mei|in a wrapper")
        wait_until(lambda: self.spoken(simulated)[-1:] == ["in a wrapper"])
        self.assertEqual(self.spoken(simulated)[-5:], [
            "by send", "by send_lines", "by send_text", "by broadcast", "in a wrapper"])
        wait_until(lambda: "SYNTH_EVENT_STOP|5" in agent.seen)
        self.assertFalse([line for line in agent.seen
                          if line.type == "SYNTH_START" and not line.is_echo])
        self.assertIsNone(simulated.crashed)

    def test_odd_commands_to_speak(self) -> None:
        """A SYNTH_START without a text, or with more fields than it takes, is sent like any line."""
        agent, simulated = self.pair()
        lines = ["SYNTH_START|", "SYNTH_START|0|", "SYNTH_START|0|v|", "SYNTH_START|0|v|ああ|",
                 "SYNTH_START|0|slt_v|hello|", "SYNTH_START|0|v|hello|" + "あ" * 20]
        with self.assertLogs("mmdagent_remote.connection", "INFO") as logs:
            agent.send_lines(lines)
            agent.send("__AV_MESSAGE,SYNTH_START|0|")
            agent.send("SYNTH_START", "0", "odd", "hello", "")
            agent.server.broadcast("SYNTH_START|0|")
            wait_until(lambda: len(simulated.received) == len(lines) + 3)
        self.assertIn("SYNTH_START|0|v|ｈｅｌｌｏ|" + "あ" * 20, simulated.received)
        self.assertIsNone(simulated.crashed)
        self.assertEqual(sum("'odd'" in line for line in logs.output), 1)
        self.assertFalse([line for line in logs.output if "slt_v" in line])

    def test_a_future_that_its_user_ended(self) -> None:
        """A result that the user sets on a pending future holds up nobody."""
        agent, simulated = self.pair(speech_time=0.05)
        futures = [agent.say(model, "slt_v", "Hello.") for model in "012"]
        futures[1].set_result(True)
        self.assertTrue(futures[2].result(DEADLINE))
        self.assertTrue(futures[0].result(DEADLINE))

    def test_voices_that_read_ascii(self) -> None:
        """They get it as it is: Flite's, and those that are named; others are told once each."""
        server = self.serve(Noting, ascii_voices=("own_*", "slt_*"))
        with SimulatedAgent(server.url, chatter=False, ascii_voices=("own_*", "slt_*"),
                            hurry=100) as simulated, \
                self.assertLogs("mmdagent_remote.connection", "INFO") as logs:
            agent = server.wait_connected(DEADLINE)
            for voice in ("slt_voice_normal", "own_voice", "other", "other"):
                self.assertTrue(agent.say("0", voice, "Hello.").result(DEADLINE))
            agent.send("SYNTH_START", "0", "another", "Hello.")
            agent.send("SYNTH_START", "0", "another", "Hello.")
            wait_until(lambda: len(simulated.received) == 6)
        self.assertEqual([line.args[2] for line in simulated.received],
                         ["Hello."] * 2 + ["Ｈｅｌｌｏ．"] * 4)
        told = [line for line in logs.output if "full-width" in line]
        self.assertEqual([("'other'" in line, "'another'" in line) for line in told],
                         [(True, False), (False, True)])

    def test_flite_takes_turns(self) -> None:
        """Two models with voices that read ASCII never speak at the same time."""
        agent, simulated = self.pair(speech_time=0.05)
        futures = [agent.say(model, "slt_voice_normal", "Hello.") for model in "0101"]
        self.assertEqual([future.result(DEADLINE) for future in futures], [True] * 4)
        events = ["SYNTH_EVENT_START", "SYNTH_EVENT_STOP"] * 4
        wait_until(lambda: [line.type for line in agent.seen if "EVENT" in line] == events)

    def test_wrong_arguments(self) -> None:
        """An invalid model, voice or text is refused at once."""
        agent, simulated = self.pair()
        for model, voice, text, error in (
                ("a|b", "v", "x", InvalidMessage), ("", "v", "x", InvalidMessage),
                ("0", "", "x", InvalidMessage), (None, "v", "x", TypeError),
                ("0", "v", None, TypeError), ("0", "v" * 2000, "x", InvalidMessage)):
            with self.subTest((model, voice, text)), self.assertRaises(error):
                agent.say(model, voice, text)

    def test_the_end(self) -> None:
        """Futures fail when the connection ends; after that say() raises."""
        agent, simulated = self.pair(speech_time=30.0)
        futures = [agent.say("0", "v", "one"), agent.say("0", "v", "two")]
        wait_until(lambda: self.spoken(simulated))
        simulated.leave()
        for future in futures:
            self.assertIsInstance(future.exception(DEADLINE), ConnectionClosed)
        with self.assertRaises(ConnectionClosed):
            agent.say("0", "v", "three")

    def test_stream(self) -> None:
        """Pieces are spoken sentence by sentence, the first before the last piece has come."""
        agent, simulated = self.pair(speech_time=0.01)
        go_on = threading.Event()

        def tokens() -> Iterator[str]:
            yield from ("Hel", "lo. ", "How ")
            go_on.wait(DEADLINE)
            yield from ("are", " you?", " Fine")
        future = agent.say_stream("0", "v", tokens())
        wait_until(lambda: self.spoken(simulated) == ["Hello."])
        go_on.set()
        self.assertTrue(future.result(DEADLINE))
        self.assertEqual(self.spoken(simulated), ["Hello.", "How are you?", "Fine"])

    def test_stream_is_stopped(self) -> None:
        """stop_speaking() ends a stream: its future is False, and its iterator is closed."""
        agent, simulated = self.pair(speech_time=30.0)
        closed, stopped = threading.Event(), threading.Event()

        def tokens() -> Iterator[str]:
            try:
                yield "One. "
                yield "Two. "
                stopped.wait(DEADLINE)
                while True:
                    yield "More. "
            finally:
                closed.set()
        future = agent.say_stream("0", "v", tokens())
        wait_until(lambda: self.spoken(simulated))
        agent.stop_speaking("0")
        stopped.set()
        self.assertFalse(future.result(DEADLINE))
        self.assertTrue(closed.wait(DEADLINE))
        self.assertEqual(self.spoken(simulated), ["One."])

    def test_stream_is_stopped_amid_a_piece(self) -> None:
        """A stop while the sentences of one piece are queued stops all of them."""
        about, stopped = threading.Event(), threading.Event()

        class Slow(Noting):
            def _say(self, model: Any, voice: Any, text: str, is_wanted: Any) -> Future[bool]:
                if text == "Two.":
                    about.set()
                    stopped.wait(DEADLINE)
                return super()._say(model, voice, text, is_wanted)
        agent, simulated = self.pair(Slow, speech_time=30.0)
        future = agent.say_stream("0", "v", ["One. Two. Three. "])
        about.wait(DEADLINE)
        wait_until(lambda: self.spoken(simulated))
        agent.stop_speaking("0")
        stopped.set()
        self.assertFalse(future.result(DEADLINE))
        simulated.speech_time = 0.01
        self.assertTrue(agent.say("0", "v", "again").result(DEADLINE))
        self.assertEqual(self.spoken(simulated), ["One.", "again"])

    def test_stream_that_raises(self) -> None:
        """The future raises what the iterable raises."""
        agent, simulated = self.pair()

        def tokens() -> Iterator[str]:
            yield "One. "
            raise OSError("the model is gone")
        with self.assertRaisesRegex(OSError, "the model is gone"):
            agent.say_stream("0", "v", tokens()).result(DEADLINE)

    def test_next_sentence_leaves_soon(self) -> None:
        """The next utterance is sent when the last has ended, even while the handler is busy."""
        go_on = threading.Event()
        self.addCleanup(go_on.set)

        class Busy(Noting):
            def on_open(self) -> None:
                self.futures = [self.say("0", "v", str(number)) for number in range(5)]
                go_on.wait(DEADLINE)
        agent, simulated = self.pair(Busy, speech_time=0.01)
        wait_until(lambda: hasattr(agent, "futures"))
        began = time.monotonic()
        self.assertEqual([future.result(DEADLINE) for future in agent.futures], [True] * 5)
        self.assertLess(time.monotonic() - began, DEADLINE / 2)
        go_on.set()


class StateTests(AgentCase):
    """Server.state."""

    def test_state(self) -> None:
        """Each path has a dict, which survives a reconnect."""
        class Counting(Noting):
            def on_open(self) -> None:
                state = self.server.state[self.path]
                state["visits"] = state.get("visits", 0) + 1
        agent, simulated = self.pair(Counting)
        simulated.drop()
        simulated.wait_connected(times=2)
        wait_until(lambda: agent.server.state["/"] == {"visits": 2})
        self.assertEqual(agent.server.state["/other"], {})

    def test_bound(self) -> None:
        """With the 1001st path, the first is forgotten."""
        state = Server(Noting).state
        for number in range(1000):
            state[f"/{number}"]["n"] = number
        self.assertEqual(len(state), 1000)
        self.assertEqual((state["/x"], len(state)), ({}, 1000))
        self.assertEqual(("/0" in state, state["/1"]), (False, {"n": 1}))
