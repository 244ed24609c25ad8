"""What ``send``, ``say`` and ``play`` share: waiting for an agent, and for its messages."""

from __future__ import annotations

import argparse
import queue
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Optional, TypeVar

from ..agent import Agent
from ..connection.transport import SLICE, Deadline, wait_future
from ..errors import ConnectionClosed
from ..message import Message
from .options import UsageError, add_server, make_whole_server, seconds, start
from .terminal import Screen

#: The exit status when no agent came, or no server was found.
NOBODY = 3

_Result = TypeVar("_Result")

#: Ends the help of these commands.
NOTES = """
The exit status is 0 when everything was completed, 1 when it was not, 2 for
wrong usage, 3 when no agent came.

The command starts a server: nothing else may listen on the port meanwhile, and
the connection closes when the command ends. MMDAgent-EX connects to the next
server if its .mdf has a Plugin_Remote_RetryCount; but the stock Linux build
does not survive the loss of its connection. There, type your lines into
mmdagent-remote listen."""


class Talker(Agent):
    """A command's agent. It puts messages into the queue `heard`, if there is one."""

    heard: Optional[queue.SimpleQueue[Optional[Message]]] = None

    def on_message(self, message: Message) -> None:
        """Queue a message."""
        if self.heard is not None:
            self.heard.put(message)

    def on_close(self, code: int, reason: str) -> None:
        """Queue None, which says that the connection has ended."""
        if self.heard is not None:
            self.heard.put(None)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of all three."""
    add_server(parser)
    parser.add_argument("--timeout", type=seconds, default=60.0, metavar="SECONDS",
                        help="time to wait for an agent (default: 60)")
    # An interrupted command has not completed, so its status is 1.
    parser.set_defaults(when_interrupted=1)


@contextmanager
def connected_agent(options: argparse.Namespace, screen: Screen) -> Iterator[Talker]:
    """Start a server, and yield the first agent that connects to it.

    Raises:
        UsageError: the server cannot be started, no agent came, or it has left.
    """
    server = make_whole_server(Talker, options)
    start(server, silently=True)
    try:
        with screen.waiting(f"waiting for MMDAgent-EX at {server.url}"):
            try:
                agent = server.wait_connected(options.timeout)
            except TimeoutError as error:
                raise UsageError(f"no agent came within {options.timeout:g} s; see mmdagent-remote "
                                 "check --help", NOBODY) from error
        assert isinstance(agent, Talker)
        try:
            yield agent
        except ConnectionClosed as error:
            raise UsageError(f"MMDAgent-EX has left: {error.code} {error.reason}".rstrip()) from error
    finally:
        server.shutdown()


def result_of(future: Future[_Result]) -> _Result:
    """Wait for a future, so that Ctrl-C works on every system; returns its result."""
    wait_future(future, Deadline(None))
    return future.result()


def listen_for(heard: queue.SimpleQueue[Optional[Message]], timeout: float,
               *wanted: Callable[[Message], object]) -> Message:
    """Wait up to `timeout` seconds for the next message that a function of `wanted` accepts.

    Raises:
        TimeoutError: no such message came in time.
        ConnectionClosed: the agent has left.
    """
    end = time.monotonic() + timeout
    while True:
        left = end - time.monotonic()
        try:
            message = heard.get(timeout=max(0.0, min(left, SLICE)))
        except queue.Empty:
            if left <= 0:
                raise TimeoutError from None
            continue
        if message is None:
            raise ConnectionClosed(1006, "before it was done")
        if any(is_wanted(message) for is_wanted in wanted):
            return message


def stderr_screen() -> Screen:
    """The screen for progress; results go to standard output."""
    return Screen(sys.stderr)
