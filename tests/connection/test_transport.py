"""Transport, Deadline and the waits, on connected sockets; also the branch for other systems."""

from __future__ import annotations

import socket
import ssl
import threading
import time
import unittest
from contextlib import suppress
from unittest import mock

from mmdagent_remote.connection import transport
from mmdagent_remote.connection.transport import (Deadline, Latch, TLSCodec, Transport,
                                                  acquire_lock, wait_event)

from ..support import DEADLINE, TestCase, client_context, server_context, wait_until


def pair() -> tuple[Transport, socket.socket]:
    """A transport and the other end of its TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        other = socket.create_connection(listener.getsockname(), timeout=DEADLINE)
        sock, _ = listener.accept()
    return Transport(sock), other


class DeadlineTests(unittest.TestCase):
    """One point in time."""

    def test_never(self) -> None:
        """A deadline of None never comes."""
        self.assertIsNone(Deadline(None).remaining())
        self.assertFalse(Deadline(None).is_over)

    def test_past(self) -> None:
        """A deadline that has passed has 0 seconds left, not less."""
        for seconds in (0, -5):
            self.assertEqual(Deadline(seconds).remaining(), 0.0)
            self.assertTrue(Deadline(seconds).is_over)

    def test_future(self) -> None:
        """A deadline in the future has time left."""
        self.assertGreater(Deadline(100).remaining(), 90)


class TransportTests(TestCase):
    """Reading and writing with deadlines."""

    sliced = transport.SLICED_WAITS

    def setUp(self) -> None:
        patch = mock.patch.object(transport, "SLICED_WAITS", self.sliced)
        patch.start()
        self.addCleanup(patch.stop)
        self.transport, self.other = pair()
        self.addCleanup(self.other.close)
        self.addCleanup(self.transport.close)

    def test_recv(self) -> None:
        """recv returns what came, or b"" at the end, and raises TimeoutError at the deadline."""
        for timeout in (0, 0.02):
            with self.assertRaises(TimeoutError):
                self.transport.recv(Deadline(timeout))
        self.assertIsNone(self.transport.try_recv(10))
        self.other.sendall(b"abc")
        self.assertEqual(self.transport.recv(Deadline(None)), b"abc")
        self.other.sendall(b"d")
        wait_until(self.transport.is_readable)
        self.assertEqual(self.transport.try_recv(10), b"d")
        self.other.shutdown(socket.SHUT_WR)
        self.assertEqual(self.transport.recv(Deadline(DEADLINE)), b"")

    def test_send(self) -> None:
        """send waits for room until the deadline, and goes on when there is room."""
        data = memoryview(bytes(1 << 20))
        with self.assertRaises(TimeoutError):
            while True:
                self.transport.send(data, Deadline(0.05))
        self.assertEqual(self.transport.try_send(data), 0)
        self.in_thread(lambda: self.other.recv(1 << 20, socket.MSG_WAITALL))
        self.assertGreater(self.transport.send(data, Deadline(DEADLINE)), 0)

    def test_wake_reader(self) -> None:
        """wake_reader wakes a blocked recv within a second; what arrives later is still read."""
        got: list[bytes] = []
        thread = self.in_thread(lambda: got.append(self.transport.recv(Deadline(None))))
        self.transport.wake_reader()
        thread.join(1.0)
        self.assertEqual(got, [b""])
        self.other.sendall(b"late")
        wait_until(lambda: got.append(self.transport.try_recv(10) or b"") or b"late" in got)

    def test_abort(self) -> None:
        """abort wakes a blocked reader and a blocked writer."""
        ends: list[str] = []

        def read() -> None:
            try:
                ends.append(f"read {self.transport.recv(Deadline(None))!r}")
            except OSError:
                ends.append("read b''")

        def write() -> None:
            try:
                while True:
                    self.transport.send(memoryview(bytes(1 << 20)), Deadline(None))
            except OSError:
                ends.append("write")
        self.in_thread(write)
        self.in_thread(read)
        self.transport.abort()
        wait_until(lambda: sorted(ends) == ["read b''", "write"])
        self.transport.abort()

    def test_peer_has_finished(self) -> None:
        """After wake_reader the peer's FIN is still noticed, where the system can tell."""
        self.assertFalse(self.transport.peer_has_finished())
        self.transport.wake_reader()
        self.assertFalse(self.transport.peer_has_finished())
        self.other.close()
        if not self.sliced:
            wait_until(self.transport.peer_has_finished)

    def test_closed(self) -> None:
        """A closed transport has no descriptor, and waiting on it is an OSError."""
        self.transport.close()
        self.assertEqual(self.transport.fileno(), -1)
        with self.assertRaises(OSError):
            self.transport.recv(Deadline(1))
        with self.assertRaises(OSError):
            self.transport.is_readable()


