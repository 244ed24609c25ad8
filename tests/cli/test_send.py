"""``mmdagent-remote send`` and ``say``, with a simulated agent that connects to them."""

from __future__ import annotations

import random
import tempfile
import unittest
import wave
from pathlib import Path
from typing import Any

from mmdagent_remote.cli.send import plan_of
from mmdagent_remote.testing import SimulatedAgent

from ..client import Client
from ..soak.peer import Address
from ..support import DEADLINE, TestCase, wait_until
from .command import Done, free_port, is_open, run_main


class SendCase(TestCase):
    """A port, and agents that try to connect to it."""

    def setUp(self) -> None:
        self.port = free_port()

    def agent(self, **options: Any) -> SimulatedAgent:
        """An agent, a hundred times as fast as the real one.

        Not a fragile one: on a busy machine that misses what comes right behind its handshake.
        """
        agent = SimulatedAgent(f"ws://127.0.0.1:{self.port}/chat", hurry=100, retry_count=10_000,
                               chatter=False, fragile=False, **options)
        self.addCleanup(agent.leave)
        return agent.start()

    def run_it(self, command: str, *arguments: str) -> Done:
        """Run a command on the port."""
        return run_main(command, "--port", str(self.port), "--timeout", str(DEADLINE), *arguments)


class SendTest(SendCase):
    """send."""

    def test_plan(self) -> None:
        """The plan of a line tells what shows its success: its answer and its end, or its echo."""
        for line, answer, end, echo in (
                ("TIMER_START|t|1\n", "TIMER_EVENT_START|t", "TIMER_EVENT_STOP|t", "TIMER_START|t|1"),
                ("VALUE_SET|v|1", "VALUE_EVENT_SET|v", None, "VALUE_SET|v|1"),
                ("CAMERA|0", None, None, "CAMERA|0"), ("STOP", None, None, "STOP"),
                ("__AV_START", None, None, None)):
            self.assertEqual(plan_of(line), (line.strip(), answer, end, echo))

    def test_to_the_end(self) -> None:
        """It waits for an agent, sends each line when the last one is done, and says what came."""
        agent = self.agent()
        done = self.run_it("send", "TIMER_START|t|1", "CAMERA|1,2,3", "__AV_END", "KEY|\u9802")
        self.assertEqual(done.status, 0, done.err)
        self.assertEqual(done.out.split("\n"), [
            "sent    TIMER_START|t|1", "answer  TIMER_EVENT_START|t", "end     TIMER_EVENT_STOP|t",
            "sent    CAMERA|1,2,3", "arrived (MMDAgent-EX answers this with nothing)",
            "sent    __AV_END",
            "sent    KEY|\u9802", "arrived (MMDAgent-EX answers this with nothing)", ""])
        self.assertEqual(agent.received, ["TIMER_START|t|1", "CAMERA|1,2,3", "__AV_END", "KEY|\u9802"])
        self.assertIn(f"waiting for MMDAgent-EX at ws://localhost:{self.port}/\n", done.err)

    def test_no_answer(self) -> None:
        """Without an answer it says what fails silently, sends no more, and the status is 1."""
        agent = self.agent()
        done = self.run_it("send", "--answer-timeout", "0.3", "VALUE_GET|nothing", "KEY|a")
        self.assertEqual(done.status, 1)
        self.assertIn("nothing came for VALUE_GET|nothing within 0.3 s. What fails silently: ", done.err)
        self.assertEqual(agent.received, ["VALUE_GET|nothing"])

    def test_no_end(self) -> None:
        """When an activity does not end in time the status is 1."""
        self.agent(speech_time=100_000.0)
        done = self.run_it("send", "--end-timeout", "0.2", "SYNTH_START|0|mei|a")
        self.assertEqual(done.status, 1)
        self.assertIn("answer  SYNTH_EVENT_START|0", done.out)

    def test_an_answer_to_something_else(self) -> None:
        """An event before the echo of a line is no answer to it."""
        def connect() -> None:
            wait_until(lambda: is_open(self.port))
            with Client(Address(("127.0.0.1", self.port)), "/", mmdagent=True) as client:
                client.lines(1)
                client.text("VALUE_EVENT_SET|v\nVALUE_EVENT_SET|v\nVALUE_SET|v|1\n")
                client.close_code()
        self.in_thread(connect)
        done = self.run_it("send", "--answer-timeout", "0.5", "VALUE_SET|v|1")
        self.assertEqual((done.status, done.out), (1, "sent    VALUE_SET|v|1\n"), done.err)

    def test_nobody(self) -> None:
        """When no agent comes the status is 3."""
        done = run_main("send", "--port", str(self.port), "--timeout", "0.1", "KEY|a")
        self.assertEqual((done.status, done.out), (3, ""))
        self.assertIn("no agent came within 0.1 s", done.err)

    def test_an_agent_that_leaves(self) -> None:
        """When the agent leaves before the line is done the status is 1."""
        agent = self.agent(speech_time=100_000.0)

        def leave() -> None:
            wait_until(lambda: agent.received)
            agent.leave()
        self.in_thread(leave)
        done = self.run_it("send", "SYNTH_START|0|mei|a")
        self.assertEqual(done.status, 1)
        self.assertIn("MMDAgent-EX has left", done.err)

    def test_another_client(self) -> None:
        """With a client that sends no echoes it waits for answers only."""
        def connect() -> None:
            wait_until(lambda: is_open(self.port))
            with Client(Address(("127.0.0.1", self.port)), "/") as client:
                self.lines = client.lines(2)
                client.close_code()
        self.in_thread(connect)
        done = self.run_it("send", "KEY|a", "KEY|b")
        self.assertEqual(done.status, 0, done.err)
        self.assertEqual(done.out, "sent    KEY|a\nsent    KEY|b\n")

    def test_wrong_lines(self) -> None:
        """A line that cannot be sent is status 2, before it waits for an agent."""
        for line in ("", "A||b", "A\nB", "x" * 2047):
            with self.subTest(line[:5]):
                done = self.run_it("send", "KEY|a", line)
                self.assertEqual((done.status, done.out, done.err.count("\n")), (2, "", 1))


