"""``mmdagent-remote check`` on this machine, with files as users have them."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import unittest
from pathlib import Path

from mmdagent_remote import Handler
from mmdagent_remote.cli.probe import Machine
from mmdagent_remote.mdf import mdf_lines

from ..support import TestCase, server_context
from .command import Done, free_port, run_main


class CheckTest(TestCase):
    """The command."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.file = Path(directory.name) / "\u9802.mdf"

    def check(self, text: str, *options: str) -> Done:
        """Check a text."""
        self.file.write_bytes(text.encode())
        return run_main("check", str(self.file), *options)

    def healthy(self, port: int) -> str:
        """A healthy file for a port."""
        return "".join(line + "\r\n" for line in mdf_lines("localhost", port, "/chat"))

    def test_healthy(self) -> None:
        """For a healthy file it says where that connects, with status 0."""
        port = free_port()
        done = self.check(self.healthy(port))
        self.assertEqual((done.status, done.err), (0, ""))
        self.assertEqual(
            done.out, f"{self.file}: nothing wrong; it connects to ws://localhost:{port}/chat\n")

    def test_broken(self) -> None:
        """For a broken file it says which line is wrong, why, and what to write, with status 1."""
        done = self.check(self.healthy(free_port()) + "Plugin_Remote_EnableServer=True")
        self.assertEqual((done.status, done.err), (1, ""))
        self.assertIn(": 1 thing to change\n\nline 5\n    this switches TCP/IP on", done.out)
        self.assertIn("\n    write: #Plugin_Remote_EnableServer=True\n", done.out)
        self.assertLessEqual(max(map(len, done.out.split("\n")[1:])), 80)

    def test_json(self) -> None:
        """--json prints the same for programs."""
        done = self.check("", "--json", "--port", str(free_port()))
        self.assertEqual(done.status, 1)
        found = json.loads(done.out)
        self.assertEqual(found["file"], str(self.file))
        self.assertEqual([each["kind"] for each in found["findings"]], ["no-host", "retry-count"])
        self.assertEqual(json.loads(self.check(self.healthy(free_port()), "--json").out)["findings"], [])

    def test_port_in_use(self) -> None:
        """A port of another program is reported, one of a server of this package is not."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.assertIn(f"cannot listen on port {port}: another program does",
                          " ".join(self.check(self.healthy(port)).out.split()))
        server = self.serve(Handler)
        self.assertEqual(self.check(self.healthy(server.port)).status, 0)
        self.assertEqual(self.check(self.healthy(server.port), "--host", "").status, 0)

    def test_options(self) -> None:
        """The options describe the server that the file is checked against."""
        port = free_port()
        for options, status in (((), 0), (("--port", str(port), "--path", "chat", "--host", ""), 0),
                                (("--path", "/x"), 1), (("--port", "1"), 1), (("--tls",), 1)):
            with self.subTest(options):
                self.assertEqual(self.check(self.healthy(port), *options).status, status)

    def test_unreadable(self) -> None:
        """A file that cannot be read gives status 2, in one line."""
        self.file.write_bytes(b"a=\0")
        for name, why in ((str(self.file), "no text"), (str(self.file.parent), "cannot read"),
                          (str(self.file) + "x", "cannot read"), ("a\0b", "cannot read")):
            with self.subTest(name):
                done = run_main("check", name)
                self.assertEqual((done.status, done.out, done.err.count("\n")), (2, "", 1))
                self.assertIn(why, done.err)
        self.file.write_bytes(b"#" * 5_000_000)
        self.assertIn("too long", run_main("check", str(self.file)).err)
        self.assertEqual(self.check("", "--path", "/a?b").status, 2)


class MachineTest(TestCase):
    """The questions to the machine."""

    def test_addresses(self) -> None:
        """IPv4 comes first, and a host that is not found has no address."""
        machine = Machine()
        self.assertEqual(machine.resolve("127.0.0.1"), ["127.0.0.1"])
        self.assertEqual(machine.resolve("localhost")[0], "127.0.0.1")
        for host in ("no.such.host.invalid", "a" * 70, "\u9802.invalid"):
            self.assertEqual(machine.resolve(host), [])

    def test_who_is_served(self) -> None:
        """A server serves the addresses of its host, without a host all of this machine."""
        machine = Machine()
        for address, host, is_served in (
                ("127.0.0.1", "localhost", True), ("127.0.0.1", None, True), ("127.0.0.1", "", True),
                ("127.0.0.1", "0.0.0.0", True), ("192.0.2.1", None, False), ("192.0.2.1", "", False),
                ("192.0.2.1", "localhost", False), ("127.0.0.1", "192.0.2.1", False)):
            with self.subTest(address=address, host=host):
                self.assertEqual(machine.is_served(address, host), is_served)

    def test_a_silent_program(self) -> None:
        """A program that holds the port and sends nothing counts as another one after a second."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.assertEqual(Machine().why_not_listen("127.0.0.1", taken.getsockname()[1]),
                             "another program does")

    @unittest.skipUnless(os.name == "posix" and os.geteuid() == 0, "needs port 443")
    def test_tls_of_our_own(self) -> None:
        """A server of this package on port 443 is recognised through its TLS."""
        try:
            self.serve(Handler, port=443, host="127.0.0.1", ssl_context=server_context())
        except OSError as error:
            self.skipTest(str(error))
        self.assertIsNone(Machine().why_not_listen("127.0.0.1", 443))


if __name__ == "__main__":
    unittest.main()
