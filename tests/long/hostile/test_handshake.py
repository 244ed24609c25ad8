"""Peers that never complete the handshake: silent, slow, wrong, or from a web page."""

from __future__ import annotations

import logging
import ssl
import time
import warnings

from ...attack import LATE, Echo, HostileCase, reset
from ...client import Client, request
from ...support import DATA, DEADLINE, Recorder, TestCase, client_context, server_context, wait_until

_GOOD = request()
_KEY = b"Sec-WebSocket-Key: nLQTUQM3yFumh2d27HB3Kg==\r\n"


def without(header: bytes) -> bytes:
    """The good request without a header."""
    return b"\r\n".join(line for line in _GOOD.split(b"\r\n") if not line.startswith(header))


#: What scanners, other protocols and broken clients send. All of it is refused or ended.
_WRONG = {
    "POST": _GOOD.replace(b"GET", b"POST"),
    "HTTP/1.0": _GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "no Host": without(b"Host"),
    "two Hosts": _GOOD.replace(b"Host:", b"Host: a\r\nHost:"),
    "no key": without(b"Sec-WebSocket-Key"),
    "two keys": _GOOD.replace(_KEY, _KEY + _KEY),
    "short key": _GOOD.replace(b"nLQTUQM3yFumh2d27HB3Kg==", b"AAAA"),
    "key that is no base64": _GOOD.replace(b"nLQTUQM3yFumh2d27HB3Kg==", b"!" * 24),
    "CONNECT": b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "RTSP": b"OPTIONS / RTSP/1.0\r\n\r\n",
    "SIP": b"OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9\r\n\r\n",
    "memcached": b"stats\r\n\r\n",
    "SMB": b"\0\0\0\x54\xffSMB\x72" + bytes(60) + b"\r\n\r\n",
    "blank lines": b"\r\n\r\n",
    "a body": _GOOD.replace(b"Host:", b"Content-Length: -5\r\nHost:") + b"hello",
    "a thousand headers": _GOOD.replace(b"Host:", b"A:b\r\n" * 4000 + b"Host:"),
}

