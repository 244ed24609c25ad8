"""The programs in ``samples/``, each run as a user runs it and talked to by real clients.

:class:`Program` and :class:`ProgramCase` are used by ``test_readme.py`` as well.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import unittest
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Optional
from unicodedata import normalize

import websocket
from websockets.sync.client import connect

from mmdagent_remote.connection import transport
from tests.support import DEADLINE, PROJECT, TestCase, wait_until

SAMPLES = PROJECT / "samples"

# Runs a script as __main__, but each Server that it makes takes a free port, and prints it. A child
# inherits that its parent ignores Ctrl-C, so the handler of a normal start is set here.
_DRIVER = """
import builtins, runpy, signal, sys
def print_whole(*values, sep=" ", end="\\n", file=None, flush=False):
    # Text and newline in one write: with -u, lines of two threads would merge.
    file = file or sys.stdout
    file.write(sep.join(map(str, values)) + end)
    file.flush()
builtins.print = print_whole
from mmdagent_remote import Server
from mmdagent_remote.connection import transport
transport.SLICED_WAITS = %r
init, start = Server.__init__, Server.start
def init_on_free_port(self, handler=None, host="localhost", port=9001, **options):
    self.port_in_script = port
    init(self, handler, host, 0, **options)
def start_and_tell(self):
    start(self)
    print(f"listening on {self.port} for {self.port_in_script}", file=sys.stderr, flush=True)
    return self
Server.__init__, Server.start = init_on_free_port, start_and_tell
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_path(sys.argv[1], run_name="__main__")
"""

# Makes Flask take a free port as well, which werkzeug prints on standard error.
_FLASK = """
import flask
run = flask.Flask.run
flask.Flask.run = lambda self, **options: run(self, **{**options, "port": 0})
"""

# Replaces the user at the window: carries out lines on standard input ("type X", "press", "close"),
# and prints the texts of all widgets, as JSON, whenever they have changed.
_PERSON = """
import json, os, queue, threading, tkinter
from tkinter import ttk
orders, seen = queue.Queue(), []

def listen():
    # Not sys.stdin, whose lock a thread would hold when the interpreter ends.
    rest = b""
    while data := os.read(0, 4096):
        *lines, rest = (rest + data).split(b"\\n")
        for line in lines:
            orders.put(line.decode())

def children(widget):
    for child in widget.winfo_children():
        yield child
        yield from children(child)

def find(root, kind):
    return next(child for child in children(root) if isinstance(child, kind))

def text_of(widget):
    if isinstance(widget, tkinter.Text):
        return widget.get("1.0", "end-1c")
    return widget.get() if isinstance(widget, tkinter.Entry) else str(widget.cget("text"))

def act(root):
    texts = [text_of(child) for child in children(root)]
    if seen != [texts]:
        seen[:] = [texts]
        print(json.dumps(texts), flush=True)
    while not orders.empty():
        order, _, text = orders.get().partition(" ")
        if order == "type":
            find(root, tkinter.Entry).insert("end", text)
        elif order == "press":
            find(root, ttk.Button).invoke()
        elif order == "close":
            root.tk.eval(root.protocol("WM_DELETE_WINDOW"))
            return
    root.after(10, act, root)

def mainloop(root, n=0, mainloop=tkinter.Tk.mainloop):
    threading.Thread(target=listen, daemon=True).start()
    root.after(0, act, root)
    mainloop(root, n)

