"""``mmdagent-remote send`` and ``say``: send lines or a text to an agent, and wait for the end."""

from __future__ import annotations

import argparse
import queue
import sys
from typing import Any, NamedTuple, Optional

from ..errors import InvalidMessage
from ..message import Message, check_line, clean_text, join_fields
from ..profile import MMDAGENT_EX
from ..vocabulary.pattern import matcher_of
from ..vocabulary.table import answer_to, entries
from ..websocket.lines import prepare_line
from .options import UsageError, seconds
from .talk import NOTES, Talker, add_options, connected_agent, listen_for, result_of, stderr_screen
from .terminal import Screen


def add_to(commands: Any) -> list[argparse.ArgumentParser]:
    """Add the commands to the command line."""
    send = commands.add_parser(
        "send", help="send lines to an agent, and wait for its answers",
        description="Wait for an agent, send it lines, each after the one before is done, and end.\n"
        "A command is done when its answer and its end have come, such as\n"
        "TIMER_EVENT_STOP. One that has no answer is done when its echo has come.",
        epilog='example: mmdagent-remote send "TIMER_START|t|1" "TEXTAREA_SET|clock|12:00"\n' + NOTES)
    send.add_argument("lines", nargs="+", metavar="LINE",
                      help="in quotes: a shell has its own use for |")
    add_options(send)
    send.add_argument("--answer-timeout", type=seconds, default=10.0, metavar="SECONDS",
                      help="time to wait for the answer to each line (default: 10)")
    send.add_argument("--end-timeout", type=seconds, default=600.0, metavar="SECONDS",
                      help="time to wait for the end of what it began (default: 600)")
    send.set_defaults(run=run_send)
    say = commands.add_parser(
        "say", help="have an agent speak a text",
        description="Wait for an agent, have its model speak a text, and end when it was spoken.",
        epilog="example: mmdagent-remote say 0 slt_voice_normal Hello there\n" + NOTES)
    say.add_argument("model", metavar="MODEL", help="its alias, such as 0")
    say.add_argument("voice", metavar="VOICE", help="a voice of the content, such as slt_voice_normal")
    say.add_argument("text", nargs="+", metavar="TEXT", help="any text, however long")
    add_options(say)
    say.set_defaults(run=run_say)
    return [send, say]


# send

class Plan(NamedTuple):
    """A line, and the messages that show that it is done."""

    line: str
    #: The patterns of the first answer, and of the answer that marks the end.
    answer: Optional[str]
    end: Optional[str]
    echo: Optional[str]


def plan_of(line: str) -> Plan:
    """What to wait for after a line.

    Raises:
        InvalidMessage: the line cannot be carried.
    """
    line = check_line(line)
    echo = prepare_line(line, MMDAGENT_EX).echo
    try:
        answer = answer_to(Message(line))
    except ValueError:
        return Plan(line, None, None, echo)
    types = entries()[Message(line).type]["answers"]
    _, bar, keys = answer.partition("|")
    return Plan(line, answer, types[-1] + bar + keys if len(types) > 1 else None, echo)


def run_send(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    try:
        plans = [plan_of(line) for line in options.lines]
    except InvalidMessage as error:
        raise UsageError(str(error), 2) from error
    screen = Screen(sys.stdout)
    with connected_agent(options, stderr_screen()) as agent:
        heard: queue.SimpleQueue[Optional[Message]] = queue.SimpleQueue()
        agent.heard = heard
        if agent.closed:
            raise UsageError("MMDAgent-EX has left")
        for plan in plans:
            _send_one(agent, heard, plan, screen, options)
    return 0


def _send_one(agent: Talker, heard: queue.SimpleQueue[Optional[Message]], plan: Plan, screen: Screen,
              options: argparse.Namespace) -> None:
    agent.send(plan.line)
    screen.line(("sent    ", "dim"), plan.line)
    if plan.echo is not None and agent.is_mmdagent:
        # The echo comes before every answer to the line. Earlier messages answer something else.
        _wait(heard, options.answer_timeout, plan,
              lambda message: message.is_echo and message == plan.echo)
        if plan.answer is None:
            screen.line(("arrived ", "bold green"), "(MMDAgent-EX answers this with nothing)")
    if plan.answer is not None:
        answer, end = matcher_of(plan.answer), matcher_of(plan.end or plan.answer)

        def is_answer(message: Message) -> bool:
            return not message.is_echo and bool(answer(message))

        def is_end(message: Message) -> bool:
            return not message.is_echo and bool(end(message))
        first = _wait(heard, options.answer_timeout, plan, is_answer, is_end)
        screen.line(("answer  ", "bold green"), first)
        if plan.end is not None and not is_end(first):
            with stderr_screen().waiting(f"until {plan.end}"):
                last = _wait(heard, options.end_timeout, plan, is_end)
            screen.line(("end     ", "bold green"), last)


def _wait(heard: queue.SimpleQueue[Optional[Message]], timeout: float, plan: Plan,
          *wanted: Any) -> Message:
    try:
        return listen_for(heard, timeout, *wanted)
    except TimeoutError:
        entry = entries().get(Message(plan.line).type, {})
        silent = entry.get("silent_failures")
        reason = f". What fails silently: {silent}" if silent else ""
        raise UsageError(f"nothing came for {plan.line} within {timeout:g} s{reason}") from None


# say

def run_say(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    text = " ".join(options.text)
    if not clean_text(text):
        raise UsageError(f"there is nothing to speak in {text!r}", 2)
    try:
        join_fields(("SYNTH_START", options.model, options.voice, "a"))
    except InvalidMessage as error:
        raise UsageError(str(error), 2) from error
    screen = stderr_screen()
    with connected_agent(options, screen) as agent:
        try:
            future = agent.say(options.model, options.voice, text)
            with screen.waiting(f"{options.model} speaks"):
                is_whole = result_of(future)
        except InvalidMessage as error:
            raise UsageError(str(error), 2) from error
        except TimeoutError as error:
            raise UsageError(str(error)) from error
    if not is_whole:
        raise UsageError("it was cut off before its end")
    screen.line(("spoken", "bold green"))
    return 0
