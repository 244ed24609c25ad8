"""``run.py``: the accepting thread when the system is out of descriptors."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest

from tests.client import Client, request
from tests.support import DEADLINE, PROJECT, TestCase

# A server that may open few more files until it reads a line, and whose log handler raises.
_SHORT = """
import logging, os, resource, sys
from mmdagent_remote import Handler, Server

class Raising(logging.Handler):
    def emit(self, record):
        print(record.levelname, flush=True)
        raise RuntimeError("a log that raises")

logger = logging.getLogger("mmdagent_remote.server")
logger.addHandler(Raising(logging.ERROR))
logger.propagate = False
with Server(Handler, host="127.0.0.1", port=0) as server:
    most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 2, hard))
    print(server.port, flush=True)
    sys.stdin.readline()
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    sys.stdin.readline()
    assert len(server.connections) == 5, server.connections
"""


class Address:
    """What a client needs to know about a server in another process."""

    def __init__(self, port: int) -> None:
        self.address = ("127.0.0.1", port)


@unittest.skipUnless(os.path.isdir("/proc/self/fd"), "this machine does not tell its open files")
class AcceptTest(TestCase):
    """The thread that accepts."""

    def test_survives_a_shortage(self) -> None:
        """Out of descriptors it logs an error, to a handler that raises, and goes on later."""
        with subprocess.Popen([sys.executable, "-c", _SHORT], cwd=PROJECT, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin and process.stdout
            server = Address(int(process.stdout.readline()))
            clients = [Client(server, open=False) for _ in range(5)]  # type: ignore[arg-type]
            self.assertEqual(process.stdout.readline(), "ERROR\n")
            process.stdin.write("more\n")
            process.stdin.flush()
            for client in clients:
                client.send(request())
                self.assertTrue(client.read_head().startswith("HTTP/1.1 101 "))
            process.stdin.close()
            self.assertLessEqual(process.stdout.read().count("ERROR"), 1)
            self.assertEqual(process.wait(DEADLINE), 0)
            for client in clients:
                client.sock.close()


if __name__ == "__main__":
    unittest.main()
