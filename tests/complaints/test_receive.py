"""What users of threaded servers complain about: receiving and data."""

from __future__ import annotations

import io
import logging

from mmdagent_remote import ConnectionClosed

from ..attack import HostileCase
from ..client import CLOSE, TEXT, Client, frame, request
from ..support import DEADLINE, Recorder, wait_until


class ReceiveTests(HostileCase):
    """Timeouts, and invalid text."""

    def test_timeouts_of_none_zero_and_less(self) -> None:
        """37, websockets #1552: 0 and less poll, also at the end; None waits for the line."""
        server = self.serve()
        with Client(server) as client:
            agent = server.accept(DEADLINE)
            for timeout in (0, 0.0, -1, -0.5):
                with self.assertRaises(TimeoutError):
                    agent.read_line(timeout)
                client.text("x\n")
                got: list[str] = []

                def poll(timeout: float = timeout, got: list[str] = got) -> bool:
                    try:
                        got.append(agent.read_line(timeout))
                    except TimeoutError:
                        return False
                    return True
                wait_until(poll)
                self.assertEqual(got, ["x"])
            self.in_thread(client.text, "late\n")
            self.assertEqual(agent.read_line(None), "late")
            client.send(frame(b"\x0f\xa0", CLOSE))
            self.assertTrue(agent.wait_closed(DEADLINE) or agent.closed)
            for timeout in (0, -1, None):
                with self.assertRaises(ConnectionClosed) as caught:
                    agent.read_line(timeout)
                self.assertEqual(caught.exception.code, 4000)

    def test_logging_what_is_no_text(self) -> None:
        """39, websockets #1711: no frame, reason or request breaks a log or forges a line in it."""
        stream, logger = io.BytesIO(), logging.getLogger("mmdagent_remote")
        handler = logging.StreamHandler(io.TextIOWrapper(stream, "utf-8", write_through=True))
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        self.addCleanup(logger.setLevel, logging.NOTSET)
        self.addCleanup(logger.removeHandler, handler)
        server, cut = self.serve(Recorder), "\u4f1a".encode()[:2]
        for data in (frame(cut, TEXT, fin=False) + frame(cut, 0), frame(cut), frame(cut, 2),
                     frame(b"\x0f\xa0" + "\u4f1a\nFORGED line\u2028\x1b[2J".encode(), CLOSE)):
            for mmdagent in (False, True):
                with Client(server, mmdagent=mmdagent) as client:
                    client.send(data)
                    client.sock.shutdown(1)
                    client.read_all()
                wait_until(lambda: not server._running().registry.sessions)
        with Client(server, open=False) as client:
            client.send(request("/%0AFORGED%1b[2J\u4f1a", mmdagent=True))
            self.assertIn(" 101 ", client.read_head())
        wait_until(lambda: not server._running().registry.sessions)
        lines = stream.getvalue().decode().split("\n")
        self.assertEqual(lines.pop(), "")
        self.assertGreaterEqual(len(lines), 18)
        for line in lines:
            self.assertTrue(line.isprintable(), line)
            if not line.startswith("listening on "):
                self.assertRegex(line, r"^mmdagent-remote-\d+ (127\.0\.0\.1|::1):\d+: ")
