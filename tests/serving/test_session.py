"""The opening handshake on real sockets: TLS, bad requests, slow and odd clients."""

from __future__ import annotations

import logging
import random
import socket
import ssl
import time
from collections.abc import Callable

from mmdagent_remote import ConnectionClosed, Handler, Message

from ..client import CLOSE, PING, PONG, TEXT, Client, frame, request
from ..support import DATA, DEADLINE, Recorder, TestCase, client_context, server_context, wait_until


class Echo(Recorder):
    """Sends every line back."""

    def on_message(self, message: Message) -> None:
        super().on_message(message)
        self.send(message)


class OpeningTests(TestCase):
    """Requests, however they arrive."""

    def test_recorded_request(self) -> None:
        """The real MMDAgent-EX's request is accepted, whole, byte by byte and cut anywhere."""
        data = (DATA / "handshake.txt").read_bytes()
        server, chance = self.serve(Echo), random.Random(1)
        for cuts in ([], range(1, len(data)), sorted(chance.sample(range(1, len(data)), 5))):
            with self.subTest(cuts=len(cuts)), Client(server, open=False) as client:
                for start, end in zip([0, *cuts], [*cuts, len(data)]):
                    client.send(data[start:end])
                head = client.read_head().split("\r\n")
                self.assertEqual(head[0], "HTTP/1.1 101 Switching Protocols")
                self.assertIn("Connection: Upgrade", head)
                client.text("A|1\n")
                self.assertEqual(client.lines(1), ["A|1"])

    def test_frames_right_behind_the_request(self) -> None:
        """Frames in the same segment as the request are not lost."""
        server = self.serve(Echo)
        with Client(server, open=False) as client:
            client.send(request() + frame("A\n") + frame("B\n"))
            client.read_head()
            self.assertEqual(client.lines(2), ["A", "B"])

    def test_bad_requests(self) -> None:
        """A bad request gets a short readable answer with its status; no traceback is logged."""
        server, good = self.serve(Recorder), request().decode()
        cases = {
            "POST": (good.replace("GET", "POST"), 405),
            "HTTP/1.0": (good.replace("HTTP/1.1", "HTTP/1.0"), 400),
            "no Host": (good.replace("Host: localhost:9001\r\n", ""), 400),
            "short key": (good.replace("nLQTUQM3yFumh2d27HB3Kg==", "AAAA"), 400),
            "no base64": (good.replace("nLQTUQM3yFumh2d27HB3Kg==", "!" * 24), 400),
            "two keys": (good.replace("Host:", "Sec-WebSocket-Key: nLQTUQM3yFumh2d27HB3Kg==\r\nHost:"),
                         400),
            "version 8": (good.replace("Version: 13", "Version: 8"), 426),
            "no upgrade": (good.replace("Upgrade: websocket\r\n", ""), 426),
            "non-ASCII": (good.replace("Host: l", "Host: \xe9"), 400),
            "garbage": ("\x00\x01\x02\r\n\r\n", 400),
            "long": (good.replace("Host:", "X: " + "x" * 20000 + "\r\nHost:"), 431),
            "blank target": (good.replace("GET / ", "GET /a b "), 400),
        }
        for name, (text, status) in cases.items():
            with self.subTest(name), Client(server, open=False) as client:
                with self.assertLogs("mmdagent_remote", logging.INFO) as logs:
                    client.send(text.encode("latin-1"))
                    answer = client.read_all().decode()
                    wait_until(lambda: logs.records)
                self.assertTrue(answer.startswith(f"HTTP/1.1 {status} "), answer)
                self.assertIn("\r\nContent-Length: ", answer)
                self.assertTrue(answer.partition("\r\n\r\n")[2])
                self.assertEqual([bool(each.exc_info) for each in logs.records], [False])

    def test_endless_request(self) -> None:
        """A request that never ends is refused at its bound, not when memory runs out."""
        server = self.serve(Recorder)
        with Client(server, open=False) as client:
            try:
                for _ in range(800):
                    client.send(b"X" * 65536)
            except OSError:
                pass  # The server has closed the connection.
            else:
                self.fail("took 50 MB of headers")

    def test_silent_client_does_not_delay_others(self) -> None:
        """A client that sends nothing, with or without TLS, does not delay another's connection."""
        for context, tls in ((None, None), (server_context(), client_context())):
            with self.assertLogs("mmdagent_remote", logging.WARNING) if context else self.subTest():
                server = self.serve(Echo, ssl_context=context)
            with Client(server, open=False), Client(server, tls=tls) as client:
                client.text("A\n")
                self.assertEqual(client.lines(1), ["A"])


