"""The lines of an .mdf."""

from __future__ import annotations

import unittest

from mmdagent_remote.mdf import RETRY_COUNT, mdf_lines, start_text


class MdfTest(unittest.TestCase):
    """The lines that make MMDAgent-EX connect to this server."""

    def test_lines(self) -> None:
        """The lines set host, port, directory, and retries, of which the default is none."""
        self.assertEqual(mdf_lines("example.org", 9001, "/chat"), [
            "Plugin_Remote_Websocket_Host=example.org",
            "Plugin_Remote_Websocket_Port=9001",
            "Plugin_Remote_Websocket_Directory=/chat",
            f"Plugin_Remote_RetryCount={RETRY_COUNT}",
        ])

    def test_retries(self) -> None:
        """The retries, one every half second, last for minutes."""
        self.assertGreaterEqual(RETRY_COUNT * 0.5, 300)

    def test_all_interfaces_is_no_name(self) -> None:
        """For a server on all interfaces, the host in the lines is localhost."""
        for host in (None, "", "0.0.0.0", "::"):
            with self.subTest(host):
                self.assertEqual(mdf_lines(host, 9001, "/")[0],
                                 "Plugin_Remote_Websocket_Host=localhost")
        for host in ("localhost", "127.0.0.1", "::1", "192.168.0.2"):
            with self.subTest(host):
                self.assertEqual(mdf_lines(host, 9001, "/")[0], f"Plugin_Remote_Websocket_Host={host}")


class StartTextTest(unittest.TestCase):
    """What serve() prints."""

    def test_it_says_where_and_how(self) -> None:
        """The text has the address, every line to paste, and how to end the program."""
        text = start_text("ws://localhost:9001/chat", "localhost", 9001, "/chat")
        lines = text.split("\n")
        self.assertIn("ws://localhost:9001/chat", lines[0])
        for line in mdf_lines("localhost", 9001, "/chat"):
            self.assertIn(line, [one.strip() for one in lines])
        self.assertIn("Ctrl-C", lines[-1])
        self.assertFalse(text.endswith("\n"))

    def test_it_is_ascii(self) -> None:
        """A path outside ASCII does not break a terminal that cannot show it."""
        text = start_text("ws://localhost:9001/\u982c", "localhost", 9001, "/\u982c\udc80")
        self.assertTrue(text.isascii())


if __name__ == "__main__":
    unittest.main()
