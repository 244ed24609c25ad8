"""Handler: hooks, sending, reading and ending, over real sockets."""

from __future__ import annotations

import logging
import threading
import time

from mmdagent_remote import (ConnectionClosed, Handler, HandshakeRejected, InvalidMessage, Message)

from .client import BINARY, CLOSE, TEXT, Client, frame
from .support import DEADLINE, Recorder, TestCase, wait_until


class HookTests(TestCase):
    """Which hook is called, when, and in which thread."""

    def test_messages_in_order(self) -> None:
        """on_message gets every line once, in order, however lines are spread over messages."""
        server = self.serve(Recorder)
        with Client(server) as client:
            client.text("a|1\nb")
            client.send(frame("c\r\n\r\nd\re\n"))
            client.send(frame(b"f\n", BINARY))
            handler = server.wait_connected(DEADLINE)
            wait_until(lambda: len(handler.messages_seen) == 6)
            self.assertEqual(handler.messages_seen, ["a|1", "b", "c", "d", "e", "f"])
            self.assertEqual(handler.messages_seen[0].args, ("1",))

    def test_one_thread(self) -> None:
        """All hooks of a connection run in its own named thread."""
        names = []

        class Named(Recorder):
            def on_request(self) -> None:
                names.append(threading.current_thread().name)

            def on_open(self) -> None:
                names.append(threading.current_thread().name)
                super().on_open()

            def on_message(self, message: Message) -> None:
                names.append(threading.current_thread().name)

            def on_close(self, code: int, reason: str) -> None:
                names.append(threading.current_thread().name)
                super().on_close(code, reason)

        server = self.serve(Named)
        with Client(server) as client:
            client.text("a\n")
            handler = server.wait_connected(DEADLINE)
            wait_until(lambda: len(names) == 3)
        self.assertTrue(handler.done.wait(DEADLINE))
        self.assertEqual(len(set(names)), 1)
        self.assertRegex(names[0], r"^mmdagent-remote-\d+$")

    def test_init_needs_no_super(self) -> None:
        """A handler's __init__ need not call super(); the connection is attached later."""
        found = []

        class Own(Handler):
            def __init__(self) -> None:
                self.mine = 3
                try:
                    self.send("A")
                except RuntimeError as error:
                    found.append(str(error))

            def on_message(self, message: Message) -> None:
                self.send("MINE", self.mine)

        with Client(self.serve(Own)) as client:
            client.text("x")
            self.assertEqual(client.lines(1), ["MINE|3"])
        self.assertIn("on_open", found[0])

    def test_before_and_after(self) -> None:
        """Attributes raise RuntimeError before a connection is attached; repr() always works."""
        handler = Handler()
        for name in ("path", "query", "headers", "server", "is_mmdagent", "closed"):
            with self.subTest(name), self.assertRaises(RuntimeError):
                getattr(handler, name)
        self.assertEqual(repr(handler), "<Handler, not connected>")
        server = self.serve()
        with Client(server, "/chat"):
            agent = server.accept(DEADLINE)
            self.assertIs(agent.server, server)
            self.assertRegex(repr(agent), r"^<Agent mmdagent-remote-\d+ /chat open>$")
            agent.close()
            self.assertRegex(repr(agent), "closed>$")

    def test_request_attributes(self) -> None:
        """path, query, headers and remote_address can already be used in on_request."""
        seen = []

        class Asking(Handler):
            def on_request(self) -> None:
                seen.append((self.path, self.query, self.headers["x-own"], self.remote_address[0],
                             self.is_mmdagent, "X-OWN" in self.headers))

        with Client(self.serve(Asking), "/a%20b?x=1&x=2&y=", "X-Own: 5"):
            self.assertEqual(
                seen, [("/a b", {"x": ["1", "2"], "y": [""]}, "5", "127.0.0.1", False, True)])

    def test_rejection(self) -> None:
        """HandshakeRejected in on_request refuses the client with its status and reason."""
        class Refusing(Handler):
            def on_request(self) -> None:
                raise HandshakeRejected(401, "Say Please")

        with Client(self.serve(Refusing), open=False) as client:
            from .client import request
            client.send(request())
            answer = client.read_all().decode()
        self.assertTrue(answer.startswith("HTTP/1.1 401 Say Please\r\n"), answer)

    def test_failing_request_hook(self) -> None:
        """Any other exception in on_request is logged, and answered with 500."""
        class Failing(Handler):
            def on_request(self) -> None:
                raise ZeroDivisionError

        server = self.serve(Failing)
        with self.assertLogs("mmdagent_remote", logging.ERROR), Client(server, open=False) as client:
            from .client import request
            client.send(request())
            self.assertTrue(client.read_all().startswith(b"HTTP/1.1 500 "))

    def test_error_goes_on(self) -> None:
        """A hook that raises is reported to on_error, and the connection goes on."""
        class Failing(Recorder):
            def on_message(self, message: Message) -> None:
                if message == "bad":
                    raise ValueError("bad")
                self.send("OK")

        server = self.serve(Failing)
        with Client(server) as client:
            client.text("bad\ngood\n")
            self.assertEqual(client.lines(1), ["OK"])
            handler = server.connections[0]
            self.assertEqual([str(error) for error in handler.errors], ["bad"])

    def test_default_error_hook_logs(self) -> None:
        """The default on_error logs a traceback with the connection's name and address."""
        class Failing(Handler):
            def on_message(self, message: Message) -> None:
                raise ValueError("bad")

        server = self.serve(Failing)
        with self.assertLogs("mmdagent_remote.connection", logging.ERROR) as logs:
            with Client(server) as client:
                client.text("x\n")
                wait_until(lambda: logs.records)
        record = logs.records[0]
        self.assertIn("127.0.0.1", record.getMessage())
        self.assertIsNotNone(record.exc_info)
        self.assertRegex(getattr(record, "connection"), "mmdagent-remote-")

    def test_failing_error_hook(self) -> None:
        """An on_error that raises is logged, and the connection still goes on."""
        class Failing(Handler):
            def on_message(self, message: Message) -> None:
                if message == "x":
                    raise ValueError
                self.send("OK")

            def on_error(self, error: Exception) -> None:
                raise KeyError

        server = self.serve(Failing)
        with self.assertLogs("mmdagent_remote", logging.ERROR), Client(server) as client:
            client.text("x\ny\n")
            self.assertEqual(client.lines(1), ["OK"])

    def test_own_text_hook(self) -> None:
        """An overridden on_text gets whole texts; super() cuts them into lines."""
        texts = []

        class Whole(Recorder):
            def on_text(self, text: str) -> None:
                texts.append(text)
                super().on_text(text.upper())

        server = self.serve(Whole)
        with Client(server) as client:
            client.text("a\nb\n")
            client.send(frame(b"c", BINARY))
            handler = server.wait_connected(DEADLINE)
            wait_until(lambda: len(handler.messages_seen) == 3)
        self.assertEqual(texts, ["a\nb\n", "c"])
        self.assertEqual(handler.messages_seen, ["A", "B", "C"])

    def test_own_binary_hook(self) -> None:
        """An overridden on_binary gets the bytes; super() treats UTF-8 as text."""
        got = []

        class Binary(Recorder):
            def on_binary(self, data: bytes) -> None:
                got.append(data)
                if data != b"\xff":
                    super().on_binary(data)

        server = self.serve(Binary)
        with Client(server) as client:
            client.send(frame(b"\xff", BINARY) + frame(b"a\nb", BINARY))
            handler = server.wait_connected(DEADLINE)
            wait_until(lambda: len(handler.messages_seen) == 2)
        self.assertEqual((got, handler.messages_seen), ([b"\xff", b"a\nb"], ["a", "b"]))

    def test_lines_before_close(self) -> None:
        """Every line that the peer sent reaches on_message before on_close, exactly once."""
        order = []

        class Slow(Recorder):
            def on_message(self, message: Message) -> None:
                time.sleep(0.002)
                order.append(str(message))

            def on_close(self, code: int, reason: str) -> None:
                order.append(f"close {code} {reason}")
                super().on_close(code, reason)

        server = self.serve(Slow)
        with Client(server) as client:
            client.text("".join(f"{i}\n" for i in range(100)))
            client.send(frame(b"\x03\xe8bye", CLOSE))
            self.assertEqual(client.close_code(), 1000)
        wait_until(lambda: order and order[-1].startswith("close"))
        self.assertEqual(order, [*map(str, range(100)), "close 1000 bye"])

    def test_lines_behind_a_failed_send(self) -> None:
        """A send that fails because the peer has left does not lose the lines that came before."""
        class Answering(Recorder):
            def on_message(self, message: Message) -> None:
                super().on_message(message)
                time.sleep(0.001)
                self.send("ANSWER")

        server = self.serve(Answering)
        for mmdagent in (False, True):
            with Client(server, mmdagent=mmdagent) as client:
                client.send(b"".join(frame(f"{i}\n") for i in range(300)))
                wait_until(lambda: server.connections)
                handler = server.connections[0]
            self.assertTrue(handler.done.wait(DEADLINE))
            self.assertEqual(handler.messages_seen, [str(i) for i in range(300)])
            self.assertEqual(handler.closes[0][0], 1006)

    def test_own_text_hook_and_a_long_line(self) -> None:
        """max_line_size also holds for a handler with its own on_text; earlier lines arrive."""
        class Whole(Recorder):
            def on_text(self, text: str) -> None:
                super().on_text(text)

        server = self.serve(Whole, max_line_size=100)
        with Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            client.text("a\n" + "x" * 101 + "\nb\n")
            self.assertEqual(client.close_code(), 1009)
        self.assertTrue(handler.done.wait(DEADLINE))
        self.assertEqual(handler.messages_seen, ["a"])

    def test_lost_connection(self) -> None:
        """A connection that ends without a Close frame reaches on_close as 1006."""
        server = self.serve(Recorder)
        with Client(server) as client:
            client.text("half a line")
            handler = server.wait_connected(DEADLINE)
        self.assertTrue(handler.done.wait(DEADLINE))
        self.assertEqual(handler.closes, [(1006, "")])
        self.assertEqual(handler.messages_seen, ["half a line"])

    def test_spawn(self) -> None:
        """spawn runs a function in a named daemon thread that may send, and ends quietly."""
        threads = []

        class Ticking(Recorder):
            def on_open(self) -> None:
                threads.append(self.spawn(self.tick, 0.01))

            def tick(self, pause: float) -> None:
                while not self.wait_closed(pause):
                    self.send("TICK")
                self.send("too late")

        server = self.serve(Ticking)
        with self.assertNoLogs("mmdagent_remote", logging.WARNING):
            with Client(server) as client:
                self.assertEqual(client.lines(3), ["TICK"] * 3)
            threads[0].join(DEADLINE)
        self.assertTrue(threads[0].daemon)
        self.assertRegex(threads[0].name, r"^mmdagent-remote-\d+-tick$")
        self.assertFalse(threads[0].is_alive())

    def test_spawned_error(self) -> None:
        """An exception in a spawned function is logged, and the connection goes on."""
        class Spawning(Handler):
            def on_open(self) -> None:
                self.spawn(self.fail)

            def fail(self) -> None:
                raise ValueError("spawned")

            def on_message(self, message: Message) -> None:
                self.send("OK")

        server = self.serve(Spawning)
        with self.assertLogs("mmdagent_remote", logging.ERROR) as logs, Client(server) as client:
            client.text("x")
            self.assertEqual(client.lines(1), ["OK"])
            wait_until(lambda: logs.records)

    def test_closed_of_another_connection_is_an_error(self) -> None:
        """ConnectionClosed of another connection goes to on_error."""
        class Relay(Recorder):
            def on_message(self, message: Message) -> None:
                raise ConnectionClosed(1000, "", connection="another")

        server = self.serve(Relay)
        with Client(server) as client:
            client.text("x")
            handler = server.wait_connected(DEADLINE)
            wait_until(lambda: handler.errors)


