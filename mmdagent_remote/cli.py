"""The command line: ``mmdagent-remote listen`` and ``mmdagent-remote demo``.

The only module that touches signals and the terminal's encoding, and only in :func:`main`.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import select
import signal
import ssl
import sys
import threading
from codecs import getincrementaldecoder
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NoReturn, Optional

from . import __version__
from .demo import run_demo
from .errors import InvalidMessage
from .handler import Handler
from .server import Server
from .transport import load_certificate

#: What a terminal might take for a command: C0, C1 and DEL.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")

#: How often one who waits for the keyboard looks for signals, in seconds.
_LOOK = 0.5


class UsageError(Exception):
    """Something that the user can mend; its text is the one line to print."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (try --help)\n")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line and return its exit status.

    Args:
        arguments: without the program's name; None takes those of the process.
    """
    options = _parser().parse_args(arguments)
    _prepare_terminal()
    logging.basicConfig(level=options.log_level.upper(), format="%(levelname)s: %(message)s")
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 0
    except UsageError as error:
        print(f"mmdagent-remote: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="mmdagent-remote",
        description="A WebSocket server for MMDAgent-EX, on the command line.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listen = commands.add_parser(
        "listen", help="print what MMDAgent-EX says, send it what you type",
        description="Print what MMDAgent-EX says, one line each with its time, and send it the "
        "lines typed on standard input.",
        epilog="example: mmdagent-remote listen --port 9001 --path /chat")
    listen.set_defaults(run=_listen)
    demo = commands.add_parser(
        "demo", help="a short dialogue with a simulated agent",
        description="Run a server, a small simulated agent and a short dialogue in one process, "
        "for a few seconds.",
        epilog="example: mmdagent-remote demo --port 9002")
    demo.set_defaults(run=_demo)
    for command in (listen, demo):
        command.add_argument("--host", default="localhost", metavar="HOST",
                             help="listen on this host's addresses; '' is all (default: localhost)")
        command.add_argument("--port", type=_port, default=9001, metavar="PORT",
                             help="0 picks a free one (default: 9001)")
        command.add_argument("--log-level", default="warning", metavar="LEVEL",
                             choices=["debug", "info", "warning", "error"],
                             help="debug, info, warning or error (default: warning)")
    listen.add_argument("--path", metavar="PATH", help="the only path; any other gets 404")
    listen.add_argument("--exclusive", action="store_true", help="one connection per path")
    listen.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"),
                        help="use TLS, with a certificate and its key in PEM files")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; a port is a number from 0 to 65535")
    return int(text)


def _prepare_terminal() -> None:
    # A console that lacks a character shows another; it must not end the program.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    if threading.current_thread() is threading.main_thread():
        # A service manager's stop is a Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _start(server: Server) -> None:
    try:
        server.start()
    except OSError as error:
        raise UsageError(error.strerror or str(error)) from error
    print(server.start_text(), file=sys.stderr, flush=True)


def _server(handler: Any, options: argparse.Namespace, **more: Any) -> Server:
    try:
        return Server(handler, options.host, options.port, **more)
    except ValueError as error:
        raise UsageError(str(error)) from error


# listen

class _Listener(Handler):
    def on_open(self) -> None:
        self._print(f"-- connected to {self.path} from {self.remote_address[0]}")

    def on_message(self, message: str) -> None:
        self._print(message)

    def on_close(self, code: int, reason: str) -> None:
        self._print(f"-- disconnected: {code} {reason}".rstrip())

    def _print(self, text: str) -> None:
        now = datetime.now().strftime("%H:%M:%S.%f")[:-3]
        try:
            print(f"{now} {_CONTROL.sub(_escape, text)}", flush=True)
        except OSError:
            _interrupt_main()  # Whoever read our output has gone.


def _escape(found: re.Match[str]) -> str:
    return f"\\x{ord(found.group()):02x}"


def _interrupt_main() -> None:
    # Standard output cannot be flushed any more; let the interpreter not try.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _listen(options: argparse.Namespace) -> int:
    server = _server(_Listener, options, path=options.path, exclusive=options.exclusive,
                     ssl_context=_tls_context(options.tls) if options.tls else None)
    _start(server)
    try:
        # The main thread reads the keyboard, so that Ctrl-C gets through everywhere.
        for line in _typed_lines():
            _send(server, line)
        server.serve_forever()
    finally:
        server.shutdown()
    return 0


def _typed_lines() -> Iterator[str]:
    """The lines of standard input up to its end, as they are typed."""
    if os.name != "posix" or not sys.stdin:
        for line in sys.stdin or ():
            yield line.rstrip("\r\n")
        return
    # A signal that comes between Python's look for one and the read would wait for the next line.
    decoder = getincrementaldecoder(sys.stdin.encoding)("replace")
    keyboard, data, begun = sys.stdin.fileno(), b"?", ""
    while data:
        if not select.select([keyboard], [], [], _LOOK)[0]:
            continue
        data = os.read(keyboard, 65536)
        *lines, begun = (begun + decoder.decode(data, final=not data)).split("\n")
        for line in lines:
            yield line.rstrip("\r")
    yield begun.rstrip("\r")


def _send(server: Server, line: str) -> None:
    if not line:
        return
    try:
        failed = server.broadcast(line)
    except InvalidMessage as error:
        print(f"not sent: {error}", file=sys.stderr)
        return
    if not server.connections:
        print("not sent: nobody is connected", file=sys.stderr)
    elif failed:
        print(f"not sent to {len(failed)} that do not read", file=sys.stderr)


def _tls_context(files: Sequence[str]) -> ssl.SSLContext:
    try:
        return load_certificate(files[0], files[1])
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(str(error)) from error


# demo

def _demo(options: argparse.Namespace) -> int:
    return run_demo(lambda handler: _server(handler, options), _start)
