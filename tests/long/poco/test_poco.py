"""The server with a client on Poco, the WebSocket library that MMDAgent-EX uses.

The first tests check that the client (``tests/poco``) does what was recorded and measured on
MMDAgent-EX, faults included. The others check that the server works with it.
"""

from __future__ import annotations

import re
import socket
import time

from mmdagent_remote import InvalidMessage, Message

from ...client import BINARY, CLOSE, PING, PONG, frame
from ...support import DATA, DEADLINE, Recorder, wait_until
from .peer import Peer
from .program import PocoCase, PocoClient


class FaithfulTests(PocoCase):
    """The client behaves as MMDAgent-EX was seen to behave."""

    def setUp(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(DEADLINE)
        self.addCleanup(self.listener.close)
        self.port = self.listener.getsockname()[1]

    def next_peer(self, *frames: bytes) -> Peer:
        """The next connection, with the opening handshake answered."""
        peer = Peer(self.listener.accept()[0])
        self.addCleanup(peer.sock.close)
        peer.accept(*frames)
        return peer

    def next_peer_of(self, client: PocoClient, *frames: bytes) -> Peer:
        """The next connection, once the time in which a frame gets stuck is over."""
        before = client.texts("connected")
        peer = self.next_peer(*frames)
        wait_until(lambda: len(client.texts("connected")) > len(before))
        return peer

    def pair(self, *frames: bytes) -> tuple[PocoClient, Peer]:
        """A client, and the other side of its connection."""
        client = self.client(self.port)
        return client, self.next_peer_of(client, *frames)

    def test_request(self) -> None:
        """Its opening handshake is the recorded one, except for key and port."""
        _, peer = self.pair()
        recorded = (DATA / "handshake.txt").read_bytes().decode()
        key = re.compile("(?<=Key: )[A-Za-z0-9+/]{22}==")
        sent = key.sub("KEY", peer.request.replace(f":{self.port}", ":9001")) + "\r\n\r\n"
        self.assertEqual(sent, key.sub("KEY", recorded))

    def test_stuck_frame(self) -> None:
        """A frame that comes with the 101 is stuck until another comes, though it can send."""
        client, peer = self.pair(frame(b"A|1\n", mask=False))
        client.tell("say KEY|a")
        self.assertEqual(peer.frame().payload, b"KEY|a\n")
        self.assertEqual(client.texts("line"), [])
        peer.give(b"x", PING)
        client.expect("line A|1")

    def test_pings(self) -> None:
        """An empty ping gets a pong of one byte, one with a body the same body, in mid line too."""
        client, peer = self.pair()
        peer.give(b"", PING)
        self.assertEqual(peer.frame()[1:3], (PONG, b"\0"))
        peer.give(b"A|")
        for body in (b"1", bytes(125)):
            peer.give(body, PING)
            self.assertEqual(peer.frame()[1:3], (PONG, body))
        peer.give(b"2\n")
        client.expect("line A|2")

    def test_lines(self) -> None:
        """Its input is a byte stream, cut at CR and LF; lines except avatar and sound come back."""
        client, peer = self.pair()
        for payload in (b"A|1\nB|2\r\n\n", b"C", b"|3\n", b"__AV_START\n__AV_MESSAGE,STOP\nSNDFILE\n",
                        b"SND0004abcdSND0002ef", b"SNDBRKSSTOP\n", b"D\n"):
            peer.give(payload)
        client.expect("line A|1", "line B|2", "line C|3", "avatar __AV_START", "line STOP",
                      "sound SNDFILE", "audio 4", "audio 2", "sound SNDBRKS", "line STOP", "line D")
        self.assertEqual([peer.frame().payload for _ in range(6)],
                         [b"A|1\n", b"B|2\n", b"C|3\n", b"STOP\n", b"STOP\n", b"D\n"])

    def test_held_lines(self) -> None:
        """A line with S of fewer than seven bytes is held until more comes."""
        client, peer = self.pair()
        peer.give(b"STOP\n")
        client.expect("frame 1 5")
        client.tell("say KEY|a")
        self.assertEqual(peer.frame().payload, b"KEY|a\n")
        self.assertEqual(client.texts("line"), [])
        peer.give(b"A\n")
        client.expect("line STOP", "line A")

    def test_cut_echo(self) -> None:
        """The echo of a line of 2052 bytes is the recorded one."""
        _, peer = self.pair()
        peer.give(("TEST|" + "\u3042" * 682 + "\n").encode())
        self.assertEqual(peer.frame().payload.hex(), (DATA / "cut-echo.hex").read_text().strip())

    def test_what_breaks_it(self) -> None:
        """An empty line, a byte that begins no character, and a very long line crash it."""
        for payload in (b"\n", b"A|1\n\n\x80A\n", b"x" * 5000 + b"\n", b"SND\nA|b\n", b"SND0002ef\n"):
            with self.subTest(payload[:20]):
                client, peer = self.pair()
                peer.give(payload)
                wait_until(lambda: client.texts("crash"))

    def test_what_makes_it_deaf(self) -> None:
        """After a leading newline, a NUL, or a chunk of sound that is too long it hears no line."""
        for payload in (b"\nA|1\n", b"A\0|1\n", b"SND9999"):
            with self.subTest(payload):
                client, peer = self.pair()
                peer.give(payload + b"B|2\n")
                client.expect("deaf")
                peer.give(b"", PING)
                client.expect("frame 9 0")
                self.assertEqual(client.texts("line"), [])

    def test_what_loses_the_connection(self) -> None:
        """A payload of 8192 bytes, a split frame, and an empty frame make it reconnect."""
        small = frame(b"A|1\n", mask=False)
        for pieces in ([frame(bytes(8192), mask=False)], [small[:3], small[3:]],
                       [frame(b"", mask=False)]):
            with self.subTest(pieces[0][:10]):
                client, peer = self.pair()
                for piece in pieces:
                    peer.send(piece)
                    time.sleep(0.05)  # The pause under test: far longer than its receive timeout.
                self.next_peer_of(client)
        client, peer = self.pair()
        peer.give(b"x" * 8190 + b"\n")
        client.expect("frame 1 8191")

    def test_close_with_code(self) -> None:
        """It reads a Close with a code as text, which spoils the next connection's first line."""
        client, peer = self.pair()
        peer.give(b"\x03\xe8bye", CLOSE)
        peer.sock.close()
        client.expect("closed fin")
        self.next_peer_of(client).give(b"FIRST|line\n")
        client.expect("line \x03\\xe8byeFIRST|line")

    def test_empty_close(self) -> None:
        """On an empty Close it ends with a FIN, without an answer, and reconnects."""
        client, peer = self.pair()
        peer.give(b"", CLOSE)
        self.assertEqual(peer.read_all(), b"")
        self.next_peer_of(client).give(b"FIRST|line\n")
        client.expect("closed close", "connected /chat", "line FIRST|line")


class Greeter(Recorder):
    """Sends five lines at once, and closes when they are back."""

    count = 5

    def on_open(self) -> None:
        super().on_open()
        for number in range(self.count):
            self.send("GREETING", number)

    def on_message(self, message: Message) -> None:
        super().on_message(message)
        if message == f"GREETING|{self.count - 1}":
            self.close()


class ShortGreeter(Greeter):
    """Sends a single line, so that no second one can push it out if it is stuck."""

    count = 1


class ServerTests(PocoCase):
    """Our server with that client."""

    def test_paths(self) -> None:
        """The handshake works with any path of the .mdf, sent as it is."""
        for path, seen in (("/chat", "/chat"), ("", "/"), ("chat", "/chat"),
                           ("/two words", "/two words"), ("/\u4f1a\u8a71?x=1", "/\u4f1a\u8a71")):
            with self.subTest(path):
                client, handler = self.connect(self.serve(Recorder), path)
                self.assertEqual(handler.path, seen)
                client.expect(f"connected {path}" if path else "connected")
                client.tell("say KEY|\u3042")
                wait_until(lambda: handler.messages_seen == ["KEY|\u3042"])

    def reconnect(self, kind: type[Recorder], count: int) -> PocoClient:
        """A client after connections with `count` handlers that close, now connected to another."""
        handlers = [*(kind() for _ in range(count)), Recorder()]
        client = self.client(self.serve(iter(handlers).__next__).port)
        wait_until(lambda: len(client.texts("connected")) > count or client.texts("unconnected"),
                   f"{client.reports[-5:]}")
        self.assertEqual(client.texts("closed"), ["close"] * count)
        self.assertEqual(client.texts("error"), [])
        return client

    def test_lines_in_on_open(self) -> None:
        """What on_open sends arrives at once and in order, on each of fifty connections."""
        for kind in (Greeter, ShortGreeter):
            with self.subTest(kind.__name__):
                client = self.reconnect(kind, 25)
                reports = [each for each in client.reports if each.startswith(("connected", "line"))]
                greetings = [f"line GREETING|{number}" for number in range(kind.count)]
                self.assertEqual(reports, ["connected /chat", *greetings] * 25 + ["connected /chat"])

    def test_flood(self) -> None:
        """A loop of 2000 sends arrives whole and in order, while the client sends a line."""
        client, handler = self.connect(self.serve(Recorder))
        # 32 of them would be a frame of 8192 bytes, one byte too many.
        lines = [f"LINE|{number:04}|{'x' * 245}" for number in range(2000)]
        for line in lines:
            handler.send(line)
        client.expect("line " + lines[100])
        client.tell("say KEY|a")
        client.expect("line " + lines[-1])
        wait_until(lambda: len(handler.messages_seen) == 2001)
        self.assertTrue(client.texts("line") == lines, "whole and in order")
        self.assertEqual(client.texts("error"), [])
        # It can send only in a pause of 10 ms.
        reports = list(client.reports)
        self.assertLess(reports.index("sent KEY|a"), reports.index("line " + lines[-1]))
        own = [message for message in handler.messages_seen if not message.is_echo]
        echoes = [message for message in handler.messages_seen if message.is_echo]
        self.assertEqual(own, ["KEY|a"])
        self.assertTrue(echoes == lines, "every line comes back, in order")

    def test_longest_line(self) -> None:
        """A line of 2047 bytes with newline arrives and comes back whole; a longer is refused."""
        client, handler = self.connect(self.serve(Recorder))
        lines = ["L|" + "x" * 2044, "L|" + "\u3042" * 681 + "x"]
        for line in lines:
            self.assertEqual(len(line.encode()) + 1, 2047)
            handler.send(line)
            with self.assertRaises(InvalidMessage):
                handler.send(line + "x")
        wait_until(lambda: len(handler.messages_seen) == 2)
        self.assertEqual(client.texts("line"), lines)
        self.assertEqual([str(message) for message in handler.messages_seen], lines)
        self.assertTrue(all(message.is_echo for message in handler.messages_seen))

    def test_lines_that_would_be_misread(self) -> None:
        """STOP and lines that look like sound arrive at once and unchanged."""
        client, handler = self.connect(self.serve(Recorder))
        lines = ["STOP", "S", "SND", "SND9999", "SNDHELLO|a", "STOP|a", "S"]
        for count, line in enumerate(lines, 1):
            handler.send(line)
            wait_until(lambda: len(handler.messages_seen) == count)
        self.assertEqual(client.texts("line"), lines)
        self.assertEqual([(str(message), message.is_echo) for message in handler.messages_seen],
                         [(line, True) for line in lines])

    def test_close(self) -> None:
        """Our close is an empty Close, and the first line on the next connection is whole."""
        server = self.serve(Recorder)
        client, handler = self.connect(server)
        handler.send("LAST|line")
        handler.close(4000, "a reason")
        client.expect("connected /chat", "line LAST|line", "frame 8 0", "closed close",
                      "connected /chat")
        wait_until(lambda: handler.done.is_set() and server.connections)
        self.assertEqual(handler.closes, [(4000, "a reason")])
        server.connections[0].send("FIRST|\u3042")
        wait_until(lambda: len(client.texts("line")) == 2)
        self.assertEqual(client.texts("line"), ["LAST|line", "FIRST|\u3042"])
        self.assertEqual(client.texts("error") + client.texts("deaf"), [])

    def test_close_in_on_open(self) -> None:
        """A close in on_open, without delay, arrives every time."""
        class Refusing(Recorder):
            def on_open(self) -> None:
                self.close(4000)

        self.assertEqual(self.reconnect(Refusing, 10).texts("line"), [])

    def test_restart(self) -> None:
        """It comes back to a server that was shut down and started again."""
        server = self.serve(Recorder)
        port = server.port
        client, _ = self.connect(server, retries=100)
        server.shutdown()
        wait_until(lambda: client.texts("error"))
        server._wanted_port = port
        server.start()
        client.expect("connected /chat", "closed close", "connected /chat")
        server.wait_connected(DEADLINE).send("A|1")
        client.expect("line A|1")

    def test_pings(self) -> None:
        """Its pongs keep a silent connection alive, and nothing of a ping gets into a line."""
        client, handler = self.connect(self.serve(Recorder, ping_interval=0.1, ping_timeout=5))
        # If a pong was no sign of life, the third ping would never come.
        wait_until(lambda: client.texts("frame").count("9 4") >= 12 or handler.closed)
        self.assertFalse(handler.closed)
        handler.send("A|1")
        client.expect("line A|1")
        self.assertEqual(client.texts("line"), ["A|1"])

    def test_shutdown(self) -> None:
        """A shutdown with five of them is quick, and each sees a clean end."""
        server = self.serve(Recorder)
        clients = [self.connect(server)[0] for _ in range(5)]
        started = time.monotonic()
        self.assertEqual(server.shutdown(), [])
        self.assertLess(time.monotonic() - started, 3)
        for client in clients:
            client.expect("frame 8 0", "closed close", "unconnected")

    def test_exclusive(self) -> None:
        """With exclusive the second and third of them get other paths and the same handler."""
        server = self.serve(Recorder, path="/chat", exclusive=True)
        for path in ("/chat", "/chat-1", "/chat-1-2"):
            client, handler = self.connect(server, retries=2)
            client.expect(f"connected {path}")
            self.assertEqual(handler.path, path)

    def test_audio(self) -> None:
        """Chunks of sound arrive whole and in their place between lines."""
        client, handler = self.connect(self.serve(Recorder))
        handler.send_lines(["__AV_START", "__AV_SETMODEL,0", "SNDFILE", "A|1"])
        for size in (1280, 4096, 8184):
            handler.send_binary(b"SND%04d" % size + b"\n\0S\xff" * (size // 4))
            handler.send("SAID", size)
        handler.send_lines(["SNDBRKS", "B|2"])
        wait_until(lambda: len(handler.messages_seen) == 5)
        frames = [text for text in client.texts("frame") if text.startswith(f"{BINARY} ")]
        self.assertEqual(frames, ["2 1287", "2 4103", "2 8191"])
        reports = [report for report in client.reports
                   if report.split()[0] in ("avatar", "sound", "line", "audio", "deaf", "error")]
        self.assertEqual(reports, [
            "avatar __AV_START", "avatar __AV_SETMODEL,0", "sound SNDFILE", "line A|1",
            "audio 1280", "line SAID|1280", "audio 4096", "line SAID|4096",
            "audio 8184", "line SAID|8184", "sound SNDBRKS", "line B|2"])

    def test_echoes(self) -> None:
        """An echo is marked once; the same line from the client itself is not."""
        client, handler = self.connect(self.serve(Recorder))
        handler.send("A|1")
        handler.send("__AV_MESSAGE,B|2")
        wait_until(lambda: len(handler.messages_seen) == 2)
        client.tell("say A|1")
        client.tell("say B|2")
        wait_until(lambda: len(handler.messages_seen) == 4)
        self.assertEqual([(str(message), message.is_echo) for message in handler.messages_seen],
                         [("A|1", True), ("B|2", True), ("A|1", False), ("B|2", False)])

    def test_leaving(self) -> None:
        """However it leaves, the handler gets its lines, and on_close once with 1006."""
        for way in ("fin", "rst", "quit"):
            with self.subTest(way):
                client, handler = self.connect(self.serve(Recorder))
                client.tell("say KEY|a")
                wait_until(lambda: handler.messages_seen == ["KEY|a"])
                client.tell(way)
                self.assertTrue(handler.done.wait(DEADLINE))
                self.assertEqual([code for code, _ in handler.closes], [1006])
