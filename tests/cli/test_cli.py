"""The command line as a user runs it: each command in a process of its own."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import unittest
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

from mmdagent_remote.cli import command_parser, main
from mmdagent_remote.cli.options import split_self_signed

from ..client import Client, frame, request
from ..support import DATA, DEADLINE, PROJECT, TestCase
from .command import run_main

COMMANDS = ("listen", "send", "say", "play", "simulate", "check", "messages", "demo")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run([sys.executable, "-W", "error", "-m", "mmdagent_remote", *arguments],
                          cwd=PROJECT, capture_output=True, text=True, encoding="utf-8",
                          timeout=60, stdin=subprocess.DEVNULL)


class Listen:
    """``listen`` in a process, until the with statement ends."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "mmdagent_remote", "listen", "--port", "0",
             *arguments],
            cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, encoding="utf-8", bufsize=1)
        self.start = ""
        while "Ctrl-C" not in self.start:
            line = self.process.stderr.readline()
            if not line:
                raise AssertionError(f"did not start: {self.start}")
            self.start += line
        self.address = ("127.0.0.1", int(re.search(r":(\d+)/", self.start).group(1)))

    def __enter__(self) -> Listen:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


class ListenTests(TestCase):
    """mmdagent-remote listen."""

    def test_prints_and_sends(self) -> None:
        """What the agent says is printed with a time; what is typed is sent; Ctrl-C ends it quietly."""
        with Listen() as listen:
            self.assertIn("Plugin_Remote_Websocket_Host=localhost\n", listen.start)
            self.assertIn("Plugin_Remote_RetryCount=", listen.start)
            with Client(listen, "/chat", mmdagent=True) as client:
                self.assertIn("connected to /chat", listen.process.stdout.readline())
                client.text("RECOG_EVENT_STOP|\u3053\u3093\u306b\u3061\u306f \x1b[31m\n")
                self.assertRegex(
                    listen.process.stdout.readline(),
                    r"^\d\d:\d\d:\d\d\.\d{3}"
                    r" RECOG_EVENT_STOP\|\u3053\u3093\u306b\u3061\u306f \\x1b\[31m\n$")
                listen.process.stdin.write("a||b\n\nMODEL_DELETE|0\n")
                listen.process.stdin.flush()
                self.assertEqual(client.lines(1), ["MODEL_DELETE|0"])
                self.assertIn("not sent: field 1 is empty", listen.process.stderr.readline())
                if os.name == "posix":
                    listen.process.send_signal(signal.SIGINT)
                    self.assertIsNone(client.close_code())
            if os.name == "posix":
                out, err = listen.process.communicate(timeout=DEADLINE)
                self.assertEqual((listen.process.returncode, err), (0, ""))
                self.assertIn("disconnected", out)

    def test_nobody(self) -> None:
        """A line that is typed while no client is connected is reported."""
        with Listen() as listen:
            listen.process.stdin.write("A|b\n")
            listen.process.stdin.flush()
            self.assertIn("nobody is connected", listen.process.stderr.readline())

    @unittest.skipUnless(os.name == "posix", "needs POSIX signals")
    def test_sigterm_after_end_of_input(self) -> None:
        """The end of standard input does not end the program; SIGTERM does, quietly."""
        with Listen() as listen:
            listen.process.stdin.close()
            with socket.create_connection(listen.address, timeout=DEADLINE) as sock:
                sock.sendall(request() + frame("A\n"))
                self.assertIn("connected", listen.process.stdout.readline())
                self.assertIn(" A\n", listen.process.stdout.readline())
                listen.process.send_signal(signal.SIGTERM)
                self.assertEqual(listen.process.wait(DEADLINE), 0)
            self.assertEqual(listen.process.stderr.read(), "")
            listen.process.stdin = None

    @unittest.skipUnless(os.name == "posix", "needs POSIX signals")
    def test_reader_goes_away(self) -> None:
        """When the reader of its output goes away, the program ends without a traceback."""
        with Listen() as listen:
            listen.process.stdout.close()
            with socket.create_connection(listen.address, timeout=DEADLINE) as sock:
                sock.sendall(request() + frame("A\n"))
                self.assertEqual(listen.process.wait(DEADLINE), 0)
            self.assertEqual(listen.process.stderr.read(), "")
            listen.process.stdout = None

    def test_options(self) -> None:
        """--path, --exclusive and --tls do what they say."""
        with Listen("--path", "/chat", "--exclusive") as listen:
            self.assertIn("Directory=/chat", listen.start)
            with Client(listen, "/chat", mmdagent=True), Client(listen, open=False) as second:
                second.send(request("/chat", mmdagent=True))
                self.assertIn("429 Too Many Requests", second.read_head())
        with Listen("--tls", str(DATA / "localhost-cert.pem"), str(DATA / "localhost-key.pem"),
                    "--log-level", "error") as listen:
            self.assertIn("wss://", listen.start)


