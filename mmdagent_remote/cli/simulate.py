"""``mmdagent-remote simulate``: a simulated MMDAgent-EX, with a user who follows a script."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from typing import Any, Optional

from ..message import Message
from ..serving.settings import normal_path
from ..testing import SimulatedAgent
from ..testing.documented import commands as known_commands
from .families import STYLES, family_of
from .options import UsageError, count, factor, port
from .recording import RecordingError
from .script import Step
from .steps import open_steps
from .talk import NOBODY
from .terminal import Screen

#: Attempts to connect, half a second apart: ten minutes in all, as in our .mdf lines.
_RETRIES = 1200
#: The agent's own time runs at most this many times faster.
_MAX_HURRY = 100.0
#: Seconds between two polls of the agent while there is nothing else to do.
_LOOK = 0.1
#: Seconds until it says why it is not connected yet.
_PATIENCE = 3.0
#: The most lines that may wait in the agent, so that memory is bounded.
_MAX_WAITING = 1000

#: Seconds for each spoken character, and at least for a text.
_PER_CHARACTER, _SHORTEST = 0.12, 0.5


def add_to(commands: Any) -> list[argparse.ArgumentParser]:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "simulate", help="a simulated agent, for work without MMDAgent-EX",
        description="Connect to your server as MMDAgent-EX does, answer its commands, and print\n"
        "them: <- from the server, -> from the user. Every model, voice and file is\n"
        "assumed to exist.",
        epilog="""\
example: mmdagent-remote simulate --port 9001 --path /chat --script talk.txt
         mmdagent-remote simulate --replay today.jsonl --speed 60

A script says what a user does, and when, in seconds since the connection, or
with + since the line before:
    1       hear hello, who are you?
    +2.5    key a
    +1      send TAPPED|0|head
    30      end
hear is recognised speech: RECOG_EVENT_START and RECOG_EVENT_STOP. Without an
end the agent stays until Ctrl-C.

A replay says what the agent of a recording said, at the same times. Besides, it
only echoes what your server sends now. It ends with the recording.

