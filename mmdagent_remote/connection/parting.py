"""How two sides part when the end is there: what is left is sent, and arrives.

In the connection's own thread. Then ``Connection.teardown()`` gives the descriptor back.
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
    """The last moments of one connection.

    Args:
        state: the connection's state lock, for what other threads may still use.
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
            deadline: of the close.
            linger: seconds of it that the peer has to answer.
        """
        try:
            # When its time is over only the rest of a line and the Close are left; half a line would
            # spoil the first one after a reconnect.
            is_told = end.code != 1006 and (
                self._wire.flush(deadline) or self._wire.flush(Deadline(LAST_PARTS)))
            if is_told:
                self._linger(end, Deadline(min(deadline.remaining() or 0.0, linger)))
        except OSError:
            pass  # It is broken: there is nobody left to wait for.

    def _linger(self, end: End, deadline: Deadline) -> None:
        # A close() with unread bytes in the kernel is a reset, which can destroy the Close frame and
        # the lines before it on their way. So read until the peer has ended too.
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
