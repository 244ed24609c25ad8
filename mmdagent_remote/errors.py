"""The exceptions of this package, all in one tree.

::

    Exception
     +-- MMDAgentRemoteError
          +-- ConnectionClosed      the connection has ended; carries code and reason
          +-- HandshakeRejected     raise it in on_request() to refuse a client
          +-- InvalidMessage        this line cannot be carried (also a ValueError)
          +-- QueueFull             a wait was given up because the line queue is full

Timeouts are the builtin ``TimeoutError``. This module imports nothing.
"""


class MMDAgentRemoteError(Exception):
    """Base of every exception that this package defines."""


class ConnectionClosed(MMDAgentRemoteError):
    """The connection has ended; nothing more can be read from it or sent on it.

    Args:
        code: the close code (RFC 6455, section 7.4); 1006 when the connection
            was lost without a Close frame, 1005 for a Close without a code.
        reason: the reason that the closing side gave, often empty.
        connection: the name of the connection, for example ``mmdagent-remote-7``.
    """

    def __init__(self, code: int, reason: str = "", *, connection: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.connection = connection

    def __str__(self) -> str:
        text = f"{self.connection or 'the connection'} is closed: {self.code}"
        return f"{text} ({self.reason})" if self.reason else text


class HandshakeRejected(MMDAgentRemoteError):
    """Raised in ``on_request()`` to refuse a client before the connection opens.

    Args:
        status: an HTTP status from 400 to 599.
        reason: the reason phrase; if empty, the standard phrase of that status.

    Raises:
        ValueError: the status is out of range, or the reason is not printable ASCII.
    """

    def __init__(self, status: int, reason: str = "") -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"status must be from 400 to 599, not {status}")
        if not (reason.isascii() and (reason.isprintable() or not reason)):
            raise ValueError("reason must be printable ASCII, since it is part of the status line")
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


class InvalidMessage(MMDAgentRemoteError, ValueError):
    """The line cannot be carried; the text says why. No byte of it was sent."""


class QueueFull(MMDAgentRemoteError):
    """A pending wait was given up because the line queue of its connection is full."""