class HandleTests(TestCase):
    """An overridden handle() owns the thread."""

    def test_blocking_dialogue(self) -> None:
        """handle() may block in read_line, and ends quietly with the connection."""
        class Dialogue(Recorder):
            def handle(self) -> None:
                while True:
                    self.write_line("GOT|" + self.read_line())

        server = self.serve(Dialogue)
        with Client(server) as client:
            for word in ("a", "b"):
                client.text(word)
                self.assertEqual(client.lines(1), ["GOT|" + word])
            handler = server.connections[0]
        self.assertTrue(handler.done.wait(DEADLINE))
        self.assertEqual(handler.errors, [])

    def test_return_closes(self) -> None:
        """When handle() returns, the connection closes with 1000, but lasts about a second."""
        class Short(Recorder):
            def handle(self) -> None:
                self.send("BYE")

        server = self.serve(Short)
        with Client(server) as client:
            self.assertEqual(client.lines(1), ["BYE"])
            self.assertEqual(client.close_code(), 1000)
            self.assertGreaterEqual(time.monotonic() - client.opened_at, 0.9)

    def test_own_close_keeps_its_code(self) -> None:
        """However fast the peer leaves after our Close, on_close gets our code, exactly once."""
        closes: list[tuple[int, str]] = []

        class Noting(Handler):
            def on_open(self) -> None:
                self.spawn(self.close, 4000, "ours")

            def on_close(self, code: int, reason: str) -> None:
                closes.append((code, reason))

        server = self.serve(Noting)
        for _ in range(50):
            with Client(server) as client:
                client.close_code()
        wait_until(lambda: len(closes) == 50)
        self.assertEqual(set(closes), {(4000, "ours")})

    def test_raise_closes(self) -> None:
        """When handle() raises, on_error is called and the connection closes with 1011."""
        class Failing(Recorder):
            def handle(self) -> None:
                raise ValueError("no")

        server = self.serve(Failing)
        with Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            self.assertEqual(client.close_code(), 1011)
        self.assertTrue(handler.done.wait(DEADLINE))
        self.assertEqual(handler.closes, [(1011, "")])
        self.assertEqual(len(handler.errors), 1)

    def test_system_exit(self) -> None:
        """SystemExit in a hook ends that connection only, and on_close is still called."""
        class Exiting(Recorder):
            def on_message(self, message: Message) -> None:
                raise SystemExit

        server = self.serve(Exiting)
        with Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            client.text("x")
            self.assertEqual(client.close_code(), 1011)
        self.assertTrue(handler.done.wait(DEADLINE))


