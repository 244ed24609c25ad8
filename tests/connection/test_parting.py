"""``parting.py``: the last bytes arrive, and the wait for the peer's last bytes is bounded."""

from __future__ import annotations

import socket
import struct
import threading
import time
import unittest

from mmdagent_remote.connection.ending import End
from mmdagent_remote.connection.parting import Parting
from mmdagent_remote.connection.transport import Deadline
from mmdagent_remote.connection.wire import Wire
from mmdagent_remote.limits import Limits
from mmdagent_remote.profile import STRICT
from mmdagent_remote.websocket.lines import prepare_line

from ..client import CLOSE, frame
from ..support import DEADLINE, TestCase
from ..websocket.test_protocol import opened
from .test_transport import pair

OURS = End(1000, "", True, True)
THEIRS = End(1000, "", False, True)


class PartingTest(TestCase):
    """One connection at its end, and the peer's socket."""

    def setUp(self) -> None:
        self.transport, self.peer = pair()
        self.addCleanup(self.peer.close)
        self.addCleanup(self.transport.close)
        protocol, state = opened()[0], threading.Lock()
        self.wire = Wire(self.transport, None, protocol, STRICT, Limits(), state, None, None, b"101",
                         lambda: None)
        self.parting = Parting(self.transport, None, protocol, self.wire, state)
        self.has_parted = threading.Event()

    def part(self, end: End, linger: float = DEADLINE) -> None:
        """Part as teardown() does."""
        self.parting.part(end, Deadline(DEADLINE), linger)
        self.has_parted.set()

    def rest(self) -> bytes:
        """All that the peer receives until the end of the stream; a reset raises."""
        data = b""
        while piece := self.peer.recv(4096):
            data += piece
        return data

    def test_the_last_bytes_arrive(self) -> None:
        """Queued lines and the Close arrive, even if the peer's data was never read."""
        self.peer.sendall(frame("unread") * 1000 + frame(b"", CLOSE))
        self.wire.post([prepare_line("last", STRICT)])
        self.wire.close(1000, "", drop=False)
        self.in_thread(self.part, OURS)
        data = self.rest()
        self.peer.close()
        self.assertTrue(self.has_parted.wait(DEADLINE))
        self.assertEqual(data, b"101\x81\x05last\n\x88\x02\x03\xe8")

    def test_fin_behind_the_peers_close(self) -> None:
        """After our Close, the FIN is sent only when the peer's Close has come."""
        self.wire.close(1000, "", drop=False)
        self.in_thread(self.part, OURS)
        self.assertEqual(self.peer.recv(4096), b"101\x88\x02\x03\xe8")
        self.peer.settimeout(0.1)
        self.peer.sendall(frame("more"))
        with self.assertRaises(TimeoutError):
            self.peer.recv(4096)
        self.peer.settimeout(DEADLINE)
        self.peer.sendall(frame(b"\x03\xe8", CLOSE))
        self.assertEqual(self.peer.recv(4096), b"")
        self.peer.close()
        self.assertTrue(self.has_parted.wait(DEADLINE))

    def test_fin_at_once(self) -> None:
        """After the peer's Close, our FIN is sent at once, and then the peer's FIN is awaited."""
        self.in_thread(self.part, THEIRS)
        self.assertEqual(self.rest(), b"101")
        self.assertFalse(self.has_parted.is_set())
        self.peer.close()
        self.assertTrue(self.has_parted.wait(DEADLINE))

    def test_a_peer_that_stays(self) -> None:
        """A peer that does not end is awaited for the linger time, no longer."""
        for end in (THEIRS, OURS):
            began = time.monotonic()
            self.part(end, linger=0.05)
            self.assertLess(time.monotonic() - began, DEADLINE / 2)

    def test_a_lost_peer(self) -> None:
        """Nothing is sent to a lost peer, and its end is not awaited."""
        self.part(End(1006, "", False, False))
        self.peer.setblocking(False)
        with self.assertRaises(BlockingIOError):
            self.peer.recv(10)

    def test_a_reset(self) -> None:
        """A peer that resets the connection meanwhile causes no error."""
        self.in_thread(self.part, THEIRS)
        self.assertEqual(self.rest(), b"101")
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()
        self.assertTrue(self.has_parted.wait(DEADLINE))


if __name__ == "__main__":
    unittest.main()
