"""Receive, and at the same time send TEST_MESSAGE every two seconds.

Run it with ``python samples/send_and_receive.py`` and start MMDAgent-EX. The terminal shows
its messages, including the echoes of TEST_MESSAGE. Press ``d`` in the window of MMDAgent-EX
to see TEST_MESSAGE arrive there. Ctrl-C ends the program.
"""

from mmdagent_remote import Handler, serve


class Ticker(Handler):
    def on_open(self):
        self.spawn(self.tick)              # a named daemon thread of this connection

    def tick(self):
        while not self.wait_closed(2):     # True once the connection has ended
            self.send("TEST_MESSAGE")      # any thread may send; the newline is added

    def on_message(self, message):
        print(f"Received message: {message}")


if __name__ == "__main__":
    serve(Ticker)                          # localhost:9001 is the default
