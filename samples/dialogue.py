"""Match messages and speak: a parrot that can be interrupted.

Run it with ``python samples/dialogue.py``, start MMDAgent-EX with a model "0" that hears and
speaks, and talk to it: it says back what it understood, and falls silent when you begin to
speak. A key makes it wave. Ctrl-C ends the program.
"""

from mmdagent_remote import Agent, Message, serve


class Parrot(Agent):                       # Agent is a Handler that can wait, say and stream
    def on_message(self, message):
        match message:
            case Message("RECOG_EVENT_STOP", (text,)):
                self.say("0", "slt_voice_normal", f"You said {text}")
            case Message("RECOG_EVENT_START"):
                self.stop_speaking("0")    # barge-in
            case Message("KEY", (key,)):           # noqa: F841
                self.send("MOTION_ADD", "0", "wave", "wave.vmd", "PART", "ONCE")


if __name__ == "__main__":
    serve(Parrot)