tkinter.Tk.mainloop = mainloop
"""


class Program:
    """A script in a process of its own, and what it has printed so far.

    Args:
        script: the file to run.
        prepare: Python source that runs before it.
        environment: variables besides our own.
    """

    def __init__(self, script: Path, prepare: str = "",
                 environment: Optional[dict[str, str]] = None) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-X", "dev", "-X", "utf8", "-c",
             prepare + _DRIVER % transport.SLICED_WAITS, str(script)],
            cwd=PROJECT, env={**os.environ, **(environment or {})}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", start_new_session=True)
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((self._process.stdout, self.out), (self._process.stderr, self.err))]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: Any, lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))

    def find_in_err(self, pattern: str) -> re.Match[str]:
        """Wait for a line on standard error."""
        def search() -> Optional[re.Match[str]]:
            found = (re.search(pattern, line) for line in list(self.err))
            return next((match for match in found if match), None)
        wait_until(lambda: search() or not self.is_running, lambda: f"{pattern} in {self.err}")
        match = search()
        if match is None:
            raise AssertionError(f"no {pattern!r} in {self.err}")
        return match

    @property
    def port(self) -> int:
        """The port that the script's server listens on."""
        return int(self.find_in_err(r"^listening on (\d+) for \d+$").group(1))

    @property
    def port_in_script(self) -> int:
        """The port that the script itself asked for."""
        return int(self.find_in_err(r"^listening on \d+ for (\d+)$").group(1))

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def expect(self, *lines: str) -> None:
        """Wait until these lines are on standard output, in this order, with others between."""
        def came() -> bool:
            rest = iter(list(self.out))
            return all(line in rest for line in lines)

        def what() -> str:
            return f"{lines} in {self.out}; on standard error: {self.err}"
        wait_until(lambda: came() or not self.is_running, what)
        wait_until(came, what)

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def wait(self) -> int:
        """Wait for the end and all output; returns the exit status."""
        status = self._process.wait(DEADLINE)
        for reader in self._readers:
            reader.join(DEADLINE)
        return status

    def end(self) -> None:
        """End the process if it still runs, and close its pipes."""
        if self.is_running or any(reader.is_alive() for reader in self._readers):
            if os.name == "posix":
                # The whole group: processes that it has started would keep our pipes open.
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()


class Client:
    """A real client, reduced to what these tests do: lines out, lines in, and leave."""

    def __init__(self, connection: Any, leave: Callable[[], object], **recv_options: float) -> None:
        self.leave = leave
        self._connection = connection
        self._recv_options = recv_options
        self._lines: list[str] = []

    @classmethod
    def mmdagent(cls, port: int) -> Client:
        """A client that says it is MMDAgent-EX, sends no Origin, and leaves without a Close."""
        connection = websocket.create_connection(
            f"ws://127.0.0.1:{port}/chat", timeout=DEADLINE, suppress_origin=True,
            header=["X-App-Type: MMDAgent"])
        return cls(connection, connection.shutdown)

    @classmethod
    def other(cls, port: int) -> Client:
        """A client of another library that does not say it is MMDAgent-EX."""
        stack = ExitStack()
        connection = stack.enter_context(connect(f"ws://127.0.0.1:{port}/", open_timeout=DEADLINE))
        return cls(connection, stack.close, timeout=DEADLINE)

    def say(self, *lines: str) -> None:
        """Send each line as a message of its own."""
        for line in lines:
            self._connection.send(line + "\n")

    def hear_text(self) -> str:
        """The next message as it came."""
        text = self._connection.recv(**self._recv_options)
        assert isinstance(text, str)
        return text

    def hear(self) -> str:
        """The next line."""
        while not self._lines:
            text = self.hear_text()
            assert text.endswith("\n"), f"whole lines, not {text!r}"
            self._lines += text[:-1].split("\n")
        return self._lines.pop(0)


class ProgramCase(TestCase):
    """Starts programs and clients, and ends them with the test."""

    def program(self, script: Path, prepare: str = "",
                environment: Optional[dict[str, str]] = None) -> Program:
        """A running script."""
        program = Program(script, prepare, environment)
        self.addCleanup(program.end)
        return program

    def clients(self, program: Program) -> tuple[Client, Client]:
        """MMDAgent-EX, and another client, connected in this order."""
        return self.client(Client.mmdagent(program.port)), self.client(Client.other(program.port))

    def client(self, client: Client) -> Client:
        """Have a client leave when the test ends."""
        self.addCleanup(client.leave)
        return client

    def check_clean(self, program: Program) -> None:
        """The program ends with status 0, without a traceback or ResourceWarning."""
        err = "\n".join(program.err)
        self.assertEqual(program.wait(), 0, err)
        self.assertNotIn("Traceback", err)
        self.assertNotIn("ResourceWarning", err)

    def check_ctrl_c(self, program: Program) -> None:
        """Ctrl-C ends the program cleanly, while its clients are connected."""
        if os.name == "posix":  # Elsewhere a test cannot send Ctrl-C to one process alone.
            program.interrupt()
            self.check_clean(program)


