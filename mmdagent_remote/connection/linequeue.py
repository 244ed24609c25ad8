"""The line queue: what one connection has received, and has not delivered yet. Pure.

It has three parts, which are read in this order:

1. *Pushed*: lines, and texts that are still to be cut, which a handler's own ``on_text`` hands on.
   Next is what it was called with, so these come first.
2. *Ready*: the lines of one read, on their way to the reader.
3. *Waiting*: lines that were read while the reader did something else.

The end of the connection is not in it, but comes behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Optional, Union

from ..limits import MAX_QUEUE_BYTES
from ..message import Message
from ..websocket.protocol import Item, PeerFault

#: In the place of a queue that was not needed yet: an empty deque takes 760 bytes. Nothing is put in.
_EMPTY: deque[Item] = deque()


class _Same:
    """Equal to one object, and to no other that equals it."""

    __slots__ = ("_one",)

    def __init__(self, one: object) -> None:
        self._one = one

    def __eq__(self, other: object) -> bool:
        return other is self._one


class LineQueue:
    """The lines that wait for the handler.

    Every call needs the connection's state lock, but for those marked; and a reader may look without
    it whether one of the parts has anything.

    Args:
        max_queue: lines, ready and waiting, at which it is full. At MAX_QUEUE_BYTES that wait it
            is full, too.
    """

    __slots__ = ("ready", "waiting", "pushed", "uncut", "size", "is_paused", "_counted", "_max_queue")

    def __init__(self, max_queue: int) -> None:
        #: What one read brought, on its way to the reader, which alone takes from its left, without a
        #: lock; the state lock guards all else. It is older than what waits, and filled only while
        #: nothing does and nothing was pushed.
        self.ready: deque[Item] = deque()
        self.waiting = _EMPTY
        # Of a handler's on_text: lines, and texts that are still to be cut.
        self.pushed: Optional[deque[Union[Message, PeerFault]]] = None
        self.uncut: list[Iterator[Union[Message, PeerFault]]] = []
        #: Bytes that wait.
        self.size = 0
        #: Whether it was full, and is not half empty yet. Read by any thread.
        self.is_paused = False
        self._counted = 0
        self._max_queue = max_queue

    def has_any(self) -> bool:
        """Whether there is anything in it. From any thread, without the lock, too."""
        return bool(self.waiting or self.ready or self.pushed or self.uncut)

    def is_full(self) -> bool:
        """Whether nobody may read on: full at the bound, and no more only at half.

        So reading does not stutter.
        """
        share = 2 if self.is_paused else 1
        self.is_paused = (self._counted + len(self.ready) >= max(1, self._max_queue // share)
                          or self.size >= MAX_QUEUE_BYTES // share)
        return self.is_paused

    # In order

    def put(self, item: Item) -> None:
        """Add what was read, behind everything."""
        if self.waiting is _EMPTY:
            self.waiting = deque()
        self.waiting.append(item)
        self._count(item, 1)

    def push(self, lines: Iterator[Union[Message, PeerFault]]) -> None:
        """Add lines before all that was read; they are cut one by one, as they are taken."""
        # What is ready comes behind it, and is not to be taken without a look at this.
        for item in self._take_ready():
            if self.waiting is _EMPTY:
                self.waiting = deque()
            self.waiting.appendleft(item)
            self._count(item, 1)
        self.uncut.append(lines)

    def take(self) -> Optional[Item]:
        """Take the next of what was read. By the reader."""
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
        """Take the next of what was pushed; a fault is what its text could not be cut for."""
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
        """All that is in it, in order. What was pushed is cut."""
        if self.uncut:
            self.pushed = self.pushed or deque()
            # Behind that: a reader that found neither for a moment would go on to what comes later.
            for lines in self.uncut:
                self.pushed.extend(lines)
            self.uncut.clear()
        return (*(self.pushed or ()), *self.ready.copy(), *self.waiting)

    def take_out(self, message: Message) -> bool:
        """Take this very message, wherever it is. False: it is gone. Any thread."""
        for lines in (self.pushed, self.waiting):
            for place, item in enumerate(lines or ()):
                if item is message:
                    del (lines or self.waiting)[place]
                    if lines is self.waiting:
                        self._count(message, -1)
                    return True
        # In its place: a reader that found nothing there for a moment would block, and the others wait.
        same = _Same(message)
        while True:
            try:
                self.ready.remove(same)  # type: ignore[arg-type]
                return True
            except ValueError:
                return False
            except IndexError:
                pass  # The reader has taken one during the search, without the lock.

    def _take_ready(self) -> Iterator[Item]:
        # The newest first: the reader may take the oldest meanwhile, and still has them in order.
        while True:
            try:
                yield self.ready.pop()
            except IndexError:
                return

    def _count(self, item: Item, change: int) -> None:
        # Echoes count nothing, since their number is our own doing.
        if not (isinstance(item, Message) and item.is_echo):
            self.size += change * (len(item) + 1)
            self._counted += change
