"""``SimulatedAgent`` on real sockets: its handshake, what it sends, its reconnects and its calls.

The server's side is ``peer.py``, which sends exactly what it is told. What the agent receives is in
``testing/test_wire.py``; with our own server it is tested in ``testing/test_server.py``.
"""

from __future__ import annotations

import ast
import json
import re
import time
import unittest

from mmdagent_remote.testing import SimulatedAgent

from ..client import CLOSE, PING, PONG
from ..support import DATA, DEADLINE, wait_until
from .peer import AgentCase, server_frame


class SendingTests(AgentCase):
    """Rows: what it sends."""

    def test_echoes(self) -> None:
        """Every line except words with __AV and SND comes back before the event that answers it."""
        agent, visit = self.opened()
        visit.say("TIMER_START|k|0.1\n__AV_START\n__AV_SETMODEL,0\nSNDFILE\n"
                  "VALUE_SET|v|3\nVALUE_GET|v\n")
        self.assertEqual(visit.texts(8), [
            "TIMER_START|k|0.1\n", "TIMER_EVENT_START|k\n", "AVATAR|START\n", "VALUE_SET|v|3\n",
            "VALUE_EVENT_SET|v\n", "VALUE_GET|v\n", "VALUE_EVENT_GET|v|3\n", "TIMER_EVENT_STOP|k\n"])

    def test_only_when_it_is_quiet(self) -> None:
        """It sends no line while data arrives, loses nothing, and does not delay pongs."""
        agent, visit = self.opened()
        # Several times what it reads at once. 16 bytes each, so that each read ends with a frame.
        count = 3000
        visit.send(b"".join(server_frame(f"LINE|{number:05}\n") + server_frame(b"p", PING)
                            for number in range(count)))
        found = [visit.frame() for _ in range(2 * count)]
        self.assertEqual({each.opcode for each in found[:count]}, {PONG})
        self.assertEqual([each.payload for each in found[count:]],
                         [b"LINE|%05d\n" % number for number in range(count)])

    def test_it_ends_with_a_fin(self) -> None:
        """It leaves with a FIN, and never sends a ping or a Close."""
        agent, visit = self.opened()
        self.assertTrue(agent.connected)
        agent.leave()
        self.assertEqual(visit.end(), "FIN")
        self.assertFalse(agent.connected)
        agent.leave()

    def test_last_words(self) -> None:
        """A line that it emits before it leaves is still sent."""
        agent, visit = self.opened()
        agent.emit("A|b")
        agent.leave()
        self.assertEqual(visit.text(), "A|b\n")
        self.assertEqual(visit.end(), "FIN")

    def test_idleness(self) -> None:
        """After 15 s without input it says so, and again at the next input."""
        agent = self.agent(chatter=True, hurry=100)
        visit = self.peer.accept().open()
        while visit.text() != "AVATAR_EVENT_IDLE|START\n":
            pass
        visit.say("A|b\n")
        while (line := visit.text()) != "AVATAR_EVENT_IDLE|STOP\n":
            self.assertTrue(line.startswith("CURRENT_TIME"), line)
        self.assertIsNone(agent.crashed)

    def test_time_of_day(self) -> None:
        """It says the time of day at the start and every 30 s."""
        self.agent(chatter=True, hurry=200)
        visit = self.peer.accept().open()
        found = 0
        while found < 3:
            found += visit.text().startswith("CURRENT_TIME|")

    def test_all_log(self) -> None:
        """With all_log it sends log lines, each with two newlines, as recorded."""
        agent, visit = self.opened(all_log=True)
        visit.say("VALUE_SET|a|3\n")
        agent.expect("VALUE_SET|a|3", DEADLINE)
        agent.emit("KEY|a")
        shape = re.compile(r"\[\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{3}\] \[\d+\] (\w+: \w+: .+)\n\n")
        found = [shape.fullmatch(visit.text()).group(1) for _ in range(5)]
        self.assertEqual(found, [
            f"Remote: Status: connected to localhost:{self.peer.port}/chat",
            "Remote: Sent: VALUE_SET|a|3", "Variables: Captured: VALUE_SET|a|3",
            "Variables: Sent: VALUE_EVENT_SET|a",
            "MMDAgent: Sent: KEY|a"])
        recorded = [ast.literal_eval(line).decode()
                    for line in (DATA / "alllog.txt").read_text().splitlines()]
        tail = [shape.fullmatch(line).group(1) for line in recorded if "VALUE" in line]
        self.assertEqual(tail, found[1:4])

    def test_recorded_session(self) -> None:
        """It answers the lines of the recorded session with the same lines in the same order."""
        agent, visit = self.opened()
        session = json.loads((DATA / "session.json").read_text("utf-8"))
        recorded = [each["text"] for each in session["frames"]]
        visit.say("TEXTAREA_ADD|ta|10,2|1,1,1|0,0,0,0.7|1,1,1,1|0,10,5\n"
                  "TEXTAREA_SET|ta|hello from python\n__AV_START\n")
        said = visit.texts(5)
        first = recorded.index(said[0])
        self.assertEqual(said, recorded[first:first + 5])

    def test_what_it_says_unconnected(self) -> None:
        """What it issues while it is not connected is lost."""
        agent, visit = self.opened()
        visit.close()
        again = self.peer.accept()
        wait_until(lambda: not agent.connected)
        agent.emit("LOST")
        again.open().settle()
        agent.emit("KEPT")
        self.assertEqual(again.text(), "KEPT\n")

    def test_what_waits_when_the_connection_breaks(self) -> None:
        """An echo that was not sent yet is sent on the next connection."""
        agent, visit = self.opened()
        visit.send(server_frame("A|b\n") + server_frame("", CLOSE))
        self.assertEqual(visit.end(), "FIN")
        self.assertEqual(self.peer.accept().open().text(), "A|b\n")


