"""``mmdagent-remote simulate``: scripts and replays, against a server of this package."""

from __future__ import annotations

import io
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

from mmdagent_remote import Handler, Server
from mmdagent_remote.cli.recording import RecordingError, encode
from mmdagent_remote.cli.simulate import speech_time
from mmdagent_remote.cli.steps import replay

from ..support import DEADLINE, Recorder, TestCase, wait_until
from .command import Done, free_port, is_open, run_main


class Parrot(Recorder):
    """Answers what it hears."""

    def on_message(self, message: Any) -> None:
        super().on_message(message)
        if message.startswith("RECOG_EVENT_STOP|"):
            self.send("SYNTH_START", "0", "mei", message.args[0])


class SimulateCase(TestCase):
    """A server and a file."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.file = Path(directory.name) / "file"
        self.handlers: list[Recorder] = []

    def make(self) -> Recorder:
        """A handler, kept."""
        self.handlers.append(Parrot())
        return self.handlers[-1]

    def simulate(self, text: str, *options: str, kind: str = "--script", **server: Any) -> Done:
        """Run the command on a text."""
        self.file.write_bytes(text.encode())
        port = self.serve(self.make, **server).port
        done = run_main("simulate", "--port", str(port), kind, str(self.file), *options)
        for handler in self.handlers:
            self.assertTrue(handler.done.wait(20))
        return done

    def heard(self) -> list[str]:
        """The lines that the server heard, except those that any agent sends by itself."""
        return [str(each) for each in self.handlers[0].messages_seen
                if not each.startswith(("PLUGIN_", "CURRENT_TIME", "AVATAR_"))]


class ScriptTest(SimulateCase):
    """--script."""

    def test_script(self) -> None:
        """The user's words and keys come in order; the agent answers; both sides are printed."""
        done = self.simulate("\ufeff0 hear \u3053\u3093\r\n+9 key a\r\n+5 send TAPPED|0|head\r\n"
                             "100 end\r\n", "--speed", "100")
        self.assertEqual((done.status, done.err.count("\n")), (0, 1), done.err)
        users = ["RECOG_EVENT_START", "RECOG_EVENT_STOP|\u3053\u3093", "KEY|a", "TAPPED|0|head"]
        heard = self.heard()
        self.assertEqual([line for line in heard if not line.startswith("SYNTH_")], users)
        self.assertEqual([line for line in heard if line.startswith("SYNTH_")], [
            "SYNTH_START|0|mei|\u3053\u3093", "SYNTH_EVENT_START|0", "SYNTH_EVENT_STOP|0"])
        printed = done.out.split("\n")
        self.assertEqual(printed[0], "-- connected to /chat")
        self.assertEqual([line[3:] for line in printed if line.startswith("-> ")], users)
        self.assertEqual([line[3:] for line in printed if line.startswith("<- ")],
                         ["SYNTH_START|0|mei|\u3053\u3093"])

    def test_paths(self) -> None:
        """It connects to its path, or to the next one if another agent has that path."""
        self.simulate("0 end", "--path", "shop?who=me", path="/shop")
        self.assertEqual((self.handlers[0].path, self.handlers[0].query), ("/shop", {"who": ["me"]}))

    def test_a_server_that_comes_back(self) -> None:
        """It waits for a server, reports when that goes, and reconnects when it is back."""
        port = free_port()

        def serve() -> None:
            for number in range(2):
                with Server(self.make, "127.0.0.1", port):
                    wait_until(lambda: len(self.handlers) > number)
                    if number == 0:
                        # By then it has reported the first connection.
                        wait_until(lambda: "KEY|a" in self.handlers[0].messages_seen)
                    else:
                        self.handlers[1].done.wait(DEADLINE)
        self.in_thread(serve)
        self.file.write_text("0 key a\n300 end")
        done = run_main("simulate", "--port", str(port), "--script", str(self.file), "--speed", "100")
        self.assertEqual((done.status, done.out.split("\n")), (
            0, ["-- connected to /chat", "-> KEY|a", "-- disconnected", "-- connected to /chat", ""]))

    def test_an_agent_that_ends(self) -> None:
        """When the agent stops trying the status is 1."""
        port = free_port()

        def serve() -> None:
            with Server(self.make, "127.0.0.1", port):
                wait_until(lambda: self.handlers and self.handlers[0].opened.is_set())
        self.in_thread(serve)
        wait_until(lambda: is_open(port))
        done = run_main("simulate", "--port", str(port), "--retry-count", "0")
        self.assertEqual(done.status, 1, done.err)
        self.assertIn("mmdagent-remote: the simulated agent has ended", done.err)

    def test_mistakes(self) -> None:
        """A wrong script is status 2 before it connects; no server is status 3; each in one line."""
        for text, why in (("x", "line 1: 'x' is no time"), ("1 say", "line 1: 'say' is not known")):
            done = self.simulate(text)
            self.assertEqual((done.status, done.err.count("\n"), done.out), (2, 1, ""))
            self.assertIn(f"{self.file}: {why}", done.err)
        self.assertEqual(run_main("simulate", "--script", str(self.file) + "x").status, 2)
        self.assertEqual(run_main("simulate", "--script", "a", "--replay", "b").status, 2)
        refusing = self.serve(self.make, path="/shop").port
        for port, why in ((free_port(), "is your server running?"), (refusing, "404")):
            done = run_main("simulate", "--port", str(port), "--retry-count", "0")
            self.assertEqual((done.status, done.out, done.err.count("\n")), (3, "", 2))
            self.assertIn(why, done.err)

    def test_speech_time(self) -> None:
        """A longer text takes longer to speak."""
        self.assertLess(speech_time("a"), speech_time("a" * 100))


