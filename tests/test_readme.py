"""``README.md`` and ``README.ja.md``: their programs run, and their facts agree with the code."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import mmdagent_remote
from mmdagent_remote import Agent, Handler, Server
from mmdagent_remote.mdf import mdf_lines
from mmdagent_remote.testing import SimulatedAgent
from tests.support import DEADLINE, PROJECT, TestCase
from tests.samples.test_samples import SAMPLES, Client, ProgramCase

ENGLISH = PROJECT / "README.md"
JAPANESE = PROJECT / "README.ja.md"
PAGES = [ENGLISH, JAPANESE, *sorted((PROJECT / "docs").glob("*.md")),
         PROJECT / "CONTRIBUTING.md", PROJECT / "CHANGELOG.md"]

COMMANDS = {
    "sh": [
        "python3 -m venv .venv && .venv/bin/python -m pip install . && "
        ".venv/bin/mmdagent-remote demo",
        'python3 -m venv .venv && .venv/bin/python -m pip install -e ".[test]" && '
        ".venv/bin/python -m unittest",
    ],
    "powershell": [
        r"py -3 -m venv .venv; .venv\Scripts\python -m pip install .; "
        r".venv\Scripts\mmdagent-remote demo",
        r'py -3 -m venv .venv; .venv\Scripts\python -m pip install -e ".[test]"; '
        r".venv\Scripts\python -m unittest",
    ],
}


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language on a page, in order."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


class ProgramsTest(ProgramCase):
    """Every Python block is a complete program. A new one needs a test here."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)

    def save(self, page: Path, number: int, name: str) -> Path:
        """A page's program as a file."""
        path = self.directory / name
        path.write_text(blocks(page, "python")[number], encoding="utf-8")
        return path

    def test_all_compile(self) -> None:
        """There are as many programs as are tested below, and each compiles."""
        for page, count in ((ENGLISH, 4), (JAPANESE, 2)):
            found = blocks(page, "python")
            self.assertEqual(len(found), count, page.name)
            for number, block in enumerate(found):
                compile(block, f"{page.name}, program {number}", "exec")

    def test_first_program(self) -> None:
        """The first program answers what was recognised, and prints keys."""
        for page, answer, printed in (
                (ENGLISH, "slt_voice_normal|You said hello", "Somebody pressed a"),
                (JAPANESE, "mei_voice_normal|hello、ですね", "a が押されました")):
            with self.subTest(page.name):
                program = self.program(self.save(page, 0, "parrot.py"))
                self.assertEqual(program.port_in_script, 9001)
                for client in self.clients(program):
                    client.say("RECOG_EVENT_START", "RECOG_EVENT_STOP|hello", "KEY|a")
                    self.assertEqual(client.hear(), f"SYNTH_START|0|{answer}")
                    program.expect(printed)
                    program.out.clear()
                self.check_ctrl_c(program)

    def test_dialogue(self) -> None:
        """The dialogue answers, counts across reconnects, and is silent once the user speaks."""
        for page, answer in ((ENGLISH, "slt_voice_normal|hello? That was number {}."),
                             (JAPANESE, "mei_voice_normal|hello、ですね。{} 回目です。")):
            with self.subTest(page.name):
                program = self.program(self.save(page, 1, "host.py"))
                self.assertEqual(program.port_in_script, 9001)
                agent = SimulatedAgent(f"ws://127.0.0.1:{program.port}/chat", retry_count=100,
                                       speech_time=60.0, chatter=False)
                self.addCleanup(agent.leave)
                agent.start().wait_connected(DEADLINE)
                for number in (1, 2):
                    agent.emit("RECOG_EVENT_STOP|hello")
                    agent.expect(f"SYNTH_START|0|{answer.format(number)}", DEADLINE)
                    agent.emit("RECOG_EVENT_START")
                    agent.expect("SYNTH_STOP|0", DEADLINE)
                    agent.drop()
                    agent.wait_connected(DEADLINE, times=number + 1)
                if page is ENGLISH:
                    agent.emit("KEY|r")
                    program.expect("MMDAgent-EX has answered VALUE_EVENT_SET|count")
                    agent.emit("RECOG_EVENT_STOP|hello")
                    agent.expect(f"SYNTH_START|0|{answer.format(1)}", DEADLINE)
                self.check_ctrl_c(program)

    def test_embedding(self) -> None:
        """The embedding program waits for a client, sends two lines, and ends."""
        program = self.program(self.save(ENGLISH, 2, "embedded.py"))
        self.assertEqual(program.port_in_script, 9001)
        program.expect(f"Waiting for MMDAgent-EX at ws://localhost:{program.port}/")
        agent = self.client(Client.mmdagent(program.port))
        self.assertEqual(agent.hear(), "TIMER_START|t|1")
        self.assertEqual(agent.hear(), "TEXTAREA_SET|clock|12:00")
        self.check_clean(program)

    def unittest_of_page(self, dialogue: str) -> subprocess.CompletedProcess[str]:
        """Run the page's test for some dialogue.py."""
        (self.directory / "dialogue.py").write_text(dialogue, encoding="utf-8")
        test = self.save(ENGLISH, 3, "test_dialogue.py")
        path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
        return subprocess.run(
            [sys.executable, str(test)], cwd=self.directory, env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=DEADLINE * 3)

    def test_unittest(self) -> None:
        """The page's test passes for the sample that it is for, and fails for a changed one."""
        dialogue = (SAMPLES / "dialogue.py").read_text(encoding="utf-8")
        good = self.unittest_of_page(dialogue)
        self.assertEqual(good.returncode, 0, good.stderr)
        self.assertIn("Ran 1 test", good.stderr)
        bad = self.unittest_of_page(dialogue.replace("You said", "I said"))
        self.assertEqual(bad.returncode, 1, bad.stderr)
        self.assertIn("I said hello", bad.stderr)