_HEADERS = ("X-Any", "Origin", "Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "X-App-Type",
            "Sec-WebSocket-Version", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions")


class SlowTests(HostileCase):
    """open_timeout covers the whole handshake."""

    def test_silence(self) -> None:
        """A silent client, on a plain or a TLS port, is cut at open_timeout, with one log line."""
        for context in (None, server_context()):
            with self.subTest(tls=bool(context)), self.logged() as lines:
                server = self.serve(Recorder, ssl_context=context, open_timeout=0.4)
                began = time.monotonic()
                with Client(server, open=False) as client:
                    self.assertEqual(client.read_all(), b"")
                self.assertGreater(time.monotonic() - began, 0.3)
                self.assertLess(time.monotonic() - began, LATE)
                wait_until(lambda: lines.records)
                self.assertEqual(len(lines.at(logging.INFO)), 1)

    def test_endless_hello(self) -> None:
        """A TLS hello a byte at a time is cut at open_timeout in total, and others connect."""
        server = self.serve(Echo, ssl_context=server_context(), open_timeout=0.6)
        hello = b"\x16\x03\x01\x40\0\x01\0\x3f\xfc\x03\x03" + bytes(1000)
        began = time.monotonic()
        with self.logged() as lines, Client(server, open=False) as slow:
            self.drip(slow, hello)
            self.assertLess(time.monotonic() - began, LATE)
            with Client(server, tls=client_context()) as other:
                self.assert_served(other)
            wait_until(lambda: lines.at(logging.INFO))

    def test_endless_request_inside_tls(self) -> None:
        """A request a byte at a time inside TLS is cut at open_timeout in total, too."""
        server = self.serve(Echo, ssl_context=server_context(), open_timeout=0.6)
        with Client(server, tls=client_context(), open=False) as slow:
            began = time.monotonic()
            self.drip(slow, b"GET /" + b"a" * 1000)
            self.assertLess(time.monotonic() - began, LATE)

    def drip(self, client: Client, data: bytes) -> None:
        """Send a byte now and then, until the server ends the connection."""
        client.sock.settimeout(0.01)
        for byte in data:
            try:
                client.send(bytes([byte]))
                if not client.sock.recv(4096):
                    return
            except TimeoutError:
                continue
            except OSError:
                return
        self.fail("was never cut")

    def test_next_client(self) -> None:
        """While thirty clients are silent or slow, the next one connects and is served soon."""
        for context in (None, server_context()):
            with self.subTest(tls=bool(context)):
                server = self.serve(Echo, ssl_context=context, open_timeout=DEADLINE)
                silent = [Client(server, open=False) for _ in range(30)]
                for client in silent:
                    self.addCleanup(client.sock.close)
                for client in silent[::2]:
                    client.send(b"\x16\x03\x01" if context else b"GET / HT")
                began = time.monotonic()
                with Client(server, tls=context and client_context()) as other:
                    self.assert_served(other)
                self.assertLess(time.monotonic() - began, LATE)
                self.assertEqual(server.shutdown(DEADLINE), [])

    def test_refused_and_stays(self) -> None:
        """A refused client that does not leave is dropped soon."""
        server = self.serve(Recorder)
        with Client(server, open=False) as client:
            client.send(b"GET / HTTP/1.1\r\n\r\n")
            client.read_all()
            wait_until(lambda: not server._running().registry.sessions, timeout=LATE)


class WrongTests(HostileCase):
    """Requests that are invalid."""

    def look(self, data: bytes) -> None:
        """The answer is a readable refusal or nothing, with one line in the log at most."""
        with self.logged() as lines, Client(self.server, open=False) as client:
            client.send(data)
            answer = client.read_all()
            wait_until(lambda: lines.records)
            client.sock.close()
            wait_until(lambda: not self.server._running().registry.sessions)
        self.assertLessEqual(len(lines.at(logging.INFO)), 1)
        for line in lines.at(logging.DEBUG):
            self.assertTrue(line.isascii() and line.isprintable(), line)
        if answer:
            self.assertRegex(answer, rb"^HTTP/1\.1 (4\d\d|50[15]) [\x20-\x7e]+\r\n")
            head, _, body = answer.partition(b"\r\n\r\n")
            self.assertIn(b"\r\nContent-Length: %d\r\n" % len(body), head + b"\r\n")
            self.assertTrue(0 < len(body) < 300)

    def test_wrong(self) -> None:
        """Other protocols and broken requests get a short 4xx, with one line in the log at most."""
        self.server = self.serve(Recorder)
        for name, data in _WRONG.items():
            with self.subTest(name):
                self.look(data)

    def test_not_ascii(self) -> None:
        """A character outside ASCII in any header gets a 4xx, from an agent and other clients."""
        self.server = self.serve(Recorder)
        for agent in (b"", b"X-App-Type: MMDAgent\r\n"):
            for name in _HEADERS:
                for value in (b"\xe9", "\u4f1a".encode(), b"\xff\xfe"):
                    line = name.encode() + b": " + value + b"\r\n"
                    with self.subTest(name, agent=bool(agent), value=value):
                        self.look(_GOOD.replace(b"Host:", agent + line + b"Host:", 1))
                        self.look(without(name.encode()).replace(b" HTTP/1.1\r\n",
                                                                 b" HTTP/1.1\r\n" + agent + line, 1))

    def test_fifty_megabytes(self) -> None:
        """50 MB of headers get a readable 431 and one line in the log, and take no memory."""
        server = self.serve(Recorder)
        for start in (b"GET / HTTP/1.1\r\nX: ", b""):
            with self.logged() as lines, Client(server, open=False) as client, self.memory_bounded():
                answers: list[bytes] = []
                self.flood(client, start, 1)
                reader = self.in_thread(lambda: answers.append(client.read_head().encode()))
                self.flood(client, b"x" * 65536, 800)
                reader.join(DEADLINE)
                wait_until(lambda: lines.records)
            self.assertTrue(answers and answers[0].startswith(b"HTTP/1.1 431 "), answers)
            self.assertEqual(len(lines.at(logging.INFO)), 1)

    def test_scans(self) -> None:
        """Connects that end without a request, by FIN or RST, log nothing above DEBUG."""
        server = self.serve(Recorder)
        tls = self.serve(Recorder, ssl_context=server_context())
        with self.logged() as lines:
            for target in (server, tls):
                for said in (b"", b"G", _GOOD[:-2], b"\x16\x03\x01"):
                    if said[:1] == b"\x16" and target is server:
                        continue
                    for end in (reset, lambda client: client.sock.close()):
                        with Client(target, open=False) as client:
                            if said and not (target is tls and said[:1] == b"G"):
                                client.send(said)
                            end(client)
            for target in (server, tls):
                wait_until(lambda target=target: not target._running().registry.sessions)
        self.assertEqual(lines.at(logging.INFO), [])
        self.assert_idle()

    def test_gone_before_the_answer(self) -> None:
        """A client that resets right after its request leaves no traceback, and is not kept."""
        server = self.serve(Recorder)
        with self.logged() as lines:
            for _ in range(30):
                client = Client(server, open=False)
                client.send(_GOOD)
                reset(client)
            wait_until(lambda: not server._running().registry.sessions)
        self.assertEqual(lines.at(logging.WARNING), [])
        self.assertEqual(server.connections, ())

    def test_tls_gone_wrong(self) -> None:
        """TLS that is too old, or garbage after a hello, ends quietly with one line at most."""
        server = self.serve(Recorder, ssl_context=server_context())
        with self.logged() as lines, Client(server, open=False) as client:
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.load_verify_locations(DATA / "localhost-cert.pem")
            old.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # It is old on purpose.
                old.maximum_version = ssl.TLSVersion.TLSv1_1
            with self.assertRaises((ssl.SSLError, OSError)):
                old.wrap_socket(client.sock, server_hostname="localhost")
            wait_until(lambda: lines.records)
        self.assertLessEqual(len(lines.at(logging.INFO)), 1)
        with self.logged() as lines, Client(server, open=False) as client:
            client.send(b"\x16\x03\x01\0\x05garbage" + bytes(1000))
            client.read_all()
            wait_until(lambda: lines.records)
        self.assertLessEqual(len(lines.at(logging.INFO)), 1)


class OriginTests(TestCase):
    """Only listed web pages may connect, not origins that look similar."""

    def status(self, *origins: str, listed: object = "http://localhost:5000") -> int:
        """The status for a request with these Origin headers."""
        server = self.serve(Recorder, origins=listed)
        with Client(server, open=False) as client:
            client.send(request("/", *[f"Origin: {origin}" for origin in origins]))
            return int(client.read_head().split()[1])

    def test_near_misses(self) -> None:
        """Another scheme, port, case, slash, longer name, two, an empty one and null get 403."""
        for origins in (["https://localhost:5000"], ["http://localhost"], ["http://localhost:50001"],
                        ["http://LOCALHOST:5000"], ["http://localhost:5000/"], ["null"], [""], ["*"],
                        ["http://localhost:5000.evil.example"],
                        ["http://evil.example/http://localhost:5000"],
                        ["http://localhost:5000 http://evil.example"],
                        ["http://localhost:5000", "http://evil.example"],
                        ["http://evil.example", "http://localhost:5000"]):
            with self.subTest(origins):
                self.assertEqual(self.status(*origins), 403)

    def test_listed(self) -> None:
        """A listed origin, one name or several, may connect, and so may a client without Origin."""
        self.assertEqual(self.status("http://localhost:5000"), 101)
        self.assertEqual(self.status("null", listed=["http://a", "null"]), 101)
        self.assertEqual(self.status(), 101)