class ReplayTest(SimulateCase):
    """--replay."""

    def test_replay(self) -> None:
        """It sends what the agent sent, without echoes and without answers of its own."""
        lines = [encode(5.0, "now", 1, "open", path="/chat"),
                 encode(5.1, "now", 1, "received", line="A|1"),
                 encode(6.0, "now", 1, "sent", line="B|1"),
                 encode(6.1, "now", 1, "received", line="B|1", echo=True),
                 encode(20.0, "now", 1, "received", line="RECOG_EVENT_STOP|hello"),
                 encode(30.0, "now", 2, "received", line="KEY|a"),
                 # So late that its lines are answered before the end, on a busy machine as well.
                 encode(230.0, "now", 1, "close", code=1006, reason="")]
        done = self.simulate("\n".join(lines), "--speed", "100", kind="--replay")
        self.assertEqual(done.status, 0, done.err)
        heard = self.heard()
        self.assertIn("SYNTH_START|0|mei|ｈｅｌｌｏ", heard)  # The echo of what is sent to it now.
        heard.remove("SYNTH_START|0|mei|ｈｅｌｌｏ")
        self.assertEqual(heard, ["A|1", "RECOG_EVENT_STOP|hello", "KEY|a"])
        said = [line for line in done.out.split("\n") if line.startswith("-> ")]
        self.assertEqual(said[-1], "-> KEY|a")

    def test_a_server_that_comes_back(self) -> None:
        """Lines that are due while the server is away are sent when it is back."""
        port = free_port()

        def serve() -> None:
            with Server(self.make, "127.0.0.1", port):
                wait_until(lambda: self.handlers and "A|0" in self.handlers[0].messages_seen)
            time.sleep(1.5)  # The next line is due after a second.
            with Server(self.make, "127.0.0.1", port):
                wait_until(lambda: len(self.handlers) > 1)
                self.handlers[1].done.wait(DEADLINE)
        self.in_thread(serve)
        self.file.write_text("".join(encode(t, "now", 1, "received", line=f"A|{t}") + "\n"
                                     for t in (0, 100, 300)))
        done = run_main("simulate", "--port", str(port), "--replay", str(self.file), "--speed", "100")
        self.assertEqual(done.status, 0, done.err)
        self.assertTrue(self.handlers[1].done.wait(DEADLINE))
        self.assertEqual([str(each) for each in self.handlers[1].messages_seen], ["A|100", "A|300"])

    def test_one_connection(self) -> None:
        """--connection takes one of several, and a missing one is an error."""
        text = "\n".join(encode(n, "now", n, "received", line=f"A|{n}") for n in (1, 2, 3))
        self.simulate(text, "--connection", "2", kind="--replay")
        self.assertEqual(self.heard(), ["A|2"])
        self.handlers.clear()
        done = self.simulate(text, "--connection", "4", kind="--replay")
        self.assertEqual((done.status, "nothing in it of connection 4" in done.err), (2, True))

    def test_steps(self) -> None:
        """Times are relative to the first entry, and never go back."""
        def steps(*times: float) -> list[float]:
            text = "\n".join(encode(t, "now", 1, "received", line="A") for t in times)
            return [step.time for step in replay(io.StringIO(text), None)]
        self.assertEqual(steps(5, 6, 7), [0, 1, 2, 2])
        self.assertEqual(steps(5, 8, 1, 9), [0, 3, 3, 4, 4])
        with self.assertRaises(RecordingError):
            steps()

    def test_as_fast_as_it_goes(self) -> None:
        """Thousands of lines that are due at once are all sent, in order."""
        count = 5000
        text = "".join(encode(n / 10, "now", 1, "received", line=f"A|{n}") + "\n" for n in range(count))
        done = self.simulate(text, "--speed", "1000000", kind="--replay")
        self.assertEqual(done.status, 0, done.err)
        self.assertEqual(self.heard(), [f"A|{n}" for n in range(count)])

    def test_no_recording(self) -> None:
        """What is no recording is status 2, in one line, with the number of the line."""
        for text in ("hello\n", "[]\n", "", '{"event": "sent", "t": 0}\nx\n'):
            with self.subTest(text):
                done = self.simulate(text, kind="--replay")
                self.assertEqual(done.status, 2, done.err)
                self.assertIn(f"mmdagent-remote: {self.file}: ", done.err)
                self.handlers.clear()
        self.file.write_bytes(b"\xff\xff")
        server = self.serve(Handler)
        done = run_main("simulate", "--port", str(server.port), "--replay", str(self.file))
        self.assertEqual((done.status, "Traceback" in done.err), (2, False))


if __name__ == "__main__":
    unittest.main()
