"""Listening sockets: all addresses of a host on one port, or none."""

from __future__ import annotations

import errno
import os
import socket
from unittest import mock

from mmdagent_remote.serving import listener
from mmdagent_remote.serving.listener import listen

from ..support import TestCase


class ListenTests(TestCase):
    """listen(host, port)."""

    def close(self, sockets: list[socket.socket]) -> list[tuple[str, int]]:
        """Close them, and return their addresses."""
        names = [sock.getsockname()[:2] for sock in sockets]
        for sock in sockets:
            sock.close()
        return names

    def test_one_port_for_all(self) -> None:
        """Port 0 chooses one port that is free on every address."""
        names = self.close(listen("localhost", 0))
        self.assertEqual(len({port for _, port in names}), 1)

    def test_numeric(self) -> None:
        """A numeric host is only that address."""
        self.assertEqual([host for host, _ in self.close(listen("127.0.0.1", 0))], ["127.0.0.1"])

    def test_absent_family(self) -> None:
        """A family that the machine lacks is skipped."""
        real = listener._bind

        def no_ipv6(family: int, address: str, port: int) -> socket.socket:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "no such family")
            return real(family, address, port)
        with mock.patch.object(listener, "_bind", no_ipv6):
            self.assertEqual([host for host, _ in self.close(listen("localhost", 0))], ["127.0.0.1"])

    def test_second_address_in_use(self) -> None:
        """If one address is in use, all fail and none stays bound; port 0 tries another port."""
        real, calls = listener._bind, []

        def second_in_use(family: int, address: str, port: int) -> socket.socket:
            calls.append(address)
            if address == "::1" and len(calls) < 5:
                raise OSError(errno.EADDRINUSE, "in use")
            return real(family, address, port)
        with mock.patch.object(listener, "_bind", second_in_use):
            with self.assertRaises(OSError):
                listen("localhost", 20943)
            self.close(listen("localhost", 0))
        self.assertEqual(calls.count("127.0.0.1"), calls.count("::1"))

    def test_at_once_again(self) -> None:
        """A port whose connections were just closed can be listened on at once."""
        sockets = listen("127.0.0.1", 0)
        port = sockets[0].getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            sockets[0].setblocking(True)
            peer, _ = sockets[0].accept()
            peer.close()
        self.close(sockets)
        self.close(listen("127.0.0.1", port))

    def test_port_too_large(self) -> None:
        """A port that is out of range is an OSError that names it."""
        with self.assertRaises(OSError) as caught:
            listen("127.0.0.1", 70000)
        self.assertIn("70000", str(caught.exception))

    def test_exclusive_address_use(self) -> None:
        """On Windows the port is bound exclusively."""
        made = []

        class Socket(socket.socket):
            def setsockopt(self, level: int, option: int, value: object) -> None:
                made.append((level, option))
        with mock.patch.object(os, "name", "nt"), \
                mock.patch.object(socket, "SO_EXCLUSIVEADDRUSE", -5, create=True), \
                mock.patch.object(socket, "socket", Socket):
            self.close(listen("127.0.0.1", 0))
        self.assertIn((socket.SOL_SOCKET, -5), made)
        self.assertNotIn((socket.SOL_SOCKET, socket.SO_REUSEADDR), made)
