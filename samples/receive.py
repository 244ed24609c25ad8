"""Print everything that MMDAgent-EX says.

Run it with ``python samples/receive.py`` and start MMDAgent-EX: each of its messages
appears as one line. Ctrl-C ends the program.
"""

from mmdagent_remote import Handler, serve


class Printer(Handler):
    def on_message(self, message):
        print(f"Received message: {message}")


if __name__ == "__main__":
    serve(Printer, host="localhost", port=9001)
