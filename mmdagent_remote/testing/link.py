"""One TCP connection of the simulated agent: the handshake, and bytes with Poco's timing.

Only the agent's own thread uses it.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Optional

from .frames import Refused, check_answer, new_key, request_of

#: A blocking step is cut into slices of this many seconds, so that ending the agent is quick.
_SLICE = 0.05
# struct linger, on and zero seconds, of two ints; on Windows of two shorts.
_NO_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
#: Seconds for one attempt to connect.
_CONNECT = 5.0
_RECV_SIZE = 16 * 1024
_MAX_HEAD = 64 * 1024


class Abandoned(OSError):
    """The agent was told to leave in the meantime."""


class Link:
    """An open WebSocket connection.

    Args:
        is_over: returns whether to give up every wait.
        timeout: seconds for connecting and for the server's answer.

    Raises:
        Refused: the server answered, but not with a valid 101.
        OSError: there is no connection.
    """

    def __init__(self, host: str, port: int, path: str, *, timeout: float,
                 is_over: Callable[[], bool]) -> None:
        self._is_over = is_over
        self._end = time.monotonic() + timeout
        # The real one takes "localhost" for 127.0.0.1, never for ::1.
        address = "127.0.0.1" if host == "localhost" else host
        self._socket = socket.create_connection((address, port), timeout=min(timeout, _CONNECT))
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            key = new_key()
            asked_at = time.monotonic()
            self.send(request_of(path, f"[{host}]" if ":" in host else host, port, key))
            head, self.leftover = self._read_head()
            check_answer(head, key)
        except BaseException:  # Whatever was raised: no other code has the socket yet.
            self._socket.close()
            raise
        #: When the 101 was read, on the monotonic clock, and how long that took.
        self.opened_at = time.monotonic()
        self.answer_time = self.opened_at - asked_at

    def _read_head(self) -> tuple[bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            if time.monotonic() > self._end:
                raise TimeoutError("the server did not answer the opening handshake")
            if len(data) > _MAX_HEAD:
                raise Refused("the server's answer has no end")
            more = self.recv(_SLICE)
            if more == b"":
                raise ConnectionError("the server ended the connection in the opening handshake")
            if self._is_over():
                raise Abandoned("told to leave")
            data += more or b""
        head, _, leftover = data.partition(b"\r\n\r\n")
        return head, leftover

    def recv(self, timeout: float) -> Optional[bytes]:
        """Return what has arrived: empty at the end, None if nothing came in ``timeout`` seconds.

        Raises:
            OSError: the connection is broken.
        """
        for wait in (0.0, timeout):
            if wait and not self._wait(wait, for_write=False):
                continue
            try:
                return self._socket.recv(_RECV_SIZE)
            except BlockingIOError:
                pass
        return None

    def send(self, data: bytes) -> None:
        """Send all of it; blocks as the real one does.

        Raises:
            OSError: the connection is broken, or the agent was told to leave.
        """
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view):]
            except BlockingIOError:
                if self._is_over():
                    raise Abandoned("told to leave") from None
                self._wait(_SLICE, for_write=True)

    def close(self, *, reset: bool = False) -> None:
        """End the connection with a FIN or a reset, never with a Close frame."""
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._socket.close()

    def _wait(self, timeout: float, *, for_write: bool) -> bool:
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._socket, select.POLLOUT if for_write else select.POLLIN)
            return bool(poll.poll(timeout * 1000))
        sockets = [self._socket]
        return any(select.select([] if for_write else sockets, sockets if for_write else [], sockets,
                                 timeout))
