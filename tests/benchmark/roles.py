"""What the handlers of all servers do, each with its server's own way to receive and send.

========= ======================================================================
echo      each message goes back as it is
sink      messages are counted; one that begins with ``?`` is answered by the count
send      a number is answered by that many lines
writers   ``!`` and a number: four threads make that many lines each, and the answer is ``ready``;
          ``=``: they begin to send. All other messages are counted as in sink, and
          the count is sent last
broadcast a number is answered by that many lines to every connection, 0 by ``ready``
========= ======================================================================
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Optional

from .frames import line_of, writer_line

WRITERS = 4


@dataclass
class Talk:
    """One connection of any server: how it sends, and the type of its messages."""

    send: Callable[[Any], object]
    #: Makes a message of a line; floor uses bytes.
    encode: Callable[[str], Any] = str
    send_many: Optional[Callable[[Sequence[Any]], object]] = None
    broadcast: Optional[Callable[[Any], object]] = None

    def message(self, line: bytes) -> Any:
        """A line as this server takes it."""
        return self.encode(line.decode())


class Sender:
    """The role send."""

    def __init__(self, talk: Talk, order: dict[str, Any]) -> None:
        self._talk = talk
        self._line = talk.message(line_of(order["size"]))
        self._lines = [self._line] * order["batch"]

    def __call__(self, message: Any) -> None:
        if self._talk.send_many is not None and len(self._lines) > 1:
            for _ in range(int(message) // len(self._lines)):
                self._talk.send_many(self._lines)
        else:
            send, line = self._talk.send, self._line
            for _ in range(int(message)):
                send(line)


class Writers:
    """The role writers."""

    def __init__(self, talk: Talk, order: dict[str, Any]) -> None:
        self._talk = talk
        self._size = order["size"]
        self._threads: list[threading.Thread] = []
        self._begin = threading.Event()
        self._count = 0
        self._marks = [talk.encode(mark) for mark in "!=?"]

    def __call__(self, message: Any) -> None:
        prepare, begin, end = self._marks
        first = message[:1]
        if first == prepare:
            self._prepare(int(message[1:]))
        elif first == begin:
            self._begin.set()
        elif first == end:
            for thread in self._threads:
                thread.join()
            self._talk.send(self._talk.encode(f"{self._count}\n"))
        else:
            self._count += 1

    def _prepare(self, count: int) -> None:
        self._begin.clear()
        self._count = 0
        self._threads = []
        for writer in range(WRITERS):
            lines = [self._talk.message(writer_line(writer, number, self._size))
                     for number in range(count)]
            self._threads.append(threading.Thread(target=self._write, args=(lines,), daemon=True))
            self._threads[-1].start()
        self._talk.send(self._talk.encode("ready\n"))

    def _write(self, lines: list[Any]) -> None:
        self._begin.wait()
        send = self._talk.send
        for line in lines:
            send(line)


class Broadcaster:
    """The role broadcast."""

    def __init__(self, talk: Talk, order: dict[str, Any]) -> None:
        self._talk, self._broadcast = talk, talk.broadcast
        self._line = talk.message(line_of(order["size"]))

    def __call__(self, message: Any) -> None:
        assert self._broadcast is not None
        if not int(message):
            self._talk.send(self._talk.encode("ready\n"))
        for _ in range(int(message)):
            self._broadcast(self._line)


class Everybody:
    """The connections of a server that has no broadcast of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sends: set[Callable[[Any], object]] = set()

    @contextmanager
    def joined(self, send: Callable[[Any], object]) -> Iterator[None]:
        """Register a connection while it is open."""
        with self._lock:
            self._sends.add(send)
        try:
            yield
        finally:
            with self._lock:
                self._sends.discard(send)

    def broadcast(self, message: Any) -> None:
        """Send one message to all."""
        with self._lock:
            sends = list(self._sends)
        for send in sends:
            send(message)


#: Roles of several statements. echo and sink are inlined in pull(), since their speed matters.
RARE: dict[str, Callable[[Talk, dict[str, Any]], Callable[[Any], None]]] = {
    "send": Sender, "writers": Writers, "broadcast": Broadcaster}


def pull(receive: Callable[[], Any], talk: Talk, order: dict[str, Any]) -> None:
    """Do a role on a connection that blocks in `receive`, until that raises."""
    send = talk.send
    if order["role"] == "echo":
        while True:
            send(receive())
    if order["role"] == "sink":
        mark, count = talk.encode("?")[0], 0
        while True:
            if receive()[0] != mark:
                count += 1
            else:
                send(talk.encode(f"{count}\n"))
                count = 0
    take = RARE[order["role"]](talk, order)
    while True:
        take(receive())
