"""A dialogue and its test, with a simulated MMDAgent-EX in the place of the real one.

Run it with ``python -m unittest samples/test_my_dialogue.py`` or with pytest. Put your own
dialogue into a file of its own, and import it here.
"""

from mmdagent_remote import Handler, Message
from mmdagent_remote.testing import AgentTestCase


class Parrot(Handler):
    def on_message(self, message):
        match message:
            case Message("RECOG_EVENT_STOP", (text,)):
                self.send("SYNTH_START", "0", "slt_voice_normal", f"You said {text}")
            case Message("SYNTH_EVENT_STOP", (model,)):
                self.send("MOTION_ADD", model, "nod", "nod.vmd", "PART", "ONCE")


class ParrotTest(AgentTestCase):
    handler = Parrot

    def test_says_it_back_and_nods(self):
        self.agent.emit("RECOG_EVENT_STOP|hello")
        self.agent.expect("SYNTH_START|0|slt_voice_normal|You said hello")
        self.agent.expect("MOTION_ADD|0|nod")      # when the simulated voice has spoken

    def test_says_nothing_to_a_key(self):
        self.agent.emit("KEY|a")
        self.sync()                                # now the handler is done with it
        self.assertEqual(self.agent.received, [])