class FactsTest(TestCase):
    """What the pages say is what the code does."""

    def test_the_two_commands(self) -> None:
        """Both pages have both commands, for both shells, as blocks of their own."""
        for page in (ENGLISH, JAPANESE):
            for language, commands in COMMANDS.items():
                found = [block.rstrip("\n") for block in blocks(page, language)]
                self.assertEqual([block for block in found if "venv" in block], commands, page.name)

    def test_mdf(self) -> None:
        """The .mdf settings are those that serve() prints."""
        lines = "".join(f"{line}\n" for line in mdf_lines("localhost", 9001, "/chat"))
        for page in (ENGLISH, JAPANESE):
            self.assertIn(f"\n```\n{lines}```\n", page.read_text(encoding="utf-8"))

    def test_options(self) -> None:
        """The table has every option of Server, with its default, and no other."""
        text = ENGLISH.read_text(encoding="utf-8")
        rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \|", text, re.MULTILINE)
        options = inspect.signature(Server).parameters.values()
        self.assertEqual(rows, [(each.name, repr(each.default)) for each in options])

    def test_names(self) -> None:
        """Every public name of Handler, Agent and Server is in a table; every name there exists."""
        text = ENGLISH.read_text(encoding="utf-8")
        cells = " ".join(re.findall(r"^\| (.*?) \|", text, re.MULTILINE))
        names = set(re.findall(r"`(\w+)(?:\(.*?\))?`", cells))
        for owner in (Handler, Agent, Server):
            public = {name for name in vars(owner) if not name.startswith("_")}
            self.assertLessEqual(public - {"echoes"}, names, owner.__name__)
        known = {*dir(Agent), *dir(Server), *dir(mmdagent_remote),
                 *inspect.signature(Server).parameters}
        self.assertLessEqual(names, known)

    def test_samples(self) -> None:
        """Both pages list every sample."""
        for page in (ENGLISH, JAPANESE):
            text = page.read_text(encoding="utf-8")
            for sample in (PROJECT / "samples").glob("*.py"):
                self.assertIn(f"[samples/{sample.name}](samples/{sample.name})", text, page.name)

    def test_links(self) -> None:
        """Every link to a file of the project leads to a file that exists."""
        for page in PAGES:
            for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
                if "://" not in target:
                    self.assertTrue((page.parent / target).exists(), f"{target} in {page.name}")

    def test_files_named_in_the_design(self) -> None:
        """Every wing is on the design page, and every file named there exists."""
        text = (PROJECT / "docs" / "design.md").read_text(encoding="utf-8")
        package = PROJECT / "mmdagent_remote"
        folders = {path.parent.name for path in package.glob("*/__init__.py")}
        self.assertEqual(folders, set(re.findall(r"\[`([a-z]+)/`\]", text)))
        for name in re.findall(r"`([a-z_/]+\.py)`", text):
            with self.subTest(name):
                self.assertTrue((package / name).exists() or (PROJECT / name).exists())


if __name__ == "__main__":
    unittest.main()
