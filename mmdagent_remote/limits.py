"""Every bound and every timeout: its name, default, unit and reason.

:class:`Limits` holds those that a user may set, as options of ``Server``. The
constants below it are internal. A new bound goes here, into the option table of the
README, and into a test at n-1, n and n+1. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Optional


@dataclass(frozen=True)
class Limits:
    """The bounds of one server. Times are in seconds, sizes in bytes.

    Raises:
        TypeError: a value is not a number.
        ValueError: a value is out of range.
    """

    #: TLS and the opening handshake, in total. With a limit per byte, a client that
    #: sends one byte a second would hold a thread for hours.
    open_timeout: Optional[float] = 10.0
    #: How long one ``send`` may wait for a peer that does not read, in total.
    send_timeout: Optional[float] = 10.0
    #: Silence after which a ping is sent. ``None`` sends none.
    ping_interval: Optional[float] = 20.0
    #: How much longer the silence may last. ``None``: a connection is never given up.
    ping_timeout: Optional[float] = 20.0
    #: Flushing, the Close frame and the wait for the peer's, in total.
    close_timeout: float = 0.5
    #: One message, all its fragments together.
    max_message_size: int = 1024 * 1024
    #: One line, in UTF-8.
    max_line_size: int = 64 * 1024
    #: Fragments of one message: a list of tiny pieces takes fifty times its text.
    max_fragments: int = 4096
    #: Lines that wait for the handler (and at most MAX_QUEUE_BYTES of them).
    max_queue: int = 1024
    #: Bytes that wait for one peer.
    max_send_queue: int = 1024 * 1024
    #: Connections at once, those in the opening handshake included.
    max_connections: int = 1000

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name))


#: ``None`` switches these off.
_MAY_BE_NONE = frozenset({"open_timeout", "send_timeout", "ping_interval", "ping_timeout"})


def _check(name: str, value: object) -> None:
    if value is None and name in _MAY_BE_NONE:
        return
    whole = name.startswith("max_")
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        kind = "a whole number" if whole else "a number of seconds"
        raise TypeError(f"{name} must be {kind}, not {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, not {value!r}")
    if value < 0 or value == 0 and name != "close_timeout":
        raise ValueError(f"{name} must be above zero, not {value!r}")


#: One ``recv``: with 64 KiB a flood takes few system calls.
RECV_SIZE = 64 * 1024
#: The same while a peer sends little. A waiting thread holds its buffer: some 5 KB of a large one.
FIRST_RECV_SIZE = 2 * 1024
#: Lines of one read that are cut together, so that they share one round of locks and calls.
READ_AHEAD = 64
#: Above this many connections, threads go through the turnstile (``turnstile.py``). Below, it
#: costs more than it saves.
TURNSTILE_FROM = 400
#: Threads that it lets run at once. The second runs while the first is in a system call.
TURNSTILE_PLACES = 2
#: Seconds after which it stops counting the threads inside. Some twenty messages take as long.
TURNSTILE_PATIENCE = 0.001
#: Share of one processor. If the process uses less, its threads sleep, so more are let in.
TURNSTILE_IDLE = 0.5
#: Bytes of one read of the attendant: few, so that one connection cannot hold it up.
TAKEOVER_SIZE = 16 * 1024
#: Compressed bytes fed at a time. Deflate expands at most 1032 times, so one step of a
#: decompression bomb stays near an eighth of a megabyte, which is copied several times.
COMPRESSED_STEP = 128
#: Bytes of the opening handshake's request; the same limit as in h11.
MAX_REQUEST_SIZE = 16 * 1024
#: Bytes of lines that wait for the handler, in addition to ``max_queue``.
MAX_QUEUE_BYTES = 1024 * 1024
#: Bytes handed to one ``send``: many frames, one system call.
SEND_SIZE = 64 * 1024
#: Bytes of a batch of lines to a plain peer. It is one system call, and a pong waits for all of it.
BATCH_SIZE = 256 * 1024
#: Sent lines that are remembered to recognise their echoes.
ECHO_MEMORY = 4096
#: Bytes from which an echo may be a cut one: MMDAgent-EX cuts at 2047, maybe inside a character.
CUT_ECHO = 2044
#: Bytes that are still read, and discarded, from a peer that was refused.
MAX_DRAIN = 256 * 1024
#: Connections beyond ``max_connections`` that still get a readable 503. Further ones
#: are closed unread, or a flood of connections would be a flood of threads.
REFUSED_AT_ONCE = 32
#: If an overridden ``handle()`` returns sooner, the connection is closed only after this
#: time. Otherwise a peer that reconnects at once would cause a storm.
SHORTEST_HANDLE = 1.0
#: How long a new connection on an occupied path waits for a sign of life of the old one.
PROBE_TIME = 0.2
#: Connections that ended before accept() returned them, kept for their lines.
MAX_ENDED_UNACCEPTED = 16