class ScriptTest(ProgramCase):
    """The samples that are a server and nothing more."""

    def sample(self, name: str) -> Program:
        """A running sample, which asked for port 9001."""
        program = self.program(SAMPLES / name)
        self.assertEqual(program.port_in_script, 9001)
        return program

    def test_receive(self) -> None:
        """Every line of every client is printed."""
        program = self.sample("receive.py")
        for client in self.clients(program):
            program.out.clear()
            client.say("RECOG_EVENT_START", "RECOG_EVENT_STOP|こんにちは")
            program.expect("Received message: RECOG_EVENT_START",
                           "Received message: RECOG_EVENT_STOP|こんにちは")
            self.assertEqual(len(program.out), 2)
        self.check_ctrl_c(program)

    def test_receive_says_what_to_put_into_the_mdf(self) -> None:
        """The settings of MMDAgent-EX are on standard error."""
        program = self.sample("receive.py")
        program.find_in_err(r"^\s*Plugin_Remote_Websocket_Host=localhost$")
        program.find_in_err(rf"^\s*Plugin_Remote_Websocket_Port={program.port}$")
        program.find_in_err(r"^\s*Plugin_Remote_RetryCount=\d+$")

    def test_send_and_receive(self) -> None:
        """TEST_MESSAGE comes again and again, also while messages arrive."""
        program = self.sample("send_and_receive.py")
        agent, other = self.clients(program)
        for client in (agent, other):
            self.assertEqual(client.hear(), "TEST_MESSAGE")
            client.say("KEY|a")
            program.expect("Received message: KEY|a")
            program.out.clear()
            self.assertEqual(client.hear(), "TEST_MESSAGE")
        self.check_ctrl_c(program)

    def test_send_and_receive_goes_on_when_a_client_has_left(self) -> None:
        """The spawned thread of a connection that ended logs nothing."""
        program = self.sample("send_and_receive.py")
        agent, other = self.clients(program)
        agent.leave()
        self.assertEqual(other.hear(), "TEST_MESSAGE")
        other.say("KEY|a")
        program.expect("Received message: KEY|a")
        self.check_ctrl_c(program)

    def test_callbacks(self) -> None:
        """It prints connects, messages and disconnects, and sends TEST_MESSAGE to all."""
        program = self.sample("callbacks.py")
        agent, other = self.clients(program)
        program.expect("Client 1 is connected")
        program.expect("Client 2 is connected")
        for _ in range(2):
            self.assertEqual((agent.hear(), other.hear_text()), ("TEST_MESSAGE", "TEST_MESSAGE"))
        agent.say("KEY|a", "RECOG_EVENT_STOP|こんにちは")
        program.expect("Received message: KEY|a", "Received message: RECOG_EVENT_STOP|こんにちは")
        agent.leave()
        program.expect("Client 1 has left")
        self.assertNotIn("", program.out)
        self.check_ctrl_c(program)

    def test_blocking(self) -> None:
        """The script waits for its timer, prints what follows, and ends with the agent."""
        for arrive in (Client.mmdagent, Client.other):
            with self.subTest(arrive.__name__):
                program = self.sample("blocking.py")
                client = self.client(arrive(program.port))
                self.assertEqual(client.hear(), "TIMER_START|t|1")
                client.say("TIMER_START|t|1", "TIMER_EVENT_START|t", "TIMER_EVENT_STOP|t")
                client.say("KEY|a", "KEY|b")
                client.leave()
                self.check_clean(program)
                self.assertEqual(program.out, ["KEY|a", "KEY|b"])

    @unittest.skipUnless(os.name == "posix", "Ctrl-C cannot be pressed here for one process alone")
    def test_blocking_ends_at_ctrl_c(self) -> None:
        """A script without serve() gets its KeyboardInterrupt at once, like any Python script."""
        program = self.sample("blocking.py")
        client = self.client(Client.mmdagent(program.port))
        self.assertEqual(client.hear(), "TIMER_START|t|1")
        program.interrupt()
        self.assertNotEqual(program.wait(), 0)
        self.assertEqual(program.err[-1], "KeyboardInterrupt")

    def test_blocking_handler(self) -> None:
        """A recognised text is said back, and nothing else is answered."""
        program = self.sample("blocking_handler.py")
        for client in self.clients(program):
            client.say("RECOG_EVENT_START", "RECOG_EVENT_STOP|hello", "KEY|a", "RECOG_EVENT_STOP|you")
            for text in ("hello", "you"):  # In full-width letters for MMDAgent-EX.
                self.assertEqual(normalize("NFKC", client.hear()),
                                 f"SYNTH_START|0|mei_voice_normal|{text}")
        self.check_ctrl_c(program)


