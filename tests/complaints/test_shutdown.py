"""What users of threaded servers complain about: shutdown and threads."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import unittest

from mmdagent_remote import Message
from mmdagent_remote.serving.session import Session

from ..attack import LATE, Echo, HostileCase, reset, wait_done
from ..client import CLOSE, Client, frame, request
from ..support import DEADLINE, PROJECT, Recorder, wait_until

#: Interrupts every call in which a main thread may block.
_BLOCKED = """
import _thread, os, signal, sys, threading, time
from mmdagent_remote import Handler, Server
from mmdagent_remote.connection import transport
from mmdagent_remote.connection import turnstile
from tests.client import Client
if sys.argv[1] == "crowded":
    turnstile.TURNSTILE_FROM = -1
if sys.argv[1] == "sliced":
    # As on Windows: the interrupt is there, but it does not end a system call.
    transport.SLICED_WAITS, interrupt = True, _thread.interrupt_main
else:
    interrupt = lambda: os.kill(os.getpid(), signal.SIGINT)

def blocked(name, call, *args):
    timer = threading.Timer(0.2, interrupt)
    timer.start()
    try:
        call(*args)
        print(name, "returned")
    except KeyboardInterrupt:
        print(name, "interrupted")
    timer.join()

def flood(agent):
    while True:
        agent.send_binary(bytes(1 << 20))

with Server(port=0, send_timeout=60.0, ping_interval=None) as server:
    blocked("accept", server.accept)
    with Client(server) as client:
        agent = server.accept(20)
        blocked("read_line", agent.read_line)
        blocked("lines", list, agent.lines())
        blocked("wait_closed", agent.wait_closed)
        blocked("send", flood, agent)
with Server(Handler, port=0) as server:
    blocked("wait_connected", server.wait_connected)
blocked("serve_forever", Server(Handler, port=0).serve_forever)
"""

_LEFT = """
import sys, threading, time
from mmdagent_remote import Handler, Server
from tests.client import Client
inside = threading.Event()

class Stuck(Handler):
    def on_open(self):
        self.spawn(time.sleep, 1000)
        inside.set()
        while True:
            time.sleep(1000)

server = Server(Stuck if sys.argv[1] == "stuck" else None, port=0).start()
client = Client(server)
if sys.argv[1] == "stuck":
    inside.wait(20)
else:
    threading.Thread(target=server.accept(20).read_line, daemon=True).start()
"""

_SIGNALS = """
import signal
from mmdagent_remote import Handler, Server
numbers = sorted(signal.valid_signals() - {getattr(signal, "SIGKILL", 0), getattr(signal, "SIGSTOP", 0)})
before = [signal.getsignal(number) for number in numbers]
with Server(Handler, port=0):
    assert [signal.getsignal(number) for number in numbers] == before
assert [signal.getsignal(number) for number in numbers] == before
"""


class Away(Recorder):
    """Blocks in user code from its first line on, until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    def on_message(self, message: Message) -> None:
        super().on_message(message)
        self.release.wait(DEADLINE)


