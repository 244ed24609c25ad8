"""``cli/recording.py``, ``script.py``, ``filters.py``, ``families.py`` and ``recorder.py``."""

from __future__ import annotations

import json
import os
import tempfile
import unittest
from pathlib import Path

from mmdagent_remote import Message
from mmdagent_remote.cli.families import STYLES, family_of
from mmdagent_remote.cli.filters import matcher_of_words
from mmdagent_remote.cli.options import UsageError
from mmdagent_remote.cli.recorder import Recorder
from mmdagent_remote.cli.recording import Entry, RecordingError, encode, read
from mmdagent_remote.cli.script import ScriptError, parse
from mmdagent_remote.vocabulary.table import entries


class RecordingTest(unittest.TestCase):
    """Lines of JSON."""

    def test_there_and_back(self) -> None:
        """A line that was written is read back, Japanese and quotes included."""
        line = encode(1.23456, "now", 2, "received", line='A|"\u3042"', echo=True)
        self.assertIn("\u3042", line)
        self.assertEqual(list(read([line + "\n", "\n", encode(2, "now", 2, "close", code=1006)])),
                         [Entry(1.235, 2, "received", 'A|"\u3042"', True),
                          Entry(2.0, 2, "close", "", False)])

    def test_a_line_that_was_cut_off(self) -> None:
        """The last line may be cut off; any other is an error with its number."""
        good = encode(0, "now", 1, "sent", line="A") + "\n"
        self.assertEqual(len(list(read([good, good, good[:20]]))), 2)
        with self.assertRaisesRegex(RecordingError, "line 2 is no JSON"):
            list(read([good, good[:20] + "\n", good]))

    def test_what_is_no_recording(self) -> None:
        """JSON that is no entry is refused with the reason."""
        for wrong, why in ((1, "no JSON object"), ({}, "event None"), ({"event": "x"}, "'x'"),
                           ({"event": "sent"}, "seconds"), ({"event": "sent", "t": "1"}, "seconds"),
                           ({"event": "sent", "t": -1}, "seconds"),
                           ({"event": "sent", "t": True}, "seconds"),
                           ({"event": "sent", "t": float("nan")}, "seconds"),
                           ({"event": "sent", "t": 1, "line": 2}, "its line"),
                           ({"event": "sent", "t": 1, "line": "a\nb"}, "its line"),
                           ({"event": "sent", "t": 1, "connection": "1"}, "not a number")):
            with self.subTest(wrong), self.assertRaisesRegex(RecordingError, f"line 1 .*{why}"):
                list(read([json.dumps(wrong) + "\n"]))


class RecorderTest(unittest.TestCase):
    """The file of a recording."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "a.jsonl"

    def test_each_line_is_on_disk_at_once(self) -> None:
        """An entry can be read as soon as it is made, and its time does not go back."""
        recorder = Recorder(str(self.path))
        self.addCleanup(recorder.close)
        for number in range(3):
            line = recorder.add(1, "received", line=f"A|{number}")
            self.assertEqual(self.path.read_text("utf-8").split("\n")[-2], line)
        times = [each.t for each in read(self.path.read_text("utf-8").splitlines(True))]
        self.assertEqual(times, sorted(times))

    def test_a_file_that_exists(self) -> None:
        """A file that exists is left alone, and a path that cannot be written is refused."""
        self.path.write_text("mine")
        for path, why in ((self.path, "is there already"), (self.path / "x", "cannot write")):
            with self.assertRaisesRegex(UsageError, why):
                Recorder(str(path))
        self.assertEqual(self.path.read_text(), "mine")

    @unittest.skipUnless(os.name == "posix", "needs a limit on the size of files")
    def test_a_full_disk(self) -> None:
        """When the file cannot grow the recording ends and says so, but entries are still made."""
        import resource
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        recorder = Recorder(str(self.path))
        self.addCleanup(recorder.close)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
            lines = [recorder.add(1, "received", line="A") for _ in range(4)]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        self.assertIn("the recording ends here", recorder.problem or "")
        self.assertEqual(len(lines), 4)


class ScriptTest(unittest.TestCase):
    """A script: the user's actions, and when."""

    def test_all_that_may_stand_there(self) -> None:
        """Times are absolute or relative to the last line; comments and empty lines are skipped."""
        steps = parse("# a\r\n\r\n1 hear \u3053\u3093 there\r\n+0.5\tkey a\n 2  send TAPPED|0|head \n"
                      "+1 end\n")
        self.assertEqual(steps, [
            (1.0, ("RECOG_EVENT_START", "RECOG_EVENT_STOP|\u3053\u3093 there")), (1.5, ("KEY|a",)),
            (2.0, ("TAPPED|0|head",)), (3.0, ())])
        self.assertEqual(parse(""), [])

    def test_mistakes(self) -> None:
        """Each mistake is reported with its line."""
        for wrong, why in (
                ("hear hello", "line 1: 'hear' is no time"), ("-1 key a", "no time"),
                ("nan key a", "no time"), ("1", "'' is not known"),
                ("1 say hello", "'say' is not known"),
                ("1 end it", "'end'"), ("1 key", "nothing to key"), ("1 hear a|b", "holds '.'"),
                ("1 send A||b", "empty"), ("5 key a\n4 key b", "line 2: 4 is before 5"),
                ("1 end\n2 key a", "line 2: this comes after the end")):
            with self.subTest(wrong), self.assertRaisesRegex(ScriptError, why):
                parse(wrong)


class FilterTest(unittest.TestCase):
    """--filter."""

    def test_patterns(self) -> None:
        """A pattern is leading fields, or in slashes a regular expression for the whole line."""
        def shown(*words: str) -> list[str]:
            matches = matcher_of_words(words)
            return [line for line in ("KEY|a", "KEYS|a", "TIMER_EVENT_STOP|t") if matches(Message(line))]
        self.assertEqual(shown("KEY"), ["KEY|a"])
        self.assertEqual(shown("KEY|a", "/TIMER.*/"), ["KEY|a", "TIMER_EVENT_STOP|t"])
        self.assertEqual(shown("/KEY/"), [])
        self.assertEqual(shown("KEY*"), [])
        self.assertEqual(len(shown()), 3)

    def test_no_patterns(self) -> None:
        """A pattern that no message can match, and an invalid regular expression, are refused."""
        for word in ("", "|a", "/(/"):
            with self.subTest(word), self.assertRaises(ValueError):
                matcher_of_words([word])


class FamilyTest(unittest.TestCase):
    """Families of messages."""

    def test_every_message_has_a_family(self) -> None:
        """Every message of the table but the words for sound has a family; unknown ones do not."""
        others = {name for name in entries() if family_of(name) == "other"}
        self.assertEqual(others, {"SNDSTRM", "SNDFILE", "SNDBRKS", "SND<nnnn><pcm>"})
        self.assertEqual(family_of("MY_MESSAGE|a"), "other")

    def test_examples(self) -> None:
        """A key, a variable that begins like one, and lines of the log have the right family."""
        log = "[2026/11/23 08:52:54.674] [0] Variables: {}: {}"
        for line, family in (("KEY|a", "user"), ("KEYVALUE_SET|a|1", "script"),
                             ("SYNTH_EVENT_STOP|0", "speech"),
                             (log.format("Sent", "TIMER_EVENT_START|t1"), "script"),
                             (log.format("Status", "use FMA"), "log")):
            self.assertEqual(family_of(line), family)
            self.assertIn(family, STYLES)


if __name__ == "__main__":
    unittest.main()
