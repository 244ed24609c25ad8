"""The samples that are dialogues, each run as a user runs it, with simulated agents.

Those of ``chat_llm.py`` are in ``samples/test_chat.py``.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import unittest
from types import ModuleType
from typing import Any
from unicodedata import normalize

from mmdagent_remote.testing import SimulatedAgent
from tests.support import DEADLINE, TestCase, wait_until
from tests.samples.test_samples import SAMPLES, Program, ProgramCase

VOICE = "slt_voice_normal"


def load(name: str) -> ModuleType:
    """A sample as a module, without running it."""
    spec = importlib.util.spec_from_file_location(name, SAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def spoken(agent: SimulatedAgent) -> list[str]:
    """The texts of an agent's SYNTH_START lines; full-width letters as ASCII."""
    return [normalize("NFKC", line.args[2]) for line in agent.received if line.type == "SYNTH_START"]


class AgentMixin(TestCase):
    """Simulated agents that leave when the test ends."""

    def agent_at(self, url: str, **options: Any) -> SimulatedAgent:
        """A connected agent."""
        agent = SimulatedAgent(url, chatter=False, **options)
        self.addCleanup(self.leave_well, agent)
        agent.start().wait_connected(DEADLINE)
        return agent

    def leave_well(self, agent: SimulatedAgent) -> None:
        """Have it leave; nothing that was sent has crashed it."""
        agent.leave()
        self.assertIsNone(agent.crashed)


class DialogueCase(AgentMixin, ProgramCase):
    """Runs samples."""

    def sample(self, name: str, prepare: str = "") -> Program:
        """A running sample, which asked for port 9001."""
        program = self.program(SAMPLES / name, prepare)
        self.assertEqual(program.port_in_script, 9001)
        return program

    def agent(self, program: Program, **options: Any) -> SimulatedAgent:
        """A simulated agent, connected to a sample."""
        options.setdefault("retry_count", 100)  # An occupied path costs attempts as well.
        return self.agent_at(f"ws://127.0.0.1:{program.port}/chat", **options)

    def speaks(self, agent: SimulatedAgent, *texts: str) -> None:
        """Wait until the agent's SYNTH_START lines since its start have exactly these texts."""
        wait_until(lambda: spoken(agent) == [*texts], lambda: f"{texts} in {agent.received}")


class DialogueTest(DialogueCase):
    """``dialogue.py``."""

    def test_answers(self) -> None:
        """It repeats what it heard, with the default voice, and waves at a key."""
        program = self.sample("dialogue.py")
        agent = self.agent(program)
        agent.emit("RECOG_EVENT_STOP|hello")
        agent.expect(f"SYNTH_START|0|{VOICE}|You said hello", DEADLINE)
        agent.emit("KEY|a")
        agent.expect("MOTION_ADD|0|wave|wave.vmd|PART|ONCE", DEADLINE)
        self.check_ctrl_c(program)

    def test_barge_in(self) -> None:
        """RECOG_EVENT_START stops the voice; the next answer is spoken."""
        program = self.sample("dialogue.py")
        agent = self.agent(program, speech_time=60.0)
        agent.emit("RECOG_EVENT_STOP|one")
        agent.expect("SYNTH_START", DEADLINE)
        agent.emit("RECOG_EVENT_START")
        agent.expect("SYNTH_STOP|0", DEADLINE)
        agent.emit("RECOG_EVENT_STOP|two")
        agent.expect(f"SYNTH_START|0|{VOICE}|You said two", DEADLINE)

    def test_is_importable(self) -> None:
        """A user's test can use its Parrot, and importing it starts nothing."""
        server = self.serve(load("dialogue").Parrot)
        agent = self.agent_at(server.url)
        agent.emit("RECOG_EVENT_STOP|こんにちは")
        agent.expect(f"SYNTH_START|0|{VOICE}|You said こんにちは", DEADLINE)


