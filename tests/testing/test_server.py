"""``SimulatedAgent`` and our own server: what the server sends never harms the agent."""

from __future__ import annotations

import threading
import unittest
from typing import Any

from mmdagent_remote import Handler, HandshakeRejected, Message, Server
from mmdagent_remote.testing import SimulatedAgent

from ..support import DEADLINE, Recorder, TestCase, wait_until


class Greeter(Recorder):
    """Sends a line as soon as it can."""

    def on_open(self) -> None:
        self.send("GREETING", "hello")
        super().on_open()


class PackageTests(TestCase):
    """The package against the simulated agent."""

    def agent(self, server: Server, **options: Any) -> SimulatedAgent:
        """A connected agent that leaves when the test ends."""
        agent = SimulatedAgent(server.url, **{"chatter": False, "timeout": DEADLINE, **options})
        self.addCleanup(agent.leave)
        return agent.__enter__()

    def check_well(self, agent: SimulatedAgent, handler: Handler) -> None:
        """The agent hears a line, and has not crashed."""
        handler.send("LAST", "line")
        agent.expect("LAST|line", DEADLINE)
        self.assertIsNone(agent.crashed)

    def test_dialogue(self) -> None:
        """A recognised text is answered and spoken, and only the echo is marked as one."""
        class Parrot(Recorder):
            def on_message(self, message: Message) -> None:
                super().on_message(message)
                if message.type == "RECOG_EVENT_STOP":
                    self.send("SYNTH_START", "0", "slt_voice", f"You said {message.args[0]}")

        server = self.serve(Parrot)
        agent = self.agent(server, chatter=True)
        agent.emit("RECOG_EVENT_STOP|hello")
        agent.expect("SYNTH_START|0|slt_voice|You said hello", DEADLINE)
        handler = server.wait_connected()
        wait_until(lambda: "SYNTH_EVENT_STOP|0" in handler.messages_seen)
        self.assertTrue(handler.is_mmdagent)
        self.assertIn("PLUGIN_EVENT_ENABLE|Remote", handler.messages_seen)
        self.assertEqual([line for line in handler.messages_seen if line.is_echo],
                         ["SYNTH_START|0|slt_voice|You said hello"])

    def test_the_first_line(self) -> None:
        """A line sent in on_open arrives, on the first connection and after a reconnect."""
        server = self.serve(Greeter)
        for _ in range(5):
            agent = self.agent(server)
            agent.expect("GREETING|hello", DEADLINE)
            agent.drop()
            agent.expect("GREETING|hello", DEADLINE)
            self.assertIsNone(agent.crashed)
            agent.leave()

    def test_all_that_may_be_sent(self) -> None:
        """Lines that it would misread, the longest, any characters and many at once all arrive."""
        server = self.serve(Recorder)
        agent = self.agent(server)
        handler = server.wait_connected()
        lines = ["S", "STOP", "SND", "SNDHELLO|x", "SND9999", "SND0004abcd", "__peer_disconnected__",
                 "A|" + "x" * 2044, "A|" + "あ" * 681, "A|\u2028\x0b\x7f\ufeff", "A|b", *(
                     f"LINE|{number}" for number in range(1000))]
        for line in lines[:8]:
            handler.write_line(line)
        handler.send_lines(lines[8:])
        agent.expect("LINE|999", DEADLINE)
        self.assertEqual(agent.received, lines)
        wait_until(lambda: len(handler.messages_seen) == len(lines))
        self.assertEqual([str(line) for line in handler.messages_seen], lines)
        self.assertTrue(all(line.is_echo for line in handler.messages_seen))
        self.check_well(agent, handler)

    def test_sound(self) -> None:
        """Words and chunks arrive, and so do lines between them."""
        server = self.serve(Recorder)
        agent = self.agent(server)
        handler = server.wait_connected()
        handler.send_lines(["__AV_START", "__AV_SETMODEL,0", "SNDFILE"])
        sound = b""
        for number in range(20):
            chunk = bytes([number, 0, 10, 13]) * 320
            handler.send_binary(b"SND1280" + chunk)
            handler.send("LINE", number)
            sound += chunk
        handler.write_line("SNDBRKS")
        agent.expect("SNDBRKS", DEADLINE)
        self.assertEqual(agent.audio, sound)
        wait_until(lambda: "AVATAR|START" in handler.messages_seen)
        self.check_well(agent, handler)

    def test_close(self) -> None:
        """After any close code the agent comes back, and hears the first line intact."""
        server = self.serve(Greeter)
        agent = self.agent(server)
        for code in (1000, 1001, 3000, 4000):
            agent.expect("GREETING|hello", DEADLINE)
            times = agent.connects
            server.wait_connected(DEADLINE).close(code, "reason")
            agent.wait_connected(DEADLINE, times=times + 1)
        agent.expect("GREETING|hello", DEADLINE)
        self.assertEqual(set(agent.received), {"GREETING|hello"})
        self.assertIsNone(agent.crashed)

    def test_its_end(self) -> None:
        """A FIN and a reset of the agent are a normal end, after all that the agent said."""
        for end in (SimulatedAgent.leave, SimulatedAgent.drop):
            server = self.serve(Recorder)
            agent = self.agent(server)
            handler = server.wait_connected()
            agent.emit("A|b")
            wait_until(lambda: handler.messages_seen == ["A|b"])
            end(agent)
            self.assertTrue(handler.done.wait(DEADLINE))
            self.assertEqual(handler.closes[0][0], 1006)
            agent.leave()

    def test_exclusive(self) -> None:
        """With exclusive a second agent comes to the path with -1, a third to -1-2."""
        server = self.serve(Recorder, exclusive=True)
        agents = [self.agent(server, path="/chat", retry_count=3, hurry=10) for _ in range(3)]
        self.assertEqual([agent.path for agent in agents], ["/chat", "/chat-1", "/chat-1-2"])

    def test_refused(self) -> None:
        """The test gets the reason of a refusal."""
        class Closed(Handler):
            def on_request(self) -> None:
                raise HandshakeRejected(403, "Not today")

        with self.assertRaisesRegex(ConnectionError, "403 Not today"):
            self.agent(self.serve(Closed))

    def test_accepting_server(self) -> None:
        """The agent works with a server that uses accept(), too."""
        with Server(port=0) as server:
            agent = self.agent(server)
            with server.accept(DEADLINE) as accepted:
                accepted.write_line("TIMER_START|t|0.01")
                lines = [accepted.read_line(DEADLINE) for _ in range(3)]
                self.assertEqual(lines[1:], ["TIMER_EVENT_START|t", "TIMER_EVENT_STOP|t"])
            agent.leave()

    def test_many_lines(self) -> None:
        """Ten thousand lines go each way, in order, within the deadline."""
        server = self.serve(Recorder, max_queue=100_000)
        agent = self.agent(server)
        handler = server.wait_connected()
        lines = [f"LINE|{number}" for number in range(10_000)]
        sender = self.in_thread(handler.send_lines, lines)
        for number in range(10_000):
            agent.emit(f"SAID|{number}")
        agent.expect("LINE|9999", DEADLINE)
        wait_until(lambda: len(handler.messages_seen) == 20_000)
        self.assertEqual(agent.received, lines)
        self.assertEqual([line for line in handler.messages_seen if line.type == "LINE"], lines)
        sender.join(DEADLINE)

    def test_many_agents(self) -> None:
        """Twenty agents at once, each with its own dialogue."""
        server = self.serve(Greeter)
        agents = [SimulatedAgent(server.url, name=str(number)) for number in range(20)]
        for agent in agents:
            self.addCleanup(agent.leave)
            agent.start()
        for agent in agents:
            agent.expect("GREETING", DEADLINE)
        self.assertEqual(len({thread.name for thread in threading.enumerate()
                              if thread.name.startswith("mmdagent-agent-")}), 20)


if __name__ == "__main__":
    unittest.main()
