"""Server: options, routing, start and shutdown, broadcast, accept."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

from mmdagent_remote import (MMDAGENT_EX, STRICT, ConnectionClosed, Handler, InvalidMessage,
                             Message, Server, serve)

from .client import CLOSE, Client, frame, request
from .support import (DEADLINE, PROJECT, Recorder, TestCase, client_context, open_files,
                      wait_until)


def status(server: Server, path: str = "/", *headers: str, mmdagent: bool = False) -> str:
    """The first line of the answer to an opening handshake."""
    with Client(server, open=False) as client:
        client.send(request(path, *headers, mmdagent=mmdagent))
        return client.read_head().split("\r\n")[0].removeprefix("HTTP/1.1 ")


class LifeTests(TestCase):
    """start, shutdown, and again."""

    def test_localhost_is_both(self) -> None:
        """"localhost" listens on 127.0.0.1, and on ::1 where the machine has it, on one port."""
        server = self.serve(Recorder)
        hosts = [address for address, _ in server.addresses]
        self.assertEqual(hosts[0], "127.0.0.1")
        self.assertEqual(len({port for _, port in server.addresses}), 1)
        self.assertEqual(server.url, f"ws://localhost:{server.port}/")
        for host in hosts:
            socket.create_connection((host, server.port), timeout=DEADLINE).close()

    def test_start_is_idempotent(self) -> None:
        """start() returns the server, and does nothing if it is already running."""
        server = self.serve(Recorder)
        port = server.port
        self.assertIs(server.start(), server)
        self.assertEqual(server.port, port)

    def test_hundred_times(self) -> None:
        """Started and shut down a hundred times on one port, no thread or descriptor is left."""
        server = Server(Recorder, port=0)
        server.start()
        port = server.port
        server.shutdown()
        gc.collect()
        threads, files = threading.active_count(), open_files()
        server = Server(Recorder, port=port)
        for number in range(100):
            server.start()
            if number % 10 == 0:
                with Client(server) as client:
                    client.text("x")
                    self.assertEqual(server.shutdown(DEADLINE), [])
            else:
                self.assertEqual(server.shutdown(), [])
        self.assertEqual(threading.active_count(), threads)
        gc.collect()
        self.assertEqual(open_files(), files)

    def test_port_in_use(self) -> None:
        """A port in use is an OSError that names it, and nothing is left bound."""
        server = self.serve(Recorder)
        with self.assertRaises(OSError) as caught:
            Server(Recorder, port=server.port).start()
        self.assertIn(f"127.0.0.1:{server.port}", str(caught.exception))
        with socket.create_server(("127.0.0.1", 0)) as taken:
            other = Server(Recorder, port=taken.getsockname()[1])
            with self.assertRaises(OSError):
                other.start()
        other.start()
        other.shutdown()

    def test_unknown_host(self) -> None:
        """A host that does not resolve is an OSError that names it."""
        with self.assertRaises(OSError) as caught:
            Server(Recorder, host="no.such.host.invalid").start()
        self.assertIn("no.such.host.invalid", str(caught.exception))

    def test_foreign_address(self) -> None:
        """A host that is not this machine's is an OSError that names it."""
        with self.assertRaises(OSError) as caught:
            Server(Recorder, host="192.0.2.1", port=0).start()
        self.assertIn("192.0.2.1", str(caught.exception))

    def test_all_interfaces(self) -> None:
        """An empty host listens on all interfaces."""
        server = self.serve(Recorder, host="")
        self.assertEqual(server.address[0], "0.0.0.0")
        with Client(server):
            pass

    def test_bad_options(self) -> None:
        """A wrong option is refused when the server is made."""
        for options in ({"port": -1}, {"port": 70000}, {"max_queue": 0}, {"open_timeout": -1},
                        {"path": "/a?b"}, {"ping_timeout": float("inf")}):
            with self.subTest(options), self.assertRaises(ValueError):
                Server(Recorder, **options)
        for options in ({"port": "1"}, {"port": True}, {"max_queue": 1.5}, {"close_timeout": None},
                        {"handler": 5}, {"origins": [5]}, {"ascii_voices": [5]}):
            with self.subTest(options), self.assertRaises(TypeError):
                Server(**{"handler": Recorder, **options})
        for options in ({"profile": "MMDAgent"}, {"subprotocols": ["a b"]}, {"subprotocols": ""},
                        {"origins": "http://localhost:5000/"}, {"origins": ["localhost:5000"]},
                        {"ssl_context": client_context()}):
            with self.subTest(options), self.assertRaises(ValueError):
                Server(Recorder, **options)
        for options, words in (({"host": 9001}, "port=9001"),
                               ({"host": b"localhost"}, "host must be a str"),
                               ({"ssl_context": "cert.pem"}, "CLIENT_AUTH"), ({"profile": 5}, "name")):
            with self.subTest(options), self.assertRaisesRegex(TypeError, words):
                Server(Recorder, **options)
        with self.assertRaises(ValueError):
            Server({"/a": Recorder}, path="/b")
        with self.assertRaises(ValueError):
            Server({})

    def test_shutdown_is_fast(self) -> None:
        """shutdown() takes under a second with idle, busy, silent and half-open clients."""
        server = self.serve(Recorder)
        clients = [Client(server) for _ in range(5)] + [Client(server, mmdagent=True) for _ in range(5)]
        silent = Client(server, open=False)
        wait_until(lambda: len(server.connections) == 10)
        began = time.monotonic()
        self.assertEqual(server.shutdown(), [])
        # Clients that never answer take one close_timeout, all at the same time.
        self.assertLess(time.monotonic() - began, 1.0)
        for client in (*clients, silent):
            client.sock.close()

    def test_shutdown_from_a_hook(self) -> None:
        """shutdown() may be called in a hook, and then does not wait for that hook."""
        answers = []

        class Ending(Recorder):
            def on_message(self, message: Message) -> None:
                answers.append(self.server.shutdown())

        server = self.serve(Ending)
        with Client(server) as client:
            client.text("x")
            self.assertEqual(client.close_code(), 1001)
            wait_until(lambda: answers)
        self.assertEqual(answers, [[]])

    def test_shutdown_names_user_code(self) -> None:
        """shutdown() returns the names of threads still in user code; all others have ended."""
        release, names = threading.Event(), []

        class Stuck(Recorder):
            def on_message(self, message: Message) -> None:
                names.append(threading.current_thread().name)
                release.wait(DEADLINE)

        server = Server(Stuck, port=0).start()
        with Client(server) as client, Client(server) as idle:
            client.text("x")
            wait_until(lambda: names)
            self.assertEqual(server.shutdown(timeout=0.2), names)
            self.assertEqual(idle.close_code(), 1001)
            self.assertEqual(client.close_code(), 1001)
            release.set()

    def test_shutdown_twice_at_once(self) -> None:
        """Several threads may shut down at once, and a stopped server may be shut down again."""
        server = self.serve(Recorder)
        with Client(server):
            threads = [self.in_thread(server.shutdown) for _ in range(4)]
            for thread in threads:
                thread.join(DEADLINE)
        self.assertEqual(server.shutdown(), [])

    def test_shutdown_sends_what_waits(self) -> None:
        """shutdown() flushes the lines that wait for a gap towards an agent."""
        server = self.serve(Recorder)
        with Client(server, mmdagent=True) as client:
            handler = server.wait_connected(DEADLINE)
            handler.send_lines(f"L|{number}" for number in range(2000))
            self.in_thread(server.shutdown)
            self.assertEqual(client.lines(2000), [f"L|{number}" for number in range(2000)])
            self.assertIsNone(client.close_code())

    def test_serve_forever(self) -> None:
        """serve_forever() starts the server, and returns after shutdown()."""
        server = Server(Recorder, port=0)
        thread = self.in_thread(server.serve_forever)
        wait_until(lambda: server.addresses)
        with Client(server):
            pass
        server.shutdown()
        thread.join(DEADLINE)
        self.assertFalse(thread.is_alive())

    @unittest.skipIf(os.name == "nt", "SIGINT cannot be sent to one process there")
    def test_ctrl_c(self) -> None:
        """One Ctrl-C ends serve() within a second, quietly, with an idle connection open."""
        code = ("import mmdagent_remote as m\n"
                "class H(m.Handler): pass\n"
                "m.serve(H, port=0)\n"
                "print('after')\n")
        process = subprocess.Popen([sys.executable, "-W", "error", "-c", code], cwd=PROJECT, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            text = process.stderr.readline()
            port = int(text.split(":")[-1].rstrip("/\n"))
            while "Ctrl-C" not in text:
                text += process.stderr.readline()
            with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as client:
                client.sendall(request(mmdagent=True))
                self.assertTrue(client.recv(4096).startswith(b"HTTP/1.1 101"))
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
            process.communicate()
        self.assertEqual((process.returncode, out), (0, "after\n"))
        self.assertNotIn("Traceback", err)
        self.assertIn("Plugin_Remote_RetryCount", text)

    def test_exit_without_shutdown(self) -> None:
        """A program that forgets shutdown() exits by itself, and its clients see a Close."""
        code = ("import mmdagent_remote as m, time\n"
                "s = m.Server(m.Handler, port=0).start()\n"
                "print(s.port, flush=True)\n"
                "s.wait_connected(20)\n")
        process = subprocess.Popen([sys.executable, "-W", "error", "-c", code], cwd=PROJECT, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            port = int(process.stdout.readline())
            with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as client:
                client.sendall(request())
                data = b""
                while piece := client.recv(4096):
                    data += piece
            _, err = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
            process.communicate()
        self.assertIn(b"\x03\xe9", data)
        self.assertEqual((process.returncode, err), (0, ""))


class RoutingTests(TestCase):
    """Paths, origins, exclusive paths, limits on connections."""

    def test_path(self) -> None:
        """Any path but the given one gets 404; a query or a missing slash makes no difference."""
        server = self.serve(Recorder, path="chat")
        for target in ("/chat", "/chat?a=b"):
            self.assertTrue(status(server, target).startswith("101"))
        self.assertTrue(status(server, "chat", mmdagent=True).startswith("101"))
        self.assertEqual(status(server, "/"), "404 Not Found")
        self.assertTrue(server.url.endswith("/chat"))

    def test_paths(self) -> None:
        """A dict of handlers routes by path; a handler may be any callable that returns one."""
        class Greeter(Handler):
            def __init__(self, greeting: str) -> None:
                self.greeting = greeting

            def on_open(self) -> None:
                self.send(self.greeting)

        server = self.serve({"/a": lambda: Greeter("A"), "b": lambda: Greeter("B")})
        for path in ("a", "b"):
            with Client(server, f"/{path}") as client:
                self.assertEqual(client.lines(1), [path.upper()])

    def test_factory_of_no_handler(self) -> None:
        """A factory that does not return a Handler is logged, and the client gets 500."""
        server = self.serve(lambda: 5)
        with self.assertLogs("mmdagent_remote", logging.ERROR):
            self.assertTrue(status(server).startswith("500"))

    def test_raw_targets(self) -> None:
        """MMDAgent-EX's empty, blank and raw UTF-8 targets arrive decoded."""
        paths = []

        class Noting(Handler):
            def on_open(self) -> None:
                paths.append(self.path)

        server = self.serve(Noting)
        for raw in (b"", b"/my chat", "/\u4f1a\u8a71".encode(), b"chat"):
            with Client(server, raw, mmdagent=True):
                wait_until(lambda: len(server.connections) == 1)
            wait_until(lambda: not server.connections)
        self.assertEqual(paths, ["/", "/my chat", "/\u4f1a\u8a71", "/chat"])

    def test_origins(self) -> None:
        """A request with an Origin is refused unless exactly that origin is listed."""
        server = self.serve(Recorder, origins=["https://good.example"])
        self.assertTrue(status(server, "/", "Origin: https://good.example").startswith("101"))
        for origin in ("https://good.example.evil", "https://evil/https://good.example", "null"):
            self.assertEqual(status(server, "/", f"Origin: {origin}"), "403 Forbidden")
        self.assertEqual(status(self.serve(Recorder), "/", "Origin: http://localhost"), "403 Forbidden")
        self.assertTrue(status(self.serve(Recorder, origins="*"), "/", "Origin: x").startswith("101"))

    def test_exclusive(self) -> None:
        """With exclusive, a second client on a path gets 429, and path-1 has the same handler."""
        server = self.serve(Recorder, path="/chat", exclusive=True)
        with Client(server, "/chat", mmdagent=True), Client(server, "/chat-1", mmdagent=True):
            self.assertEqual(status(server, "/chat", mmdagent=True), "429 Too Many Requests")
            self.assertTrue(status(server, "/chat-1-2", mmdagent=True).startswith("101"))
            wait_until(lambda: len(server.connections) == 2)
            self.assertEqual([each.path for each in server.connections], ["/chat", "/chat-1"])

    def test_exclusive_reconnect(self) -> None:
        """An agent that reconnects at once after losing its connection finds its path free."""
        hooks = threading.Event()

        class Busy(Recorder):
            def on_message(self, message: Message) -> None:
                hooks.wait(DEADLINE)

        server = self.serve(Busy, exclusive=True)
        for _ in range(10):
            with Client(server, mmdagent=True) as client:
                client.text("x\n")
        hooks.set()

    def test_max_connections(self) -> None:
        """One connection too many gets 503, and a place is free again when one leaves."""
        server = self.serve(Recorder, max_connections=2)
        with Client(server):
            with Client(server):
                self.assertEqual(status(server), "503 Service Unavailable")
            wait_until(lambda: len(server.connections) == 1)
            wait_until(lambda: status(server).startswith("101"))

    def test_subprotocols(self) -> None:
        """Our first subprotocol that the client offers is chosen."""
        server = self.serve(Recorder, subprotocols=["b", "a"])
        with Client(server, open=False) as client:
            client.send(request("/", "Sec-WebSocket-Protocol: a, b"))
            self.assertIn("Sec-WebSocket-Protocol: b", client.read_head())

    def test_profiles(self) -> None:
        """The profile is recognised by X-App-Type, or forced, also by its name in any case."""
        for forced, mmdagent, expected in ((None, True, True), (None, False, False),
                                           (STRICT, True, False), (MMDAGENT_EX, False, True),
                                           ("strict", True, False), ("mmdagent-ex", False, True)):
            server = self.serve(Recorder, profile=forced)
            with Client(server, mmdagent=mmdagent):
                self.assertEqual(server.wait_connected(DEADLINE).is_mmdagent, expected)

    def test_one_instance_for_all(self) -> None:
        """A factory that returns the same handler again is told so, at the second connection."""
        one = Recorder()
        server = self.serve(lambda: one)
        with Client(server), self.assertLogs("mmdagent_remote.connection", logging.ERROR) as logs:
            self.assertTrue(status(server, "/").startswith("500"))
        self.assertIn("the same instance again", logs.output[0])

    def test_tls_warning(self) -> None:
        """TLS on a port other than 443 logs a WARNING, since MMDAgent-EX decides by the port."""
        import ssl
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with self.assertLogs("mmdagent_remote.server", logging.WARNING):
            server = self.serve(Recorder, ssl_context=context)
        self.assertTrue(server.url.startswith("wss://"))

    def test_no_noise(self) -> None:
        """A port scan logs one DEBUG line, a wrong request one INFO line, never a traceback."""
        server = self.serve(Recorder)
        with self.assertLogs("mmdagent_remote.connection", logging.DEBUG) as logs:
            Client(server, open=False).sock.close()
            wait_until(lambda: len(logs.records) == 1)
            with Client(server, open=False) as client:
                client.send(b"\x01\x02garbage\r\n\r\n")
                self.assertTrue(client.read_all().startswith(b"HTTP/1.1 400 "))
            wait_until(lambda: len(logs.records) == 2)
        self.assertEqual([each.levelname for each in logs.records], ["DEBUG", "INFO"])
        self.assertFalse(any(each.exc_info for each in logs.records))

    def test_plain_get(self) -> None:
        """A browser's plain GET gets a short readable answer."""
        with Client(self.serve(Recorder), open=False) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = client.read_all().decode()
        self.assertTrue(answer.startswith("HTTP/1.1 426 Upgrade Required\r\n"))
        self.assertIn("WebSocket server", answer)

    def test_open_timeout(self) -> None:
        """open_timeout is a total: a slow request is cut off, and others connect meanwhile."""
        server = self.serve(Recorder, open_timeout=0.5)
        with Client(server, open=False) as slow:
            began = time.monotonic()
            with self.assertRaises(OSError):
                while time.monotonic() - began < DEADLINE:
                    slow.send(b"G")
                    with Client(server):
                        pass
                self.fail("was never cut")


class BroadcastTests(TestCase):
    """broadcast and wait_connected."""

    def test_everybody(self) -> None:
        """broadcast reaches every open connection, each according to its profile."""
        server = self.serve(Recorder)
        self.assertEqual(server.broadcast("A"), [])
        with Client(server) as one, Client(server, mmdagent=True) as two:
            wait_until(lambda: len(server.connections) == 2)
            self.assertEqual(server.broadcast("STOP", "x"), [])
            self.assertEqual((one.lines(1), two.lines(1)), (["STOP|x"], ["STOP|x"]))

    def test_refused_for_all(self) -> None:
        """A line that one kind of peer cannot take is sent to no peer."""
        server = self.serve(Recorder)
        with Client(server) as one, Client(server, mmdagent=True):
            wait_until(lambda: len(server.connections) == 2)
            for line in ("x" * 2047, "", "a\nb"):
                with self.assertRaises(InvalidMessage):
                    server.broadcast(line)
            with self.assertRaises(TypeError):
                server.broadcast(None)
            server.broadcast("OK")
            self.assertEqual(one.lines(1), ["OK"])

    def test_waits_for_nobody(self) -> None:
        """A peer that does not read is returned as failed; others get every line."""
        server = self.serve(Recorder, max_send_queue=10000, send_timeout=DEADLINE)
        with Client(server) as stuck, Client(server) as good:
            wait_until(lambda: len(server.connections) == 2)
            line, failed, sent = "x" * 9000, [], 0
            while not failed:
                failed = server.broadcast(line)
                sent += 1
                self.assertEqual(good.lines(1), [line])
            self.assertEqual(failed[0].remote_address, stuck.sock.getsockname())
            self.assertFalse(failed[0].closed)
            # The queued lines arrive once the peer reads.
            self.assertEqual(set(stuck.lines(sent - 1)), {line})

    def test_wait_connected(self) -> None:
        """wait_connected returns the oldest open handler, or raises TimeoutError."""
        server = self.serve(Recorder)
        with self.assertRaises(TimeoutError):
            server.wait_connected(0.01)
        with Client(server):
            first = server.wait_connected(DEADLINE)
            with Client(server):
                wait_until(lambda: len(server.connections) == 2)
                self.assertIs(server.wait_connected(0), first)
                self.assertIs(server.connections[0], first)

    def test_not_started(self) -> None:
        """accept, wait_connected and address need a started server."""
        with self.assertRaises(RuntimeError):
            Server().accept()
        with self.assertRaises(RuntimeError):
            Server(Recorder).wait_connected()
        with self.assertRaises(RuntimeError):
            Server(Recorder).address
        self.assertEqual(Server(Recorder).connections, ())


class AcceptTests(TestCase):
    """Servers without a handler."""

    def test_accept(self) -> None:
        """accept returns each connection once, as a context manager that closes it."""
        server = self.serve()
        with Client(server) as one:
            with server.accept(DEADLINE) as agent:
                agent.send("HI")
                self.assertEqual(one.lines(1), ["HI"])
                with self.assertRaises(TimeoutError):
                    server.accept(0.01)
            self.assertEqual(one.close_code(), 1000)

    def test_wrong_use(self) -> None:
        """accept with a handler, and serve_forever without one, are RuntimeErrors at once."""
        with self.assertRaises(RuntimeError):
            self.serve(Recorder).accept()
        with self.assertRaises(RuntimeError):
            Server(port=0).serve_forever()

    def test_waiting_connection_is_attended(self) -> None:
        """While a connection waits for accept, its pings are answered and its lines kept."""
        server = self.serve()
        with Client(server) as client:
            client.text("a\n")
            client.send(frame(b"ping", 9))
            self.assertEqual(client.frame()[1:3], (10, b"ping"))
            client.text("b\n")
            client.send(frame(b"\x03\xe8", CLOSE))
            self.assertEqual(client.close_code(), 1000)
        self.assertEqual(list(server.accept(DEADLINE).lines(DEADLINE)), ["a", "b"])

    def test_one_that_left_nothing(self) -> None:
        """accept does not return a connection that ended without a line."""
        server = self.serve()
        with Client(server) as client:
            client.send(frame(b"", CLOSE))
            self.assertIsNone(client.close_code())
        wait_until(lambda: not server.connections)
        with Client(server) as second:
            second.text("second")
            self.assertEqual(server.accept(DEADLINE).read_line(DEADLINE), "second")

    def test_many_that_left(self) -> None:
        """Of connections that end before they are accepted, only a few are kept."""
        server = self.serve()
        for number in range(40):
            with Client(server) as client:
                client.text(f"{number}\n")
                client.send(frame(b"\x03\xe8", CLOSE))
                client.close_code()
            # The client sees the Close before the server has noted the end.
            wait_until(lambda: not server.connections)
        with Client(server) as last:
            last.text("last\n")
            lines = []
            while "last" not in lines:
                lines.append(server.accept(DEADLINE).read_line(DEADLINE))
        # Each new connection drops the oldest; whether "last" had already done so is a race.
        self.assertIn(len(lines), (17, 18))
        self.assertEqual(lines, [*map(str, range(41 - len(lines), 40)), "last"])

    def test_shutdown_ends_accept(self) -> None:
        """A blocked accept ends with ConnectionClosed when the server is shut down."""
        server, ends = self.serve(), []

        def accept() -> None:
            try:
                server.accept()
            except ConnectionClosed as error:
                ends.append(error.code)
        thread = self.in_thread(accept)
        server.shutdown()
        thread.join(DEADLINE)
        # RuntimeError if shutdown() came before accept() checked.
        self.assertIn(ends, ([1001], []))


class ServeTests(TestCase):
    """The serve function."""

    def test_bind_error(self) -> None:
        """Where it cannot listen, serve ends the program with one line that says what to do."""
        server = self.serve(Recorder)
        with self.assertRaises(SystemExit) as caught:
            serve(Recorder, port=server.port)
        self.assertRegex(str(caught.exception), rf"\A.*:{server.port}: .*choose another port.*\Z")
        with self.assertRaisesRegex(SystemExit, "cannot find the host"):
            serve(Recorder, host="no.such.host.invalid", port=0)
