"""A WebSocket server that does exactly what it is told: bytes made by hand, no library.

The opposite of ``client.py``, for tests of the simulated agent.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import time
from collections import deque
from types import TracebackType
from typing import Any, NamedTuple, Optional

from mmdagent_remote.testing import SimulatedAgent

from ..client import PING, PONG, TEXT, frame
from ..support import DEADLINE, TestCase

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class ClientFrame(NamedTuple):
    """One frame from the agent, unmasked."""

    opcode: int
    payload: bytes


def server_frame(payload: bytes | str, opcode: int = TEXT, *, fin: bool = True) -> bytes:
    """The bytes of a server's frame."""
    return frame(payload, opcode, fin=fin, mask=False)


def accept_head(request: bytes, connection: str = "Upgrade", extra: str = "") -> bytes:
    """The 101 that answers a request."""
    key = re.search(rb"Sec-WebSocket-Key: (.+)\r\n", request).group(1)
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
    return (f"HTTP/1.1 101 Whatever\r\nupgrade: websocket\r\nconnection: {connection}\r\n{extra}"
            f"sec-websocket-accept: {accept}\r\n\r\n").encode()


class Visit:
    """One accepted connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(DEADLINE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        self.request = b""
        self._pings = 0
        self._kept: deque[ClientFrame] = deque()

    def read_request(self) -> bytes:
        """The head of the request."""
        while b"\r\n\r\n" not in self.data:
            self._more()
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        self.request = head + b"\r\n\r\n"
        return self.request

    def open(self, *, behind: bytes = b"") -> Visit:
        """Accept the handshake; `behind` is sent in the same segment."""
        self.read_request()
        self.send(accept_head(self.request) + behind)
        return self

    def send(self, data: bytes) -> None:
        """Raw bytes, with one system call."""
        self.sock.sendall(data)

    def say(self, payload: bytes | str, opcode: int = TEXT, *, fin: bool = True) -> None:
        """One frame."""
        self.send(server_frame(payload, opcode, fin=fin))

    def settle(self) -> Visit:
        """Wait until the agent answers a ping, and so takes frames. Lines meanwhile are kept."""
        self.sock.settimeout(0.05)
        end = time.monotonic() + DEADLINE
        try:
            while True:
                # Its first frames may be stuck, so send one ping after another.
                self._pings += 1
                body = b"settled %d" % self._pings
                self.say(body, PING)
                try:
                    while (found := self._frame()) != (PONG, body):
                        self._kept.append(found)
                    return self
                except TimeoutError:
                    assert time.monotonic() < end, "the agent answers no ping"
        finally:
            self.sock.settimeout(DEADLINE)

    def frame(self) -> ClientFrame:
        """The agent's next frame, except pongs of settle(). Raises EOFError at the end."""
        while True:
            found = self._kept.popleft() if self._kept else self._frame()
            if found.opcode != PONG or not found.payload.startswith(b"settled "):
                return found

    def _frame(self) -> ClientFrame:
        first, second = self._see(2)
        assert first & 0x80 and second & 0x80, "the agent's frames are final and masked"
        start, size = 2, second & 0x7F
        if size > 125:
            start += 2 if size == 126 else 8
            size = int.from_bytes(self._see(start)[2:], "big")
        data = self._see(start + 4 + size)
        self.data = self.data[len(data):]
        key, body = data[start:start + 4], data[start + 4:]
        return ClientFrame(first & 0x0F, bytes(byte ^ key[i % 4] for i, byte in enumerate(body)))

    def text(self) -> str:
        """The agent's next line, with its newline."""
        found = self.frame()
        assert found.opcode == TEXT, found
        return found.payload.decode()

    def texts(self, count: int) -> list[str]:
        """The agent's next `count` lines."""
        return [self.text() for _ in range(count)]

    def end(self) -> str:
        """Read to the end: "FIN" or "RST". No more frames may come, and never a Close."""
        try:
            raise AssertionError(f"the agent sent {self.frame()}")
        except EOFError:
            return "FIN"
        except ConnectionResetError:
            return "RST"

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError("the agent ended the connection")
        self.data += data

    def _see(self, size: int) -> bytes:
        # Taken out of the buffer only once all is there, so that a timeout loses nothing.
        while len(self.data) < size:
            self._more()
        return self.data[:size]


class Peer:
    """A listening socket on a free port."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(DEADLINE)
        self._visits: list[Visit] = []
        self.port = self._socket.getsockname()[1]
        self.url = f"ws://localhost:{self.port}/chat"

    def accept(self) -> Visit:
        """The next connection, before its handshake."""
        visit = Visit(self._socket.accept()[0])
        self._visits.append(visit)
        return visit

    def close(self) -> None:
        """Close everything."""
        self._socket.close()
        for visit in self._visits:
            visit.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self.close()


class AgentCase(TestCase):
    """A peer, and agents that leave when the test ends."""

    def setUp(self) -> None:
        self.peer = Peer()
        self.addCleanup(self.peer.close)

    def agent(self, **options: Any) -> SimulatedAgent:
        """A started agent, which sends nothing by itself unless an option says so."""
        agent = SimulatedAgent(self.peer.url, **{"chatter": False, "timeout": DEADLINE, **options})
        self.addCleanup(agent.leave)
        return agent.start()

    def opened(self, **options: Any) -> tuple[SimulatedAgent, Visit]:
        """A connected agent that takes frames."""
        agent = self.agent(**options)
        return agent, self.peer.accept().open().settle()

    def check_crashed(self, agent: SimulatedAgent, visit: Visit, reason: str) -> None:
        """The agent has crashed, and tells the reason."""
        self.assertIn(visit.end(), ("FIN", "RST"))
        agent.wait_ended(DEADLINE)
        self.assertIn(f"crashed: {reason}", agent.crashed or "")
        self.assertFalse(agent.connected)

    def check_well(self, agent: SimulatedAgent, visit: Visit) -> None:
        """The agent hears and speaks."""
        visit.say("STILL|there\n")
        self.assertEqual(visit.text(), "STILL|there\n")
        self.assertIsNone(agent.crashed)