class FlaskAppTest(ProgramCase):
    """``flask_app.py``, over real HTTP."""

    def setUp(self) -> None:
        if find_spec("flask") is None:
            self.skipTest("Flask is not installed")
        self.program_ = self.program(SAMPLES / "flask_app.py", _FLASK)
        self.assertEqual(self.program_.port_in_script, 9001)
        self.site = self.program_.find_in_err(r"http://[\d.]+:\d+").group()

    def get(self, path: str) -> str:
        """The body of a page."""
        return self.fetch(urllib.request.Request(self.site + path))[1]

    def post(self, line: str, **headers: str) -> tuple[int, str]:
        """Send the form."""
        body = urllib.parse.urlencode({"line": line}).encode()
        return self.fetch(urllib.request.Request(self.site + "/send", body, headers))

    def fetch(self, request: urllib.request.Request) -> tuple[int, str]:
        """The status and the body, also for an error."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=DEADLINE) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def messages(self) -> Any:
        """The page's messages as JSON."""
        return json.loads(self.get("/messages"))

    def test_shows_messages(self) -> None:
        """Received lines are on the page, escaped, and in the JSON."""
        self.assertEqual(self.messages(), [])
        agent, other = self.clients(self.program_)
        agent.say("RECOG_EVENT_STOP|<b>こんにちは</b>")
        wait_until(lambda: self.messages() == ["RECOG_EVENT_STOP|<b>こんにちは</b>"])
        other.say("KEY|a")
        wait_until(lambda: len(self.messages()) == 2)
        page = self.get("/")
        self.assertIn("RECOG_EVENT_STOP|&lt;b&gt;こんにちは&lt;/b&gt;", page)
        self.assertIn("KEY|a", page)
        self.assertIn("2 connected", page)
        self.assertIn('<form method="post" action="/send">', page)
        self.check_ctrl_c(self.program_)

    def test_keeps_the_last_hundred(self) -> None:
        """The page keeps the last hundred lines."""
        agent = self.client(Client.mmdagent(self.program_.port))
        agent.say(*(f"KEY|{number}" for number in range(105)))
        wait_until(lambda: self.messages()[-1:] == ["KEY|104"])
        self.assertEqual(self.messages(), [f"KEY|{number}" for number in range(5, 105)])

    def test_sends(self) -> None:
        """A line of the form reaches all clients, and the browser is redirected to the page."""
        clients = self.clients(self.program_)
        wait_until(lambda: "2 connected" in self.get("/"))
        status, page = self.post("TIMER_START|t|1")
        self.assertEqual(status, 200)
        self.assertNotIn("Not sent", page)
        for client in clients:
            self.assertEqual(client.hear(), "TIMER_START|t|1")
        self.check_ctrl_c(self.program_)

    def test_says_why_it_did_not_send(self) -> None:
        """It gives the reason for an invalid line, no client, and a page of another site."""
        status, page = self.post("")
        self.assertEqual(status, 400)
        self.assertIn("Not sent: the line is empty", page)
        status, page = self.post("KEY|a")
        self.assertEqual(status, 503)
        self.assertIn("nobody is connected", page)
        self.assertEqual(self.post("KEY|a", Origin="http://elsewhere.example")[0], 403)
        self.assertEqual(self.post("KEY|a", Origin=self.site)[0], 503)


