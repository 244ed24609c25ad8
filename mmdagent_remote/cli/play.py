"""``mmdagent-remote play``: plays a sound file with lip-sync, and waits for its end."""

from __future__ import annotations

import argparse
import os
from typing import Any, Optional

from ..errors import InvalidMessage
from ..message import join_fields
from ..sound.sources import open_sound
from .options import UsageError
from .talk import NOTES, add_options, connected_agent, result_of, stderr_screen


def add_to(commands: Any) -> list[argparse.ArgumentParser]:
    """Add the command to the command line."""
    play = commands.add_parser(
        "play", help="have an agent speak a sound file, with lip-sync",
        description="Wait for an agent, have its model speak a sound that was made elsewhere, with\n"
        "lip-sync, and end when it was heard. A WAV file of 16 kHz, 16 bits, mono is\n"
        "played as it is; any other sound needs two packages:\n"
        "    python -m pip install soundfile soxr",
        epilog="example: mmdagent-remote play 0 hello.wav\n" + NOTES + """

MMDAgent-EX reports nothing about sound: when it was heard is computed from its
length. For a model that does not exist, nothing is heard.""")
    play.add_argument("model", metavar="MODEL", help="its alias, such as 0")
    play.add_argument("file", metavar="FILE.wav", help="a sound file")
    add_options(play)
    play.set_defaults(run=run)
    return [play]


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    seconds = _check(options.model, options.file)
    length = "" if seconds is None else f", {seconds:.1f} s"
    screen = stderr_screen()
    with connected_agent(options, screen) as agent:
        with screen.progress(f"playing {os.path.basename(options.file)}{length}") as progress:
            try:
                future = agent.speak_audio(options.model, options.file, progress=progress)
            except (ImportError, OSError, ValueError) as error:
                raise UsageError(_why(options.file, error), 2) from error
            is_whole = result_of(future)
            if is_whole and seconds is not None:
                progress(seconds, seconds)
    if not is_whole:
        raise UsageError("it was stopped before its end")
    screen.line(("played", "bold green"))
    return 0


def _check(model: str, file: str) -> Optional[float]:
    """The length of the sound in seconds, if known; called before waiting for an agent.

    Raises:
        UsageError: the sound cannot be played.
    """
    try:
        join_fields(("AVATAR", model, "a"))
        sound = open_sound(file)
        sound.close()
    except InvalidMessage as error:
        raise UsageError(str(error), 2) from error
    except (ImportError, OSError, ValueError) as error:
        raise UsageError(_why(file, error), 2) from error
    if "," in model or sound.seconds == 0:
        raise UsageError(f"no model to speak with: {model!r}" if "," in model
                         else f"there is no sound in {file}", 2)
    return sound.seconds


def _why(file: str, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot read {file}: {error.strerror or error}"
    return f"{file}: {error}"