class LosingTests(AgentCase):
    """Rows: refusals and lost connections."""

    def refuse(self, status: str) -> str:
        """Refuse the next attempt, and return its path."""
        visit = self.peer.accept()
        path = visit.read_request().decode().split(" ")[1]
        visit.send(f"HTTP/1.1 {status}\r\n\r\n".encode())
        visit.close()
        return path

    def test_one_attempt(self) -> None:
        """With RetryCount 0 there is one attempt, at the start and after a loss."""
        agent = self.agent()
        self.refuse("503 No")
        agent.wait_ended(DEADLINE)
        agent, visit = self.opened()
        visit.close()
        self.refuse("503 No")
        agent.wait_ended(DEADLINE)
        with self.assertRaisesRegex(ConnectionError, "503 No"):
            agent.wait_connected()
        with self.assertRaisesRegex(ConnectionError, "503 No"):
            agent.emit("A")

    def test_retries(self) -> None:
        """With RetryCount N there are N more attempts, on the same path."""
        agent = self.agent(retry_count=3, hurry=50)
        self.assertEqual([self.refuse("503 Too Many Requests") for _ in range(4)], ["/chat"] * 4)
        agent.wait_ended(DEADLINE)

    def test_retry_until_there(self) -> None:
        """It connects as soon as the server is there."""
        agent = self.agent(retry_count=100, hurry=50)
        self.refuse("404 Not Found")
        self.refuse("429 Later")
        self.check_well(agent, self.peer.accept().open().settle())

    def test_too_many_requests(self) -> None:
        """Refused as too many, it tries /chat-1, /chat-1-2 and so on; after a loss, /chat again."""
        agent = self.agent(retry_count=3, hurry=20)
        self.assertEqual([self.refuse("429 Too Many Requests") for _ in range(3)],
                         ["/chat", "/chat-1", "/chat-1-2"])
        visit = self.peer.accept().open().settle()
        self.assertEqual(agent.path, "/chat-1-2-3")
        visit.close()
        self.peer.accept().open().settle()
        self.assertEqual(agent.path, "/chat")

    def test_the_time_between_attempts(self) -> None:
        """The next attempt is never earlier than 0.5 s, or 0.2 s after "Too Many Requests"."""
        for status, pause in (("503 No", 0.5), ("429 Too Many Requests", 0.2)):
            agent = self.agent(retry_count=1)
            visit = self.peer.accept()
            visit.read_request()
            refused_at = time.monotonic()
            visit.send(f"HTTP/1.1 {status}\r\n\r\n".encode())
            self.refuse(status)
            self.assertGreaterEqual(time.monotonic() - refused_at, pause)
            agent.wait_ended(DEADLINE)

    def test_nobody_there(self) -> None:
        """If nothing listens, entering the context fails with the reason."""
        port = self.peer.port
        self.peer.close()
        with self.assertRaisesRegex(ConnectionError, rf"ws://localhost:{port}/.*refused"):
            SimulatedAgent(f"ws://localhost:{port}/").__enter__()

    def test_no_answer(self) -> None:
        """Without an answer, entering the context fails at its deadline, and nothing is left."""
        with self.assertRaisesRegex(TimeoutError, "not connected"):
            SimulatedAgent(self.peer.url, timeout=0.2).__enter__()

    def test_the_linux_build(self) -> None:
        """The stock Linux build dies with its connection."""
        agent, visit = self.opened(dies_when_lost=True)
        visit.say("", CLOSE)
        self.check_crashed(agent, visit, "the Linux build")

    def test_drop(self) -> None:
        """A dropped connection is a reset, and it comes back."""
        agent, visit = self.opened()
        agent.drop()
        self.assertEqual(visit.end(), "RST")
        again = self.peer.accept().open().settle()
        agent.wait_connected(times=2)
        self.check_well(agent, again)

    def test_restart(self) -> None:
        """After it has left it can be started again, with an empty buffer."""
        agent, visit = self.opened()
        visit.say("HALF|")
        visit.settle()
        with self.assertRaises(RuntimeError):
            agent.start()
        agent.leave()
        agent.start()
        self.check_well(agent, self.peer.accept().open().settle())


