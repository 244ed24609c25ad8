"""The listening sockets of a server: every address of a host, one port for all, or none."""

from __future__ import annotations

import errno
import os
import socket
from typing import Optional

#: The kernel has its own bound as well. With 128, some of 500 simultaneous clients waited a second.
BACKLOG = 4096

# The machine has no such address family, or no such loopback address.
_ABSENT = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})

_PORT_TRIES = 16


def listen(host: Optional[str], port: int) -> list[socket.socket]:
    """Listen on every address that `host` resolves to.

    "localhost" is 127.0.0.1 and ::1, whatever the resolver says (RFC 6761). MMDAgent-EX
    connects to the first, many other clients to the second.

    Raises:
        OSError: an address is in use, or the host does not resolve or is not this
            machine's. The text names address and port. Nothing is left bound.
    """
    addresses = _resolve(host, port)
    for attempt in range(_PORT_TRIES):
        try:
            return _listen_on_all(addresses, port)
        except OSError as error:
            # Port 0: a port that was free on the first address may be in use on the second.
            if port or error.errno != errno.EADDRINUSE or attempt == _PORT_TRIES - 1:
                raise
    raise AssertionError("unreachable")


def _resolve(host: Optional[str], port: int) -> list[tuple[int, str]]:
    if not host:
        return [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]
    found = [(int(socket.AF_INET), "127.0.0.1"), (int(socket.AF_INET6), "::1")]
    if host.lower() == "localhost":
        return found
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        number = error.errno if isinstance(error, socket.gaierror) else socket.EAI_NONAME
        raise socket.gaierror(number, f"cannot find the host {host!r}") from error
    unique = {(int(family), str(address[0])): None for family, _, _, _, address in infos}
    return list(unique)


def _listen_on_all(addresses: list[tuple[int, str]], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    absent: Optional[OSError] = None
    try:
        for family, address in addresses:
            try:
                sock = _bind(family, address, port)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                absent = error
                continue
            sockets.append(sock)
            port = sock.getsockname()[1]
        if not sockets and absent is not None:
            raise absent
    except BaseException:  # Ctrl-C as well: nothing is left bound.
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bind(family: int, address: str, port: int) -> socket.socket:
    where = f"[{address}]:{port}" if family == socket.AF_INET6 else f"{address}:{port}"
    sock = None
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":
            # Right after a restart, the port may still be in TIME_WAIT.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        elif hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            # On Windows, SO_REUSEADDR would let another program take the port away.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
        return sock
    except OSError as error:
        if sock is not None:
            sock.close()
        raise OSError(error.errno, f"cannot listen on {where}: {error.strerror or error}") from error
    except OverflowError as error:
        if sock is not None:
            sock.close()
        raise OSError(errno.EINVAL, f"cannot listen on {where}: {error}") from error
