"""``mmdagent-remote demo``: a dialogue with a simulated agent, in one process.

The agent is a WebSocket client that does just what the dialogue needs. Its words come
over a real socket, and the handler is one that a user could have written.
"""

from __future__ import annotations

import queue
import socket
import sys
import threading
from collections.abc import Callable

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Message, Ping, Request

from .handler import Handler
from .message import Message as Line
from .server import Server

_UTTERANCES = ("hello", "what is your name?", "goodbye")
_ANSWERS = {
    "hello": "Hello! I hear you over a WebSocket.",
    "what is your name?": "I am a simulated agent. MMDAgent-EX can take my place.",
    "goodbye": "Goodbye.",
}
_TIMEOUT = 10.0
#: As long as speech takes here.
_SPEECH = 0.3


class DemoDialogue(Handler):
    """Answers what was recognised, and waves at the first words."""

    echoes = False

    def __init__(self) -> None:
        self.finished: queue.Queue[str] = queue.Queue()

    def on_message(self, message: Line) -> None:
        """One line of the agent."""
        _say(f"  agent  -> server  {message}")
        match message:
            case Line("RECOG_EVENT_STOP", (text,)):
                if text == _UTTERANCES[0]:
                    self._command("MOTION_ADD", "0", "wave", "wave.vmd", "PART", "ONCE")
                self._command("SYNTH_START", "0", "mei_voice_normal", _ANSWERS.get(text, "Pardon?"))
            case Line("SYNTH_EVENT_STOP", (model,)):
                self.finished.put(model)

    def _command(self, *fields: str) -> None:
        _say(f"  server -> agent   {'|'.join(fields)}")
        self.send(*fields)


class DemoAgent:
    """The client's side: recognises what `hear` is told, speaks what it is sent."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=_TIMEOUT)
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._write = threading.Lock()
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mmdagent-remote-demo", daemon=True)
        self._socket.sendall(self._ws.send(Request(
            host=f"{host}:{port}", target="/chat", extra_headers=[(b"X-App-Type", b"MMDAgent")])))
        self._thread.start()

    def hear(self, text: str) -> None:
        """Recognise an utterance."""
        self._opened.wait(_TIMEOUT)
        self._emit("RECOG_EVENT_START")
        self._emit(f"RECOG_EVENT_STOP|{text}")

    def close(self) -> None:
        """Leave as MMDAgent-EX does: without a Close frame."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # The server was faster.
        self._thread.join(_TIMEOUT)
        self._socket.close()

    def _emit(self, line: str) -> None:
        with self._write:
            self._socket.sendall(self._ws.send(Message(data=line + "\n")))

    def _run(self) -> None:
        while True:
            try:
                data = self._socket.recv(65536)
            except OSError:
                return
            if not data:
                return
            self._ws.receive_data(data)
            for event in self._ws.events():
                if isinstance(event, AcceptConnection):
                    self._opened.set()
                elif isinstance(event, Ping):
                    with self._write:
                        self._socket.sendall(self._ws.send(event.response()))
                elif isinstance(event, CloseConnection):
                    return
                elif isinstance(event, Message):
                    for line in str(event.data).splitlines():
                        self._obey(line)

    def _obey(self, line: str) -> None:
        self._emit(line)  # The echo.
        if line.startswith("SYNTH_START|"):
            model = line.split("|")[1]
            self._emit(f"SYNTH_EVENT_START|{model}")
            threading.Event().wait(_SPEECH)
            self._emit(f"SYNTH_EVENT_STOP|{model}")
        elif line.startswith("MOTION_ADD|"):
            self._emit("MOTION_EVENT_ADD|" + "|".join(line.split("|")[1:3]))


def run_demo(make_server: Callable[[type[Handler]], Server],
             start: Callable[[Server], None]) -> int:
    """Hold the dialogue; returns the exit status.

    Args:
        make_server: makes the server for a handler.
        start: starts it, and says so.
    """
    server = make_server(DemoDialogue)
    start(server)
    agent = None
    try:
        agent = DemoAgent(*server.address)
        dialogue = server.wait_connected(_TIMEOUT)
        for utterance in _UTTERANCES:
            _say(f'\nA person says "{utterance}", and the agent recognises it:')
            agent.hear(utterance)
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
            agent.close()
        server.shutdown()


def _say(text: str) -> None:
    # One write for text and newline, since two threads print here.
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
