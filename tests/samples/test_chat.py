"""``samples/chat_llm.py``, run as a user runs it, with simulated agents; and with other models."""

from __future__ import annotations

import os
import unittest
from collections.abc import Iterator
from typing import Any

from mmdagent_remote.testing import SimulatedAgent
from tests.support import DEADLINE, wait_until
from tests.samples.test_samples import SAMPLES, Program
from tests.samples.test_dialogue import VOICE, AgentMixin, DialogueCase, load, spoken

# The script finds these arguments behind its own name, as from a command line.
ARGUMENTS = """
import runpy, sys
def run_path(script, run_path=runpy.run_path, **options):
    sys.argv[:] = [script, *%r]
    run_path(script, **options)
runpy.run_path = run_path
"""

# OpenAI's client is missing, whatever the machine has, or replaced by this one.
_NO_OPENAI = "import sys; sys.modules['openai'] = None\n"
_FAKE_OPENAI = """
import sys
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace as Box

def create(model, messages, stream):
    said = f"{model} read {[entry['role'] for entry in messages]}."
    pieces = [*said.split(" "), None]
    chunks = [Box(choices=[Box(delta=Box(content=each and each + " "))]) for each in pieces]
    return nullcontext([*chunks, Box(choices=[])])

class OpenAIError(Exception):
    pass

def OpenAI():
    if %r:
        raise OpenAIError("there is no key")
    return Box(chat=Box(completions=Box(create=create)))

sys.modules["openai"] = module = ModuleType("openai")
module.OpenAI, module.OpenAIError = OpenAI, OpenAIError
"""


class ChatTest(DialogueCase):
    """``chat_llm.py`` as a program, with its canned model."""

    def chat(self, *arguments: str, prepare: str = "") -> Program:
        """The sample, started with these arguments."""
        return self.program(SAMPLES / "chat_llm.py", prepare + ARGUMENTS % (arguments,))

    def answer(self, text: str, number: int) -> list[str]:
        """The sentences that the canned model answers."""
        return [f"You said {text}.", f"As far as I remember that was number {number}.",
                "What else do you want to tell me?"]

    def test_speaks_by_sentences(self) -> None:
        """The answer is spoken by sentences, the first before the last is generated."""
        program = self.chat()
        self.assertEqual(program.port_in_script, 9001)
        agent = self.agent(program, speech_time=0.01)
        program.expect("/chat is connected, its history has 0 entries")
        agent.emit("RECOG_EVENT_STOP|hello")
        agent.expect(f"SYNTH_START|0|{VOICE}|You said hello.", DEADLINE)
        self.assertLess(len(spoken(agent)), 3)
        self.speaks(agent, *self.answer("hello", 1))
        self.check_ctrl_c(program)

    def test_barge_in(self) -> None:
        """RECOG_EVENT_START ends the whole answer, and the next one is spoken in full."""
        agent = self.agent(self.chat(), speech_time=60.0)
        agent.emit("RECOG_EVENT_STOP|one")
        agent.expect(f"SYNTH_START|0|{VOICE}|You said one.", DEADLINE)
        agent.emit("RECOG_EVENT_START")
        agent.expect("SYNTH_STOP|0", DEADLINE)
        agent.speech_time = 0.01
        agent.emit("RECOG_EVENT_STOP|two")
        self.speaks(agent, "You said one.", *self.answer("two", 2))

    def test_reconnect(self) -> None:
        """After a lost connection the dialogue goes on where it was."""
        program = self.chat()
        agent = self.agent(program, speech_time=0.01)
        agent.emit("RECOG_EVENT_STOP|one")
        self.speaks(agent, *self.answer("one", 1))
        agent.drop()
        agent.wait_connected(DEADLINE, times=2)
        program.expect("/chat is connected, its history has 2 entries")
        agent.emit("RECOG_EVENT_STOP|two")
        self.speaks(agent, *self.answer("one", 1), *self.answer("two", 2))
        self.check_ctrl_c(program)

    def test_each_agent_has_its_own_history(self) -> None:
        """A second agent has its own, empty history."""
        program = self.chat()
        first, second = (self.agent(program, speech_time=0.01) for _ in range(2))
        program.expect("/chat-1 is connected, its history has 0 entries")
        for agent in (first, second):
            agent.emit("RECOG_EVENT_STOP|hello")
            self.speaks(agent, *self.answer("hello", 1))

    @unittest.skipUnless(os.name == "posix", "Ctrl-C cannot be pressed here for one process alone")
    def test_ctrl_c_while_it_speaks(self) -> None:
        """Ctrl-C in the middle of an answer ends the program quietly."""
        program = self.chat()
        agent = self.agent(program, speech_time=60.0)
        agent.emit("RECOG_EVENT_STOP|hello")
        agent.expect("SYNTH_START", DEADLINE)
        self.check_ctrl_c(program)
        self.assertEqual(program.out, ["/chat is connected, its history has 0 entries"])

    def test_without_openai(self) -> None:
        """If OpenAI's client is not installed, or has no key, the program says so, and ends."""
        for prepare, text in (
                (_NO_OPENAI, "--openai needs OpenAI's client: python -m pip install openai"),
                (_FAKE_OPENAI % True, "--openai: there is no key")):
            with self.subTest(text):
                program = self.chat("--openai", "some-model", prepare=prepare)
                self.assertEqual(program.wait(), 1)
                self.assertEqual(program.err, [text])

    def test_with_openai(self) -> None:
        """OpenAI's client gets a system prompt and the history, and its answer is spoken."""
        program = self.chat("--openai", "some-model", prepare=_FAKE_OPENAI % False)
        agent = self.agent(program, speech_time=0.01)
        agent.emit("RECOG_EVENT_STOP|hello")
        answer = "some-model read ['system', 'user']."
        self.speaks(agent, answer)
        agent.emit("RECOG_EVENT_STOP|hello")
        self.speaks(agent, answer, "some-model read ['system', 'user', 'assistant', 'user'].")
        self.check_ctrl_c(program)