class SayTest(SendCase):
    """say."""

    def test_spoken(self) -> None:
        """It ends when all is spoken, also for a text of several words and lines."""
        agent = self.agent()
        done = self.run_it("say", "0", "mei", "Hello", "there\nyou | all")
        self.assertEqual((done.status, done.out), (0, ""), done.err)
        self.assertEqual(agent.received, ["SYNTH_START|0|mei|Ｈｅｌｌｏ　ｔｈｅｒｅ　ｙｏｕ　\uff5c　ａｌｌ"])
        self.assertIn("spoken\n", done.err)

    def test_cut_off(self) -> None:
        """When the content cuts the speech off the status is 1."""
        agent = self.agent(speech_time=100_000.0)

        def cut_off() -> None:
            wait_until(lambda: agent.received)
            agent.emit("SYNTH_START|0|mei|something else")
        self.in_thread(cut_off)
        done = self.run_it("say", "0", "mei", "Hello")
        self.assertEqual(done.status, 1)
        self.assertIn("cut off", done.err)

    def test_no_such_voice(self) -> None:
        """When the voice does not start the status is 1."""
        self.agent().ignore("SYNTH_START")
        done = self.run_it("say", "0", "nobody", "Hello")
        self.assertEqual(done.status, 1)
        self.assertIn("mmdagent-remote: ", done.err)

    def test_wrong_words(self) -> None:
        """A model or voice that cannot be sent is status 2, and so is an empty text."""
        for *words, text in (("0|1", "mei", "a"), ("", "mei", "a"), ("0", "", "a"), ("0", "a\nb", "a"),
                             ("0", "mei", " \n")):
            with self.subTest(words):
                done = self.run_it("say", *words, text)
                self.assertEqual((done.status, done.err.count("\n")), (2, 1))


class PlayTest(SendCase):
    """play."""

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.file = Path(directory.name) / "\u58f0.wav"

    def wav(self, seconds: float, rate: int = 16000) -> bytes:
        """A file, and its samples."""
        samples = random.Random(1).randbytes(2 * int(rate * seconds))
        with wave.open(str(self.file), "wb") as file:
            file.setparams((1, 2, rate, 0, "NONE", ""))
            file.writeframes(samples)
        return samples

    def test_played(self) -> None:
        """Every sample arrives, and it ends when all is played."""
        samples = self.wav(0.4)
        agent = self.agent()
        done = self.run_it("play", "0", str(self.file))
        self.assertEqual((done.status, done.out), (0, ""), done.err)
        self.assertEqual(agent.audio, samples)
        self.assertTrue(done.err.endswith(f"playing {self.file.name}, 0.4 s\nplayed\n"), done.err)

    def test_an_agent_that_leaves(self) -> None:
        """When the agent leaves in the middle the status is 1."""
        self.wav(20)
        agent = self.agent()

        def leave() -> None:
            wait_until(lambda: agent.audio)
            agent.leave()
        self.in_thread(leave)
        done = self.run_it("play", "0", str(self.file))
        self.assertEqual((done.status, "MMDAgent-EX has left" in done.err), (1, True), done.err)

    def test_no_sound(self) -> None:
        """No sound file, an empty or missing one, and no model are status 2 at once."""
        self.wav(0)
        text = self.file.with_suffix(".txt")
        text.write_text("hello")
        good = self.file.with_suffix(".good")
        for model, name, why in (("0", self.file, "no sound in"), ("0", text, str(text)),
                                 ("0", good, "cannot read"), ("0", self.file.parent, "cannot read"),
                                 ("a|b", self.file, "'|'"), ("", self.file, "empty"),
                                 ("a,b", self.file, "no model")):
            with self.subTest(model=model, name=name):
                done = self.run_it("play", model, str(name))
                self.assertEqual((done.status, done.out, done.err.count("\n")), (2, "", 1), done.err)
                self.assertIn(why, done.err)


if __name__ == "__main__":
    unittest.main()
