"""One connection of the client: raw sockets and prepared frames, so that it is not the bottleneck."""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any, Optional

from .frames import (CLOSE, REQUEST, Repeated, WrongReply, check_response, client_frame, difference,
                     server_frame)

#: Seconds for one reply.
DEADLINE = 20.0

_RECV_SIZE = 256 * 1024

#: Without a pause each of the server's sends wakes the client. Then the client was busy all the
#: time, the server paid for the wake-ups, and rates scattered twice as much. The kernel's buffer
#: holds far more than comes during the pause.
_LITTLE = 16 * 1024
_PAUSE = 0.0002

_CLOSE = client_frame(struct.pack("!H", 1000), opcode=CLOSE)
_CLOSED = server_frame(struct.pack("!H", 1000), CLOSE)


class Client:
    """A connection to a port of this machine; the handshake is made by :meth:`open`."""

    def __init__(self, port: int, tls: Optional[ssl.SSLContext] = None) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        else:
            set_deadline(self.sock, DEADLINE)
        self.sock.sendall(REQUEST)

    def open(self) -> Client:
        """Wait for the answer to the handshake, and check it."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.receive(65536)
        check_response(head)
        return self

    def expect(self, expected: bytes, got: bytes = b"") -> None:
        """Read exactly these bytes, of which `got` has been read."""
        while len(got) < len(expected):
            got += self.receive(len(expected) - len(got))
        if got != expected:
            raise WrongReply(difference(got, expected))

    def ask(self, request: bytes, reply: bytes) -> None:
        """Send the request, and read exactly the reply."""
        self.sock.sendall(request)
        self.expect(reply)

    def read(self, check: Repeated) -> None:
        """Read until the check has seen all bytes."""
        while check.missing:
            check.feed(self.receive_much())

    def close(self) -> None:
        """Do the closing handshake. websocket-server sends no Close, it only closes TCP."""
        self.sock.sendall(_CLOSE)
        got = b""
        # A reset comes if the server has closed with our Close unread.
        with suppress(ConnectionResetError):
            while chunk := self.sock.recv(4096):
                got += chunk
        self.sock.close()
        if got not in (_CLOSED, b""):
            raise WrongReply(f"{got[:60]!r} instead of a Close frame")

    def drop(self) -> None:
        """Close without a closing handshake, after the work."""
        self.sock.close()

    def receive_much(self) -> bytes:
        """Receive what is there; after little data pause, so that the next call gets more."""
        data = self.receive(_RECV_SIZE)
        if len(data) < _LITTLE:
            time.sleep(_PAUSE)
        return data

    def receive(self, size: int) -> bytes:
        """Receive what is there, at least one byte."""
        try:
            data = self.sock.recv(size)
        except (BlockingIOError, TimeoutError):
            raise WrongReply(f"no reply within {DEADLINE:.0f} s") from None
        if not data:
            raise WrongReply("the server closed the connection")
        return data


def set_deadline(sock: socket.socket, seconds: float) -> None:
    """Like settimeout(), but without its poll() before each call, which would slow round trips."""
    sock.settimeout(None)
    if sys.platform == "win32":
        value: Any = struct.pack("=L", int(seconds * 1000))
    else:
        value = struct.pack("@ll", int(seconds), 0)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, value)


def exchange(client: Client, buffers: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Send all buffers and read `size` bytes at the same time; yields what comes.

    In one thread, since two would contend for the interpreter's lock.
    """
    sock, waiting, view = client.sock, iter(buffers), memoryview(b"")
    sock.setblocking(False)
    with DefaultSelector() as selector:
        selector.register(sock, EVENT_READ | EVENT_WRITE)
        while size > 0:
            ready = selector.select(DEADLINE)
            if not ready:
                raise WrongReply(f"no reply within {DEADLINE:.0f} s")
            if ready[0][1] & EVENT_WRITE:
                view = view or memoryview(next(waiting, b""))
                if view:
                    view = view[sock.send(view):]
                else:
                    selector.modify(sock, EVENT_READ)
            if ready[0][1] & EVENT_READ:
                data = client.receive_much()
                size -= len(data)
                yield data
    set_deadline(sock, DEADLINE)