class SlicedTransportTests(TransportTests):
    """The same promises on the branch for macOS and Windows."""

    sliced = True

    def test_without_poll(self) -> None:
        """Without poll(), select() is used."""
        with mock.patch.object(transport, "select", mock.Mock(
                spec=["select"], select=__import__("select").select)):
            with self.assertRaises(TimeoutError):
                self.transport.recv(Deadline(0.02))
            self.assertTrue(self.transport.send(memoryview(b"x"), Deadline(1)))
            self.other.sendall(b"abc")
            self.assertEqual(self.transport.recv(Deadline(DEADLINE)), b"abc")
            with self.assertRaises(TimeoutError):
                while True:
                    self.transport.send(memoryview(bytes(1 << 20)), Deadline(0.05))


class LatchTest(unittest.TestCase):
    """An event that is set once."""

    def test_wait(self) -> None:
        """A wait ends at its timeout; setting the latch ends all waits at once."""
        latch, done = Latch(), []
        self.assertFalse(latch.wait(0.0))
        self.assertFalse(latch.wait(0.01))
        threads = [threading.Thread(target=lambda: done.append(latch.wait(DEADLINE))) for _ in range(5)]
        for thread in threads:
            thread.start()
        latch.set()
        for thread in threads:
            thread.join(DEADLINE)
        self.assertEqual(done, [True] * 5)
        self.assertTrue(latch.wait(0.0))
        self.assertTrue(latch.wait(None))
        self.assertTrue(wait_event(latch, None))


class WaitTests(TestCase):
    """Events and locks, whole and in slices."""

    def test_wait_event(self) -> None:
        """wait_event returns True once the event is set, and False at the timeout."""
        for sliced in (False, True):
            with mock.patch.object(transport, "SLICED_WAITS", sliced):
                event = threading.Event()
                self.assertFalse(wait_event(event, 0))
                self.assertFalse(wait_event(event, 0.02))
                self.in_thread(lambda event=event: (time.sleep(0.15), event.set()))
                self.assertTrue(wait_event(event, None))
                self.assertTrue(wait_event(event, 0))

    def test_acquire_lock(self) -> None:
        """acquire_lock returns True with the lock, and False at the deadline."""
        for sliced in (False, True):
            with mock.patch.object(transport, "SLICED_WAITS", sliced):
                lock = threading.Lock()
                self.assertTrue(acquire_lock(lock, Deadline(0)))
                self.assertFalse(acquire_lock(lock, Deadline(0)))
                self.assertFalse(acquire_lock(lock, Deadline(0.02)))
                self.in_thread(lambda lock=lock: (time.sleep(0.15), lock.release()))
                self.assertTrue(acquire_lock(lock, Deadline(None)))


class TLSCodecTests(unittest.TestCase):
    """TLS as bytes to bytes, with a client of the same kind."""

    def setUp(self) -> None:
        self.codec = TLSCodec(server_context())
        self.to_client, self.from_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client_context().wrap_bio(
            self.to_client, self.from_client, server_hostname="localhost")
        done = False
        while not done:
            with suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            done = self.codec.handshake(self.from_client.read())
            self.to_client.write(self.codec.pending())

    def test_both_ways(self) -> None:
        """What one side encrypts the other decrypts."""
        self.client.write(b"abc")
        self.assertEqual(self.codec.decrypt(self.from_client.read()), (b"abc", False))
        self.to_client.write(self.codec.encrypt(b"def"))
        self.assertEqual(self.client.read(10), b"def")

    def test_records_cut_anywhere(self) -> None:
        """Many records, also the longest, give all their bytes at once, wherever they are cut."""
        pieces = [b"a", b"b" * 16384, b"", b"c" * 40000, b"d"]
        for size in (1000, 16384, 1 << 20):
            for piece in pieces:
                self.client.write(piece)
            data, found = self.from_client.read(), b""
            for start in range(0, len(data), size):
                plain, is_over = self.codec.decrypt(data[start:start + size])
                self.assertFalse(is_over)
                found += plain
            self.assertEqual(found, b"".join(pieces))

    def test_half_a_record(self) -> None:
        """An incomplete record gives nothing yet."""
        self.client.write(b"abc")
        data = self.from_client.read()
        self.assertEqual(self.codec.decrypt(data[:-1]), (b"", False))
        self.assertEqual(self.codec.decrypt(data[-1:]), (b"abc", False))

    def test_end(self) -> None:
        """The peer's end of TLS is reported together with the data before it."""
        self.client.write(b"abc")
        with suppress(ssl.SSLWantReadError):
            self.client.unwrap()
        self.assertEqual(self.codec.decrypt(self.from_client.read()), (b"abc", True))

    def test_garbage(self) -> None:
        """Bytes that are not a TLS record raise SSLError."""
        with self.assertRaises(ssl.SSLError):
            self.codec.decrypt(b"\x17\x03\x03\x00\x20" + bytes(32))
