"""``mmdagent-remote messages``."""

from __future__ import annotations

import json
import subprocess
import sys
import unittest

from mmdagent_remote.cli.messages import find, in_full
from mmdagent_remote.vocabulary.table import entries

from ..support import PROJECT
from .command import run_main


class MessagesTest(unittest.TestCase):
    """The table of messages, printed for users."""

    def test_all(self) -> None:
        """Without a word all 186 are printed, in 80 columns."""
        done = run_main("messages")
        self.assertEqual((done.status, done.err), (0, ""))
        self.assertIn("\n186 messages;", done.out)
        self.assertLessEqual(max(map(len, done.out.split("\n"))), 80)
        for name in entries():
            self.assertIn(f"\n{name}", "\n" + done.out)

    def test_one(self) -> None:
        """A name gives its arguments, its answers and what fails silently; case does not matter."""
        for word in ("SYNTH_START", "synth_start", "SYNTH_START|0|mei"):
            done = run_main("messages", word)
            self.assertEqual(done.status, 0)
            for text in ("SYNTH_START|model|voice|text", "SYNTH_EVENT_START and then SYNTH_EVENT_STOP",
                         "silent  unknown voice: no event", "model alias"):
                self.assertIn(text, done.out)
            self.assertNotIn("SYNTH_STOP", done.out)

    def test_echoes(self) -> None:
        """A command without an answer says whether at least its echo comes."""
        self.assertIn("only its echo", run_main("messages", "CAMERA").out)
        self.assertIn("none, and no echo", run_main("messages", "RECOG_RECORD_STOP").out)

    def test_every_one_in_full(self) -> None:
        """Every message can be printed in full within the width of the terminal."""
        for entry in entries().values():
            for columns in (40, 80):
                lines = ["".join(part if isinstance(part, str) else part[0] for part in parts)
                         for parts in in_full(entry, columns)]
                self.assertGreater(len(lines), 2, entry["name"])
                self.assertLessEqual(max(map(len, lines[1:])), columns, entry["name"])

    def test_words(self) -> None:
        """A word finds names that hold it, or descriptions if no name does."""
        self.assertEqual({entry["name"].partition("_")[0] for entry in find("timer_")}, {"TIMER"})
        self.assertIn("SYNTH_START", [entry["name"] for entry in find("barge-in")])
        self.assertIn("\n75 messages;", run_main("messages", "event").out)
        done = run_main("messages", "zzzz")
        self.assertEqual((done.status, done.out), (1, ""))
        self.assertEqual(done.err, "mmdagent-remote: no message has 'zzzz' in its name or description\n")

    def test_json(self) -> None:
        """--json gives the entries as they are in the table."""
        self.assertEqual(json.loads(run_main("messages", "--json").out), list(entries().values()))
        self.assertEqual(json.loads(run_main("messages", "KEY", "--json").out), [entries()["KEY"]])

    def test_a_reader_who_has_seen_enough(self) -> None:
        """When its reader ends, as in a pipe to head, it ends quietly."""
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "mmdagent_remote", "messages", "--json"], cwd=PROJECT,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.close()
        self.assertEqual((process.stderr.read(), process.wait(60)), (b"", 0))
        process.stderr.close()


if __name__ == "__main__":
    unittest.main()
