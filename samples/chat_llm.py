"""Talk with a language model: it speaks from its first sentence on, and can be interrupted.

Run it with ``python samples/chat_llm.py``, start MMDAgent-EX with a model "0" that hears and
speaks, and talk to it. The answers are canned. For real ones: ``python -m pip install openai``, set
OPENAI_API_KEY, and add ``--openai`` with the name of a model. For any other language model write
a function like ``canned``. Ctrl-C ends the program.
"""

import argparse
import sys
import time
from collections import deque

from mmdagent_remote import Agent, ConnectionClosed, Message, on, serve

AVATAR, VOICE = "0", "slt_voice_normal"
SYSTEM = "You are a friendly avatar. Answer in one to three short sentences, in the user's language."
MAX_ENTRIES = 20   # of the history; older ones are forgotten


def canned(history):
    """A model is any function from the history to an iterator of str, the answer in pieces."""
    count = sum(entry["role"] == "user" for entry in history)
    answer = (f"You said {history[-1]['content']}. "
              f"As far as I remember that was number {count}. What else do you want to tell me?")
    for word in answer.split():
        time.sleep(0.05)
        yield word + " "


def openai_model(name):
    try:
        from openai import OpenAI, OpenAIError  # type: ignore
    except ImportError:
        sys.exit("--openai needs OpenAI's client: python -m pip install openai")
    try:
        client = OpenAI()
    except OpenAIError as error:           # no key is set
        sys.exit(f"--openai: {error}")

    def stream(history):
        messages = [{"role": "system", "content": SYSTEM}, *history]
        with client.chat.completions.create(model=name, messages=messages, stream=True) as chunks:
            for chunk in chunks:
                if chunk.choices:
                    yield chunk.choices[0].delta.content or ""
    return stream


class Chat(Agent):
    def __init__(self, model):
        self.model = model

    @property
    def history(self):
        # Not an attribute: a reconnect makes a new Chat, but the dialogue goes on.
        return self.server.state[self.path].setdefault("history", deque(maxlen=MAX_ENTRIES))

    def on_open(self):
        print(f"{self.path} is connected, its history has {len(self.history)} entries")

    @on("RECOG_EVENT_START")
    def listen(self):
        self.stop_speaking(AVATAR)         # barge-in: the model stops as well

    @on("RECOG_EVENT_STOP")
    def answer(self, text):
        self.stop_speaking(AVATAR)         # text that was typed comes without RECOG_EVENT_START
        self.history.append({"role": "user", "content": text})
        pieces = self.model(list(self.history))
        self.say_stream(AVATAR, VOICE, pieces).add_done_callback(report)   # returns at once

    def on_message(self, message):
        # MMDAgent-EX echoes each SYNTH_START. So the history holds the sentences that were spoken,
        # and not what the model wrote but nobody heard.
        match message:
            case Message("SYNTH_START", (_, _, sentence)):
                if self.history and self.history[-1]["role"] == "assistant":
                    sentence = f"{self.history.pop()['content']} {sentence}"
                self.history.append({"role": "assistant", "content": sentence})


def report(spoken):
    error = spoken.exception()
    if error and not isinstance(error, ConnectionClosed):
        print(f"The answer broke off: {error!r}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Talk with a language model.")
    parser.add_argument("--openai", metavar="MODEL", help="a model of OpenAI's; default: canned answers")
    options = parser.parse_args()
    model = openai_model(options.openai) if options.openai else canned
    serve(lambda: Chat(model), exclusive=True)   # one agent per path; each path has its own history