class WrongInputTests(TestCase):
    """One clear line, a non-zero status, no traceback."""

    def check(self, expected: str, status: int, *arguments: str) -> None:
        """Run it, and check its status and its one line."""
        result = run(*arguments)
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertIn(expected, result.stderr)
        self.assertEqual(result.stdout, "")

    def test_usage(self) -> None:
        """Wrong usage is status 2."""
        self.check("COMMAND", 2)
        self.check("bogus", 2, "bogus")
        self.check("65536", 2, "listen", "--port", "65536")
        self.check("abc", 2, "demo", "--port", "abc")
        self.check("--tls", 2, "listen", "--tls", "x")

    def test_usage_of_every_command(self) -> None:
        """Wrong usage of each command is status 2, in one line."""
        for expected, *arguments in (
                ("LINE", "send"), ("TEXT", "say", "0", "mei"), ("FILE.mdf", "check"),
                ("seconds", "send", "--timeout", "0", "A"),
                ("seconds", "say", "--timeout", "x", "0", "m", "t"),
                ("above zero", "simulate", "--speed", "-1"),
                ("above zero", "simulate", "--speed", "nan"),
                ("not allowed with", "simulate", "--script", "a", "--replay", "b"),
                ("--filter", "listen", "--filter"), ("unrecognized", "messages", "a", "b"),
                ("unrecognized", "listen", "--rec", "x"),
                ("--log-level", "check", "--log-level", "loud", "x"),
                ("65536", "check", "--port", "65536", "x"), ("no port", "listen", "--port", "\u00b2")):
            with self.subTest(arguments):
                done = run_main(*arguments)
                self.assertEqual((done.status, done.out, done.err.count("\n")), (2, "", 1), done.err)
                self.assertIn(expected, done.err)

    def test_environment(self) -> None:
        """A port in use, an unknown host, a bad certificate and a bad path give status 1."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            self.check(f"127.0.0.1:{port}", 1, "demo", "--port", port)
            self.check(f"127.0.0.1:{port}", 1, "listen", "--port", port)
        self.check("no.such.host.invalid", 1, "listen", "--host", "no.such.host.invalid")
        self.check("nothing.pem", 1, "listen", "--tls", "nothing.pem", "nothing.pem")
        readme = str(PROJECT / "README.md")
        self.check("README.md", 1, "listen", "--tls", readme, readme)
        self.check("query", 1, "listen", "--path", "/a?b")


class PagesTests(unittest.TestCase):
    """What the pages say about the command line."""

    def test_commands(self) -> None:
        """Every command line on a page or in a help text can be parsed."""
        pages = [PROJECT / "README.md", PROJECT / "README.ja.md", PROJECT / "docs" / "command-line.md"]
        texts = [page.read_text("utf-8") for page in pages]
        texts += [run_main(command, "--help").out for command in COMMANDS]
        found = [line.replace("\\|", "|") for text in texts
                 for line in re.findall(r"^(?:.*`|example: | +|)mmdagent-remote (\w[^`\n]*)", text, re.M)
                 if line.split()[0] in COMMANDS]
        self.assertGreater(len(found), 30)
        self.assertEqual({line.split()[0] for line in found}, set(COMMANDS))
        for line in found:
            with self.subTest(line), redirect_stdout(StringIO()):
                try:
                    command_parser().parse_args(split_self_signed(shlex.split(line)))
                except SystemExit as error:
                    self.assertEqual(error.code, 0)  # --help

    def test_options(self) -> None:
        """Every option of every command is on the page."""
        text = (PROJECT / "docs" / "command-line.md").read_text("utf-8")
        for command in COMMANDS:
            for option in re.findall(r"(?m)^  (--[a-z-]+)", run_main(command, "--help").out):
                self.assertIn(option, text)

    def test_findings(self) -> None:
        """Every kind of finding is on the page, and no other."""
        source = (PROJECT / "mmdagent_remote" / "cli" / "findings.py").read_text("utf-8")
        text = (PROJECT / "docs" / "command-line.md").read_text("utf-8").partition("| kind |")[2]
        self.assertEqual(set(re.findall(r'Finding\("([a-z-]+)"', source)),
                         set(re.findall(r"(?m)^\| `([a-z-]+)` \|", text.partition("\n\n")[0])))


class DemoTests(TestCase):
    """mmdagent-remote demo."""

    def test_demo(self) -> None:
        """The demo runs its dialogue and ends by itself with status 0."""
        result = run("demo", "--port", "0")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("RECOG_EVENT_STOP|hello", result.stdout)
        self.assertEqual(result.stdout.count("SYNTH_EVENT_STOP|0"), 3)
        self.assertIn("Plugin_Remote_RetryCount", result.stderr)

    def test_in_process(self) -> None:
        """main() takes arguments, and leaves no thread or socket behind."""
        handler = signal.getsignal(signal.SIGTERM)
        self.addCleanup(signal.signal, signal.SIGTERM, handler)
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()):
            self.assertEqual(main(["demo", "--port", "0"]), 0)
        self.assertIn("SYNTH_EVENT_STOP", out.getvalue())

    def test_help_and_version(self) -> None:
        """--help names every command, --version tells the version."""
        for command in COMMANDS:
            self.assertRegex(run_main("--help").out, rf"(?m)^    {command} +\w")
        self.assertRegex(run("--version").stdout, r"^\d+\.\d+")
