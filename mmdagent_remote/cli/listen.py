"""``mmdagent-remote listen``: prints what the agent says, live, and sends what is typed."""

from __future__ import annotations

import argparse
import itertools
import os
import select
import sys
from codecs import getincrementaldecoder
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Optional

from ..errors import InvalidMessage
from ..handler import Handler
from ..message import Message, check_line
from ..server import Server
from .families import STYLES, family_of
from .filters import matcher_of_words
from .options import TLS_HELP, UsageError, add_server, make_whole_server, start
from .recorder import Recorder
from .terminal import Screen, interrupt_main

#: Seconds between two checks for signals while waiting for the keyboard.
_LOOK = 0.5


def add_to(commands: Any) -> list[argparse.ArgumentParser]:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "listen", help="print what MMDAgent-EX says, send it what you type",
        description="Print what MMDAgent-EX says, one line each with its time, and send it the lines\n"
        "typed on standard input. Ctrl-C ends it.",
        epilog="""\
example: mmdagent-remote listen --port 9001 --path /chat
         mmdagent-remote listen --filter RECOG_EVENT_STOP --record today.jsonl

A PATTERN is the first fields of a message: RECOG_EVENT_STOP, or
"TIMER_EVENT_STOP|t". Between slashes it is a regular expression for the whole
line: "/RECOG_.*/". There are no wildcards. With several --filter, a line that
matches any of them is shown.

""" + TLS_HELP)
    add_server(parser)
    parser.add_argument("--filter", action="append", default=[], metavar="PATTERN",
                        help="show only what matches; a recording still has everything")
    parser.add_argument("--record", metavar="FILE",
                        help="write both directions into a new file, as lines of JSON")
    parser.add_argument("--json", action="store_true", help="print lines of JSON, as in a recording")
    parser.set_defaults(run=run)
    return [parser]


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    try:
        matches = matcher_of_words(options.filter)
    except ValueError as error:
        raise UsageError(str(error), 2) from error
    recorder = Recorder(options.record)
    try:
        view = _View(recorder, Screen(sys.stdout), matches, as_json=options.json)
        server = make_whole_server(lambda: _Listener(view), options)
        return _listen(server, view)
    finally:
        recorder.close()


def _listen(server: Server, view: _View) -> int:
    start(server)
    try:
        # The main thread reads the keyboard, so that Ctrl-C works on every system.
        for line in typed_lines():
            _send(server, line, view)
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.shutdown()
    return 1 if view.recorder.problem else 0


class _View:
    """Shows and records the lines of all connections. Any thread may call it."""

    def __init__(self, recorder: Recorder, screen: Screen, matches: Any, *, as_json: bool) -> None:
        self.recorder = recorder
        self._screen = screen
        self._matches = matches
        self._as_json = as_json
        self._has_told = False

    def event(self, number: int, event: str, text: str, **more: Any) -> None:
        """A connection has begun or ended."""
        entry = self.recorder.add(number, event, **more)
        self._show(entry, ("-- " + text, "bold"))

    def received(self, number: int, message: Message) -> None:
        """A line was received."""
        entry = self.recorder.add(number, "received", line=str(message),
                                  **({"echo": True} if message.is_echo else {}))
        if self._matches(message):
            self._show(entry, (message, "dim" if message.is_echo else STYLES[family_of(message)]))

    def sent(self, number: int, line: str) -> None:
        """A line is about to be sent."""
        entry = self.recorder.add(number, "sent", line=line)
        # A person sees the typed line and its echo anyway.
        if self._as_json and self._matches(Message(line)):
            self._show(entry, "")

    def _show(self, entry: str, part: Any) -> None:
        if self.recorder.problem and not self._has_told:
            self._has_told = True
            print(self.recorder.problem, file=sys.stderr, flush=True)
        try:
            if self._as_json:
                self._screen.line(entry)
            else:
                self._screen.line((datetime.now().strftime("%H:%M:%S.%f")[:-3] + " ", "dim"), part)
        except OSError:
            interrupt_main()


class _Listener(Handler):
    _numbers = itertools.count(1)

    def __init__(self, view: _View) -> None:
        self._view = view
        self.number = 0

    def on_open(self) -> None:
        self.number = next(self._numbers)
        address = self.remote_address[0]
        self._view.event(self.number, "open", f"connected to {self.path} from {address}",
                         path=self.path, address=address)

    def on_message(self, message: Message) -> None:
        self._view.received(self.number, message)

    def on_close(self, code: int, reason: str) -> None:
        self._view.event(self.number, "close", f"disconnected: {code} {reason}".rstrip(),
                         code=code, reason=reason)


def typed_lines() -> Iterator[str]:
    """The lines of standard input up to its end, as they are typed."""
    if os.name != "posix" or not sys.stdin:
        for line in sys.stdin or ():
            yield line.rstrip("\r\n")
        return
    # Polled, not blocking: a signal that arrives between Python's check for signals and a blocking
    # read would not be handled until the next line.
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


def _send(server: Server, line: str, view: _View) -> None:
    if not line:
        return
    problem: Optional[str] = None
    try:
        check_line(line)
        handlers = server.connections
        # Recorded before it is sent, since its echo can arrive before the next statement runs.
        for handler in handlers:
            if isinstance(handler, _Listener):
                view.sent(handler.number, line)
        failed = server.broadcast(line)
        if not handlers:
            problem = "nobody is connected"
        elif failed:
            problem = f"{len(failed)} of {len(handlers)} do not read"
    except InvalidMessage as error:
        problem = str(error)
    if problem:
        print(f"not sent: {problem}", file=sys.stderr)
