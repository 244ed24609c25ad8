"""Peers that break the framing, flood with control frames, or leave in the middle of something."""

from __future__ import annotations

import random
import socket
import time

from ...attack import LATE, Echo, HostileCase, reset, wait_done
from ...client import BINARY, CLOSE, PING, PONG, Client, frame, request
from ...support import DEADLINE, Recorder, wait_until

#: What no client may send, and the code of our Close.
_FAULTS = {
    "a ping of 126 bytes": (frame(bytes(126), PING), 1002),
    "a pong of 126 bytes": (frame(bytes(126), PONG), 1002),
    "a Close of 126 bytes": (frame(b"\x03\xe8" + bytes(124), CLOSE), 1002),
    "a ping in fragments": (frame(b"a", PING, fin=False), 1002),
    "a Close in fragments": (frame(b"\x03\xe8", CLOSE, fin=False), 1002),
    "a Close of one byte": (frame(b"\x03", CLOSE), 1002),
    "a Close with 1005": (frame(b"\x03\xed", CLOSE), 1002),
    "a Close with 999": (frame(b"\x03\xe7", CLOSE), 1002),
    "a Close whose reason is no UTF-8": (frame(b"\x03\xe8\xff", CLOSE), 1007),
    "an unmasked ping": (frame(b"", PING, mask=False), 1002),
    "an unmasked Close": (frame(b"\x03\xe8", CLOSE, mask=False), 1002),
    "a continuation of nothing": (frame("x", 0), 1002),
    "a message inside a message": (frame("x", fin=False) + frame("y"), 1002),
    "a character cut by the end": (frame("\u4f1a".encode()[:2]), 1007),
    "a character cut by the last fragment": (
        frame("\u4f1a".encode()[:1], fin=False) + frame("\u4f1a".encode()[1:2], 0), 1007),
    "a surrogate in UTF-8": (frame(b"\xed\xa0\x80"), 1007),
    "an overlong slash": (frame(b"\xc0\xaf"), 1007),
    **{f"opcode {opcode}": (frame("x", opcode), 1002) for opcode in (3, 7, 11, 15)},
    **{f"reserved bits {bits}": (frame("x", rsv=bits), 1002) for bits in (1, 2, 4, 7)},
}


class FaultTests(HostileCase):
    """Frames that the RFC forbids."""

    def test_codes(self) -> None:
        """Each fault gets its code, ends the connection, and logs two lines."""
        server = self.serve(Recorder)
        for name, (data, code) in _FAULTS.items():
            with self.subTest(name), self.logged() as lines, Client(server) as client:
                handler = server.wait_connected(DEADLINE)
                client.send(data)
                self.assertEqual(client.close_code(), code)
                client.sock.close()
                wait_done(handler)
                self.assertEqual([each for each, _ in handler.closes], [code])
                self.assertEqual(handler.messages_seen, [])
                wait_until(lambda: not server.connections)
            self.assertEqual(len(lines.at(20)), 2)

    def test_from_an_agent(self) -> None:
        """A fault of MMDAgent-EX ends its connection with an empty Close, except bad UTF-8."""
        server = self.serve(Recorder)
        for name, (data, code) in _FAULTS.items():
            if code == 1002:
                with self.subTest(name), Client(server, mmdagent=True) as client:
                    client.send(data)
                    self.assertIsNone(client.close_code())


