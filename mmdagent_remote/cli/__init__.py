"""The command line, ``mmdagent-remote``: one module for each command, and what they share.

- ``listen.py``: shows messages live, sends typed lines. ``recorder.py``: writes a recording.
  ``filters.py``: ``--filter``, which lines are shown. ``families.py``: message types and colours.
- ``send.py``: ``send`` and ``say``. ``play.py``: plays a sound with lip-sync.
  ``talk.py``: what these commands share.
- ``simulate.py``: runs a simulated agent. ``steps.py``: what happens to it, and when.
  ``script.py``: reads scripts. ``recording.py``: the format of recordings.
- ``check.py``: checks an ``.mdf``. ``mdf.py``: reads it as MMDAgent-EX does.
  ``findings.py``: what would go wrong. ``probe.py``: addresses and ports of this machine.
- ``messages.py``: lists MMDAgent-EX's messages. ``demo.py``: a dialogue in one process.
- ``options.py``: shared options, the server's start. ``certificate.py``: ``--tls self-signed``.
- ``terminal.py``: output, colours and signals. ``text.py``: escaping, width and wrapping.

Only :func:`main` changes signal handlers and the terminal's encoding.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Optional

from .. import __version__
from . import check, demo, listen, messages, play, send, simulate
from .certificate import NoLibrary
from .options import Parser, UsageError, split_self_signed
from .terminal import drop_output, prepare

__all__ = ["main"]

_COMMANDS = (listen, send, play, simulate, check, messages, demo)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line and return its exit status.

    Args:
        arguments: without the program's name; None takes those of the process.
    """
    options = command_parser().parse_args(
        split_self_signed(sys.argv[1:] if arguments is None else arguments))
    prepare()
    logging.basicConfig(level=options.log_level.upper(), format="%(levelname)s: %(message)s")
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return int(options.when_interrupted)
    except BrokenPipeError:
        drop_output()  # The reader of the output has closed it, as head does.
        return 0
    except (UsageError, NoLibrary) as error:
        print(f"mmdagent-remote: {error}", file=sys.stderr)
        return error.status if isinstance(error, UsageError) else 1


def command_parser() -> Parser:
    """The parser of the whole command line."""
    parser = Parser(
        prog="mmdagent-remote",
        description="A WebSocket server for MMDAgent-EX to connect to, and tools to see and try what\n"
        "it says.",
        epilog="example: mmdagent-remote listen\n"
        "mmdagent-remote COMMAND --help says more about each, with an example.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in _COMMANDS:
        for command in module.add_to(commands):
            command.add_argument(
                "--log-level", default="warning", metavar="LEVEL",
                choices=["debug", "info", "warning", "error"],
                help="debug, info, warning or error (default: warning)")
    parser.set_defaults(when_interrupted=0)
    return parser
