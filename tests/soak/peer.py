"""One client connection: answers pings, echoes as MMDAgent-EX does, and leaves in several ways."""

from __future__ import annotations

import socket
import ssl
import struct
from contextlib import suppress
from functools import cache
from typing import NamedTuple

from ..client import CLOSE, PING, PONG, TEXT, Client, frame
from ..support import DATA

_RESET = struct.pack("ii", 1, 0)


class Address(NamedTuple):
    """Where a server listens: the only attributes of a server that a :class:`Client` needs."""

    address: tuple[str, int]


class ServerClosed(EOFError):
    """The server's Close frame came."""


class Peer(Client):
    """A connection to the host.

    Args:
        agent: behave as MMDAgent-EX: send its header, and echo every line.
        tls: over TLS; then `port` is that of the TLS server.
    """

    def __init__(self, port: int, path: str, *, agent: bool = False, tls: bool = False,
                 open: bool = True) -> None:
        self.agent = agent
        try:
            super().__init__(Address(("127.0.0.1", port)), path,  # type: ignore[arg-type]
                             mmdagent=agent, open=open, tls=tls_context() if tls else None)
        except BaseException:  # At any exception, since nothing else would close the socket.
            if hasattr(self, "sock"):
                self.sock.close()
            raise

    def __enter__(self) -> Peer:
        return self

    def read(self) -> list[str]:
        """The lines of the next frame, none if it is a ping.

        Raises:
            ServerClosed: a Close frame, which was answered.
            EOFError: the end without one.
        """
        found = self.frame()
        if found.opcode == PING:
            self._answer(frame(found.payload, PONG))
        elif found.opcode == CLOSE:
            self._answer(frame(found.payload, CLOSE))
            raise ServerClosed
        elif found.opcode == TEXT:
            if self.agent:
                self._answer(frame(found.payload))
            return found.payload.decode().split("\n")[:-1]
        return []

    def _answer(self, data: bytes) -> None:
        # If the server is gone, the next read raises, after all that the server sent before.
        with suppress(OSError):
            self.send(data)

    def finish(self) -> None:
        """Send FIN, as MMDAgent-EX does when it leaves; reading is still possible."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Send RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sock.close()


@cache
def tls_context() -> ssl.SSLContext:
    """A context that trusts the test certificate."""
    return ssl.create_default_context(cafile=str(DATA / "localhost-cert.pem"))
