"""Every bound and every timeout: its name, default, unit and reason.

:class:`Limits` holds those that a user may set, as options of ``Server``; the
constants below it are ours. A new bound goes here, into the option table of the
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

    #: TLS and the opening handshake, in total: not per byte, or a client that sends
    #: one byte a second would hold a thread for hours.
    open_timeout: Optional[float] = 10.0
    #: How long one ``send`` may wait for a peer that does not read, in total.
    send_timeout: Optional[float] = 10.0
    #: Silence after which a ping is sent. ``None`` sends none.
    ping_interval: Optional[float] = 20.0
    #: How much longer the silence may last. ``None`` never gives a connection up.
    ping_timeout: Optional[float] = 20.0
    #: Flushing, the Close frame and the wait for the peer's, in total.
    close_timeout: float = 0.5
    #: One message, over all its fragments.
    max_message_size: int = 1024 * 1024
    #: One line, in UTF-8.
    max_line_size: int = 64 * 1024
    #: Fragments of one message: a list of tiny pieces costs fifty times its text.
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


#: One ``recv``: with 64 KiB a flood costs few system calls.
RECV_SIZE = 64 * 1024
#: The same while a peer sends little: a thread that waits holds its buffer, some 5 KB of a large one.
FIRST_RECV_SIZE = 2 * 1024
#: Lines of one read that are cut together: locks and calls are taken once for all of them.
READ_AHEAD = 64
#: Connections from which on threads go through the turnstile (``turnstile.py``): below, it costs.
TURNSTILE_FROM = 400
#: Threads that run at once behind it: a second one uses the time that the first one's system calls take.
TURNSTILE_PLACES = 2
#: Seconds after which it no longer counts those in it; some twenty messages need as long.
TURNSTILE_PATIENCE = 0.001
#: Part of one processor: while the process uses less, its threads sleep, and more are let in.
TURNSTILE_IDLE = 0.5
#: One step of the attendant, small so that one connection cannot hold it.
TAKEOVER_SIZE = 16 * 1024
#: Compressed bytes fed at a time: deflate grows at most 1032 times, so that one
#: step of a decompression bomb stays near an eighth of a megabyte, which is copied several times.
COMPRESSED_STEP = 128
#: Bytes of the opening handshake's request; the same that h11 allows.
MAX_REQUEST_SIZE = 16 * 1024
#: Bytes of lines that wait for the handler, beside ``max_queue``.
MAX_QUEUE_BYTES = 1024 * 1024
#: Bytes handed to one ``send``: many frames, one system call.
SEND_SIZE = 64 * 1024
#: Bytes of a batch of lines to a plain peer: one system call, before which nothing can slip in.
BATCH_SIZE = 256 * 1024
#: Lines remembered to recognise their echoes.
ECHO_MEMORY = 4096
#: Bytes from which on an echo may be a cut one: MMDAgent-EX cuts at 2047, less a part of a character.
CUT_ECHO = 2044
#: What is still read, and thrown away, from a peer that was refused.
MAX_DRAIN = 256 * 1024
#: Connections beyond ``max_connections`` that still get a readable 503; further
#: ones are closed unread, or a flood of them would be a flood of threads.
REFUSED_AT_ONCE = 32
#: An overridden ``handle()`` that ends sooner is closed only after this: a peer that
#: reconnects at once would make a storm.
SHORTEST_HANDLE = 1.0
#: How long a newcomer on an occupied path waits for a sign of life of the old connection.
PROBE_TIME = 0.2
#: Connections that ended before accept() took them, kept for their lines.
MAX_ENDED_UNACCEPTED = 16
