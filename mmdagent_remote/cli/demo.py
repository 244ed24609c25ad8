"""``mmdagent-remote demo``: the options of the demonstration."""

from __future__ import annotations

import argparse
from typing import Any

from ..demo import run_demo
from .options import add_address, make_server, start


def add_to(commands: Any) -> list[argparse.ArgumentParser]:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "demo", help="a short dialogue with a simulated agent",
        description="Run a server, a small simulated agent and a short dialogue in one process,\n"
        "for a few seconds.",
        epilog="example: mmdagent-remote demo --port 9002")
    add_address(parser)
    parser.set_defaults(run=run)
    return [parser]


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    return run_demo(lambda handler: make_server(handler, options), start)
