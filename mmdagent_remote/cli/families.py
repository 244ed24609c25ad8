"""Families of messages: what a line is about, and so its colour. Pure."""

from __future__ import annotations

import re

#: Beginnings of a message's type, and their family. The first match counts.
_BEGINNINGS = (
    ("RECOG_", "recognition"),
    (("SYNTH_", "SPEAK_", "LIPSYNC_", "SOUND_"), "speech"),
    (("MODEL_", "MOTION_", "MOTIONCAPTURE_", "MOVE_", "TURN_", "ROTATE_", "TEXTURE_"), "motion"),
    (("KEY", "TAPPED", "SCREEN_", "DRAGANDDROP", "REMOTEKEY_", "BUTTON_", "MENU", "PROMPT_"), "user"),
    (("VALUE_", "TIMER_", "SUBFST_", "FST_"), "script"),
    (("TEXTAREA_", "CAPTION_", "INFOTEXT_", "NOTIFY_", "CAMERA", "STAGE", "WINDOW", "LIGHT",
      "TRANSPARENT_"), "screen"),
    (("PLUGIN_", "LOG_", "AVATAR", "REMOTE_", "CURRENT_TIME", "CONFIG_", "HOME_", "OPEN_", "EXECUTE",
      "NETWORK_", "RABBITMQ_", "KAFKA_", "__"), "system"),
)

#: Styles in rich's notation, readable on a light terminal and on a dark one.
STYLES = {
    "recognition": "bold green",
    "speech": "cyan",
    "motion": "magenta",
    "user": "bold blue",
    "script": "dark_orange3",
    "screen": "green",
    "system": "",
    "log": "",
    "other": "",
}

#: A line of ``Plugin_Remote_AllLog``. Its last part may be a message.
_LOG = re.compile(r"\[\d{4}/\d\d/\d\d [\d:.]+\] \[\d+\] \w+: (\w+): (.*)")


def family_of(line: str) -> str:
    """What a line is about: a key of ``STYLES``."""
    log = _LOG.match(line)
    if log is not None:
        if log.group(1) not in ("Sent", "Captured"):
            return "log"
        line = log.group(2)
    # These two begin like the user's KEY, but belong to scripts.
    if line.startswith(("KEYVALUE_", "KEY_POST")):
        return "script"
    for beginning, family in _BEGINNINGS:
        if line.startswith(beginning):
            return family
    return "other"
