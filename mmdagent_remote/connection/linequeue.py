"""The line queue: what one connection has received and not delivered yet. Pure.

It has three parts, which are read in this order:

1. *Pushed*: lines, and texts still to be cut, that a handler's own ``on_text`` passes on. They come
   from the message that it was called with, so they precede all that came after it.
2. *Ready*: the lines of one read, on their way to the reader.
3. *Waiting*: lines that were read while the reader did something else.

The end of the connection is not in the queue, but comes behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Optional, Union

from ..limits import MAX_QUEUE_BYTES
from ..message import Message
from ..websocket.protocol import Item, PeerFault

#: Stands in for a queue that was not needed yet: an empty deque takes 760 bytes. Never appended to.
_EMPTY: deque[Item] = deque()


class _Same:
    """Compares equal to one object by identity, and not to another that equals it."""

    __slots__ = ("_one",)

    def __init__(self, one: object) -> None:
        self._one = one

    def __eq__(self, other: object) -> bool:
        return other is self._one


class LineQueue:
    """The lines that wait for the handler.

    Every method needs the connection's state lock, unless its docstring says otherwise. The reader
    may check without the lock whether one of the parts has anything.

    Args:
        max_queue: number of lines, ready and waiting, at which it is full. It is also full when
            MAX_QUEUE_BYTES wait.
    """

    __slots__ = ("ready", "waiting", "pushed", "uncut", "size", "is_paused", "_counted", "_max_queue")

    def __init__(self, max_queue: int) -> None:
        #: What one read brought, on its way to the reader. Only the reader takes from its left,
        #: without a lock; the state lock guards all else. It is older than what waits, and filled
        #: only while nothing waits and nothing was pushed.
        self.ready: deque[Item] = deque()
        self.waiting = _EMPTY
        # From a handler's on_text: lines, and texts that are still to be cut.
        self.pushed: Optional[deque[Union[Message, PeerFault]]] = None
        self.uncut: list[Iterator[Union[Message, PeerFault]]] = []
        #: Bytes that wait.
        self.size = 0
        #: Whether it was full, and is not half empty yet. Any thread may read this.
        self.is_paused = False
        self._counted = 0
        self._max_queue = max_queue

    def has_any(self) -> bool:
        """Whether there is anything in it. Any thread, with or without the lock."""
        return bool(self.waiting or self.ready or self.pushed or self.uncut)

    def is_full(self) -> bool:
        """Whether reading must stop: full at the bound, and then until it is half empty.

        Without this hysteresis reading would stutter.
        """
        share = 2 if self.is_paused else 1
        self.is_paused = (self._counted + len(self.ready) >= max(1, self._max_queue // share)
                          or self.size >= MAX_QUEUE_BYTES // share)
        return self.is_paused

    # In order

    def put(self, item: Item) -> None:
        """Append what was read, behind everything else."""
        if self.waiting is _EMPTY:
            self.waiting = deque()
        self.waiting.append(item)
        self._count(item, 1)

    def push(self, lines: Iterator[Union[Message, PeerFault]]) -> None:
        """Add lines before all that was read; each is cut only when it is taken."""
        # What is ready comes behind these lines. It moves, since the reader takes from `ready`
        # without checking for pushed lines.
        for item in self._take_ready():
            if self.waiting is _EMPTY:
                self.waiting = deque()
            self.waiting.appendleft(item)
            self._count(item, 1)
        self.uncut.append(lines)

    def take(self) -> Optional[Item]:
        """Take the next item of what was read. Only the reader calls it."""
        if self.ready:
            return self.ready.popleft()
        if self.waiting:
            item = self.waiting.popleft()
            self._count(item, -1)
            if self.is_paused:
                self.is_full()
            return item
        return None

    def take_pushed(self) -> Union[Message, PeerFault, None]:
        """Take the next item of what was pushed; a fault says why its text could not be cut."""
        if self.pushed:
            return self.pushed.popleft()
        while self.uncut:
            item = next(self.uncut[0], None)
            if item is not None:
                return item
            del self.uncut[0]
        return None

    # Out of order

    def received(self) -> tuple[Union[Item, PeerFault], ...]:
        """All that is in it, in order. Pushed texts are cut for it."""
        if self.uncut:
            self.pushed = self.pushed or deque()
            for lines in self.uncut:
                self.pushed.extend(lines)
            # Cleared last: a reader that saw both empty for a moment would take later lines first.
            self.uncut.clear()
        return (*(self.pushed or ()), *self.ready.copy(), *self.waiting)

    def take_out(self, message: Message) -> bool:
        """Take this very message, wherever it is. False: it is gone. Any thread, with the lock."""
        for lines in (self.pushed, self.waiting):
            for place, item in enumerate(lines or ()):
                if item is message:
                    del (lines or self.waiting)[place]
                    if lines is self.waiting:
                        self._count(message, -1)
                    return True
        # In place: a reader that saw `ready` empty for a moment would block while other lines wait.
        same = _Same(message)
        while True:
            try:
                self.ready.remove(same)  # type: ignore[arg-type]
                return True
            except ValueError:
                return False
            except IndexError:
                pass  # The reader took one during the search, without the lock. Search again.

    def _take_ready(self) -> Iterator[Item]:
        # Newest first: the reader may take the oldest meanwhile, and still gets them in order.
        while True:
            try:
                yield self.ready.pop()
            except IndexError:
                return

    def _count(self, item: Item, change: int) -> None:
        # Echoes are not counted, since their number depends on what we send.
        if not (isinstance(item, Message) and item.is_echo):
            self.size += change * (len(item) + 1)
            self._counted += change