class FloodTests(HostileCase):
    """Control frames without end."""

    def test_pings(self) -> None:
        """20,000 pings in a row are answered in order, once at most; the connection goes on."""
        server, count = self.serve(Echo), 20_000
        with Client(server) as client, Client(server) as other:
            pings = b"".join(frame(b"%d" % number, PING) for number in range(count))
            self.in_thread(self.flood, client, pings, 1)
            self.assert_served(other)
            numbers = []
            while not numbers or numbers[-1] != count - 1:
                found = client.frame()
                self.assertEqual(found.opcode, PONG)
                numbers.append(int(found.payload))
            self.assertEqual(numbers, sorted(set(numbers)))
            self.assert_served(client)
            self.assert_idle()

    def test_pongs(self) -> None:
        """20,000 unsolicited pongs are ignored, and the connection goes on."""
        server = self.serve(Echo)
        with Client(server) as client, Client(server) as other:
            with self.memory_bounded():
                self.flood(client, frame(b"p" * 125, PONG) * 200, 100)
                self.assert_served(other)
            self.assert_served(client)
            self.assert_idle()

    def test_empty_messages(self) -> None:
        """20,000 empty messages give no lines, and the connection goes on."""
        server = self.serve(Echo)
        with Client(server) as client:
            self.flood(client, frame("") * 200 + frame(b"", BINARY) * 200, 50)
            self.assert_served(client)
            self.assertEqual(server.wait_connected(DEADLINE).messages_seen, ["still here"])

    def test_closes(self) -> None:
        """A flood of Close frames gets one answer and then the end, and others are served."""
        server = self.serve(Echo)
        with Client(server) as client, Client(server) as other:
            handler = next(each for each in self.both(server)
                           if each.remote_address == client.sock.getsockname())
            self.in_thread(self.flood, client, frame(b"\x03\xe8", CLOSE) * 1000, 5000)
            began = time.monotonic()
            self.assertEqual(client.close_code(), 1000)
            wait_done(handler)
            self.assertLess(time.monotonic() - began, LATE)
            self.assertEqual(handler.closes, [(1000, "")])
            with self.assertRaises((EOFError, ConnectionError)):
                client.frame()
            self.assert_served(other)

    def both(self, server: object) -> tuple[Recorder, ...]:
        """The handlers of two clients, once both are there."""
        wait_until(lambda: len(server.connections) == 2)
        return server.connections

    def test_talk_behind_our_close(self) -> None:
        """A client that keeps sending after our Close, and never answers it, is ended."""
        server = self.serve(Recorder)
        with Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            talking = self.in_thread(self.flood, client, frame("on and on\n") * 1000, 100_000)
            wait_until(lambda: handler.messages_seen)
            began = time.monotonic()
            handler.close(1001)
            wait_done(handler)
            self.assertLess(time.monotonic() - began, LATE)
            talking.join(DEADLINE)
            self.assertFalse(talking.is_alive())


class LeavesTests(HostileCase):
    """Ends in the middle of something."""

    _CUTS = {
        "nothing": b"",
        "a byte of a head": frame("x")[:1],
        "a head": frame("x" * 300)[:4],
        "half a mask": frame("x" * 300)[:6],
        "half a payload": frame("x" * 300)[:100],
        "half a message": frame("half a line", fin=False),
        "half a character": frame("\u4f1a".encode()[:1], fin=False),
        "half a ping": frame(b"ping", PING)[:5],
        "half a Close": frame(b"\x03\xe8", CLOSE)[:7],
    }

    def test_fin_and_reset(self) -> None:
        """FIN or RST at any point gives 1006 once, no partial line, a quiet log and no spinning."""
        server = self.serve(Recorder)
        for mmdagent in (False, True):
            for name, cut in self._CUTS.items():
                for end in (reset, lambda client: client.sock.close()):
                    with self.subTest(name, mmdagent=mmdagent), self.logged() as lines:
                        with Client(server, mmdagent=mmdagent) as client:
                            handler = server.wait_connected(DEADLINE)
                            client.send(frame("whole\n") + cut)
                            wait_until(lambda: handler.messages_seen)
                            end(client)
                            wait_done(handler)
                        wait_until(lambda: not server.connections)
                    self.assertEqual(handler.messages_seen, ["whole"])
                    self.assertEqual([code for code, _ in handler.closes], [1006])
                    self.assertEqual(lines.at(30), [])
        self.assert_idle()

    def test_half_closed(self) -> None:
        """A FIN from a peer that still reads gives the lines before it, 1006 and no spinning."""
        server = self.serve(Recorder)
        with Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            client.send(frame("last\n") + frame("x" * 300)[:10])
            client.sock.shutdown(socket.SHUT_WR)
            wait_done(handler)
            self.assertEqual((handler.messages_seen, handler.closes), (["last"], [(1006, "")]))
            client.read_all()
        self.assert_idle()


class GarbageTests(HostileCase):
    """Bytes that are no frames."""

    def test_noise(self) -> None:
        """Noise after a good handshake ends as the peer's fault, without an error of ours."""
        server, chance = self.serve(Recorder), random.Random(5)
        for _ in range(60):
            with self.logged() as lines, Client(server) as client:
                handler = server.wait_connected(DEADLINE)
                client.send(chance.randbytes(200))
                client.sock.shutdown(socket.SHUT_WR)
                wait_done(handler)
                client.sock.close()
                wait_until(lambda: not server.connections)
            self.assertIn(handler.closes[0][0], (1002, 1003, 1006, 1007, 1009))
            self.assertEqual((len(handler.closes), handler.errors, lines.at(30)), (1, [], []))

    def test_http_again(self) -> None:
        """A second request instead of a frame gets 1002."""
        server = self.serve(Recorder)
        with Client(server) as client:
            client.send(request())
            self.assertEqual(client.close_code(), 1002)
