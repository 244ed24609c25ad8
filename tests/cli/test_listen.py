"""``mmdagent-remote listen``: recordings, lines of JSON, filters, certificates."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest
from importlib.util import find_spec
from pathlib import Path

from mmdagent_remote.cli.certificate import self_signed_context
from mmdagent_remote.cli.options import split_self_signed

from ..client import Client
from ..support import DEADLINE, PROJECT, TestCase
from .command import run_main
from .test_cli import Listen


class RecordTest(TestCase):
    """What listen keeps and prints for programs."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.file = Path(directory.name) / "a.jsonl"

    def test_record(self) -> None:
        """Both directions are on disk once they are on the screen, so that a kill loses nothing."""
        with Listen("--record", str(self.file), "--filter", "KEY|b") as listen:
            with Client(listen, "/chat", mmdagent=True) as client:
                self.assertIn("connected", listen.process.stdout.readline())
                listen.process.stdin.write("MODEL_DELETE|\u9802\n")
                listen.process.stdin.flush()
                self.assertEqual(client.lines(1), ["MODEL_DELETE|\u9802"])
                client.text("MODEL_DELETE|\u9802\n")
                client.text("KEY|a\nKEY|b\n")
                # The filter is for the screen only.
                self.assertRegex(listen.process.stdout.readline(), r" KEY\|b\n$")
                listen.process.kill()
                listen.process.wait(DEADLINE)
        lines = [json.loads(line) for line in self.file.read_text("utf-8").splitlines()]
        self.assertEqual([(each["event"], each.get("line"), each.get("echo")) for each in lines], [
            ("open", None, None), ("sent", "MODEL_DELETE|\u9802", None),
            ("received", "MODEL_DELETE|\u9802", True), ("received", "KEY|a", None),
            ("received", "KEY|b", None)])
        self.assertEqual((lines[0]["path"], lines[0]["address"]), ("/chat", "127.0.0.1"))
        self.assertEqual({each["connection"] for each in lines}, {1})
        self.assertEqual([each["t"] for each in lines], sorted(each["t"] for each in lines))
        self.assertRegex(lines[0]["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d$")

    def test_json(self) -> None:
        """--json prints the lines of a recording that pass the filter."""
        with Listen("--json", "--filter", "KEY", "--filter", "/MODEL_.*/") as listen:
            def events(count: int) -> list[tuple[str, object]]:
                found = [json.loads(listen.process.stdout.readline()) for _ in range(count)]
                return [(each["event"], each.get("line", each.get("code"))) for each in found]
            with Client(listen, "/", mmdagent=True) as client:
                self.assertEqual(events(1), [("open", None)])
                client.text("TIMER_EVENT_STOP|t\nKEY|\x1b\x7f\n")
                self.assertEqual(events(1), [("received", "KEY|\x1b\x7f")])
                listen.process.stdin.write("SYNTH_STOP|0\nMODEL_DELETE|0\n")
                listen.process.stdin.flush()
                self.assertEqual(events(1), [("sent", "MODEL_DELETE|0")])
            self.assertEqual(events(1), [("close", 1006)])

    def test_a_file_that_exists(self) -> None:
        """A recording never overwrites a file."""
        self.file.write_text("mine")
        done = run_main("listen", "--port", "0", "--record", str(self.file))
        self.assertEqual((done.status, done.out), (1, ""))
        self.assertEqual(done.err, f"mmdagent-remote: {self.file} is there already; take another name\n")
        self.assertEqual(self.file.read_text(), "mine")

    def test_wrong_filters(self) -> None:
        """A filter that no message can match is status 2."""
        for word in ("", "|a", "/(/"):
            done = run_main("listen", "--port", "0", "--filter", word)
            self.assertEqual((done.status, done.out, done.err.count("\n")), (2, "", 1), word)


class CertificateTest(TestCase):
    """--tls self-signed."""

    def test_words(self) -> None:
        """The words may be two arguments or one, and have no meaning behind --."""
        for words in (["--tls", "self-signed"], ["--tls=self-signed"]):
            self.assertEqual(split_self_signed(["listen", *words, "--port", "0"]),
                             ["listen", "--tls-self-signed", "--port", "0"])
        self.assertEqual(split_self_signed(["--tls", "a", "self-signed", "--", "--tls", "self-signed"]),
                         ["--tls", "a", "self-signed", "--", "--tls", "self-signed"])

    @unittest.skipUnless(find_spec("cryptography"), "needs cryptography")
    def test_certificate(self) -> None:
        """The certificate is for the host and this machine, self-signed, and leaves no file."""
        before = set(Path(tempfile.gettempdir()).glob("mmdagent-remote-*"))
        context = self_signed_context("agent.example")
        self.assertLessEqual(set(Path(tempfile.gettempdir()).glob("mmdagent-remote-*")), before)
        self.assertTrue(context.get_ciphers())

    @unittest.skipUnless(find_spec("cryptography"), "needs cryptography")
    def test_listen(self) -> None:
        """listen uses TLS with such a certificate."""
        with Listen("--tls", "self-signed", "--log-level", "error") as listen:
            self.assertIn("wss://", listen.start)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with socket.create_connection(listen.address, DEADLINE) as plain, \
                    context.wrap_socket(plain) as sock:
                from cryptography import x509
                found = x509.load_der_x509_certificate(sock.getpeercert(binary_form=True))
                self.assertEqual(found.issuer, found.subject)
                names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
                self.assertEqual(names.get_values_for_type(x509.DNSName), ["localhost"])
                self.assertEqual(len(names.get_values_for_type(x509.IPAddress)), 2)

    def test_without_the_library(self) -> None:
        """Without the cryptography package it says in one line what to install."""
        code = ("import sys; sys.modules['cryptography'] = None; "
                "from mmdagent_remote.cli import main; sys.exit(main())")
        done = subprocess.run(
            [sys.executable, "-c", code, "listen", "--port", "0", "--tls", "self-signed"],
            cwd=PROJECT, capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1))
        self.assertIn("python -m pip install cryptography", done.stderr)


if __name__ == "__main__":
    unittest.main()
