"""A synchronous WebSocket server framework for MMDAgent-EX.

::

    from mmdagent_remote import Handler, serve

    class Printer(Handler):
        def on_message(self, message):
            print(message)

    serve(Printer)

Importing this package configures no logging, starts no thread and touches no signal.
"""

from .agent import Agent, on
from .errors import (ConnectionClosed, HandshakeRejected, InvalidMessage, MMDAgentRemoteError,
                     QueueFull)
from .handler import Handler
from .message import Message, clean_text
from .profile import MMDAGENT_EX, STRICT, Profile
from .server import Server, serve

__version__ = "0.1.0"

__all__ = [
    "Agent", "ConnectionClosed", "Handler", "HandshakeRejected", "InvalidMessage", "MMDAGENT_EX",
    "MMDAgentRemoteError", "Message", "Profile", "QueueFull", "STRICT", "Server", "clean_text",
    "on", "serve",
]
