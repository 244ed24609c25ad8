"""A line goes to a wait that it answers, or into the line queue; whatever happens at the same time.

Predicates are user code, so no lock is held over them. Two things could then go wrong, and each has
its guard here: a wait is registered while its line is on the way into the queue (:func:`offer_or_put`),
or a line comes while a wait looks through the queue (:func:`look_back`).
"""

from __future__ import annotations

import threading
from typing import Optional

from ..message import Message
from ..websocket.protocol import Item
from .linequeue import LineQueue
from .waits import Wait, Waits


def offer_or_put(item: Item, queue: LineQueue, waits: Waits, state: threading.Lock) -> None:
    """Give a line to a wait, or put it into the queue; a whole message goes there in any case.

    With the reading right: nobody else puts anything behind the queue.
    """
    while True:
        version = waits.version
        if isinstance(item, Message) and waits.offer(item):
            return
        with state:
            # A wait that was registered meanwhile has looked at the queue, where this was not yet.
            if version == waits.version:
                queue.put(item)
                return


def look_back(wait: Wait, queue: LineQueue, waits: Waits, state: threading.Lock) -> Optional[Message]:
    """Take the oldest line that matches out of the queue; if there is none, register the wait.

    From any thread.
    """
    seen: list[object] = []  # Kept, so that no other object can get the identity of one.
    known: set[int] = set()
    while True:
        with state:
            new = [item for item in queue.received() if id(item) not in known]
            if not new:
                # In the same hold of the lock in which nothing new was there: see offer_or_put().
                waits.add(wait)
                return None
        seen += new
        known.update(map(id, new))
        for item in new:
            if isinstance(item, Message) and not item.is_echo and wait.matches(item):
                with state:
                    is_mine = queue.take_out(item)
                if is_mine:
                    return item
