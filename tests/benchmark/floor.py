"""The floor: threads, raw sockets, frames made by hand, no checks. The most that Python can do.

It is no real server: no ping is answered, no text is decoded, nothing has a bound or a deadline.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from .frames import server_frame
from .roles import Everybody, Talk, pull

#: From this size on four lanes of translate() are faster than one XOR of big integers.
_LARGE = 1200

_XOR = [bytes(byte ^ key for byte in range(256)) for key in range(256)]


def start(order: dict[str, Any], context: Any) -> int:
    """Listen, and return the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    accept_all(listener, context, _Floor(order).serve, "floor")
    port: int = listener.getsockname()[1]
    return port


def accept_all(listener: socket.socket, context: Any,
               serve: Callable[[socket.socket, dict[str, str]], None], name: str) -> None:
    """Start a thread that accepts, and one for each connection, which also does the handshake."""
    def one(sock: socket.socket) -> None:
        try:
            with sock if context is None else context.wrap_socket(sock, server_side=True) as sock:
                serve(sock, read_request(sock))
        except OSError:
            pass  # The client is gone.

    def loop() -> None:
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=one, args=(sock,), daemon=True, name=name).start()

    threading.Thread(target=loop, daemon=True, name=f"{name}-accept").start()


def read_request(sock: socket.socket) -> dict[str, str]:
    """The request's header fields, with lower-case names. Our client sends nothing behind it."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        chunk = sock.recv(4096)
        if not chunk:
            raise ConnectionResetError
        data += chunk
    fields = (line.split(":", 1) for line in data.decode("latin-1").split("\r\n")[1:] if ":" in line)
    return {name.lower(): value.strip() for name, value in fields}


class _Floor:
    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._everybody = Everybody()

    def serve(self, sock: socket.socket, fields: dict[str, str]) -> None:
        """One connection."""
        digest = hashlib.sha1(fields["sec-websocket-key"].encode()
                              + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n")
        sendall, lock = sock.sendall, threading.Lock()

        def send(payload: bytes) -> None:
            size = len(payload)
            if size < 126:
                sendall(b"\x81" + size.to_bytes(1, "big") + payload)
            else:
                sendall(server_frame(payload))

        def send_locked(payload: bytes) -> None:
            with lock:
                send(payload)

        def send_many(payloads: Sequence[bytes]) -> None:
            sendall(b"".join(map(server_frame, payloads)))

        shared = self._order["role"] in ("writers", "broadcast")
        talk = Talk(send_locked if shared else send, str.encode, send_many, self._everybody.broadcast)
        with self._everybody.joined(talk.send), suppress(StopIteration):
            pull(messages(sock).__next__, talk, self._order)


def messages(sock: socket.socket) -> Iterator[bytes]:
    """The payloads of all frames up to a Close frame, which is answered."""
    recv, data = sock.recv, b""
    while chunk := recv(65536):
        data = data + chunk if data else chunk
        at, end, missing = 0, len(data), 0
        while end - at >= 6:
            size, body = data[at + 1] & 127, at + 6
            if size == 126:
                size, body = int.from_bytes(data[at + 2:at + 4], "big"), at + 8
            elif size == 127:
                size, body = int.from_bytes(data[at + 2:at + 10], "big"), at + 14
            if body + size > end:
                missing = body + size - end
                break
            payload = _unmask(data[body - 4:body], data[body:body + size], size)
            if data[at] == 0x88:
                sock.sendall(server_frame(payload, 8))
                return
            yield payload
            at = body + size
        data = data[at:] if at < end else b""
        if missing:
            data = _collect(recv, data, missing)


def _unmask(key: bytes, data: bytes, size: int) -> bytes:
    if size < _LARGE:
        mask = int.from_bytes((key * (size // 4 + 1))[:size], "little")
        return (int.from_bytes(data, "little") ^ mask).to_bytes(size, "little")
    out = bytearray(size)
    for lane in range(4):
        out[lane::4] = data[lane::4].translate(_XOR[key[lane]])
    return bytes(out)


def _collect(recv: Callable[[int], bytes], data: bytes, missing: int) -> bytes:
    # Read all but the frame's last byte, which the loop above reads, so as not to read further. The
    # pieces are joined only once, however small they are.
    pieces = [data]
    while missing > 1:
        chunk = recv(min(missing - 1, 65536))
        if not chunk:
            break
        pieces.append(chunk)
        missing -= len(chunk)
    return b"".join(pieces)
