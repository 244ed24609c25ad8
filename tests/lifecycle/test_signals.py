"""Ctrl-C and SIGTERM, in processes of their own, with connections open."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
import unittest
from contextlib import ExitStack
from pathlib import Path

from ..cli.test_cli import Listen
from ..client import Client, request
from ..soak.peer import Address
from ..support import DEADLINE, PROJECT, TestCase, wait_until

#: One second is promised, and an interpreter needs some time to end.
IN_TIME = 6.0

SCRIPT = """
import mmdagent_remote as m

class Idle(m.Handler):
    pass

class Reading(m.Handler):
    def handle(self):
        while True:
            self.read_line()

class Sending(m.Handler):
    def handle(self):
        while True:
            self.send("x" * 2000)

class Ticking(m.Handler):
    def on_open(self):
        self.spawn(self.tick)
    def tick(self):
        while not self.wait_closed(2):
            self.send("TICK")

m.serve({"/idle": Idle, "/read": Reading, "/send": Sending, "/tick": Ticking}, port=0,
        send_timeout=60)
print("after")
"""

COUNTING = """
import threading
import mmdagent_remote as m

server = m.Server(m.Handler, port=0).start()
print(server.port, flush=True)
server = m.Server(m.Handler, port=server.port) if server.shutdown() == [] else None
while True:
    try:
        server.start()
        print("listening", flush=True)
        server.serve_forever()
    except KeyboardInterrupt:
        server.shutdown()  # It came before serve_forever() was there to see it.
    print("noticed", flush=True)
"""


@unittest.skipUnless(os.name == "posix", "needs POSIX signals")
class SignalTests(TestCase):
    """One signal ends a program."""

    def test_ctrl_c_ends_serve(self) -> None:
        """One Ctrl-C ends serve() quietly, whatever its connections do, and the script goes on."""
        process = subprocess.Popen([sys.executable, "-W", "error", "-c", SCRIPT], cwd=PROJECT,
                                   text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            with ExitStack() as stack:
                server = Address(("127.0.0.1", self.read_port(process)))
                for path in ("/idle", "/read", "/send", "/tick"):
                    for mmdagent in (False, True):
                        stack.enter_context(Client(server, path, mmdagent=mmdagent))
                for started in (b"", request()[:40]):
                    stack.enter_context(Client(server, open=False)).send(started)
                self.wait_for_threads(process, 13)
                began = time.monotonic()
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=DEADLINE)
                self.assertLess(time.monotonic() - began, IN_TIME)
        finally:
            process.kill()
            process.communicate()
        self.assertEqual((process.returncode, out), (0, "after\n"))
        # Each peer that does not read costs one warning with the number of lines, and nothing else.
        self.assertNotIn("Traceback", err)
        self.assertNotIn("Exception", err)

    def read_port(self, process: subprocess.Popen[str]) -> int:
        """The port of a script that has just begun to serve."""
        text = process.stderr.readline()
        port = int(text.split(":")[-1].split("/")[0])
        while "Ctrl-C" not in text:
            text = process.stderr.readline()
        return port

    def wait_for_threads(self, process: subprocess.Popen[str], count: int) -> None:
        """Wait until a process has `count` threads, and so starts none; the last test says why."""
        tasks = Path(f"/proc/{process.pid}/task")
        if tasks.exists():
            wait_until(lambda: len(list(tasks.iterdir())) == count, f"{count} threads")

    def test_sigterm_ends_listen(self) -> None:
        """SIGTERM ends ``listen`` as Ctrl-C does, quietly, while it waits for the keyboard."""
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number.name), Listen() as listen, ExitStack() as stack:
                clients = [stack.enter_context(Client(listen, "/chat", mmdagent=mmdagent))
                           for mmdagent in (False, True, True)]
                silent = stack.enter_context(socket.create_connection(listen.address, DEADLINE))
                self.wait_for_threads(listen.process, 7)
                for _ in clients:
                    self.assertIn("connected to /chat", listen.process.stdout.readline())
                began = time.monotonic()
                listen.process.send_signal(number)
                self.assertEqual([client.close_code() for client in clients], [1001, None, None])
                self.assertEqual(listen.process.wait(DEADLINE), 0)
                self.assertLess(time.monotonic() - began, IN_TIME)
                self.assertEqual(silent.recv(1), b"")
                self.assertEqual(listen.process.stderr.read(), "")
                self.assertEqual(listen.process.stdout.read().count("disconnected: 1001"), 3)

    def test_signal_while_a_client_comes(self) -> None:
        """A signal that comes together with a client still ends serve_forever()."""
        process = subprocess.Popen([sys.executable, "-c", COUNTING], cwd=PROJECT, text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        try:
            address = ("127.0.0.1", int(process.stdout.readline()))
            for _ in range(30):
                self.assertEqual(process.stdout.readline(), "listening\n")
                with socket.create_connection(address, DEADLINE):
                    process.send_signal(signal.SIGINT)
                    self.assertTrue(select.select([process.stdout], [], [], IN_TIME)[0], "is noticed")
                    self.assertEqual(process.stdout.readline(), "noticed\n")
        finally:
            process.kill()
            process.communicate()
