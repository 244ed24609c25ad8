"""``testing/application.py``, ``testing/documented.py``: which events follow a command and when."""

from __future__ import annotations

import re
import unittest
from typing import Any

from mmdagent_remote.testing.application import Application, Said
from mmdagent_remote.testing.documented import commands


class ApplicationCase(unittest.TestCase):
    """An application whose time the test controls."""

    def setUp(self) -> None:
        self.now = 1000.0
        self.use()

    def use(self, **options: Any) -> None:
        """Replace the application by another one."""
        self.application = Application(**options)

    def issue(self, *lines: str) -> list[str]:
        """Issue lines, and return the events that follow at once."""
        return [said.line for line in lines for said in self.application.issue(line, self.now)]

    def after(self, seconds: float) -> list[str]:
        """Let time pass, and return the events meanwhile."""
        self.now += seconds
        return [said.line for said in self.application.due(self.now)]


class BareTests(ApplicationCase):
    """Rows: what answers without a model, as the real application did."""

    def setUp(self) -> None:
        super().setUp()
        self.use(model=False)

    def test_values(self) -> None:
        """A value that was set can be got."""
        self.assertEqual(self.issue("VALUE_SET|v|3"), ["VALUE_EVENT_SET|v"])
        self.assertEqual(self.issue("VALUE_GET|v"), ["VALUE_EVENT_GET|v|3"])

    def test_timer(self) -> None:
        """A timer's start comes at once, its stop 125 to 205 ms after a start with 0.1."""
        self.assertEqual(self.issue("TIMER_START|k|0.1"), ["TIMER_EVENT_START|k"])
        self.assertEqual(self.after(0.124), [])
        self.assertEqual(self.after(0.081), ["TIMER_EVENT_STOP|k"])
        self.assertEqual(self.after(10), [])

    def test_textarea(self) -> None:
        """A text area is added."""
        self.assertEqual(self.issue("TEXTAREA_ADD|ta|10,5|1,1,1|0,0,0,1|1,1,1,1|0,0,0"),
                         ["TEXTAREA_EVENT_ADD|ta"])

    def test_plugin(self) -> None:
        """A plugin is disabled."""
        self.assertEqual(self.issue("PLUGIN_DISABLE|Variables"), ["PLUGIN_EVENT_DISABLE|Variables"])

    def test_avatar(self) -> None:
        """``__AV_START`` gives ``AVATAR|START``."""
        self.assertEqual(self.application.word("__AV_START"), [Said("Remote", "AVATAR|START")])
        self.assertEqual(self.application.word("__AV_END"), [Said("Remote", "AVATAR|END")])
        self.assertEqual(self.application.word("__AV_SETMODEL,0"), [])

    def test_only_the_echo(self) -> None:
        """These commands give no event, nor do speech and motions without a model."""
        for line in ("KEYVALUE_SET|a|b", "CAMERA|0,0,0|0,0,0|10|20", "STAGE|floor.bmp,back.bmp",
                     "MODEL_ADD|0|nothing.pmd", "SYNTH_START|0|v|hello", "MOTION_ADD|0|m|m.vmd"):
            self.assertEqual(self.issue(line), [], line)
        self.assertEqual(self.after(10), [])