class ReadingTests(TestCase):
    """read_line, lines and messages."""

    def test_read_line_in_a_hook(self) -> None:
        """read_line inside a hook takes the next line, which on_message then does not see."""
        class Asking(Recorder):
            def on_message(self, message: Message) -> None:
                super().on_message(message)
                if message == "ask":
                    self.messages_seen.append("answer " + self.read_line(DEADLINE))

        server = self.serve(Asking)
        with Client(server) as client:
            client.text("ask\nyes\nmore\n")
            handler = server.wait_connected(DEADLINE)
            wait_until(lambda: len(handler.messages_seen) == 3)
        self.assertEqual(handler.messages_seen, ["ask", "answer yes", "more"])

    def test_timeouts(self) -> None:
        """read_line raises TimeoutError at its timeout; a timeout of 0 polls."""
        server = self.serve()
        with Client(server) as client:
            agent = server.accept(DEADLINE)
            for timeout in (0, 0.05):
                with self.assertRaises(TimeoutError):
                    agent.read_line(timeout)
            client.text("x")
            self.assertEqual(agent.read_line(DEADLINE), "x")
            with self.assertRaises(TimeoutError):
                next(agent.lines(timeout=0.01))

    def test_every_line_then_the_end(self) -> None:
        """ConnectionClosed comes after every line, with the peer's code and reason."""
        server = self.serve()
        with Client(server) as client:
            agent = server.accept(DEADLINE)
            client.text("a\nb\n")
            client.send(frame(b"\x0f\xa1why", CLOSE))
            self.assertEqual([agent.read_line(DEADLINE), agent.read_line(DEADLINE)], ["a", "b"])
            with self.assertRaises(ConnectionClosed) as caught:
                agent.read_line(DEADLINE)
        self.assertEqual((caught.exception.code, caught.exception.reason), (4001, "why"))
        self.assertTrue(agent.closed)

    def test_lines_end_quietly_or_not(self) -> None:
        """lines() ends quietly on 1000, 1001 and no code, and raises on any other code."""
        for payload, quiet in ((b"\x03\xe8", True), (b"\x03\xe9", True), (b"", True),
                               (b"\x0f\xa0", False)):
            server = self.serve()
            with self.subTest(payload=payload), Client(server) as client:
                client.text("a\n")
                client.send(frame(payload, CLOSE))
                agent, got = server.accept(DEADLINE), []
                try:
                    for line in agent.lines(DEADLINE):
                        got.append(line)
                except ConnectionClosed:
                    self.assertFalse(quiet)
                else:
                    self.assertTrue(quiet)
                self.assertEqual(got, ["a"])

    def test_an_agent_leaves_quietly(self) -> None:
        """The FIN of MMDAgent-EX, which never sends a Close, is a normal end for messages()."""
        server = self.serve()
        with Client(server, mmdagent=True) as client:
            agent = server.accept(DEADLINE)
            client.text("a\n")
        self.assertEqual(list(agent.messages(DEADLINE)), ["a"])

    def test_one_reader(self) -> None:
        """A read in any thread but the connection's own raises RuntimeError."""
        server = self.serve(Recorder)
        with Client(server):
            handler = server.wait_connected(DEADLINE)
            with self.assertRaises(RuntimeError):
                handler.read_line(0)

    def test_one_reader_after_accept(self) -> None:
        """While one thread reads an accepted connection, another's read raises RuntimeError."""
        server = self.serve()
        with Client(server) as client:
            agent, got = server.accept(DEADLINE), []
            self.in_thread(lambda: got.append(agent.read_line(DEADLINE)))

            def second_reader_is_refused() -> bool:
                try:
                    agent.read_line(0)
                except RuntimeError:
                    return True
                except TimeoutError:
                    return False
                return False
            wait_until(second_reader_is_refused)
            client.text("x")
            wait_until(lambda: got)

    def test_close_wakes_a_reader(self) -> None:
        """close() from another thread wakes a blocked read_line at once."""
        server = self.serve()
        with Client(server):
            agent, ends = server.accept(DEADLINE), []

            def read() -> None:
                try:
                    agent.read_line()
                except ConnectionClosed as error:
                    ends.append((error.code, time.monotonic()))
            self.in_thread(read)
            time.sleep(0.05)  # Most likely the reader is blocked by now; the test holds either way.
            agent.close(1001)
            closed = time.monotonic()
            wait_until(lambda: ends)
            self.assertEqual(ends[0][0], 1001)
            self.assertLess(ends[0][1] - closed, 1.0)

    def test_reading_over_the_end(self) -> None:
        """A reader that races with the teardown gets every line, then the end."""
        server = self.serve()
        for number in range(40):
            with Client(server) as client:
                agent = server.accept(DEADLINE)
                client.send(frame("a\nb\n") + frame(b"\x03\xe8", CLOSE))
                if number % 2:
                    agent.wait_closed(0.1)
                self.assertEqual(list(agent.lines(DEADLINE)), ["a", "b"])

    def test_sending_over_the_end(self) -> None:
        """A sender that races with the teardown gets ConnectionClosed at once."""
        server = self.serve()
        for _ in range(30):
            with Client(server) as client:
                agent = server.accept(DEADLINE)
                client.send(frame(b"\x03\xe8", CLOSE))
                began = time.monotonic()
                with self.assertRaises(ConnectionClosed):
                    while True:
                        agent.send("A")
                self.assertLess(time.monotonic() - began, 5.0)

    def test_own_close_drops(self) -> None:
        """After our own close, lines that were not delivered are dropped."""
        server = self.serve()
        with Client(server) as client:
            agent = server.accept(DEADLINE)
            client.text("a\nb\n")
            self.assertEqual(agent.read_line(DEADLINE), "a")
            agent.close()
            with self.assertRaises(ConnectionClosed):
                agent.read_line(0)


