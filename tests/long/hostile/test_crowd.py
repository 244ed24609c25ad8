"""Many peers at once: those allowed are held, one too many is refused, floods are bounded."""

from __future__ import annotations

import selectors
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import SimpleNamespace
from unittest import mock

from ...attack import LATE, Echo, HostileCase
from ...client import Client, frame, request
from ...support import DEADLINE, PROJECT, wait_until

try:
    import resource
except ImportError:  # Windows.
    resource = None  # type: ignore[assignment]

#: 5000 work as well but take about ten seconds; 1000 take two.
_CROWD = 1000
_FILES = _CROWD + 200

_SERVER = """
import logging, resource, sys, time
from mmdagent_remote import Handler, Server
crowd, files = map(int, sys.argv[1:])
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))

class Echo(Handler):
    def on_message(self, message):
        self.send(message)

server = Server(Echo, port=0, max_connections=crowd).start()
print(server.port, flush=True)
sys.stdin.readline()
print(len(server.connections), flush=True)
began = time.process_time()
time.sleep(0.5)
print(time.process_time() - began, flush=True)
sys.stdin.readline()
print(server.shutdown(20), flush=True)
"""


def limit_of_files() -> int:
    """The highest number of descriptors that a process here can be allowed."""
    if resource is None:
        return 0
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sys.maxsize if most == resource.RLIM_INFINITY else most


class CrowdTests(HostileCase):
    """A thousand agents."""

    def setUp(self) -> None:
        super().setUp()
        if limit_of_files() < _FILES:
            self.skipTest(f"a process may not have {_FILES} descriptors here")
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], _FILES), before[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)

    def test_held(self) -> None:
        """A thousand idle connections are held and cost little; one too many gets 503."""
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(_CROWD), str(_FILES)], cwd=PROJECT, text=True,
            bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.end, process)
        server = SimpleNamespace(address=("127.0.0.1", int(process.stdout.readline())))
        crowd = []
        for _ in range(_CROWD):
            crowd.append(Client(server))
            self.addCleanup(crowd[-1].sock.close)
        with Client(server, open=False) as late:
            late.send(request())
            self.assertEqual(late.read_head().split("\r\n")[0], "HTTP/1.1 503 Service Unavailable")
        process.stdin.write("how many\n")
        self.assertEqual(int(process.stdout.readline()), _CROWD)
        self.assertLess(float(process.stdout.readline()), 0.4, "idle connections cost little")
        for client in crowd[::100]:
            self.assert_served(client)
        crowd.pop().sock.close()
        self.in_again(server)
        out, err = process.communicate("end\n", timeout=2 * DEADLINE)
        self.assertEqual((out, err), ("[]\n", ""))

    def in_again(self, server: SimpleNamespace) -> None:
        """A place that became free is given to the next client."""
        def is_in() -> bool:
            with Client(server, open=False) as client:
                client.send(request())
                if " 101 " in client.read_head().split("\r\n")[0]:
                    self.assert_served(client)
                    return True
                return False
        wait_until(is_in)

    def end(self, process: subprocess.Popen[str]) -> None:
        """Kill the server's process, if it still runs."""
        process.kill()
        process.wait(DEADLINE)
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


class RefusedTests(HostileCase):
    """More clients than allowed."""

    def test_flood_of_newcomers(self) -> None:
        """Clients beyond max_connections cost a bounded number of threads; the others go on."""
        server = self.serve(Echo, max_connections=3, open_timeout=DEADLINE)
        inside = [Client(server) for _ in range(3)]
        before = threading.active_count()
        outside = [Client(server, open=False) for _ in range(100)]
        for client in inside + outside:
            self.addCleanup(client.sock.close)
        # One more client that is refused shows that all before it were handled.
        with socket.create_connection(server.address, timeout=DEADLINE) as last:
            self.assertEqual(last.recv(1), b"")
        self.assertLessEqual(threading.active_count(), before + 40)
        for client in inside:
            self.assert_served(client)

    def test_comes_and_goes(self) -> None:
        """Clients that connect and leave as fast as they can do not keep others out."""
        server = self.serve(Echo, max_connections=20)
        stop = threading.Event()

        def storm() -> None:
            while not stop.is_set():
                try:
                    with Client(server, open=False) as client:
                        client.send(request() + frame("x\n"))
                except OSError:
                    pass
        self.addCleanup(stop.set)
        for _ in range(2):
            self.in_thread(storm)
        with Client(server) as client:
            began = time.monotonic()
            while time.monotonic() - began < 1.0:
                self.assert_served(client)
            wait_until(lambda: self.gets_in(server), timeout=LATE)
        stop.set()
        wait_until(lambda: not server.connections)

    def gets_in(self, server: object) -> bool:
        """Whether another client is accepted."""
        with Client(server, open=False) as client:
            client.send(request())
            return " 101 " in client.read_head().split("\r\n")[0]

    def test_late_to_its_shutdown(self) -> None:
        """An accepting thread that gets no CPU for seconds still ends after a shutdown."""
        is_late, go_on = threading.Event(), threading.Event()

        class Late(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
            has_accepted = False

            def select(self, timeout: float | None = None) -> object:
                found = super().select(0)
                if self.has_accepted and not found:
                    is_late.set()
                    go_on.wait(DEADLINE)
                found = found or super().select(timeout)
                if found and threading.current_thread().name.endswith("-accept"):
                    self.has_accepted = True
                return found

        with mock.patch.object(selectors, "DefaultSelector", Late):
            server = self.serve(Echo, host="127.0.0.1")
            accepting = [each for each in threading.enumerate() if each.name.endswith("-accept")]
            socket.create_connection(server.address, timeout=DEADLINE).close()
            self.assertTrue(is_late.wait(DEADLINE))
            server.shutdown()
        go_on.set()
        accepting[-1].join(3.0)
        try:
            self.assertFalse(accepting[-1].is_alive())
        finally:
            # A new client releases it.
            while accepting[-1].is_alive():
                with suppress(OSError):
                    socket.create_connection(server.address, timeout=DEADLINE).close()
                accepting[-1].join(0.1)
