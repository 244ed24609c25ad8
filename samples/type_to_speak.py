"""Type lines, and the agent speaks them one after another.

Run it with ``python samples/type_to_speak.py``, start MMDAgent-EX with a model "0" that speaks,
and type, in any language that its voice speaks. The end of the input (Ctrl-D, on Windows Ctrl-Z and
Enter) ends the program when all is spoken, Ctrl-C ends it at once.
"""

import sys

from mmdagent_remote import Agent, ConnectionClosed, Server

AVATAR, VOICE = "0", "mei_voice_normal"


def report(text, spoken):
    """Called when an utterance has ended, in a thread of the connection."""
    error = spoken.exception()
    if error:
        print(f"Could not be spoken: {text} ({error})")
    else:
        print(f"Spoken: {text}" if spoken.result() else f"Cut off: {text}")


def speak(server, text):
    try:
        agent = server.wait_connected(timeout=3)   # after a reconnect, the new one
        spoken = agent.say(AVATAR, VOICE, text)    # returns at once; each waits for the one before
    except (TimeoutError, ConnectionClosed):
        print(f"Could not be spoken: {text} (MMDAgent-EX is not connected)")
        return None
    spoken.add_done_callback(lambda future: report(text, future))
    return spoken


def main():
    with Server(Agent, port=9001) as server:
        print(server.start_text(), file=sys.stderr)
        server.wait_connected()
        print("MMDAgent-EX is connected. Type what it shall say.")
        last = None
        for line in sys.stdin:
            if line.strip():
                last = speak(server, line.strip()) or last
        if last:
            last.exception()                       # waits for the last one, so for all before it


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
