"""``mmdagent-remote demo``: a dialogue with a simulated agent, in one process.

The agent is that of the test kit. Its messages come over a real socket. The handler is one that
a user could write.
"""

from __future__ import annotations

import argparse
import queue
import sys
from typing import Any

from ..handler import Handler
from ..message import Message
from ..testing import SimulatedAgent
from .options import add_address, make_server, start

_UTTERANCES = ("hello", "what is your name?", "goodbye")
_ANSWERS = {
    "hello": "Hello! I hear you over a WebSocket.",
    "what is your name?": "I am a simulated agent. MMDAgent-EX can take my place.",
    "goodbye": "Goodbye.",
}
_TIMEOUT = 10.0
#: Seconds of speech, and of waving, which lasts longer than the dialogue.
_SPEECH, _WAVING = 0.3, 60.0


class DemoDialogue(Handler):
    """Answers what was recognised, and waves at the first words."""

    echoes = False

    def __init__(self) -> None:
        self.finished: queue.Queue[str] = queue.Queue()

    def on_message(self, message: Message) -> None:
        """Handle one line of the agent."""
        _say(f"  agent  -> server  {message}")
        match message:
            case Message("RECOG_EVENT_STOP", (text,)):
                if text == _UTTERANCES[0]:
                    self._command("MOTION_ADD", "0", "wave", "wave.vmd", "PART", "ONCE")
                self._command("SYNTH_START", "0", "slt_voice_normal", _ANSWERS.get(text, "Pardon?"))
            case Message("SYNTH_EVENT_STOP", (model,)):
                self.finished.put(model)

    def _command(self, *fields: str) -> None:
        _say(f"  server -> agent   {'|'.join(fields)}")
        self.send(*fields)


def add_to(commands: Any) -> list[argparse.ArgumentParser]:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "demo", help="a short dialogue with a simulated agent",
        description="Run a server, a small simulated agent and a short dialogue in one process,\n"
        "for a few seconds.",
        epilog="example: mmdagent-remote demo --port 9002")
    add_address(parser)
    parser.set_defaults(run=run)
    return [parser]


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    server = make_server(DemoDialogue, options)
    start(server)
    agent = None
    try:
        host, port = server.address
        agent = SimulatedAgent(
            f"ws://{f'[{host}]' if ':' in host else host}:{port}/chat", chatter=False,
            speech_time=_SPEECH, motion_time=_WAVING, timeout=_TIMEOUT).start()
        agent.wait_connected()
        dialogue = server.wait_connected(_TIMEOUT)
        for utterance in _UTTERANCES:
            _say(f'\nA person says "{utterance}", and the agent recognises it:')
            agent.emit("RECOG_EVENT_START")
            agent.emit(f"RECOG_EVENT_STOP|{utterance}")
            if isinstance(dialogue, DemoDialogue):
                dialogue.finished.get(timeout=_TIMEOUT)
        _say("\nThat was a dialogue over a real WebSocket. To see what your own MMDAgent-EX says:\n"
             "    mmdagent-remote listen")
        return 0
    except (OSError, queue.Empty) as error:
        _say(f"The demo failed: {error!r}")
        return 1
    finally:
        if agent is not None:
            agent.leave()
        server.shutdown()


def _say(text: str) -> None:
    # One write for text and newline, since two threads print here.
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