class TLSTests(TestCase):
    """The same engine behind TLS."""

    def setUp(self) -> None:
        logging.getLogger("mmdagent_remote.server").setLevel(logging.ERROR)
        self.addCleanup(logging.getLogger("mmdagent_remote.server").setLevel, logging.NOTSET)

    def test_both_directions(self) -> None:
        """Lines go both ways over TLS, small and large, and a close is clean."""
        server = self.serve(Echo, ssl_context=server_context())
        with Client(server, tls=client_context()) as client:
            for line in ("A|1", "x" * 60000):
                client.text(line)
                self.assertEqual(client.lines(1), [line])
            client.send(frame(b"a", PING))
            self.assertEqual(client.frame().opcode, PONG)
            client.send(frame(b"\x03\xe8", CLOSE))
            self.assertEqual(client.close_code(), 1000)
            # TLS ended cleanly: a truncated stream would raise SSLError here.
            with self.assertRaises(EOFError):
                client.frame()

    def test_full_duplex(self) -> None:
        """Much data in both directions over one TLS connection arrives unchanged."""
        server, count, line = self.serve(Echo, ssl_context=server_context()), 300, "y" * 10000
        with Client(server, tls=client_context()) as client:
            # In one thread, since a reader and a writer cannot share the client's SSLSocket.
            for _ in range(count // 10):
                client.send(frame(line) * 10)
                self.assertEqual(set(client.lines(10)), {line})

    def test_writers_readers_and_pings(self) -> None:
        """Several writers and a reader share one TLS connection."""
        server = self.serve(Echo, ssl_context=server_context(), ping_interval=0.02)
        with Client(server, tls=client_context()) as client:
            handler = server.wait_connected(DEADLINE)
            for name in range(4):
                self.in_thread(lambda name=name: [handler.send("W", name, i) for i in range(100)])
            lines = client.lines(400)
        for name in range(4):
            self.assertEqual([line for line in lines if line.startswith(f"W|{name}|")],
                             [f"W|{name}|{i}" for i in range(100)])

    def test_goodbye_with_the_last_data(self) -> None:
        """A close_notify in one segment with the last line ends the connection after that line."""
        server = self.serve(Recorder, ssl_context=server_context())
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with Client(server, open=False) as client:
            def exchange(step: Callable[[], object]) -> object:
                while True:
                    try:
                        return step()
                    except ssl.SSLWantReadError:
                        client.send(outgoing.read())
                        incoming.write(client.sock.recv(65536))
            exchange(tls.do_handshake)
            tls.write(request())
            client.send(outgoing.read())
            self.assertIn(b"101", exchange(lambda: tls.read(4096)))
            handler = server.wait_connected(DEADLINE)
            tls.write(frame("last\n"))
            with self.assertRaises(ssl.SSLWantReadError):
                tls.unwrap()
            client.send(outgoing.read())
            self.assertTrue(handler.done.wait(DEADLINE))
        self.assertEqual((handler.messages_seen, handler.closes), (["last"], [(1006, "")]))

    def test_plain_client_on_a_tls_port(self) -> None:
        """A plain request to a TLS port ends quietly, with one line in the log."""
        server = self.serve(Recorder, ssl_context=server_context())
        with self.assertLogs("mmdagent_remote.connection", logging.DEBUG) as logs:
            with Client(server, open=False) as client:
                client.send(request())
                client.read_all()
            wait_until(lambda: logs.records)
        self.assertEqual([bool(each.exc_info) for each in logs.records], [False])

    def test_tls_client_on_a_plain_port(self) -> None:
        """A TLS hello to a plain port is refused at once, with one line in the log."""
        server = self.serve(Recorder)
        with self.assertLogs("mmdagent_remote.connection", logging.INFO) as logs:
            with Client(server, open=False) as client, self.assertRaises(ssl.SSLError):
                client_context().wrap_socket(client.sock, server_hostname="localhost")
            wait_until(lambda: logs.records)
        self.assertIn("not TLS", logs.output[0])

    def test_broken_record(self) -> None:
        """A record that was tampered with ends the connection without a traceback."""
        server = self.serve(Recorder, ssl_context=server_context())
        with Client(server, tls=client_context()) as client:
            handler = server.wait_connected(DEADLINE)
            raw = socket.socket(fileno=client.sock.detach())
            raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            self.assertTrue(handler.done.wait(DEADLINE))
            raw.close()
        self.assertEqual(handler.closes[0][0], 1006)


class ProtocolTests(TestCase):
    """What a peer may do wrong or to excess, on real sockets."""

    def test_order_is_strict(self) -> None:
        """A message's echo is on the wire before the Close that answers the next frame's fault."""
        server = self.serve(Echo)
        for fault, code in ((frame("x", rsv=2), 1002), (frame("x", 5), 1002),
                            (frame(b"\xff"), 1007), (frame("x", mask=False), 1002)):
            with Client(server) as client:
                client.send(frame("first\n") + fault + frame(b"", PING))
                self.assertEqual(client.lines(1), ["first"])
                self.assertEqual(client.close_code(), code)

    def test_messages_then_close(self) -> None:
        """Every message before the peer's Close is answered before ours."""
        server = self.serve(Echo)
        with Client(server) as client:
            client.send(b"".join(frame(f"{i}\n") for i in range(50)) + frame(b"\x03\xe8", CLOSE))
            self.assertEqual(client.lines(50), [str(i) for i in range(50)])
            self.assertEqual(client.close_code(), 1000)

    def test_every_ping(self) -> None:
        """Each ping of one segment gets its pong, in order, also between fragments."""
        server = self.serve(Echo)
        with Client(server) as client:
            client.send(frame("a", TEXT, fin=False) + b"".join(frame(b"%d" % i, PING) for i in range(10))
                        + frame("b\n", 0))
            self.assertEqual([client.frame()[1:3] for _ in range(10)],
                             [(PONG, b"%d" % i) for i in range(10)])
            self.assertEqual(client.lines(1), ["ab"])

    def test_bounds(self) -> None:
        """A message, a line or a number of fragments beyond its bound gets 1009."""
        server = self.serve(Echo, max_message_size=2000, max_line_size=1000, max_fragments=5)
        for data in (frame("x" * 2001), frame("x" * 1001), frame("\u3042" * 334),
                     frame("x" * 1500, fin=False) + frame("x" * 501, 0),
                     frame("x", fin=False) + frame("", 0, fin=False) * 5):
            with Client(server) as client:
                client.send(data)
                self.assertEqual(client.close_code(), 1009)
        with Client(server) as client:
            client.send(frame("x" * 1000 + "\n" + "y" * 999))
            client.send(frame("z", fin=False) + frame("z", 0, fin=False) * 3 + frame("z", 0))
            # An empty last fragment only marks the end.
            client.send(frame("z", fin=False) + frame("z", 0, fin=False) * 4 + frame("", 0))
            self.assertEqual(client.lines(4), ["x" * 1000, "y" * 999, "z" * 5, "z" * 5])

    def test_binary_that_is_no_text(self) -> None:
        """A binary message that is not UTF-8 gets 1003 from a handler that knows only text."""
        server = self.serve(Recorder)
        with Client(server) as client:
            client.send(frame(b"\xff\xfe", 2))
            self.assertEqual(client.close_code(), 1003)

    def test_reset(self) -> None:
        """A reset in mid-frame ends the connection quietly, and on_close is called once."""
        server = self.serve(Recorder)
        with self.assertNoLogs("mmdagent_remote", logging.WARNING), Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            client.send(frame("whole\n") + frame("cut")[:5])
            wait_until(lambda: handler.messages_seen)
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.sock.close()
            self.assertTrue(handler.done.wait(DEADLINE))
        self.assertEqual([code for code, _ in handler.closes], [1006])

    def test_our_close_is_answered(self) -> None:
        """After our Close, data from the peer is discarded until its Close, then TCP ends."""
        server = self.serve()
        with Client(server) as client:
            agent = server.accept(DEADLINE)
            agent.close(1000)
            client.send(frame("late\n") + frame(b"\x03\xe8", CLOSE))
            self.assertEqual(client.close_code(), 1000)
            began = time.monotonic()
            with self.assertRaises(EOFError):
                client.frame()
            self.assertLess(time.monotonic() - began, 0.4)
            with self.assertRaises(ConnectionClosed):
                agent.send("x")

    def test_compression(self) -> None:
        """With compression=True permessage-deflate is agreed on and both directions use it."""
        import zlib
        server = self.serve(Echo, compression=True)
        with Client(server, "/", "Sec-WebSocket-Extensions: permessage-deflate") as client:
            deflate = zlib.compressobj(wbits=-15)
            data = deflate.compress(b"hello " * 50 + b"\n") + deflate.flush(zlib.Z_SYNC_FLUSH)
            client.send(frame(data[:-4], rsv=4))
            answer = client.frame().payload
            self.assertEqual(zlib.decompressobj(wbits=-15).decompress(answer + b"\0\0\xff\xff"),
                             b"hello " * 50 + b"\n")
        with Client(server, "/", "Sec-WebSocket-Extensions: permessage-deflate; "
                    "client_max_window_bits=abc") as client:
            client.text("plain\n")
            self.assertEqual(client.lines(1), ["plain"])

    def test_no_compression_by_default(self) -> None:
        """Without compression=True the offer is declined."""
        server = self.serve(Handler)
        with Client(server, open=False) as client:
            client.send(request("/", "Sec-WebSocket-Extensions: permessage-deflate"))
            self.assertNotIn("Extensions", client.read_head())
