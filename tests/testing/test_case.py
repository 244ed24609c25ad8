"""``testing/case.py``, the sample, and the page about the kit."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from typing import Any

from mmdagent_remote import Handler, Message
from mmdagent_remote.testing import AgentTestCase, SimulatedAgent

from ..support import DEADLINE, PROJECT, TestCase

PAGE = PROJECT / "docs" / "testing.md"


class Parrot(Handler):
    """Answers what was recognised."""

    def on_message(self, message: Message) -> None:
        match message:
            case Message("RECOG_EVENT_STOP", (text,)):
                self.send("SYNTH_START", "0", "slt_voice_normal", f"You said {text}")
            case Message("CRASH"):
                self._connected()._transport._socket.sendall(b"\x82\x01\n")


class Quiet(Parrot):
    """Drops echoes."""

    echoes = False


class Whole(Handler):
    """Takes whole texts."""

    def on_text(self, text: str) -> None:
        self.send("TEXT", text.strip().replace("|", "/"))


class Blocking(Handler):
    """Has its own handle()."""

    def handle(self) -> None:
        for line in self.lines():
            if line.startswith("KEY|"):
                self.write_line(f"PRESSED|{line[4:]}")


class Stubborn(Handler):
    """Does not end."""

    release = threading.Event()

    def on_message(self, message: Message) -> None:
        self.release.wait(DEADLINE)


def quiet() -> Handler:
    """A factory of handlers."""
    return Quiet()


class CaseTests(TestCase):
    """A user's test class, run as unittest runs it."""

    def outcome(self, body: Any, handler: Any = Parrot, **attributes: Any) -> unittest.TestResult:
        """Run one test with a handler."""
        class Case(AgentTestCase):
            agent_options = {"chatter": False}
            deadline = DEADLINE

            def test(self) -> None:
                body(self)

        Case.handler = handler
        for name, value in attributes.items():
            setattr(Case, name, value)
        result = unittest.TestResult()
        Case("test").run(result)
        return result

    def check(self, body: Any, handler: Any = Parrot, **attributes: Any) -> None:
        """The test passes."""
        result = self.outcome(body, handler, **attributes)
        self.assertEqual([*result.errors, *result.failures], [])
        self.assertEqual(result.testsRun, 1)

    def check_fails(self, text: str, body: Any, handler: Any = Parrot, **attributes: Any) -> None:
        """The test fails, and its report matches `text`."""
        result = self.outcome(body, handler, **attributes)
        found = "".join(report for _, report in [*result.errors, *result.failures])
        self.assertRegex(found, text)

    def test_a_server_and_an_agent(self) -> None:
        """Each test has a server on a free port and a connected agent."""
        def body(case: AgentTestCase) -> None:
            self.assertTrue(case.agent.connected)
            self.assertEqual(case.server.url, case.agent.url)
            self.assertEqual(type(case.server.wait_connected(DEADLINE)), Parrot)
            case.agent.emit("RECOG_EVENT_STOP|hello")
            case.agent.expect("SYNTH_START|0|slt_voice_normal|You said hello", DEADLINE)
        self.check(body)

    def test_sync(self) -> None:
        """After sync() all lines are handled, all answers have arrived, and no mark is left."""
        def body(case: AgentTestCase) -> None:
            for number in range(300):
                case.agent.emit(f"RECOG_EVENT_STOP|{number}")
            case.sync()
            self.assertEqual(case.agent.received, [
                f"SYNTH_START|0|slt_voice_normal|You said {number}" for number in range(300)])
            case.sync()
            self.assertEqual(len(case.agent.received), 300)
        for handler in (Parrot, Quiet, quiet, staticmethod(quiet), {"/": Parrot}):
            self.check(body, handler)

    def test_sync_with_other_handlers(self) -> None:
        """sync() works for a handler with its own handle()."""
        def body(case: AgentTestCase) -> None:
            case.agent.emit("KEY|a")
            case.agent.emit("KEY|b")
            case.sync()
            found = [line for line in case.agent.received if "TEXT" not in line or "KEY" in line]
            self.assertIn(found[:2], (["PRESSED|a", "PRESSED|b"], ["TEXT|KEY/a", "TEXT|KEY/b"]))
        self.check(body, Blocking)

    def test_sync_fails(self) -> None:
        """sync() fails in time when the handler does not return."""
        Stubborn.release.clear()

        def body(case: AgentTestCase) -> None:
            case.agent.emit("KEY|a")
            try:
                case.sync(timeout=0.1)
            finally:
                Stubborn.release.set()
        self.check_fails("did not receive '__AV_TEST_SYNC", body, Stubborn)

    def test_whole_texts(self) -> None:
        """A handler with its own on_text never sees the marks."""
        def body(case: AgentTestCase) -> None:
            case.sync()
            case.agent.emit("KEY|a")
            case.agent.expect("TEXT|KEY/a", DEADLINE)
            self.assertEqual(case.agent.received, ["TEXT|KEY/a"])
        self.check(body, Whole, agent_options={"chatter": False, "fragile": True})

    def test_accepting(self) -> None:
        """Without a handler the server is an accepting one."""
        def body(case: AgentTestCase) -> None:
            with case.server.accept(DEADLINE) as accepted:
                accepted.write_line("A|b")
                case.agent.expect("A|b", DEADLINE)
        self.check(body, None)

    def test_options(self) -> None:
        """Options of the server and of the agent are passed on."""
        def body(case: AgentTestCase) -> None:
            self.assertEqual(case.agent.path, "/other")
        self.check(body, server_options={"path": "/other"}, agent_options={"model": False})

    def test_a_failure(self) -> None:
        """A failing expectation fails the test and leaves nothing behind."""
        self.check_fails("did not receive 'NOTHING'", lambda case: case.agent.expect("NOTHING", 0.01))

    def test_a_crash(self) -> None:
        """A test fails if its handler crashed the agent."""
        def body(case: AgentTestCase) -> None:
            case.agent.emit("CRASH")
            case.agent.wait_ended(DEADLINE)
        self.check_fails("the agent is crashed: an empty line", body)

    def test_a_thread_left_behind(self) -> None:
        """A test fails if its handler does not end."""
        held, called = threading.Event(), threading.Event()

        class Held(Handler):
            def on_message(self, message: Message) -> None:
                called.set()
                held.wait(DEADLINE)

        def call(case: AgentTestCase) -> None:
            case.agent.emit("KEY|a")
            self.assertTrue(called.wait(DEADLINE))
        self.check_fails("threads still in user code", call, Held, deadline=0.3)
        held.set()

    def test_a_server_that_does_not_start(self) -> None:
        """A wrong option is an error of the test, and nothing is left."""
        self.check_fails("TypeError", lambda case: None, server_options={"bogus": 1})
        self.check_fails("404", lambda case: None, server_options={"path": "/a"},
                         agent_options={"path": "/b"})


