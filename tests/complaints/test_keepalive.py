"""What users of threaded servers complain about: keepalive and half-open connections."""

from __future__ import annotations

from mmdagent_remote import ConnectionClosed, Message

from ..attack import HostileCase, reset, wait_done
from ..client import CLOSE, PING, PONG, Client, frame
from ..support import DEADLINE, Recorder, wait_until


class Leaving(Recorder):
    """Does what a line tells it to do."""

    def on_message(self, message: Message) -> None:
        super().on_message(message)
        if message == "close":
            self.close(4000)
        elif message == "exit":
            raise SystemExit
        elif message == "twice":
            self.close(4001)
            self.close(4002)


class KeepAliveTests(HostileCase):
    """Pings that corrupt, kill or do not notice."""

    def test_sends_between_pings(self) -> None:
        """20, websockets #1432: lines of many threads, pings and pongs never tear each other."""
        server = self.serve(ping_interval=0.02, ping_timeout=None)
        with Client(server) as client:
            agent, each = server.accept(DEADLINE), 500
            self.in_thread(self.flood, client, frame(b"p" * 100, PING) * 10, 300)
            for name in range(4):
                self.in_thread(lambda name=name: [
                    agent.send("W", name, number, "x" * (number % 300)) for number in range(each)])
            lines, kinds = [], set()
            while len(lines) < 4 * each or PONG not in kinds:
                found = client.frame()
                self.assertTrue(found.fin)
                kinds.add(found.opcode)
                if found.opcode in (PING, PONG):
                    self.assertIn(len(found.payload), (4, 100))
                else:
                    lines += found.payload.decode().splitlines()
        for name in range(4):
            self.assertEqual([line for line in lines if line.startswith(f"W|{name}|")],
                             [f"W|{name}|{n}|" + "x" * (n % 300) for n in range(each)])

    def test_pings_and_close(self) -> None:
        """21, simple-websocket #8: a ping at the moment of a close does no harm, logs nothing."""
        server = self.serve(ping_interval=0.02, ping_timeout=None)
        with self.logged() as lines:
            for number in range(40):
                with Client(server) as client:
                    agent = server.accept(DEADLINE)
                    self.assertEqual(client.frame().opcode, PING)
                    if number % 2:
                        agent.close()
                    else:
                        client.send(frame(b"\x03\xe8", CLOSE))
                    self.assertEqual(client.close_code(), 1000)
        self.assertEqual(lines.at(30), [])

    def test_ping_timeout_wakes_a_reader(self) -> None:
        """21, flask-sock #7: the ping timeout ends a wait for a line with ConnectionClosed."""
        server = self.serve(ping_interval=0.2, ping_timeout=0.2)
        with Client(server):
            agent = server.accept(DEADLINE)
            with self.assertRaises(ConnectionClosed) as caught:
                agent.read_line()
            self.assertEqual(caught.exception.code, 1011)

    def test_healthy_links_stay(self) -> None:
        """22, websocket-client #327: a peer that answers pings stays, whichever time is longer."""
        servers = [self.serve(Recorder, ping_interval=interval, ping_timeout=timeout)
                   for interval, timeout in ((0.2, 1.5), (1.0, 0.8), (0.5, 0.5))]

        def answer(client: Client, pings: list[bytes]) -> None:
            try:
                while True:
                    found = client.frame()
                    if found.opcode == PING:
                        pings.append(found.payload)
                        client.send(frame(found.payload, PONG))
            except (EOFError, OSError):
                pass
        answered = []
        for server in servers:
            client = Client(server)
            self.addCleanup(client.sock.close)
            answered.append([])
            self.in_thread(answer, client, answered[-1])
        for server, pings in zip(servers, answered):
            handler = server.wait_connected(DEADLINE)
            wait_until(lambda pings=pings: len(pings) > 2)
            self.assertFalse(handler.closed)
            server.shutdown()
            self.assertEqual(handler.closes[0][0], 1001)

    def test_on_close_exactly_once(self) -> None:
        """24, websocket-server #114: on_close runs once for any end; no connection stays listed."""
        ends = {
            "FIN": (lambda client: client.sock.close(), 1006),
            "RST": (reset, 1006),
            "Close": (lambda client: client.send(frame(b"\x03\xe9", CLOSE)), 1001),
            "fault": (lambda client: client.send(frame("x", rsv=1)), 1002),
            "our close": (lambda client: client.text("close"), 4000),
            "two closes": (lambda client: client.text("twice"), 4001),
            "SystemExit": (lambda client: client.text("exit"), 1011),
            "silence": (lambda client: None, 1011),
        }
        for mmdagent in (False, True):
            for name, (end, code) in ends.items():
                with self.subTest(name, mmdagent=mmdagent):
                    times = 0.1 if name == "silence" else DEADLINE
                    server = self.serve(Leaving, ping_interval=times, ping_timeout=times)
                    with Client(server, mmdagent=mmdagent) as client:
                        handler = server.wait_connected(DEADLINE)
                        end(client)
                        wait_done(handler)
                    wait_until(lambda: not server._running().registry.sessions)
                    self.assertEqual([each for each, _ in handler.closes], [code])
                    self.assertEqual(server.connections, ())

    def test_shutdown_calls_on_close(self) -> None:
        """24, websocket-server #114: on_close runs once for shutdown(), too."""
        server = self.serve(Recorder)
        with Client(server), Client(server, mmdagent=True):
            wait_until(lambda: len(server.connections) == 2)
            handlers = server.connections
            self.assertEqual(server.shutdown(DEADLINE), [])
        self.assertEqual([[code for code, _ in each.closes] for each in handlers], [[1001], [1001]])
