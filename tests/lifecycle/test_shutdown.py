"""shutdown() is in time and complete, whatever the connections do and wherever it is called."""

from __future__ import annotations

import logging
import select
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from mmdagent_remote import ConnectionClosed, Message, Server

from ..client import Client, frame, request
from ..support import DEADLINE, Recorder, TestCase, client_context, server_context, wait_until

#: One second is promised; this allows for a loaded machine.
IN_TIME = 3.0


class Reading(Recorder):
    """Blocks in read_line."""

    def handle(self) -> None:
        self.opened.set()
        while True:
            self.read_line()


class Sending(Recorder):
    """Sends until it blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0

    def handle(self) -> None:
        while True:
            self.send("x" * 2000)
            self.sent += 1


class Away(Recorder):
    """Reads nothing, so that its queue fills up, until the connection has ended."""

    def handle(self) -> None:
        self.opened.set()
        self.wait_closed()


class Waiting(Recorder):
    """Blocks in user code that does not check whether the connection has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    def on_message(self, message: Message) -> None:
        super().on_message(message)
        self.release.wait(3600)


HANDLERS = {"/": Recorder, "/read": Reading, "/send": Sending, "/away": Away, "/wait": Waiting}


class States:
    """Brings connections of a server into each state in which a shutdown may meet them."""

    def __init__(self, test: TestCase, server: Server, *, tls: bool = False) -> None:
        self._test = test
        self._server = server
        self._context = client_context() if tls else None

    def connect(self, path: str = "/", *, mmdagent: bool = False, open: bool = True,
                tls: bool = True) -> Client:
        """A client that is closed at the end of the test."""
        client = Client(self._server, path, mmdagent=mmdagent, open=open,
                        tls=self._context if tls else None)
        self._test.addCleanup(client.sock.close)
        return client

    def handler(self, client: Client) -> Recorder:
        """The handler of a client."""
        address = client.sock.getsockname()
        wait_until(lambda: any(each.remote_address == address for each in self._server.connections))
        found = next(each for each in self._server.connections if each.remote_address == address)
        assert isinstance(found, Recorder)
        return found

    def idle(self, *, mmdagent: bool = False) -> None:
        """Open, and silent."""
        self.handler(self.connect(mmdagent=mmdagent)).opened.wait(DEADLINE)

    def idle_agent(self) -> None:
        """The same, of MMDAgent-EX."""
        self.idle(mmdagent=True)

    def without_a_word(self) -> None:
        """Connected, without a byte sent."""
        self.connect(open=False, tls=False)

    def without_a_request(self) -> None:
        """Connected, with TLS if there is any, but no request."""
        self.connect(open=False)

    def in_the_request(self) -> None:
        """Half a request."""
        self.connect(open=False).send(request()[:40])

    def in_the_tls_hello(self) -> None:
        """Half of a TLS hello; to a plain server it is half a request."""
        outgoing = ssl.MemoryBIO()
        tls = client_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
        with suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        self.connect(open=False, tls=False).send(outgoing.read()[:50])

    def in_a_frame(self) -> None:
        """Half a frame."""
        client = self.connect()
        self.handler(client)
        client.send(frame("x" * 100)[:50])

    def in_read_line(self) -> None:
        """The handler blocks in read_line."""
        self.handler(self.connect("/read")).opened.wait(DEADLINE)

    def in_send(self) -> None:
        """The handler blocks in send, since the peer does not read."""
        handler = self.handler(self.connect("/send"))
        wait_until(lambda: handler._connected().wire.is_stuck)

    def in_send_to_an_agent(self) -> None:
        """The handler waits in send for its place in the queue to MMDAgent-EX."""
        handler = self.handler(self.connect("/send", mmdagent=True))
        assert isinstance(handler, Sending)
        wait_until(lambda: handler.sent > 50)

    def full_queue(self) -> None:
        """More lines came than the queue holds, and the handler takes none."""
        client = self.connect("/away")
        handler = self.handler(client)
        client.text("line\n" * 100)
        wait_until(lambda: handler._connected()._queue.is_paused)


EVERY_STATE: tuple[Callable[[States], None], ...] = (
    States.idle, States.idle_agent, States.without_a_word, States.without_a_request,
    States.in_the_request, States.in_the_tls_hello, States.in_a_frame, States.in_read_line,
    States.in_send, States.in_send_to_an_agent, States.full_queue)