class CallTests(AgentCase):
    """The calls that a test makes."""

    def test_expect(self) -> None:
        """expect() takes received lines first, each line once, and four kinds of patterns."""
        agent, visit = self.opened()
        visit.say("A|b|c\nA|b\nAB|c\nX|1\nX|2\n")
        agent.expect("X|2", DEADLINE)
        self.assertEqual(agent.expect("A|b"), "A|b|c")
        self.assertEqual(agent.expect("A|b"), "A|b")
        self.assertEqual(agent.expect(re.compile("A.*")), "AB|c")
        found = agent.expect(lambda line: line.type == "X")
        self.assertEqual((found, found.args), ("X|1", ("1",)))
        self.assertEqual(len(agent.received), 5)

    def test_expect_waits(self) -> None:
        """expect() waits for a line that comes later."""
        agent, visit = self.opened()
        self.in_thread(lambda: (visit.settle(), visit.say("A|b\n")))
        self.assertEqual(agent.expect(re.compile(r"A\|."), DEADLINE), "A|b")

    def test_expect_fails(self) -> None:
        """A failed expect() says what was expected, for how long, and the last lines."""
        agent, visit = self.opened()
        with self.assertRaisesRegex(AssertionError, "(?s)'B.b' within 0.01 s; .*connected.*nothing"):
            agent.expect("B|b", 0.01)
        visit.say("".join(f"A|{number}\n" for number in range(20)))
        agent.expect("A|19", DEADLINE)
        with self.assertRaises(AssertionError) as caught:
            agent.expect(re.compile("B+"), 0)
        text = str(caught.exception)
        self.assertIn("/B+/", text)
        self.assertIn("20 lines", text)
        self.assertIn("  A|19", text)
        self.assertNotIn("A|9\n", text)

    def test_expect_when_it_has_left(self) -> None:
        """expect() does not wait for an agent that has left."""
        agent, visit = self.opened()
        agent.leave()
        with self.assertRaisesRegex(AssertionError, "not connected: it left"):
            agent.expect("A", DEADLINE * 10)

    def test_emit(self) -> None:
        """A line is sent as it is, a command is carried out, and what is no line is refused."""
        agent, visit = self.opened()
        agent.emit("RECOG_EVENT_STOP|日本\n")
        agent.emit("SYNTH_START|0|v|hello")
        self.assertEqual(visit.texts(4), ["RECOG_EVENT_STOP|日本\n", "SYNTH_START|0|v|hello\n",
                                          "SYNTH_EVENT_START|0\n", "SYNTH_EVENT_STOP|0\n"])
        for wrong in ("", "\n", "A\nB", "A\r"):
            with self.assertRaises(ValueError):
                agent.emit(wrong)
        self.assertEqual(agent.received, [])

    def test_ignore_and_speech_time(self) -> None:
        """An ignored command gives its echo only, and the time of speech can be changed."""
        agent, visit = self.opened()
        agent.speech_time = lambda text: 0.001 * len(text)
        agent.ignore("VALUE_SET")
        visit.say("VALUE_SET|v|1\nSYNTH_START|0|slt_v|hello\n")
        self.assertEqual(visit.texts(4), ["VALUE_SET|v|1\n", "SYNTH_START|0|slt_v|hello\n",
                                          "SYNTH_EVENT_START|0\n", "SYNTH_EVENT_STOP|0\n"])
        self.assertTrue(callable(agent.speech_time))

    def test_wrong_urls(self) -> None:
        """A URL must be a WebSocket URL without TLS."""
        for url in ("http://localhost:1/", "wss://localhost/", "localhost:9001", "ws:///"):
            with self.assertRaisesRegex(ValueError, "ws://localhost:9001/"):
                SimulatedAgent(url)

    def test_wrong_hurry(self) -> None:
        """hurry must be above zero."""
        for hurry in (0, -1):
            with self.assertRaisesRegex(ValueError, "above zero"):
                SimulatedAgent(self.peer.url, hurry=hurry)

    def test_repr(self) -> None:
        """The representation tells the state."""
        agent = SimulatedAgent(self.peer.url)
        self.assertIn("not started", repr(agent))
        agent.leave()
        with self.assertRaises(TimeoutError):
            agent.wait_ended(0.01)

    def test_ten_thousand_lines(self) -> None:
        """Ten thousand lines are heard and come back, within the deadline."""
        agent, visit = self.opened()
        lines = [f"LINE|{number:010}\n" for number in range(10_000)]
        for start in range(0, len(lines), 500):
            visit.say("".join(lines[start:start + 500]))
        agent.expect("LINE|0000009999", DEADLINE)
        self.assertEqual(visit.texts(10_000), lines)


if __name__ == "__main__":
    unittest.main()
