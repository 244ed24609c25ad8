"""A WebSocket client that does exactly what it is told: frames by hand, no library.

It does not answer pings or Close frames by itself, and returns every frame as it came.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from types import TracebackType
from typing import NamedTuple, Optional

from mmdagent_remote import Server

from .support import DEADLINE

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Frame(NamedTuple):
    """One frame from the server, and when its last byte had arrived."""

    fin: bool
    opcode: int
    payload: bytes
    time: float


def frame_head(opcode: int, size: int, *, fin: bool, rsv: int, mask: bool) -> bytes:
    """The first bytes of a frame, up to its masking key."""
    head = bytes([fin << 7 | rsv << 4 | opcode])
    bit = mask << 7
    if size < 126:
        return head + bytes([bit | size])
    if size < 65536:
        return head + bytes([bit | 126]) + struct.pack("!H", size)
    return head + bytes([bit | 127]) + struct.pack("!Q", size)


def frame(payload: bytes | str, opcode: int = TEXT, *, fin: bool = True, rsv: int = 0,
          mask: bool = True) -> bytes:
    """The bytes of a frame."""
    if isinstance(payload, str):
        payload = payload.encode()
    head = frame_head(opcode, len(payload), fin=fin, rsv=rsv, mask=mask)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def request(path: str | bytes = "/", *headers: str, mmdagent: bool = False) -> bytes:
    """The bytes of an opening handshake."""
    target = path if isinstance(path, bytes) else path.encode()
    lines = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
             "Sec-WebSocket-Key: nLQTUQM3yFumh2d27HB3Kg==",
             *(["X-App-Type: MMDAgent"] if mmdagent else []), "Host: localhost:9001", *headers]
    return b"GET " + target + b" HTTP/1.1\r\n" + "\r\n".join([*lines, "", ""]).encode("latin-1")


class Client:
    """A connected socket, with frames in both directions. ``open=False`` sends no request."""

    def __init__(self, server: Server, path: str | bytes = "/", *headers: str,
                 mmdagent: bool = False, open: bool = True,
                 tls: Optional[ssl.SSLContext] = None) -> None:
        self.sock = socket.create_connection(server.address, timeout=DEADLINE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.data = b""
        self.opened_at = 0.0
        if open:
            self.send(request(path, *headers, mmdagent=mmdagent))
            head = self.read_head()
            assert head.startswith("HTTP/1.1 101 "), head
            self.opened_at = time.monotonic()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Raw bytes."""
        self.sock.sendall(data)

    def text(self, text: str) -> None:
        """One text frame."""
        self.send(frame(text))

    def read_head(self) -> str:
        """The head of an HTTP response."""
        while b"\r\n\r\n" not in self.data:
            self._more()
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        return head.decode("latin-1")

    def read_all(self) -> bytes:
        """Everything up to the end."""
        try:
            while True:
                self._more()
        except EOFError:
            return self.data

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError("the server ended the connection")
        self.data += data

    def _take(self, size: int) -> bytes:
        while len(self.data) < size:
            self._more()
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def frame(self) -> Frame:
        """The next frame. Raises EOFError at the end, TimeoutError after the deadline."""
        first, second = self._take(2)
        assert not second & 0x80, "a server's frame is not masked"
        size = second & 0x7F
        if size == 126:
            size, = struct.unpack("!H", self._take(2))
        elif size == 127:
            size, = struct.unpack("!Q", self._take(8))
        payload = self._take(size)
        return Frame(bool(first & 0x80), first & 0x0F, payload, time.monotonic())

    def data_frame(self) -> Frame:
        """The next frame that is not a ping."""
        while True:
            found = self.frame()
            if found.opcode != PING:
                return found

    def lines(self, count: int) -> list[str]:
        """The next `count` lines, however many frames they come in."""
        text = ""
        while text.count("\n") < count:
            found = self.data_frame()
            assert found.opcode == TEXT, found
            text += found.payload.decode()
        return text.split("\n")[:-1]

    def close_code(self) -> Optional[int]:
        """Skip to the Close frame; returns its code, or None if it is empty."""
        while True:
            found = self.frame()
            if found.opcode == CLOSE:
                return struct.unpack("!H", found.payload[:2])[0] if found.payload else None
