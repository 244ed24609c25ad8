"""A user's typed test: mypy --strict reads it, nothing runs it."""

import re

from mmdagent_remote import Handler, Message, Server
from mmdagent_remote.testing import AgentTestCase, SimulatedAgent


class TypedTest(AgentTestCase):
    """Uses what the base class gives."""

    handler = Handler
    server_options = {"exclusive": True}
    agent_options = {"hurry": 100, "speech_time": len}

    def test_answers(self) -> None:
        """Every kind of pattern."""
        self.agent.emit("KEY|a")
        found: Message = self.agent.expect("A|b", timeout=1)
        self.agent.expect(re.compile(r"A\|.*"))
        self.agent.expect(Message.of("A", found.args[0]))
        self.agent.expect(lambda line: line.type == "A")
        self.sync()
        self.assertEqual(self.agent.received, [])


def by_hand() -> tuple[bytes, str]:
    """Without the base class."""
    with Server(Handler, port=0) as server, SimulatedAgent(server.url, hurry=10) as agent:
        agent.speech_time = lambda text: 0.1 * len(text)
        agent.drop()
        agent.wait_connected(5, times=2)
        moment, chunk = agent.audio_chunks[0]
        return chunk * int(moment), agent.crashed or agent.path