class TkWindowTest(ProgramCase):
    """``tk_window.py``, on a display, with a script in place of the user."""

    def setUp(self) -> None:
        if find_spec("tkinter") is None or find_spec("_tkinter") is None:
            self.skipTest("this Python has no tkinter")
        self.window = self.program(SAMPLES / "tk_window.py", _PERSON, self.display())

    def display(self) -> dict[str, str]:
        """A display of our own if Xvfb is there, else that of the machine."""
        if not sys.platform.startswith("linux"):
            return {}
        xvfb = shutil.which("Xvfb")
        if xvfb is None:
            if "DISPLAY" not in os.environ:
                self.skipTest("there is neither Xvfb nor a display")
            return {}
        read_end, write_end = os.pipe()
        with open(read_end, encoding="ascii") as numbers:
            process = subprocess.Popen(
                [xvfb, "-displayfd", str(write_end), "-screen", "0", "1024x768x24",
                 "-nolisten", "tcp"],
                pass_fds=[write_end], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            os.close(write_end)
            self.addCleanup(process.wait, DEADLINE)
            self.addCleanup(process.terminate)
            number = numbers.readline().strip()  # The read ends at Xvfb's end, should that fail.
        if not number:
            self.skipTest("Xvfb does not start")
        return {"DISPLAY": f":{number}"}

    def see(self, *parts: str) -> list[str]:
        """Wait until these texts are in the window; returns the texts of its widgets."""
        def came() -> Optional[list[str]]:
            texts = json.loads(self.window.out[-1]) if self.window.out else []
            return texts if all(any(part in text for text in texts) for part in parts) else None
        wait_until(lambda: came() or not self.window.is_running,
                   lambda: f"{parts} in {self.window.out[-1:]}")
        texts = came()
        if texts is None:
            self.fail(f"{parts} not in {self.window.out[-1:]}; {self.window.err}")
        return texts

    def test_shows_messages(self) -> None:
        """The window shows where it listens, the clients, and their messages."""
        self.see(f"ws://localhost:{self.window.port}/", "waiting for MMDAgent-EX")
        self.assertEqual(self.window.port_in_script, 9001)
        agent, other = self.clients(self.window)
        self.see("2 connected")
        agent.say("RECOG_EVENT_START", "RECOG_EVENT_STOP|こんにちは")
        self.see("RECOG_EVENT_START\nRECOG_EVENT_STOP|こんにちは\n")
        other.say("KEY|a")
        self.see("こんにちは\nKEY|a\n")
        agent.leave()
        self.see("1 connected")
        self.check_ctrl_c(self.window)

    def test_sends(self) -> None:
        """The button sends what is typed to all clients, and clears the entry."""
        clients = self.clients(self.window)
        self.see("2 connected")
        self.window.tell("type TIMER_START|t|1")
        self.see("TIMER_START|t|1")
        self.window.tell("press")
        for client in clients:
            self.assertEqual(client.hear(), "TIMER_START|t|1")
        self.assertNotIn("TIMER_START|t|1", self.see("Sent: TIMER_START|t|1"))

    def test_says_why_it_did_not_send(self) -> None:
        """The reason is in the window, and the text stays in the entry."""
        self.see("waiting")
        self.window.tell("press")
        self.see("Not sent: the line is empty")
        self.window.tell("type A||B")
        self.window.tell("press")
        self.assertIn("A||B", self.see("Not sent: field 1 is empty"))

    def test_says_that_nobody_is_connected(self) -> None:
        """It says so when a line reached no client."""
        self.see("waiting")
        self.window.tell("type KEY|a")
        self.window.tell("press")
        self.assertIn("KEY|a", self.see("nobody is connected"))

    def test_ends_with_its_window(self) -> None:
        """Closing the window ends the server and the program."""
        agent = self.client(Client.mmdagent(self.window.port))
        agent.say("KEY|a")
        self.see("KEY|a\n")
        self.window.tell("close")
        self.check_clean(self.window)

    def test_keeps_up_with_a_flood(self) -> None:
        """Of more lines than the window keeps the last ones are there, the first ones are not."""
        agent = self.client(Client.mmdagent(self.window.port))
        agent.say(*(f"KEY|{number}" for number in range(2100)))
        texts = self.see("KEY|2099\n")
        shown = next(text for text in texts if "KEY|2099\n" in text).splitlines()
        self.assertLessEqual(len(shown), 2000)
        self.assertNotIn("KEY|1", shown)


if __name__ == "__main__":
    unittest.main()
