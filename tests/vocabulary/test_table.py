"""``table.py``: which message answers a command."""

from __future__ import annotations

import unittest
from collections.abc import Mapping
from typing import Any

from mmdagent_remote import Message
from mmdagent_remote.vocabulary.pattern import matcher_of
from mmdagent_remote.vocabulary.table import answer_to, entries


def command_of(name: str, form: list[str]) -> Message:
    """A command whose arguments are their own names; words in capitals stay as they are."""
    return Message("|".join([name, *(f"<{arg}>" if arg.islower() else arg for arg in form)]))


def answer_of(entry: Mapping[str, Any], command: Message, form: list[str]) -> Message:
    """The event that MMDAgent-EX sends: arguments of the same name, a value for the others."""
    given = dict(zip(form, command.args))
    names = [each["name"] for each in entry["args"]]
    if entry["name"] == "MENU_EVENT":
        given["verb"] = command.args[0]
    return Message("|".join([entry["name"], *(given.get(name, "?") for name in names)]))


class AnswerTest(unittest.TestCase):
    """Every command of the table."""

    def commands(self) -> list[Mapping[str, Any]]:
        """The commands with an answer."""
        found = [entry for entry in entries().values()
                 if entry["direction"] == "command" and entry.get("answers")]
        self.assertGreater(len(found), 50)
        return found

    def forms(self, entry: Mapping[str, Any]) -> list[list[str]]:
        """All forms of a command's arguments, with all of them and with only the required ones."""
        forms = entry.get("forms")
        if forms is None:
            args = entry["args"]
            forms = [[arg["name"] for arg in args],
                     [arg["name"] for arg in args if arg.get("required")]]
        return [[arg.rstrip("?.") for arg in form] for form in forms]

    def test_every_command(self) -> None:
        """The pattern matches the event that is built from the command's own arguments."""
        for entry in self.commands():
            event = entries()[entry["answers"][0]]
            for form in self.forms(entry):
                with self.subTest(entry["name"], form=form):
                    command = command_of(entry["name"], form)
                    answer = answer_of(event, command, form)
                    self.assertTrue(matcher_of(answer_to(command))(answer), (answer_to(command), answer))

    def test_somebody_elses_answer(self) -> None:
        """The pattern does not match the answer to the same command for another thing."""
        for entry in self.commands():
            form = self.forms(entry)[0]
            if not entry.get("key_args"):
                continue
            with self.subTest(entry["name"]):
                command = command_of(entry["name"], form)
                other = Message(answer_to(command) + "_2")
                self.assertFalse(matcher_of(answer_to(command))(other))

    def test_answers_are_events(self) -> None:
        """The first answer of each command is an event of the table."""
        for entry in self.commands():
            self.assertEqual(entries()[entry["answers"][0]]["direction"], "event", entry["name"])

    def test_examples(self) -> None:
        """Usual commands, and those whose arguments change their order when there are more."""
        for command, answer in (
                ("MODEL_ADD|0|model.pmd", "MODEL_EVENT_ADD|0"),
                ("MOTION_ADD|0|base|wait.vmd|FULL|LOOP", "MOTION_EVENT_ADD|0|base"),
                ("SYNTH_START|0|mei|text", "SYNTH_EVENT_START|0"),
                ("TIMER_START|t|3", "TIMER_EVENT_START|t"),
                ("VALUE_EVAL|v|LE|3", "VALUE_EVENT_EVAL|v|LE|3"),
                ("MODEL_BINDBONE|0|neck|0,0,0|0,0,0", "MODEL_EVENT_BINDBONE|0|neck"),
                ("MODEL_BINDBONE|key|0|1|m|neck|a|b|c|d", "MODEL_EVENT_BINDBONE|m|neck"),
                ("MODEL_BINDFACE|0|smile|1.0", "MODEL_EVENT_BINDFACE|0|smile"),
                ("MODEL_BINDFACE|0|smile|1.0|0.5", "MODEL_EVENT_BINDFACE|0|smile"),
                ("MODEL_BINDFACE|key|0|1|m|smile|0|1", "MODEL_EVENT_BINDFACE|m|smile"),
                ("MENU|ADD|m", "MENU_EVENT|ADD|m")):
            self.assertEqual(answer_to(Message(command)), answer)

    def test_arguments_that_are_missing(self) -> None:
        """A command that lacks an identifying argument is answered whatever its value is."""
        self.assertEqual(answer_to(Message("MOTION_DELETE|0")), "MOTION_EVENT_DELETE|0")
        self.assertEqual(answer_to(Message("VALUE_SET")), "VALUE_EVENT_SET")

    def test_without_an_answer(self) -> None:
        """Every command without an answer is refused, with a hint to use until=."""
        refused = [entry["name"] for entry in entries().values()
                   if entry["direction"] == "command" and not entry.get("answers")]
        self.assertIn("CAMERA", refused)
        for name in refused:
            with self.subTest(name), self.assertRaisesRegex(ValueError, "with no message.*until="):
                answer_to(Message(name + "|0|1|2"))

    def test_no_commands(self) -> None:
        """Events, and names that are not in the table, are refused."""
        names = [entry["name"] for entry in entries().values() if entry["direction"] != "command"]
        for name in [*names, "MY_COMMAND", "", "value_set"]:
            with self.subTest(name), self.assertRaisesRegex(ValueError, "no command.*until="):
                answer_to(Message(name + "|0"))


if __name__ == "__main__":
    unittest.main()