class ShutdownCase(TestCase):
    """Checks the time that a shutdown takes."""

    def start(self, *, tls: bool = False) -> Server:
        """A server for every state."""
        if tls:
            logger = logging.getLogger("mmdagent_remote.server")
            logger.setLevel(logging.ERROR)
            self.addCleanup(logger.setLevel, logging.NOTSET)
        return self.serve(HANDLERS, max_queue=10, max_send_queue=65536,
                          ssl_context=server_context() if tls else None)

    def check_shutdown(self, server: Server) -> None:
        """shutdown() from a thread outside the server ends in time, with all server threads."""
        names: list[list[str]] = []
        began = time.monotonic()
        self.in_thread(lambda: names.append(server.shutdown())).join(DEADLINE)
        self.assertLess(time.monotonic() - began, IN_TIME)
        self.assertEqual(names, [[]])
        self.assertEqual(server_threads(), [])


def server_threads() -> list[str]:
    """The names of all threads of servers that are alive."""
    return [thread.name for thread in threading.enumerate()
            if thread.name.startswith("mmdagent-remote-")]


class StatesTests(ShutdownCase):
    """The states of connections."""

    def test_each(self) -> None:
        """shutdown() is as fast with a connection in any one state."""
        for state in EVERY_STATE:
            with self.subTest(state.__name__):
                server = self.start()
                state(States(self, server))
                self.check_shutdown(server)

    def test_all_at_once(self) -> None:
        """shutdown() is as fast with connections in every state at once, without and with TLS."""
        for tls in (False, True):
            with self.subTest(tls=tls):
                server = self.start(tls=tls)
                states = States(self, server, tls=tls)
                for state in EVERY_STATE:
                    state(states)
                self.check_shutdown(server)

    def test_unaccepted(self) -> None:
        """shutdown() is as fast with connections that were not accepted, or are no longer read."""
        server = self.serve(max_queue=10)
        clients = [Client(server) for _ in range(3)]
        wait_until(lambda: len(server.connections) == 3)
        for client in clients:
            self.addCleanup(client.sock.close)
            client.text("line\n" * 100)
        agent = server.accept(DEADLINE)
        self.assertEqual(agent.read_line(DEADLINE), "line")
        self.check_shutdown(server)
        with self.assertRaises(ConnectionClosed):
            agent.read_line(DEADLINE)

    def test_asleep_for_an_hour(self) -> None:
        """A handler that sleeps for an hour is returned by name in time; all else has ended."""
        server = self.start()
        states = States(self, server)
        states.idle()
        states.in_read_line()
        client = states.connect("/wait")
        client.text("x\n")
        handler = states.handler(client)
        assert isinstance(handler, Waiting)
        self.addCleanup(handler.release.set)
        wait_until(lambda: handler.messages_seen)
        began = time.monotonic()
        names = server.shutdown(timeout=0.5)
        elapsed = time.monotonic() - began
        self.assertGreaterEqual(elapsed, 0.5)
        self.assertLess(elapsed, 0.5 + IN_TIME)
        self.assertEqual(names, server_threads())
        self.assertEqual(len(names), 1)
        self.assertTrue(handler.closed)
        # The port is free, although the handler still sleeps.
        with Server(Recorder, port=server.port):
            pass
        handler.release.set()
        self.assertTrue(handler.done.wait(DEADLINE))
        self.assertEqual(handler.closes, [(1001, "the server is shutting down")])


class JustOpenTests(ShutdownCase):
    """A connection whose request was judged, but which the server does not list yet."""

    def setUp(self) -> None:
        self.entered, self.release = threading.Event(), threading.Event()
        self.addCleanup(self.release.set)
        test, self.handlers = self, list[Recorder]()

        class Opening(Away):
            # This property is read just before shutdown() can know of the connection.
            @property
            def echoes(self) -> bool:  # type: ignore[override]
                test.handlers.append(self)
                test.entered.set()
                return test.release.wait(DEADLINE)

        self.server = Server(Opening, port=0, max_queue=2).start()
        self.client = Client(self.server, open=False)
        self.addCleanup(self.client.sock.close)
        self.client.send(request())
        self.assertTrue(self.entered.wait(DEADLINE))

    def shut_down(self) -> tuple[list[str], float]:
        """Shut down at this very moment; return the result, and the seconds from then on."""
        names: list[str] = []
        thread = self.in_thread(lambda: names.extend(self.server.shutdown(timeout=2)))
        # By now shutdown() has cut the connection off, or left it until it is open.
        select.select([self.client.sock], [], [], 0.5)
        began = time.monotonic()
        self.release.set()
        thread.join(DEADLINE)
        return names, time.monotonic() - began

    # With a full queue nothing reads the socket, so its end might never be seen.
    def test_with_a_full_queue(self) -> None:
        """shutdown() ends it in time, even if more lines came than its queue holds."""
        self.client.text("line\n" * 100)
        names, elapsed = self.shut_down()
        ended = self.handlers[0].wait_closed(0)
        self.handlers[0].close()  # Else a failed test would leave it open.
        self.assertEqual((names, ended), ([], True))
        self.assertLess(elapsed, IN_TIME)