class SpeechTests(ApplicationCase):
    """Speech, and the other activities that start and stop."""

    def test_speech(self) -> None:
        """Speech starts at once and stops after its time."""
        self.assertEqual(self.issue("SYNTH_START|0|v|hello"), ["SYNTH_EVENT_START|0"])
        self.assertEqual(self.after(0.09), [])
        self.assertEqual(self.after(0.02), ["SYNTH_EVENT_STOP|0"])

    def test_cut_off(self) -> None:
        """A second speech of the same model cuts the first off; one of another model does not."""
        self.issue("SYNTH_START|0|v|one", "SYNTH_START|1|v|other")
        self.assertEqual(self.after(0.05), [])
        self.assertEqual(self.issue("SYNTH_START|0|v|two"),
                         ["SYNTH_EVENT_STOP|0", "SYNTH_EVENT_START|0"])
        self.assertEqual(self.after(0.06), ["SYNTH_EVENT_STOP|1"])
        self.assertEqual(self.after(0.06), ["SYNTH_EVENT_STOP|0"])

    def test_stop(self) -> None:
        """SYNTH_STOP ends speech at once, and says nothing when there is none."""
        self.assertEqual(self.issue("SYNTH_STOP|0"), [])
        self.issue("SYNTH_START|0|v|hello")
        self.assertEqual(self.issue("SYNTH_STOP|0", "SYNTH_STOP|0"), ["SYNTH_EVENT_STOP|0"])
        self.assertEqual(self.after(10), [])

    def test_empty_text(self) -> None:
        """Speech without a text is ignored."""
        self.assertEqual(self.issue("SYNTH_START|0|v|", "SYNTH_START|0|v"), [])

    def test_times(self) -> None:
        """The time of speech may be a function of the text; ``hurry`` makes everything faster."""
        self.use(speech_time=lambda text: len(text), hurry=10)
        self.issue("SYNTH_START|0|v|12345|not spoken", "TIMER_START|t|1")
        self.assertEqual(self.after(0.14), ["TIMER_EVENT_STOP|t"])
        self.assertEqual(self.after(0.35), [])
        self.assertEqual(self.after(0.02), ["SYNTH_EVENT_STOP|0"])

    def test_other_activities(self) -> None:
        """Sounds, spoken files, lips, movements and captions start, and stop in their time."""
        for line in ("SOUND_START|a|s.wav", "SPEAK_START|a|s.wav", "LIPSYNC_START|a|a,100",
                     "MOVE_START|a|0,0,0", "TURN_START|a|0,0,0", "ROTATE_START|a|0,0,0",
                     "CAPTION_START|a|style|text|1|CENTER|1|3"):
            kind = line.partition("_")[0]
            self.assertEqual(self.issue(line), [f"{kind}_EVENT_START|a"])
            self.assertEqual(self.after(0.11), [f"{kind}_EVENT_STOP|a"])
            self.issue(line)
            self.assertEqual(self.issue(f"{kind}_STOP|a"), [f"{kind}_EVENT_STOP|a"])
            self.assertEqual(self.after(1), [])

    def test_stops_without_a_start(self) -> None:
        """SPEAK_STOP answers even when nothing was playing, SOUND_STOP does not."""
        self.assertEqual(self.issue("SPEAK_STOP|0", "SOUND_STOP|0"), ["SPEAK_EVENT_STOP|0"])

    def test_subscript(self) -> None:
        """A sub-script runs until it is stopped."""
        self.assertEqual(self.issue("SUBFST_START|s|s.fst"), ["SUBFST_EVENT_START|s"])
        self.assertEqual(self.after(100), [])
        self.assertEqual(self.issue("SUBFST_STOP|s"), ["SUBFST_EVENT_STOP|s"])


