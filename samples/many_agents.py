"""Several MMDAgent-EX at once: what one hears, all others say.

Run it with ``python samples/many_agents.py`` and start MMDAgent-EX two or more times, with the same
``.mdf``: the first is ``/chat``, the second ``/chat-1``, the third ``/chat-1-2``. After a break they
may change places; to tell them apart, give each a Directory of its own. Talk to one of them. The
terminal shows who is there, and who heard what. Ctrl-C ends the program.
"""

from contextlib import suppress

from mmdagent_remote import Agent, ConnectionClosed, on, serve


class Relay(Agent):
    def on_open(self):
        print(f"{self.path} has come, {self.present()}")

    def on_close(self, code, reason):
        print(f"{self.path} has left, {self.present()}")

    def present(self):
        return "there are now: " + (", ".join(each.path for each in self.server.connections) or "none")

    @on("RECOG_EVENT_STOP")
    def heard(self, text):
        print(f"{self.path} heard: {text}")
        for other in self.server.connections:
            if isinstance(other, Relay) and other is not self:
                with suppress(ConnectionClosed):   # it has just left
                    other.say("0", "mei_voice_normal", text)   # returns at once


if __name__ == "__main__":
    serve(Relay, path="/chat", exclusive=True)     # one agent per path; the next gets /chat-1