The exit status is 0 at an end and at Ctrl-C, 1 when the agent failed, 2 for a
wrong script or recording, 3 when there was no server.""")
    parser.add_argument("--host", default="localhost", metavar="HOST",
                        help="where your server is (default: localhost)")
    parser.add_argument("--port", type=port, default=9001, metavar="PORT", help="(default: 9001)")
    parser.add_argument("--path", default="/chat", metavar="PATH",
                        help="what to ask for (default: /chat)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--script", metavar="FILE", help="a user's words and keys")
    source.add_argument("--replay", metavar="FILE", help="a recording of listen --record")
    parser.add_argument("--connection", type=count, metavar="NUMBER",
                        help="replay only this one of a recording's connections")
    parser.add_argument("--speed", type=factor, default=1.0, metavar="N",
                        help="N times faster, the agent's own time too (default: 1)")
    parser.add_argument("--retry-count", type=count, default=_RETRIES, metavar="N",
                        help=f"attempts to connect, half a second apart (default: {_RETRIES})")
    parser.set_defaults(run=run)
    return [parser]


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    with open_steps(options.script, options.replay, options.connection) as (steps, passive):
        host = f"[{options.host}]" if ":" in options.host else options.host
        # hurry also shortens the time between attempts, so their number grows with it.
        hurry = 1.0 if passive else min(options.speed, _MAX_HURRY)
        try:
            agent = SimulatedAgent(
                f"ws://{host}:{options.port}/", path=_path(options.path), hurry=hurry,
                retry_count=round(options.retry_count * max(1.0, hurry)), chatter=not passive,
                speech_time=speech_time)
        except ValueError as error:
            raise UsageError(str(error), 2) from error
        if passive:
            agent.ignore(*known_commands())
        try:
            agent.start()
            return _Play(agent, Screen(sys.stdout), options.speed, may_lose=not passive).run(steps)
        except KeyboardInterrupt:
            return 0
        except (RecordingError, UnicodeDecodeError) as error:
            raise UsageError(f"{options.replay}: {error}", 2) from error
        finally:
            _leave(agent)


def _leave(agent: SimulatedAgent) -> None:
    try:
        agent.leave()
    except RuntimeError as error:
        raise UsageError("your server does not read what is sent to it") from error


def speech_time(text: str) -> float:
    """About how long a voice takes for a text, in seconds."""
    return max(_SHORTEST, _PER_CHARACTER * len(text))


class _Play:
    """One run: plays the steps at their times, and prints what the server sends meanwhile.

    Args:
        may_lose: a user's actions are lost while the agent is not connected, as with the real one.
    """

    def __init__(self, agent: SimulatedAgent, screen: Screen, speed: float, *, may_lose: bool) -> None:
        self._agent = agent
        self._screen = screen
        self._speed = speed
        self._may_lose = may_lose
        #: Connections that were reported, and whether the end of the last one was.
        self._told = 0
        self._has_told_end = True

    def run(self, steps: Iterable[Step]) -> int:
        """Play all steps; returns the exit status."""
        screen = Screen(sys.stderr)
        with screen.waiting(f"connecting to {self._agent.url.rstrip('/')}{self._agent.path}"):
            self._until_connected(screen)
        began = time.monotonic()
        for step in steps:
            self._print_until(began + step.time / self._speed)
            if not step.lines:
                return 0
            for line in step.lines:
                self._emit(line)
        while True:
            self._print_until(time.monotonic() + 60)

    def _until_connected(self, screen: Screen) -> None:
        told, tell_at = "", time.monotonic() + _PATIENCE
        while not self._agent.connected:
            try:
                self._agent.wait_connected(_LOOK)
            except TimeoutError as error:
                if str(error) != told and time.monotonic() > tell_at:
                    told = str(error)
                    screen.line(f"still trying: {told}")
            except ConnectionError as error:
                raise UsageError(f"{error}; is your server running?", NOBODY) from error

    def _emit(self, line: str) -> None:
        while self._agent.waiting >= _MAX_WAITING or not (self._may_lose or self._agent.connected):
            self._print_until(time.monotonic() + 0.01)
        is_lost = not self._agent.connected
        try:
            self._agent.emit(line)
        except ConnectionError as error:
            raise UsageError(str(error)) from error
        self._screen.line(("-> ", "dim"), (line, STYLES[family_of(line)]),
                          "   (lost: not connected)" if is_lost else "")

    def _print_until(self, when: float) -> None:
        """Print what the server sends, until a time on the monotonic clock."""
        while True:
            self._tell_connection()
            left = when - time.monotonic()
            message = self._next(max(0.0, min(left, _LOOK)))
            if message is not None:
                self._screen.line(("<- ", "dim"), (message, STYLES[family_of(message)]))
            elif self._agent.crashed or self._agent.ended:
                raise UsageError(f"the simulated agent has ended: {self._agent.crashed or self._agent}")
            elif left <= 0:
                return

    def _tell_connection(self) -> None:
        is_connected, connects = self._agent.connected, self._agent.connects
        if not self._has_told_end and (connects > self._told or not is_connected):
            self._has_told_end = True
            self._screen.line(("-- disconnected", "bold"))
        if is_connected and connects > self._told:
            self._told, self._has_told_end = connects, False
            self._screen.line((f"-- connected to {self._agent.path}", "bold"))

    def _next(self, timeout: float) -> Optional[Message]:
        try:
            return self._agent.expect(_anything, timeout)
        except AssertionError:
            return None


def _anything(message: Message) -> bool:
    return True


def _path(text: str) -> str:
    # As in an .mdf, where a query may follow the path.
    path, mark, query = text.partition("?")
    return normal_path(path) + mark + query
