"""The last steps of a connection once its end is published: what is left is sent, and arrives.

They run in the connection's own thread. Then ``Connection.teardown()`` closes the descriptor.
"""

from __future__ import annotations

import ssl
import threading
from typing import Optional

from ..websocket.protocol import PeerClosed, PeerFault, ServerProtocol
from .ending import End
from .transport import Deadline, DeadlinePassed, TLSCodec, Transport
from .wire import Wire

#: Seconds beyond close_timeout for the rest of a line that has begun to leave.
LAST_PARTS = 0.4


class Parting:
    """The last steps of one connection.

    Args:
        state: the connection's state lock, since other threads may still use TLS and wsproto.
    """

    def __init__(self, transport: Transport, tls: Optional[TLSCodec], protocol: ServerProtocol,
                 wire: Wire, state: threading.Lock) -> None:
        self._transport = transport
        self._tls = tls
        self._protocol = protocol
        self._wire = wire
        self._state = state

    def part(self, end: End, deadline: Deadline, linger: float) -> None:
        """Let the last bytes arrive.

        Args:
            deadline: that of the close.
            linger: seconds that the peer has to answer, at most until that deadline.
        """
        try:
            # After the deadline only the rest of a line and the Close are left. Half a line would
            # spoil the first line after a reconnect.
            is_told = end.code != 1006 and (
                self._wire.flush(deadline) or self._wire.flush(Deadline(LAST_PARTS)))
            if is_told:
                self._linger(end, Deadline(min(deadline.remaining() or 0.0, linger)))
        except OSError:
            pass  # The connection is broken, so nothing more can arrive.

    def _linger(self, end: End, deadline: Deadline) -> None:
        # A close() with unread bytes in the kernel sends a reset, which can destroy the Close frame
        # and the lines before it in transit. So read until the peer has ended too.
        saw_close = False
        if not end.ours:
            self._say_goodbye()
        while not deadline.is_over:
            try:
                data = self._transport.read_rest(deadline)
            except DeadlinePassed:
                return
            if not data:
                return
            if end.ours and not saw_close and self._saw_close(data):
                saw_close = True
                self._say_goodbye()

    def _saw_close(self, data: bytes) -> bool:
        with self._state:
            try:
                plain = self._tls.decrypt(data)[0] if self._tls else data
            except ssl.SSLError:
                return True
            self._protocol.receive_data(plain)
            while True:
                event = self._protocol.next_event()
                if event is None:
                    return False
                if isinstance(event, (PeerClosed, PeerFault)):
                    return True

    def _say_goodbye(self) -> None:
        if self._tls is not None:
            with self._state:
                alert = self._tls.goodbye()
            if not self._wire.is_stuck:
                self._transport.try_send(memoryview(alert))
        self._transport.finish()
