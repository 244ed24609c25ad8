"""Peers that vanish: half-open connections are ended in time, whatever waits for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import unittest

from mmdagent_remote import ConnectionClosed, Server

from ...attack import LATE, HostileCase, wait_done
from ...support import DEADLINE, PROJECT, Recorder

#: A few thousand of these fill the kernel's buffers.
_LINE = "x" * 1000

#: A client in a process of its own, which answers pings until it is stopped.
_STOPPABLE = """
import sys
from types import SimpleNamespace
from tests.client import PING, PONG, Client, frame
client = Client(SimpleNamespace(address=("127.0.0.1", int(sys.argv[1]))), mmdagent=bool(sys.argv[2]))
print("open", flush=True)
try:
    while True:
        found = client.frame()
        if found.opcode == PING:
            client.send(frame(found.payload, PONG))
except (EOFError, OSError):
    pass
"""


@unittest.skipIf(os.name == "nt", "a process cannot be stopped there")
class VanishedTests(HostileCase):
    """Half-open connections: the peer's process is stopped, and its kernel still acknowledges."""

    times = {"ping_interval": 0.4, "ping_timeout": 0.4}

    def vanish(self, server: Server, *, mmdagent: bool = False) -> None:
        """Start a client that connects and can be stopped."""
        process = subprocess.Popen(
            [sys.executable, "-c", _STOPPABLE, str(server.port), "yes" if mmdagent else ""],
            cwd=PROJECT, stdout=subprocess.PIPE)
        self.addCleanup(self.end, process)
        self.process = process
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline().strip(), b"open")

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process, stopped or not."""
        process.kill()
        process.communicate(timeout=DEADLINE)

    def stop(self) -> float:
        """Stop the client's process, and return the time."""
        self.process.send_signal(signal.SIGSTOP)
        return time.monotonic()

    def test_idle(self) -> None:
        """A client that answered pings and vanished is gone after ping_interval and ping_timeout."""
        for mmdagent in (False, True):
            with self.subTest(mmdagent=mmdagent):
                server = self.serve(Recorder, **self.times)
                self.vanish(server, mmdagent=mmdagent)
                handler = server.wait_connected(DEADLINE)
                # It lives longer than that, so its pongs keep it alive.
                self.assertFalse(handler.wait_closed(1.2))
                began = self.stop()
                wait_done(handler)
                self.assertLess(time.monotonic() - began, LATE)
                self.assertEqual(handler.closes, [(1011, "keepalive ping timeout")])
                self.assertEqual(server.connections, ())

    def test_reader(self) -> None:
        """A thread in read_line of a vanished client gets ConnectionClosed in time."""
        server = self.serve(**self.times)
        self.vanish(server)
        agent = server.accept(DEADLINE)
        self.stop()
        with self.assertRaises(ConnectionClosed) as caught:
            agent.read_line(DEADLINE)
        self.assertEqual(caught.exception.code, 1011)

    def test_stuck_send(self) -> None:
        """A send stuck on a vanished client ends with the connection, before send_timeout."""
        for mmdagent in (False, True):
            with self.subTest(mmdagent=mmdagent):
                server = self.serve(send_timeout=60.0, max_send_queue=20_000, **self.times)
                self.vanish(server, mmdagent=mmdagent)
                agent = server.accept(DEADLINE)
                began = self.stop()
                with self.assertRaises(ConnectionClosed) as caught:
                    while True:
                        agent.send_lines([_LINE] * 100)
                self.assertIn(caught.exception.code, (1006, 1011))
                self.assertLess(time.monotonic() - began, 2 * LATE)
                self.assertTrue(agent.wait_closed(DEADLINE))
