"""A handler that owns the connection's thread and blocks in it: a parrot.

Run it with ``python samples/blocking_handler.py``, start MMDAgent-EX with a model "0" that
hears and speaks, and talk to it: it says back what it understood. Ctrl-C ends the program.
"""

from mmdagent_remote import Handler, serve


class Dialogue(Handler):
    def handle(self):  # instead of on_message; the connection lasts as long as this runs
        while True:
            line = self.read_line()        # ConnectionClosed ends handle() quietly
            if line.startswith("RECOG_EVENT_STOP|"):
                self.write_line("SYNTH_START|0|mei_voice_normal|" + line.partition("|")[2])


if __name__ == "__main__":
    serve(Dialogue)
