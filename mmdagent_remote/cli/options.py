"""The options that commands share, and the server that these options describe."""

from __future__ import annotations

import argparse
import errno
import math
import ssl
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from ..connection.transport import load_certificate
from ..server import Server
from .certificate import self_signed_context

#: Part of several help texts.
TLS_HELP = """\
MMDAgent-EX uses TLS on port 443 and nowhere else: --tls needs --port 443, and
port 443 needs --tls. To use that port without being root, one of these (Linux):
  sudo sysctl net.ipv4.ip_unprivileged_port_start=443
      every program may use it, until the next boot
  sudo setcap cap_net_bind_service=+ep "$(readlink -f .venv/bin/python)"
      every program of this Python may; name your own
  sudo iptables -t nat -A OUTPUT -o lo -p tcp --dport 443 -j REDIRECT \\
      --to-ports 9001
      443 is redirected to --port 9001, for an MMDAgent-EX on this machine
or authbind. On macOS every user may, with --host "". On Windows every user may."""


class UsageError(Exception):
    """An error that the user can fix; its text is the one line to print."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


class Parser(argparse.ArgumentParser):
    """A parser that prints an error as one line, and its epilog as it is written."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs["formatter_class"] = argparse.RawDescriptionHelpFormatter
        kwargs["allow_abbrev"] = False
        super().__init__(**kwargs)

    def error(self, message: str) -> NoReturn:
        """Print one line, and end with status 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (try --help)\n")


def port(text: str) -> int:
    """The type of ``--port``."""
    if not (text.isascii() and text.isdecimal()) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; a port is a number from 0 to 65535")
    return int(text)


def count(text: str) -> int:
    """The type of a number of things."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def seconds(text: str) -> float:
    """The type of a time to wait."""
    return _positive(text, "a number of seconds")


def factor(text: str) -> float:
    """The type of ``--speed``."""
    return _positive(text, "a number above zero")


def _positive(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (math.isfinite(number) and 0 < number <= 1e6):
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return number


def add_address(parser: argparse.ArgumentParser) -> None:
    """``--host`` and ``--port``, of a server to start."""
    parser.add_argument("--host", default="localhost", metavar="HOST",
                        help='listen on this host\'s addresses; "" is all (default: localhost)')
    parser.add_argument("--port", type=port, default=9001, metavar="PORT",
                        help="0 picks a free one (default: 9001)")


def add_server(parser: argparse.ArgumentParser) -> None:
    """All options of a server to start."""
    add_address(parser)
    parser.add_argument("--path", metavar="PATH", help="the only path; any other gets 404")
    parser.add_argument("--exclusive", action="store_true", help="one connection per path")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"),
                        help="use TLS, with a certificate and its key in PEM files; "
                        "--tls self-signed makes one for this run")
    parser.add_argument("--tls-self-signed", action="store_true", help=argparse.SUPPRESS)


def split_self_signed(arguments: Sequence[str]) -> list[str]:
    """The arguments with ``--tls self-signed`` as one word, since ``--tls`` takes two values."""
    found: list[str] = []
    for number, argument in enumerate(arguments):
        if argument == "--":
            return [*found, *arguments[number:]]
        if argument == "--tls=self-signed":
            found.append("--tls-self-signed")
        elif argument == "self-signed" and found[-1:] == ["--tls"]:
            found[-1] = "--tls-self-signed"
        else:
            found.append(argument)
    return found


def make_server(handler: Any, options: argparse.Namespace, **more: Any) -> Server:
    """The server that the options describe.

    Raises:
        UsageError: the options are not valid.
    """
    try:
        return Server(handler, options.host, options.port, **more)
    except ValueError as error:
        raise UsageError(str(error)) from error


def make_whole_server(handler: Any, options: argparse.Namespace) -> Server:
    """The same as :func:`make_server`, with all the options of :func:`add_server`."""
    context = None
    if options.tls_self_signed:
        context = self_signed_context(options.host)
    elif options.tls:
        context = _tls_context(options.tls)
    return make_server(handler, options, path=options.path, exclusive=options.exclusive,
                       ssl_context=context)


def start(server: Server, *, silently: bool = False) -> None:
    """Start a server, and print its address and its ``.mdf`` lines unless `silently`.

    Raises:
        UsageError: the server cannot be started.
    """
    try:
        server.start()
    except OSError as error:
        text = error.strerror or str(error)
        if error.errno == errno.EACCES:
            text += " (see mmdagent-remote listen --help for how to get port 443)"
        raise UsageError(text) from error
    if not silently:
        print(server.start_text(), file=sys.stderr, flush=True)


def _tls_context(files: Sequence[str]) -> ssl.SSLContext:
    try:
        return load_certificate(files[0], files[1])
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(str(error)) from error