class CommandTests(ApplicationCase):
    """The other commands."""

    def test_motions(self) -> None:
        """A ONCE motion is deleted when it has ended, a LOOP motion when MOTION_DELETE comes."""
        self.assertEqual(self.issue("MOTION_ADD|0|a|a.vmd|PART|ONCE", "MOTION_ADD|0|b|b.vmd|FULL|LOOP"),
                         ["MOTION_EVENT_ADD|0|a", "MOTION_EVENT_ADD|0|b"])
        self.assertEqual(self.issue("MOTION_CHANGE|0|b|c.vmd"), ["MOTION_EVENT_CHANGE|0|b"])
        self.assertEqual(self.after(1), ["MOTION_EVENT_DELETE|0|a"])
        self.assertEqual(self.issue("MOTION_DELETE|0|a", "MOTION_DELETE|0|b"),
                         ["MOTION_EVENT_DELETE|0|b"])

    def test_models(self) -> None:
        """An alias in use gives no event; a deleted model takes no commands, and stops its acts."""
        self.assertEqual(self.issue("MODEL_ADD|0|a.pmd", "MODEL_ADD|0|b.pmd"), ["MODEL_EVENT_ADD|0"])
        self.issue("SYNTH_START|0|v|hello", "MOTION_ADD|0|a|a.vmd")
        self.assertEqual(self.issue("MODEL_DELETE|0", "MODEL_DELETE|0", "SYNTH_START|0|v|hello"),
                         ["MODEL_EVENT_DELETE|0"])
        self.assertEqual(self.after(10), [])
        self.assertEqual(self.issue("MODEL_ADD|0|a.pmd", "MODEL_CHANGE|0|b.pmd"),
                         ["MODEL_EVENT_ADD|0", "MODEL_EVENT_CHANGE|0"])

    def test_timers(self) -> None:
        """A restart cancels a timer, a stop is as if it had elapsed, a cancel always answers."""
        self.issue("TIMER_START|t|1")
        self.assertEqual(self.issue("TIMER_START|t|2"),
                         ["TIMER_EVENT_CANCELLED|t", "TIMER_EVENT_START|t"])
        self.assertEqual(self.after(1.5), [])
        self.assertEqual(self.issue("TIMER_STOP|t", "TIMER_STOP|t"), ["TIMER_EVENT_STOP|t"])
        self.assertEqual(self.issue("TIMER_CANCEL|t"), ["TIMER_EVENT_CANCELLED|t"])
        self.assertEqual(self.after(10), [])

    def test_values(self) -> None:
        """Values are compared and unset; an unknown one gives no event, a random one two fields."""
        self.issue("VALUE_SET|v|3", "VALUE_SET|r|1|6")
        self.assertEqual(
            self.issue("VALUE_EVAL|v|GE|3", "VALUE_EVAL|v|LT|3.0", "VALUE_EVAL|v|IS|3",
                       "VALUE_EVAL|none|EQ|3"),
            ["VALUE_EVENT_EVAL|v|GE|3|TRUE", "VALUE_EVENT_EVAL|v|LT|3.0|FALSE"])
        self.assertEqual(self.issue("VALUE_GET|r", "VALUE_UNSET|v", "VALUE_GET|v", "VALUE_UNSET|v"),
                         ["VALUE_EVENT_GET|r|1|6", "VALUE_EVENT_UNSET|v"])

    def test_textareas(self) -> None:
        """An alias in use and an unknown one give no event."""
        add = "TEXTAREA_ADD|ta|10,5|1,1,1|0,0,0,1|1,1,1,1|0,0,0"
        self.assertEqual(self.issue("TEXTAREA_SET|ta|x", "TEXTAREA_DELETE|ta"), [])
        show = "TEXTAREA_SET|ta|x"
        self.assertEqual(self.issue(add, add, show, "TEXTAREA_DELETE|ta", show),
                         ["TEXTAREA_EVENT_ADD|ta", "TEXTAREA_EVENT_SET|ta", "TEXTAREA_EVENT_DELETE|ta"])

    def test_recorded_answers(self) -> None:
        """Menus, models and motions answer as in the recording."""
        self.assertEqual(
            self.issue("MENU|ADD|Gene", "MENU|SETITEM|Gene|0|label|MODEL_BINDFACE|0|face|1",
                       "MODEL_ADD|0|gene/Gene_light.pmd"),
            ["MENU_EVENT|ADD|Gene", "MENU_EVENT|SETITEM|Gene|0", "MODEL_EVENT_ADD|0"])

    def test_forms(self) -> None:
        """A command with several forms answers each form in its own way."""
        self.assertEqual(
            self.issue("MODEL_BINDFACE|0|smile|1", "MODEL_BINDFACE|k|0|1|0|smile|0|1",
                       "MODEL_BINDBONE|k|0|1|0|neck|0|0|0|0", "AVATAR_CONTROL|DISABLE",
                       "CAPTION_SETSTYLE|s|font|1,1,1", "RECOG_MODIFY|GAIN|1.5",
                       "RECOG_MODIFY|PREDICTWORD|x", "INFOTEXT_STRING|text|title|OK"),
            ["MODEL_EVENT_BINDFACE|0|smile", "MODEL_EVENT_BINDFACE|k|0|smile",
             "MODEL_EVENT_BINDBONE|0|neck", "AVATAR_EVENT_CONTROL|DISABLED",
             "CAPTION_EVENT_SETSTYLE|s", "RECOG_EVENT_MODIFY|GAIN|1.5", "INFOTEXT_EVENT_SHOW"])

    def test_every_documented_command(self) -> None:
        """With enough arguments each command gives events of the table, or none."""
        for command in commands().values():
            self.use()
            args = [f"a{number}" for number in range(command.needs)]
            for said in self.application.issue("|".join([command.name, *args]), self.now):
                self.assertIn(said.line.partition("|")[0], command.answers)

    def test_too_few_arguments(self) -> None:
        """A command with too few arguments fails silently; empty fields collapse."""
        self.assertEqual(self.issue("MODEL_ADD|0", "MODEL_ADD||0|", "TIMER_START|t"), [])
        self.assertEqual(self.issue("MODEL_ADD||0|a.pmd"), ["MODEL_EVENT_ADD|0"])

    def test_unknown(self) -> None:
        """A line that is no command gives no event, nor does an event."""
        self.assertEqual(self.issue("RECOG_EVENT_STOP|hello", "TEST_MESSAGE", "KEY|a", "|"), [])

    def test_ignored(self) -> None:
        """An ignored command gives no event."""
        self.use(ignored={"SYNTH_START"})
        self.assertEqual(self.issue("SYNTH_START|0|v|x", "VALUE_SET|v|1"), ["VALUE_EVENT_SET|v"])