class SendingTests(TestCase):
    """send and its siblings."""

    def test_forms(self) -> None:
        """send takes fields, a whole line, or a Message; the newline is added once."""
        server = self.serve()
        with Client(server) as client:
            agent = server.accept(DEADLINE)
            agent.send("A", "b", 3, 0.5)
            agent.send("A|b")
            agent.send("A|b\n")
            agent.send(Message("M|n"))
            agent.write_line("W|")
            agent.send_lines(["L|1", "L|2\n"])
            agent.send_lines([])
            self.assertEqual(client.lines(7), [
                "A|b|3|0.5", "A|b", "A|b", "M|n", "W|", "L|1", "L|2"])

    def test_refusals(self) -> None:
        """What cannot be sent raises before a byte leaves, and the connection goes on."""
        server = self.serve()
        with Client(server) as client:
            agent = server.accept(DEADLINE)
            for fields in ((), (None,), ("A", None), ("A", True), (3,), ("A", b"x")):
                with self.subTest(fields=fields), self.assertRaises(TypeError):
                    agent.send(*fields)
            for fields in (("",), ("\n",), ("A\nB",), ("A", "x\ry"), ("A", "\0"), ("A", "b|c"),
                           ("A", "", "b"), ("A||b",), ("\ud800",), ("A", *"01234567890"),
                           ("A", float("nan"))):
                with self.subTest(fields=fields), self.assertRaises(InvalidMessage):
                    agent.send(*fields)
            with self.assertRaises(InvalidMessage):
                agent.send_lines(["good", "bad\nbad"])
            with self.assertRaises(TypeError):
                agent.send_lines("AB")
            agent.send("OK")
            self.assertEqual(client.lines(1), ["OK"])

    def test_raw_messages(self) -> None:
        """To any other client, send_text and send_binary send one message unchanged."""
        server = self.serve()
        with Client(server) as client:
            agent = server.accept(DEADLINE)
            for text in ("no newline", "", "\u3042" * 30000):
                agent.send_text(text)
                found = client.frame()
                self.assertEqual((found.opcode, found.payload.decode()), (TEXT, text))
            agent.send_binary(bytes(70000))
            self.assertEqual(client.frame()[1:3], (BINARY, bytes(70000)))
            with self.assertRaises(InvalidMessage):
                agent.send_text("\ud800")
            for bad in (agent.send_text, agent.send_binary):
                with self.assertRaises(TypeError):
                    bad(5)

    def test_after_the_end(self) -> None:
        """Every call on an ended connection raises ConnectionClosed that names it."""
        server = self.serve()
        with Client(server):
            agent = server.accept(DEADLINE)
            agent.close(4000, "done")
            agent.close()
            self.assertTrue(agent.wait_closed(0))
            for call in (lambda: agent.send("A"), lambda: agent.read_line(), lambda: agent.spawn(print)):
                with self.assertRaises(ConnectionClosed) as caught:
                    call()
                self.assertEqual((caught.exception.code, caught.exception.reason), (4000, "done"))
                self.assertIn("mmdagent-remote-", str(caught.exception))

    def test_close_arguments(self) -> None:
        """close() refuses a code or a reason that is not allowed in a Close frame."""
        server = self.serve()
        with Client(server):
            agent = server.accept(DEADLINE)
            for code in (0, 999, 1005, 1006, 1015, 2000, 5000):
                with self.assertRaises(ValueError):
                    agent.close(code)
            with self.assertRaises(ValueError):
                agent.close(1000, "x" * 124)
            self.assertFalse(agent.closed)
            agent.close(1000, "x" * 123)

    def test_many_writers(self) -> None:
        """Lines of eight threads on one connection are never torn; each thread's stay in order."""
        server, each = self.serve(), 200
        with Client(server) as client:
            agent = server.accept(DEADLINE)

            def write(name: int) -> None:
                for number in range(each):
                    agent.send("W", name, number)
            for name in range(8):
                self.in_thread(write, name)
            lines = client.lines(8 * each)
        for name in range(8):
            own = [line for line in lines if line.startswith(f"W|{name}|")]
            self.assertEqual(own, [f"W|{name}|{number}" for number in range(each)])

    def test_peer_that_does_not_read(self) -> None:
        """A send raises TimeoutError after send_timeout, and the connection is then closed."""
        server = self.serve(send_timeout=0.3)
        with Client(server):
            agent = server.accept(DEADLINE)
            with self.assertRaises(TimeoutError):
                while True:
                    agent.send_binary(bytes(1 << 20))
            self.assertTrue(agent.wait_closed(DEADLINE))
            with self.assertRaises(ConnectionClosed):
                agent.send("A")

    def test_full_duplex_flood(self) -> None:
        """Both sides may send megabytes at once without a deadlock."""
        class Echo(Handler):
            def on_message(self, message: Message) -> None:
                self.send(message)

        server, line, count = self.serve(Echo), "x" * 10000, 600
        with Client(server) as client:
            self.in_thread(lambda: [client.text(line) for _ in range(count)])
            self.assertEqual(set(client.lines(count)), {line})
