"""The lines of an ``.mdf`` that make MMDAgent-EX connect to a server. Pure."""

from __future__ import annotations

from typing import Optional

# The settings of a WebSocket connection.
HOST = "Plugin_Remote_Websocket_Host"
PORT = "Plugin_Remote_Websocket_Port"
DIRECTORY = "Plugin_Remote_Websocket_Directory"
RETRIES = "Plugin_Remote_RetryCount"

#: One attempt every 0.5 s, so ten minutes. MMDAgent-EX's default is 0: one attempt, no retry.
RETRY_COUNT = 1200


def mdf_lines(host: Optional[str], port: int, path: str) -> list[str]:
    """The settings for a server that listens on `host` and `port`."""
    # MMDAgent-EX connects to the first address of a name. "All interfaces" is not a name.
    name = "localhost" if not host or host in ("0.0.0.0", "::") else host
    return [
        f"{HOST}={name}",
        f"{PORT}={port}",
        f"{DIRECTORY}={path}",
        f"{RETRIES}={RETRY_COUNT}",
    ]


def start_text(url: str, host: Optional[str], port: int, path: str) -> str:
    """Return the text that a program prints when it begins to listen, in ASCII."""
    lines = "".join(f"    {line}\n" for line in mdf_lines(host, port, path))
    text = (f"Listening on {url}\n"
            "Put these lines into the .mdf of your content (and remove TCP/IP settings):\n"
            f"{lines}"
            "Ctrl-C ends this program.")
    return text.encode("ascii", "backslashreplace").decode("ascii")
