"""``SimulatedAgent`` on real sockets: each row of what was measured of the opening handshake.

The server's side is ``peer.py``, which sends exactly what it is told.
"""

from __future__ import annotations

import re
import socket
import threading
import unittest

from mmdagent_remote.testing import SimulatedAgent

from ..support import DATA, DEADLINE
from .peer import AgentCase, Visit, server_frame


class HandshakeTests(AgentCase):
    """Rows: the opening handshake."""

    def test_request(self) -> None:
        """The request is the recorded one but for the key and the port."""
        self.agent()
        found = self.peer.accept().read_request()
        recorded = (DATA / "handshake.txt").read_bytes()
        self.assertEqual(
            re.sub(rb"Key: .+?\r", b"Key: x\r", found).replace(b":%d" % self.peer.port, b":9001"),
            re.sub(rb"Key: .+?\r", b"Key: x\r", recorded))

    def test_path(self) -> None:
        """The path is the URL's, or the one given, unchanged; without any it is ``/``."""
        for url, path, first in (
                (self.peer.url + "?a=b&c", None, "GET /chat?a=b&c HTTP/1.1"),
                (self.peer.url, "", "GET  HTTP/1.1"),
                (self.peer.url, "日本 x", "GET 日本 x HTTP/1.1"),
                (f"ws://127.0.0.1:{self.peer.port}", None, "GET / HTTP/1.1")):
            agent = SimulatedAgent(url, path=path).start()
            self.addCleanup(agent.leave)
            request = self.peer.accept().read_request().decode()
            self.assertEqual(request.partition("\r\n")[0], first)
            agent.leave()

    def test_refused_answers(self) -> None:
        """An answer with ``keep-alive, Upgrade``, or other than 101, gives no connection."""
        for answer in (b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\n"
                       b"Connection: keep-alive, Upgrade\r\n\r\n",
                       b"HTTP/1.1 404 Not Found\r\n\r\n", b"nonsense\r\n\r\n"):
            agent = self.agent()
            visit = self.peer.accept()
            visit.read_request()
            visit.send(answer)
            self.assertEqual(visit.end(), "FIN")
            agent.wait_ended(DEADLINE)
            self.assertFalse(agent.connected)

    def test_answer_in_pieces(self) -> None:
        """It waits for the whole answer."""
        agent = self.agent()
        visit = self.peer.accept()
        visit.read_request()
        visit.send(b"HTTP/1.1 ")
        self.assertFalse(agent.connected)
        visit.close()
        agent.wait_ended(DEADLINE)

    def test_stuck_with_the_answer(self) -> None:
        """A frame in the segment of the 101 is stuck until a later frame arrives."""
        agent = self.agent()
        visit = self.peer.accept().open(behind=server_frame("A|stuck\n"))
        agent.wait_connected()
        agent.emit("B")
        self.assertEqual(visit.text(), "B\n")
        visit.settle()
        self.assertEqual(visit.text(), "A|stuck\n")

    def test_stuck_right_behind_the_answer(self) -> None:
        """A frame that comes right behind the 101, in a segment of its own, is stuck likewise."""
        def is_stuck() -> bool:
            agent = self.agent()
            visit = self.peer.accept().open()
            agent.wait_connected()
            visit.say("A|stuck\n")
            agent.emit("B")
            # It reads what has arrived before it sends.
            self.assertIn(visit.text(), ("A|stuck\n", "B\n"))
            found = agent.received == []
            visit.settle()
            agent.expect("A|stuck", DEADLINE)
            agent.leave()
            return found
        # On a busy machine the frame can be late, but not every time.
        self.assertTrue(any(is_stuck() for _ in range(50)))

    def test_localhost(self) -> None:
        """``localhost`` is 127.0.0.1 and never ::1, which must be written out."""
        try:
            listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
        except OSError:
            self.skipTest("this machine has no ::1")
        with listener:
            port = listener.getsockname()[1]
            with self.assertRaises(ConnectionError):
                SimulatedAgent(f"ws://localhost:{port}/").__enter__()
            agent = SimulatedAgent(f"ws://[::1]:{port}/").start()
            self.addCleanup(agent.leave)
            listener.settimeout(DEADLINE)
            visit = Visit(listener.accept()[0])
            self.addCleanup(visit.close)
            self.assertIn(b"Host: [::1]:%d\r\n" % port, visit.read_request())

    def test_stuck_until_a_line(self) -> None:
        """Any frame releases what was stuck, which is heard before that frame."""
        agent = self.agent()
        visit = self.peer.accept().open(behind=server_frame("A\nB|half") + server_frame("!\n"))
        agent.wait_connected()
        agent.emit("X")
        self.assertEqual(visit.text(), "X\n")
        agent.emit("Y")  # At least 10 ms later: from now on no new frame gets stuck.
        self.assertEqual(visit.text(), "Y\n")
        visit.say("C\n")
        self.assertEqual(visit.texts(3), ["A\n", "B|half!\n", "C\n"])

    def test_stuck_at_the_end(self) -> None:
        """A FIN releases what was stuck, too."""
        agent = self.agent()
        visit = self.peer.accept().open(behind=server_frame("A|stuck\n"))
        agent.wait_connected()
        visit.close()
        agent.expect("A|stuck", DEADLINE)

    def test_later_frames(self) -> None:
        """A frame that comes once the agent answers pings is heard at once."""
        agent, visit = self.opened()
        visit.say("A|b\n")
        self.assertEqual(visit.text(), "A|b\n")
        self.assertEqual(agent.expect("A"), "A|b")

    def test_start_up_events(self) -> None:
        """After a quick 101 it sends its plugins and the time of day, once."""
        agent = self.agent(chatter=True)
        visit = self.peer.accept().open()
        said = visit.texts(6)
        self.assertEqual(said[4], "PLUGIN_EVENT_ENABLE|Remote\n")
        self.assertRegex(said[5], r"^CURRENT_TIME\|\d\d\|\d\d\n$")
        visit.close()
        again = self.peer.accept().open().settle()
        agent.emit("FIRST")
        self.assertEqual(again.text(), "FIRST\n")

    def test_start_up_events_after_a_slow_answer(self) -> None:
        """After a slow 101 the start-up events are lost."""
        agent = self.agent(chatter=True)
        visit = self.peer.accept()
        visit.read_request()
        threading.Event().wait(0.7)
        visit.data = visit.request
        visit.open()
        agent.wait_connected()
        agent.emit("FIRST")
        self.assertEqual(visit.text(), "FIRST\n")


if __name__ == "__main__":
    unittest.main()