class ChatModelTest(AgentMixin):
    """``chat_llm.py`` with other models, in this process."""

    def setUp(self) -> None:
        self.sample = load("chat_llm")
        self.seen: list[list[str]] = []
        self.told: list[str] = []

    def chat(self, model: Any, **options: Any) -> tuple[Any, SimulatedAgent]:
        """The server's state, and an agent that talks with a model."""
        server = self.serve(lambda: self.sample.Chat(model))
        self.sample.print = self.told.append
        return server.state["/"], self.agent_at(server.url, **options)

    def model(self, history: Any) -> Iterator[str]:
        """A model that notes its history, and takes long for its second sentence."""
        self.seen.append([f"{entry['role']}: {entry['content']}" for entry in history])
        yield from ("Wait", " a bit. ", "That ", "is it. ", "Good.")

    def test_history_has_what_was_said(self) -> None:
        """Sentences that a barge-in cut out of an answer are not in the history."""
        state, agent = self.chat(self.model, speech_time=60.0)
        agent.emit("RECOG_EVENT_STOP|one")
        agent.expect("SYNTH_START", DEADLINE)
        agent.emit("RECOG_EVENT_START")
        agent.expect("SYNTH_STOP|0", DEADLINE)
        agent.speech_time = 0.01
        agent.emit("RECOG_EVENT_STOP|two")
        wait_until(lambda: spoken(agent)[-1] == "Good.")
        wait_until(lambda: state["history"][-1]["content"] == "Wait a bit. That is it. Good.")
        self.assertEqual(self.seen, [
            ["user: one"], ["user: one", "assistant: Wait a bit.", "user: two"]])

    def test_typed_text_interrupts(self) -> None:
        """A RECOG_EVENT_STOP alone, as after typed text, ends the answer before it."""
        _, agent = self.chat(self.model, speech_time=60.0)
        for text in ("one", "two"):
            agent.emit(f"RECOG_EVENT_STOP|{text}")
            agent.expect("SYNTH_START", DEADLINE)
        self.assertEqual([line.type for line in agent.received],
                         ["SYNTH_START", "SYNTH_STOP", "SYNTH_START"])

    def test_history_is_bounded(self) -> None:
        """The oldest entries are forgotten."""
        state, agent = self.chat(lambda history: iter(["Yes."]), speech_time=0.001)
        for number in range(1, 13):
            agent.emit(f"RECOG_EVENT_STOP|{number}")
            wait_until(lambda: spoken(agent) == ["Yes."] * number)
        wait_until(lambda: state["history"][-1]["role"] == "assistant")
        self.assertEqual(len(state["history"]), self.sample.MAX_ENTRIES)
        self.assertEqual(state["history"][0], {"role": "user", "content": "3"})

    def test_model_that_fails(self) -> None:
        """A model's error is reported, what came before is spoken, and the next answer comes."""
        def fail(history: Any) -> Iterator[str]:
            yield "Well. "
            if len(history) == 1:
                raise OSError("the network is gone")
            yield "Done."
        _, agent = self.chat(fail, speech_time=0.01)
        agent.emit("RECOG_EVENT_STOP|one")
        wait_until(lambda: self.told[1:])
        self.assertIn("The answer broke off: OSError('the network is gone')", self.told)
        agent.emit("RECOG_EVENT_STOP|two")
        wait_until(lambda: spoken(agent) == ["Well.", "Well.", "Done."], agent.received)


if __name__ == "__main__":
    unittest.main()
