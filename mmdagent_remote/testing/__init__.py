"""For tests of your own dialogue: a simulated MMDAgent-EX, and a ``unittest`` base class.

::

    from mmdagent_remote.testing import AgentTestCase

    class ParrotTest(AgentTestCase):
        handler = Parrot

        def test_answers(self):
            self.agent.emit("RECOG_EVENT_STOP|hello")
            self.agent.expect("SYNTH_START|0|mei_voice_normal|You said hello")

Within the package only the command line imports this.
"""

from .agent import SimulatedAgent
from .case import AgentTestCase

__all__ = ["AgentTestCase", "SimulatedAgent"]
