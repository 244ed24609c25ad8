"""``mmdagent-remote check``: finds what would go wrong with an ``.mdf``."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from ..mdf import DIRECTORY, HOST, PORT
from ..serving.settings import normal_path
from .findings import Finding, Target, check
from .mdf import MdfFile, number_of, parse
from .options import UsageError, port
from .probe import Machine
from .terminal import Screen
from .text import to_json, wrap

#: Bytes. No .mdf is longer, since MMDAgent-EX takes 4096 settings.
_MAX_SIZE = 4 * 1024 * 1024


def add_to(commands: Any) -> list[argparse.ArgumentParser]:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "check", help="what would go wrong with an .mdf, and which line to change",
        description="Read an .mdf as MMDAgent-EX does, and say what would keep it from your server\n"
        "and which line to write instead. Run it where the server runs. Options that\n"
        "you do not give are taken from the file.",
        epilog="""\
example: mmdagent-remote check main.mdf
         mmdagent-remote check main.mdf --port 9001 --path /chat

The exit status is 0 when nothing is wrong, 1 when something is, 2 when the file
cannot be read. MMDAgent-EX also reads MMDAgent-EX.mdf, beside the program
itself. Its settings apply where your content's file does not set them.""")
    parser.add_argument("file", metavar="FILE.mdf", help="the content's settings")
    parser.add_argument("--host", metavar="HOST", help='the server\'s host; "" is all of this machine')
    parser.add_argument("--port", type=port, metavar="PORT", help="the server's port")
    parser.add_argument("--path", metavar="PATH", help="the server's only path")
    parser.add_argument("--exclusive", action="store_true", help="it allows one connection per path")
    parser.add_argument("--tls", action="store_true", help="it uses TLS")
    parser.add_argument("--tls-self-signed", dest="tls", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=run)
    return [parser]


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    try:
        path = None if options.path is None else normal_path(options.path)
    except ValueError as error:
        raise UsageError(str(error), 2) from error
    file = parse(_read(options.file), os.environ)
    findings = check(file, Target(options.host, options.port, path, options.exclusive, options.tls),
                     Machine())
    if options.json:
        print(to_json({"file": options.file, "findings": [each._asdict() for each in findings]}, 1))
    else:
        _print(options.file, file, findings, Screen(sys.stdout))
    return 1 if findings else 0


def _read(name: str) -> bytes:
    try:
        with open(name, "rb") as file:
            data = file.read(_MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {name}: {getattr(error, 'strerror', error)}", 2) from error
    if len(data) > _MAX_SIZE or b"\0" in data and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        what = "too long" if len(data) > _MAX_SIZE else "no text"
        raise UsageError(f"{name} is no .mdf: it is {what}", 2)
    return data


def _print(name: str, file: MdfFile, findings: list[Finding], screen: Screen) -> None:
    if not findings:
        screen.line((f"{name}: nothing wrong", "bold green"), f"; it connects to {_url(file)}")
        return
    many = "1 thing" if len(findings) == 1 else f"{len(findings)} things"
    screen.line((f"{name}: {many} to change", "bold red"))
    for finding in findings:
        screen.line("")
        # Below the heading, so that a long problem is not squeezed into a narrow column.
        screen.line((f"line {finding.line}" if finding.line else "the file", "bold"))
        for line in wrap(finding.problem, screen.columns - 4):
            screen.line("    " + line)
        for number, line in enumerate(finding.write):
            verb = "write:" if finding.line else "add:"
            screen.line(f"    {verb if number == 0 else '':<7}", (line, "bold cyan"))


def _url(file: MdfFile) -> str:
    values = [found.value if (found := file.last(name)) else "" for name in (HOST, PORT, DIRECTORY)]
    number = number_of(values[1]) or 80
    path = values[2] or "/"
    return (f"ws{'s' if number == 443 else ''}://{values[0]}:{number}"
            f"{path if path.startswith('/') else '/' + path}")