class CallersTests(ShutdownCase):
    """Where shutdown() is called, when, and how often."""

    def test_from_any_hook(self) -> None:
        """Any hook, handle() and a spawned function may call shutdown() twice, and go on."""
        for hook in ("on_request", "on_open", "on_message", "on_text", "on_close", "handle", "spawned"):
            with self.subTest(hook):
                self.check_hook(hook)

    def check_hook(self, hook: str) -> None:
        """A hook shuts down its own server."""
        answers: list[list[str]] = []
        done = threading.Event()

        class Ending(Recorder):
            def end(self, *_: object) -> None:
                answers.extend((self.server.shutdown(), self.server.shutdown()))
                done.set()

        if hook == "spawned":
            setattr(Ending, "on_open", lambda handler: handler.spawn(handler.end))
        else:
            setattr(Ending, hook, Ending.end)
        server = self.serve({"/": Ending, "/idle": Recorder})
        began = time.monotonic()
        with Client(server, "/idle") as idle, Client(server, open=False) as client:
            wait_until(lambda: server.connections)
            client.send(request() + frame("x\n") + frame(b"\x03\xe8", 8))
            self.assertTrue(done.wait(DEADLINE))
            self.assertEqual(idle.close_code(), 1001)
        self.assertLess(time.monotonic() - began, IN_TIME)
        self.assertEqual(answers, [[], []])
        wait_until(lambda: not server_threads())

    def test_from_hooks_of_two_connections(self) -> None:
        """Two connections' hooks and another thread may call shutdown() at once; none hangs."""
        answers: list[list[str]] = []
        together = threading.Barrier(3)

        class Ending(Recorder):
            def on_message(self, message: Message) -> None:
                together.wait(DEADLINE)
                answers.append(self.server.shutdown())

        for _ in range(4):
            answers.clear()
            server = self.serve(Ending)
            with Client(server) as one, Client(server) as two:
                one.text("x")
                two.text("x")
                together.wait(DEADLINE)
                began = time.monotonic()
                answers.append(server.shutdown())
                wait_until(lambda: len(answers) == 3)
                self.assertLess(time.monotonic() - began, IN_TIME)
            self.assertEqual(answers, [[], [], []])

    def test_during_start(self) -> None:
        """start() and shutdown() may race at any point; a last shutdown() leaves nothing behind."""
        server = Server(Recorder, port=0)
        self.addCleanup(server.shutdown)
        for _ in range(50):
            together = threading.Barrier(3)

            def run(act: Callable[[], object]) -> None:
                together.wait(DEADLINE)
                act()
            threads = [self.in_thread(run, act)
                       for act in (server.start, server.shutdown, server.shutdown)]
            for thread in threads:
                thread.join(DEADLINE)
                self.assertFalse(thread.is_alive())
            self.assertEqual(server.shutdown(), [])
            self.assertEqual(server_threads(), [])

    def test_while_clients_come(self) -> None:
        """shutdown() is as fast, and complete, while clients go on connecting."""
        over = threading.Event()
        self.addCleanup(over.set)
        server = self.start()

        def come() -> None:
            while not over.is_set():
                # Refused, reset or closed at once: any end will do.
                with suppress(OSError, EOFError), Client(server, open=False) as client:
                    client.send(request() + frame("x\n"))
                    client.read_head()
        for _ in range(4):
            self.in_thread(come)
        for _ in range(10):
            wait_until(lambda: server.connections)
            self.check_shutdown(server)
            server.start()
        over.set()
