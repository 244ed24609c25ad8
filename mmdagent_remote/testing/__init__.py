"""For tests of your own dialogue: a simulated MMDAgent-EX, and a ``unittest`` base class.

::

    from mmdagent_remote.testing import AgentTestCase

    class ParrotTest(AgentTestCase):
        handler = Parrot

        def test_answers(self):
            self.agent.emit("RECOG_EVENT_STOP|hello")
            self.agent.expect("SYNTH_START|0|slt_voice_normal|You said hello")

- ``agent.py``: ``SimulatedAgent``, the user's side. ``client.py``: its thread. ``link.py``: its socket.
- ``case.py``: ``AgentTestCase``, a server and an agent for each test.
- ``record.py``: what the agent received and said, for a test to look at.
- Pure: ``receiver.py`` is what MMDAgent-EX makes of bytes, its faults included. ``frames.py`` is its
  handshake and frames. ``application.py`` and ``documented.py`` are its answers to commands.

Within the package only the command line imports this.
"""

from .agent import SimulatedAgent
from .case import AgentTestCase

__all__ = ["AgentTestCase", "SimulatedAgent"]
