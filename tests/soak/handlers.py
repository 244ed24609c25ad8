"""The server's side of every peer: what it counts, sends and does wrong."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from mmdagent_remote import ConnectionClosed, Handler, Message

from .book import Record


class Counts:
    """The counts that all handlers of the process share. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: list[Record] = []
        self.opens = self.closes = self.errors = 0

    def opened(self) -> None:
        """on_open was called."""
        with self._lock:
            self.opens += 1

    def closed(self, record: Record) -> None:
        """on_close was called."""
        with self._lock:
            self.closes += 1
            if record.id:
                self._records.append(record)

    def raised(self) -> None:
        """on_error was called."""
        with self._lock:
            self.errors += 1

    def take_records(self) -> list[Record]:
        """The records since the last call."""
        with self._lock:
            taken, self._records = self._records, []
            return taken


class Counted(Handler):
    """Counts its lines, and reports them at the end."""

    counts: ClassVar = Counts()

    def __init__(self) -> None:
        self.received = self.sent = self.disorder = self.missed = 0
        self.threads: list[threading.Thread] = []

    def on_open(self) -> None:
        self.counts.opened()

    def on_message(self, message: Message) -> None:
        if message.is_echo:
            return
        if message.args[:1] != (str(self.received),):
            self.disorder += 1
        self.received += 1

    def on_close(self, code: int, reason: str) -> None:
        # A sender counts a line after its send() has returned.
        for thread in self.threads:
            thread.join(10)
        name = self.query.get("id", [""])[0]
        self.counts.closed(Record(name, self.received, self.sent + sum(self.sent_by_threads()),
                                  self.disorder, self.missed, self._connected().wire.unsent, reason))

    def sent_by_threads(self) -> list[int]:
        """The lines sent by each thread, for handlers that send in several."""
        return []


class Talk(Counted):
    """Answers each line."""

    def on_message(self, message: Message) -> None:
        super().on_message(message)
        if not message.is_echo:
            self.send("D", self.received - 1)
            self.sent += 1


class Flood(Counted):
    """Sends ``count`` long lines."""

    LINE = "x" * 1000

    def on_open(self) -> None:
        super().on_open()
        self.threads = [self.spawn(self.flood, int(self.query["count"][0]))]

    def flood(self, count: int) -> None:
        """Send all lines; a peer that does not read ends this."""
        try:
            for number in range(count):
                self.send("D", number, self.LINE)
                self.sent += 1
        except TimeoutError:
            pass


class Eight(Counted):
    """Eight threads send; a ninth closes, if the query gives a time."""

    def on_open(self) -> None:
        super().on_open()
        self.each = [0] * 8
        try:
            self.threads = [self.spawn(self.write, number) for number in range(8)]
            if "close" in self.query:
                self.spawn(self.end, float(self.query["close"][0]))
        except ConnectionClosed:
            pass  # The peer was faster.

    def write(self, name: int) -> None:
        """Send numbered lines until the end."""
        while not self.closed:
            self.send("W", name, self.each[name])
            self.each[name] += 1
            if self.each[name] % 10 == 0:
                self.wait_closed(0.01)

    def end(self, seconds: float) -> None:
        """Close while the threads send."""
        self.wait_closed(seconds)
        self.close()

    def sent_by_threads(self) -> list[int]:
        return self.each


class Raising(Counted):
    """Every hook raises, after it has counted."""

    def on_open(self) -> None:
        super().on_open()
        raise ValueError("on_open")

    def on_text(self, text: str) -> None:
        super().on_text(text)
        raise ValueError("on_text")

    def on_message(self, message: Message) -> None:
        super().on_message(message)
        raise ValueError("on_message")

    def on_close(self, code: int, reason: str) -> None:
        super().on_close(code, reason)
        raise ValueError("on_close")

    def on_error(self, error: Exception) -> None:
        self.counts.raised()


class Busy(Counted):
    """Blocks in user code for a moment at its first line."""

    def on_message(self, message: Message) -> None:
        super().on_message(message)
        if self.received == 1:
            self.wait_closed(0.4)


HANDLERS: dict[str, Any] = {
    "/talk": Talk, "/flood": Flood, "/eight": Eight, "/raise": Raising, "/busy": Busy}
