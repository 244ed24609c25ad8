"""The command line as the user sees it: in a pseudo-terminal of 80 columns."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import unittest
import wave
from importlib.util import find_spec

from mmdagent_remote import Handler
from mmdagent_remote.testing import SimulatedAgent

from ..support import DEADLINE, PROJECT, TestCase, wait_until
from .command import free_port
from .test_cli import COMMANDS

HAS_ALL = os.name == "posix" and all(map(find_spec, ("pyte", "rich")))
if HAS_ALL:
    from .terminal import COLUMNS, Terminal


@unittest.skipUnless(HAS_ALL, "needs a POSIX system, and the packages pyte and rich")
class TerminalTest(TestCase):
    """In a terminal."""

    def agent(self, port: int) -> SimulatedAgent:
        """A simulated agent that is about to connect.

        Not a fragile one: on a busy machine that misses what comes right behind its handshake.
        """
        agent = SimulatedAgent(f"ws://127.0.0.1:{port}/chat", retry_count=10_000, hurry=20,
                               chatter=False, speech_time=10.0, fragile=False)
        self.addCleanup(agent.leave)
        return agent.start()

    def test_listen(self) -> None:
        """Families have colours, echoes are dim, what is typed is sent, Ctrl-C ends it quietly."""
        port = free_port()
        with Terminal("listen", "--port", str(port), "--filter", "/[KRM].*/") as terminal:
            terminal.expect("Ctrl-C ends")
            agent = self.agent(port)
            terminal.expect("connected to /chat")
            agent.wait_connected(DEADLINE)
            agent.emit("RECOG_EVENT_STOP|\u3053\u3093\u306b\u3061\u306f \x1b[31m")
            agent.emit("TIMER_EVENT_STOP|hidden")
            agent.emit("KEY|a")
            row = terminal.expect("KEY|a")
            self.assertRegex(row, r"^\d\d:\d\d:\d\d\.\d{3} KEY\|a$")
            terminal.expect(" RECOG_EVENT_STOP|\u3053\u3093\u306b\u3061\u306f \\x1b[31m")
            self.assertNotEqual(terminal.color("RECOG_EVENT_STOP"), terminal.color("KEY|a"))
            self.assertNotIn("default", (terminal.color("RECOG_EVENT_STOP"), terminal.color("KEY|a")))
            terminal.type("MODEL_DELETE|\u9802\n")
            agent.expect("MODEL_DELETE|\u9802", DEADLINE)
            terminal.expect("MODEL_EVENT_DELETE|")
            self.assertRegex(terminal.raw, rb"\x1b\[2mMODEL_DELETE\|")
            self.assertNotIn("hidden", str(terminal))
            # The terminal folds a long line, so a copy of it is still one line.
            agent.emit("KEY|" + "x" * 100)
            wait_until(lambda: b"KEY|" + b"x" * 100 in terminal.raw)
            agent.leave()
            terminal.expect("disconnected")
            terminal.type("\x03")
            self.assertEqual(terminal.end(), 0)
            self.assertNotIn(b"Traceback", terminal.raw)

    def test_spinner(self) -> None:
        """A spinner turns while a command waits, and leaves nothing on the screen."""
        port = free_port()
        with Terminal("say", "--port", str(port), "0", "mei", "\u3053\u3093\u306b") as terminal:
            terminal.expect("waiting for MMDAgent-EX at ws://localhost")
            agent = self.agent(port)
            terminal.expect("0 speaks")
            agent.expect("SYNTH_START|0|mei|\u3053\u3093\u306b", DEADLINE)
            self.assertEqual(terminal.end(), 0, terminal)
            self.assertEqual([row for row in terminal.rows if row], ["spoken"])
            self.assertIn(b"\x1b[?25h", terminal.raw)  # The cursor is there again.

    def test_bar(self) -> None:
        """A bar grows while a sound is played, and is full in the end."""
        port = free_port()
        with tempfile.TemporaryDirectory() as directory:
            name = os.path.join(directory, "a.wav")
            with wave.open(name, "wb") as file:
                file.setparams((1, 2, 16000, 0, "NONE", ""))
                file.writeframes(bytes(2 * 16000))
            with Terminal("play", "--port", str(port), "0", name) as terminal:
                terminal.expect("waiting for MMDAgent-EX")
                self.agent(port)
                terminal.expect("\u2501\u2501\u2501")
                self.assertEqual(terminal.end(), 0)
                self.assertRegex(str(terminal), r"\u2501{10,} 1\.0 s +0:00:00")
                self.assertEqual([row for row in terminal.rows if row][-1], "played")

    def test_ctrl_c_while_it_waits(self) -> None:
        """Ctrl-C ends a command that waits, quietly, with status 1."""
        with Terminal("send", "--port", str(free_port()), "KEY|a") as terminal:
            terminal.expect("waiting for MMDAgent-EX")
            terminal.type("\x03")
            self.assertEqual(terminal.end(), 1)
            self.assertNotIn(b"Traceback", terminal.raw)
            self.assertIn(b"\x1b[?25h", terminal.raw)

    def test_simulate(self) -> None:
        """It says why it is not connected yet, prints both sides, and ends with Ctrl-C."""
        port = free_port()
        with Terminal("simulate", "--port", str(port)) as terminal:
            terminal.expect(f"connecting to ws://localhost:{port}/chat")
            terminal.expect("still trying: ")
            server = self.serve(Handler, port=port)
            terminal.expect("-- connected to /chat")
            server.wait_connected(DEADLINE)
            server.broadcast("SYNTH_START|0|mei|\u3053\u3093")
            terminal.expect("<- SYNTH_START|0|mei|\u3053\u3093")
            terminal.type("\x03")
            self.assertEqual(terminal.end(), 0)
            self.assertNotIn(b"Traceback", terminal.raw)

    def test_plain(self) -> None:
        """Without rich, with NO_COLOR and on a dumb terminal there are no escape sequences."""
        for with_rich, environment in (
                (False, {}), (True, {"NO_COLOR": "1"}), (True, {"TERM": "dumb"})):
            with self.subTest(with_rich=with_rich, **environment):
                with Terminal("messages", "VALUE_EVAL", with_rich=with_rich,
                              environment=environment) as terminal:
                    self.assertEqual(terminal.end(), 0)
                    self.assertIn(b"VALUE_EVENT_EVAL", terminal.raw)
                    self.assertNotIn(b"\x1b", terminal.raw)
        with Terminal("messages", "VALUE_EVAL") as terminal:
            self.assertEqual(terminal.end(), 0)
            self.assertIn(b"\x1b[", terminal.raw)

    def test_help(self) -> None:
        """The help of every command has an example, and fits 80 columns."""
        code = ("import sys\nfrom mmdagent_remote.cli import main\nfor name in sys.argv[1:]:\n"
                "    try: main([name, '--help'])\n"
                "    except SystemExit: print('\\f')\n")
        done = subprocess.run(
            [sys.executable, "-c", code, *COMMANDS], cwd=PROJECT, text=True, timeout=60,
            capture_output=True, env={**os.environ, "COLUMNS": str(COLUMNS)}, check=True)
        pages = done.stdout.split("\f\n")[:-1]
        self.assertEqual(len(pages), len(COMMANDS))
        for name, page in zip(COMMANDS, pages):
            with self.subTest(name):
                self.assertRegex(page, rf"(?m)^example: mmdagent-remote {name}\b")
                self.assertLessEqual(max(map(len, page.split("\n"))), COLUMNS)
                self.assertTrue(re.search(r"--log-level", page))


if __name__ == "__main__":
    unittest.main()
