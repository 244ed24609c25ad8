"""What ``check`` asks about this machine: addresses, and whether a port is free."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Optional

from ..serving.listener import listen

#: Seconds for the program that holds a port to answer.
_ANSWER = 1.0
_QUESTION = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
#: Part of the answer that a server of this package gives to a plain HTTP request.
_SIGNATURE = b"(mmdagent_remote)"


class Machine:
    """This machine, for ``findings.py``."""

    def __init__(self) -> None:
        # Cached, since a name that is not found can take seconds each time.
        self._resolved: dict[str, list[str]] = {}

    def resolve(self, host: str) -> list[str]:
        """The addresses of a host, the one that MMDAgent-EX uses comes first."""
        if host not in self._resolved:
            try:
                infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError):
                infos = []
            # MMDAgent-EX prefers IPv4.
            infos.sort(key=lambda info: info[0] != socket.AF_INET)
            self._resolved[host] = list(dict.fromkeys(str(info[4][0]) for info in infos))
        return self._resolved[host]

    def is_served(self, address: str, host: Optional[str]) -> bool:
        """Whether a server on `host` (None: anywhere) is reached at an address."""
        if not host or host in ("0.0.0.0", "::"):
            return self._is_ours(address)
        if host.lower() == "localhost":
            return address in ("127.0.0.1", "::1")
        return address in self.resolve(host)

    def why_not_listen(self, host: str, port: int) -> Optional[str]:
        """Why a server cannot listen there; None: it can, or one of this package already does."""
        try:
            for sock in listen(host, port):
                sock.close()
        except OSError as error:
            # Asked after any error: a server of ours may also be reached through a redirected port.
            if self._is_one_of_us(host, port):
                return None
            if error.errno == errno.EADDRINUSE:
                return "another program does"
            if isinstance(error, PermissionError):
                return "this needs a permission; see mmdagent-remote listen --help"
            return str(error.strerror or error)
        return None

    def _is_ours(self, address: str) -> bool:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.bind((address, 0))
        except OSError:
            return False
        return True

    def _is_one_of_us(self, host: str, port: int) -> bool:
        try:
            with _connect(host or "localhost", port) as sock:
                sock.sendall(_QUESTION)
                answer = b""
                while len(answer) < 4096 and _SIGNATURE not in answer:
                    more = sock.recv(4096)
                    if not more:
                        break
                    answer += more
        except OSError:
            return False
        return _SIGNATURE in answer


def _connect(host: str, port: int) -> socket.socket:
    sock = socket.create_connection((host, port), _ANSWER)
    if port != 443:
        return sock
    # Nothing secret is sent, so any certificate will do.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        return context.wrap_socket(sock)
    except BaseException:  # On any exception: nothing else will close the socket.
        sock.close()
        raise