class ChatterTests(ApplicationCase):
    """Rows: the events that it sends by itself."""

    def setUp(self) -> None:
        super().setUp()
        self.use(clock=lambda: (8, 5))

    def test_start(self) -> None:
        """At the start it sends its plugins and the time of day."""
        said = [each.line for each in self.application.start(self.now)]
        self.assertEqual(said[-2:], ["PLUGIN_EVENT_ENABLE|Remote", "CURRENT_TIME|08|05"])
        self.assertIn("PLUGIN_EVENT_ENABLE|Variables", said)

    def test_time_of_day(self) -> None:
        """It sends the time of day every 30 s."""
        self.application.start(self.now)
        times = [line for _ in range(100) for line in self.after(1) if line.startswith("CURRENT")]
        self.assertEqual(times, ["CURRENT_TIME|08|05"] * 3)

    def test_idleness(self) -> None:
        """After 15 s without input it is idle, until the next input."""
        self.application.start(self.now)
        self.assertEqual(self.after(14), [])
        self.assertEqual(self.application.heard(self.now), [])
        self.assertEqual(self.after(14), [])
        self.assertEqual(self.after(1.5), ["AVATAR_EVENT_IDLE|START"])
        self.assertEqual([each.line for each in self.application.heard(self.now)],
                         ["AVATAR_EVENT_IDLE|STOP"])
        self.assertEqual(self.application.heard(self.now), [])

    def test_silence(self) -> None:
        """Without a clock it sends nothing by itself."""
        self.use()
        self.assertEqual(self.application.start(self.now), [])
        self.assertEqual(self.after(1000), [])
        self.assertEqual(self.application.heard(self.now), [])

    def test_memory(self) -> None:
        """After a hundred thousand inputs and a thousand restarts only a few entries are left."""
        self.application.start(self.now)
        for _ in range(100_000):
            self.application.heard(self.now)
        self.issue(*["TIMER_START|t|1"] * 1000)
        self.assertLess(len(self.application._later), 100)


class DocumentedTests(unittest.TestCase):
    """The table of commands."""

    def test_table(self) -> None:
        """The table has the documented commands, their number of arguments and their answers."""
        table = commands()
        self.assertEqual(len(table), 94)
        self.assertEqual(table["SYNTH_START"].answers, ("SYNTH_EVENT_START", "SYNTH_EVENT_STOP"))
        self.assertEqual((table["MODEL_BINDBONE"].needs, table["MENU"].needs, table["CAMERA"].needs),
                         (4, 2, 1))
        self.assertTrue(all(re.fullmatch("[A-Z_]+", name) for name in table))


if __name__ == "__main__":
    unittest.main()
