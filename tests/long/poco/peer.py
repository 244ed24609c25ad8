"""The other side of a client on Poco, made by hand, for what our server never does."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import time

from ...client import TEXT, Client, Frame, frame
from ...support import DEADLINE

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Peer(Client):
    """Reads masked frames, and sends frames as they are given."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(DEADLINE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        self.request = self.read_head()

    def accept(self, *frames: bytes) -> None:
        """Answer the opening handshake, with frames in the same segment."""
        head = dict(line.split(": ") for line in self.request.split("\r\n")[1:])
        digest = hashlib.sha1(head["Sec-WebSocket-Key"].encode() + GUID).digest()
        self.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n" + b"".join(frames))

    def give(self, payload: bytes, opcode: int = TEXT) -> None:
        """Send one frame."""
        self.send(frame(payload, opcode, mask=False))

    def frame(self) -> Frame:
        """The next frame of the client."""
        first, second = self._take(2)
        assert second & 0x80, "a client's frame is masked"
        size = second & 0x7F
        if size == 126:
            size, = struct.unpack("!H", self._take(2))
        key, payload = self._take(4), self._take(size)
        payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
        return Frame(bool(first & 0x80), first & 0x0F, payload, time.monotonic())