class PageTests(TestCase):
    """The sample and the page run as they stand."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)
        page = (PROJECT / "README.md").read_text("utf-8")
        parrot = re.search("```python\n(.*?)```", page, re.DOTALL).group(1)
        (self.directory / "parrot.py").write_text(parrot, "utf-8")

    def run_tests(self, path: Path, *runner: str) -> subprocess.CompletedProcess[str]:
        """Run a file of tests, with unittest unless other arguments are given."""
        python_path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
        return subprocess.run(
            [sys.executable, "-W", "error", *(runner or ("-m", "unittest")), path.name], cwd=path.parent,
            env={**os.environ, "PYTHONPATH": python_path}, stdin=subprocess.DEVNULL,
            capture_output=True, encoding="utf-8", timeout=60)

    def test_sample(self) -> None:
        """The sample passes; with another answer it fails."""
        sample = PROJECT / "samples" / "test_my_dialogue.py"
        copy = self.directory / sample.name
        for old, new, status in (("", "", 0), ("You said {text}", "I said {text}", 1),
                                 ("case Message(\"SYNTH_EVENT_STOP\"", "case Message(\"OTHER\"", 1)):
            copy.write_text(sample.read_text("utf-8").replace(old, new, 1) if old else
                            sample.read_text("utf-8"), "utf-8")
            done = self.run_tests(copy)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn("Ran 2 tests", done.stderr)

    def test_page(self) -> None:
        """Each program of the page passes as it stands."""
        blocks = re.findall("```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
        self.assertEqual(len(blocks), 3)
        for number, block in enumerate(blocks):
            path = self.directory / f"test_page_{number}.py"
            if "import pytest" in block:
                # As much of pytest as the page needs; it may not be installed.
                (self.directory / "pytest.py").write_text(
                    "from contextlib import contextmanager as fixture\n", "utf-8")
                block += "\nwith agent() as given:\n    test_answers(given)\nprint('passed')\n"
            path.write_text(block, "utf-8")
            done = self.run_tests(path, *(["-u"] if "import pytest" in block else []))
            self.assertIn("passed" if "import pytest" in block else "Ran 1 test",
                          done.stdout + done.stderr)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_names_on_the_page(self) -> None:
        """The page names every option of the agent and every call for a test."""
        text = PAGE.read_text("utf-8")
        names = {name for name in vars(SimulatedAgent) if not name.startswith("_")}
        options = set(inspect.signature(SimulatedAgent).parameters) - {"url", "name"}
        for name in (names | options) - {"wait_ended"}:
            self.assertRegex(text, rf"`{name}\b", name)
        for name, shown in re.findall(r"^\| `(\w+)` \| `(.+?)` \|", text, re.MULTILINE):
            self.assertEqual(shown, repr(inspect.signature(SimulatedAgent).parameters[name].default)
                             if shown[0] in "TF" else shown, name)


if __name__ == "__main__":
    unittest.main()