class TypeToSpeakTest(DialogueCase):
    """``type_to_speak.py``."""

    def test_speaks_lines(self) -> None:
        """Lines are spoken one after the other, empty ones are not, and Ctrl-C ends it."""
        program = self.sample("type_to_speak.py")
        agent = self.agent(program, speech_time=0.05)
        program.expect("MMDAgent-EX is connected. Type what it shall say.")
        for line in ("hello", "", "  ", "こんにちは、メイさん。", "a|b"):
            program.tell(line)
        program.expect("Spoken: hello", "Spoken: こんにちは、メイさん。", "Spoken: a|b")
        self.speaks(agent, "hello", "こんにちは、メイさん。", "a|b")
        self.check_ctrl_c(program)
        self.assertEqual(program.out[1:], [
            "Spoken: hello", "Spoken: こんにちは、メイさん。", "Spoken: a|b"])

    def test_end_of_input(self) -> None:
        """At the end of the input the rest is spoken, and then the program ends."""
        program = self.sample("type_to_speak.py")
        agent = self.agent(program, speech_time=0.1)
        for line in ("one", "two", "three"):
            program.tell(line)
        self.end_input(program)
        self.check_clean(program)
        self.assertEqual(program.out[1:], ["Spoken: one", "Spoken: two", "Spoken: three"])
        self.speaks(agent, "one", "two", "three")

    def end_input(self, program: Program) -> None:
        """Press Ctrl-D."""
        stdin = program._process.stdin
        assert stdin is not None
        stdin.close()

    def test_says_what_could_not_be_spoken(self) -> None:
        """A voice that is cut off or silent is reported, and so is a missing agent."""
        program = self.sample("type_to_speak.py")
        agent = self.agent(program, speech_time=60.0)
        program.tell("one")
        agent.expect("SYNTH_START", DEADLINE)
        agent.emit(f"SYNTH_START|0|{VOICE}|of the content's own script")
        program.expect("Cut off: one")
        agent.leave()
        program.tell("two")  # It may come before the server has seen that the agent is gone.
        self.last_line_is(program, "Could not be spoken: two (")
        program.tell("three")
        self.last_line_is(program, "Could not be spoken: three (MMDAgent-EX is not connected)")
        silent = self.agent(program)
        silent.ignore("SYNTH_START")
        program.tell("four")
        self.last_line_is(program, "Could not be spoken: four (model 0 did not begin")
        self.check_ctrl_c(program)

    def last_line_is(self, program: Program, start: str) -> None:
        """Wait until the last line begins with `start`."""
        wait_until(lambda: program.out[-1].startswith(start), lambda: f"{start} in {program.out}")

    def test_reconnect(self) -> None:
        """What is typed after a reconnect is spoken."""
        program = self.sample("type_to_speak.py")
        agent = self.agent(program)
        program.tell("one")
        program.expect("Spoken: one")
        agent.drop()
        agent.wait_connected(DEADLINE, times=2)
        while program.out[-1] != "Spoken: two":
            # It is said to the old connection until the server has seen that it is gone.
            count = len(program.out)
            program.tell("two")
            wait_until(lambda: len(program.out) > count)
            self.assertRegex(program.out[-1], "^(Spoken|Could not be spoken): two")

    @unittest.skipUnless(os.name == "posix", "Ctrl-C cannot be pressed here for one process alone")
    def test_ctrl_c_while_nobody_is_there(self) -> None:
        """Ctrl-C ends it while it waits for MMDAgent-EX."""
        program = self.sample("type_to_speak.py")
        self.check_ctrl_c(program)


class ManyAgentsTest(DialogueCase):
    """``many_agents.py``."""

    def test_relays(self) -> None:
        """What one agent hears all others say, and the terminal shows the agents."""
        program = self.sample("many_agents.py")
        program.find_in_err("Plugin_Remote_Websocket_Directory=/chat")
        agents = [self.agent(program) for _ in range(3)]
        self.assertEqual([agent.path for agent in agents], ["/chat", "/chat-1", "/chat-1-2"])
        program.expect("/chat has come, there are now: /chat",
                       "/chat-1 has come, there are now: /chat, /chat-1",
                       "/chat-1-2 has come, there are now: /chat, /chat-1, /chat-1-2")
        agents[1].emit("RECOG_EVENT_STOP|こんにちは")
        program.expect("/chat-1 heard: こんにちは")
        for agent in (agents[0], agents[2]):
            self.speaks(agent, "こんにちは")
        agents[0].emit("RECOG_EVENT_STOP|hello")
        self.speaks(agents[1], "hello")
        self.check_ctrl_c(program)

    def test_leaving(self) -> None:
        """A leaving agent is reported, and what is heard then goes to the remaining ones."""
        program = self.sample("many_agents.py")
        first, second, third = (self.agent(program) for _ in range(3))
        second.leave()
        program.expect("/chat-1 has left, there are now: /chat, /chat-1-2")
        first.emit("RECOG_EVENT_STOP|hello")
        self.speaks(third, "hello")
        program.out.clear()
        first.leave()
        program.expect("/chat has left, there are now: /chat-1-2")
        third.leave()
        program.expect("/chat-1-2 has left, there are now: none")
        self.check_ctrl_c(program)


class NamesTest(unittest.TestCase):
    """The files' names."""

    def test_no_sample_hides_a_standard_module(self) -> None:
        """No sample has a standard module's name, as its directory comes first on its path."""
        names = {path.stem for path in SAMPLES.glob("*.py")}
        self.assertEqual(names & sys.stdlib_module_names, set())


if __name__ == "__main__":
    unittest.main()