class ShutdownTests(HostileCase):
    """Ends that hang, leak or complain."""

    def run_script(self, code: str, *args: str) -> tuple[int, str, str]:
        """Run a Python process that ends by itself; return its status, output and errors."""
        process = subprocess.run([sys.executable, "-W", "error", "-c", code, *args], cwd=PROJECT,
                                 capture_output=True, text=True, timeout=2 * DEADLINE)
        return process.returncode, process.stdout, process.stderr

    def test_close_with_a_full_queue(self) -> None:
        """3, websockets #1336: a close with a full queue and bytes unread leaves no thread hanging."""
        server = self.serve(max_queue=5)
        with Client(server) as client:
            agent = server.accept(DEADLINE)
            client.sock.settimeout(0.5)
            self.flood(client, frame("y" * 1000 + "\n") * 64, 800)
            began = time.monotonic()
            agent.close()
            wait_until(lambda: not server._running().registry.sessions)
            self.assertLess(time.monotonic() - began, LATE)

    def test_exit_with_open_connections(self) -> None:
        """5, websockets #1455: neither a stuck handler nor a blocked reader keeps a program alive."""
        for kind in ("stuck", "reading"):
            with self.subTest(kind):
                status, out, err = self.run_script(_LEFT, kind)
                self.assertEqual((status, out), (0, ""))
                # A thread of the user may print how its read ended.
                self.assertTrue(kind == "reading" or not err, err)

    def test_both_close_at_once(self) -> None:
        """6, websockets #1596: a close by both ends at the same moment is quick and no error."""
        server = self.serve()
        with self.logged() as lines:
            for _ in range(50):
                with Client(server) as client:
                    agent = server.accept(DEADLINE)
                    closing = self.in_thread(agent.close)
                    client.send(frame(b"\x03\xe8", CLOSE))
                    self.assertEqual(client.close_code(), 1000)
                    with self.assertRaises((EOFError, ConnectionError)):
                        client.frame()
                    closing.join(DEADLINE)
                    self.assertTrue(agent.closed)
        self.assertEqual(lines.at(30), [])

    def test_shutdown_while_clients_come(self) -> None:
        """10, websocket-server #104: a shutdown while clients connect raises and logs nothing."""
        for _ in range(5):
            server, stop = self.serve(Echo), threading.Event()

            def come(server: object = server, stop: threading.Event = stop) -> None:
                while not stop.is_set():
                    try:
                        with Client(server, open=False) as client:
                            client.send(request() + frame("x\n"))
                            client.read_all()
                    except OSError:
                        pass
            self.addCleanup(stop.set)
            with self.logged() as lines:
                threads = [self.in_thread(come) for _ in range(3)]
                wait_until(lambda: server.connections)
                self.assertEqual(server.shutdown(DEADLINE), [])
                stop.set()
                for thread in threads:
                    thread.join(DEADLINE)
            self.assertEqual(lines.at(30), [])

    def test_thousands_of_connects(self) -> None:
        """11, cpython #75416: two thousand connections leave no thread and no object behind."""
        server = self.serve(Echo)
        with Client(server) as first:
            self.assert_served(first)
            threads = threading.active_count()
            for number in range(2000):
                with Client(server, open=number % 4 != 0) as client:
                    if number % 4 == 1:
                        client.send(frame(b"\x03\xe8", CLOSE))
                    elif number % 4 == 2:
                        reset(client)
            wait_until(lambda: len(server._running().registry.sessions) == 1)
            wait_until(lambda: threading.active_count() <= threads)
            gc.collect()
            left = [each for each in gc.get_objects() if isinstance(each, Session)]
            self.assertLess(len(left), 20)
            self.assertEqual(len(server.connections), 1)

    def test_interrupts_that_end_no_system_call(self) -> None:
        """12, cpython #80116: if Ctrl-C ends no system call, it still ends each blocking call."""
        status, out, err = self.run_script(_BLOCKED, "sliced")
        self.assertEqual((status, err), (0, ""))
        self.check_interrupted(out)

    @unittest.skipIf(os.name == "nt", "a process cannot send itself SIGINT there")
    def test_interrupts_are_not_swallowed(self) -> None:
        """14, websocket-client #964: Ctrl-C in a blocking call is the caller's KeyboardInterrupt."""
        for way in ("plain", "crowded"):  # Crowded: as with hundreds of connections.
            with self.subTest(way):
                status, out, err = self.run_script(_BLOCKED, way)
                self.assertEqual((status, err), (0, ""))
                self.check_interrupted(out)

    def check_interrupted(self, out: str) -> None:
        """Ctrl-C ends serve_forever(), and all other calls raise KeyboardInterrupt."""
        calls = ("accept", "read_line", "lines", "wait_closed", "send", "wait_connected")
        self.assertEqual(out.splitlines(),
                         [f"{call} interrupted" for call in calls] + ["serve_forever returned"])

    def test_no_signal_handler(self) -> None:
        """13, websockets #124: a server leaves every signal to the program that runs it."""
        self.assertEqual(self.run_script(_SIGNALS), (0, "", ""))

    def test_no_spinning_after_a_disconnect(self) -> None:
        """15, simple-websocket #4: a peer that left costs no CPU, even if its handler is busy."""
        server = self.serve({"/": Away, "/mmd": Away})
        accepting = self.serve()
        handlers = []
        for end in (reset, lambda client: client.sock.close(),
                    lambda client: client.send(frame(b"\x03\xe8", CLOSE))):
            for path in ("/", "/mmd"):
                with Client(server, path, mmdagent=path != "/") as client:
                    wait_until(lambda: len(server.connections) == 1)
                    handler = server.connections[0]
                    assert isinstance(handler, Away)
                    handlers.append(handler)
                    client.text("go\n")
                    wait_until(lambda handler=handler: handler.messages_seen)
                    end(client)
                    self.assertTrue(handler.wait_closed(DEADLINE))
            with Client(accepting) as client:
                client.text("nobody reads this\n")
                wait_until(lambda: accepting.connections)
                end(client)
                wait_until(lambda: not accepting.connections)
        self.assert_idle()
        for handler in handlers:
            handler.release.set()
            wait_done(handler)
