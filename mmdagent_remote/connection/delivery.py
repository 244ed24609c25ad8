"""Gives each line to a wait that it answers, or to the line queue, and loses none to a race.

Predicates are user code, so neither the state lock nor the lock of the waits is held while they
run. That leaves two races, each with its guard here: a wait is registered while its line is on the
way into the queue (:func:`offer_or_put`), or a line comes while a wait looks through the queue
(:func:`look_back`).
"""

from __future__ import annotations

import threading
from typing import Optional

from ..message import Message
from ..websocket.protocol import Item
from .linequeue import LineQueue
from .waits import Wait, Waits


def offer_or_put(item: Item, queue: LineQueue, waits: Waits, state: threading.Lock) -> None:
    """Give a line to a wait, or put it into the queue; a whole message always goes into the queue.

    The caller holds the reading right, so no other thread appends to the queue.
    """
    while True:
        version = waits.version
        if isinstance(item, Message) and waits.offer(item):
            return
        with state:
            # A wait registered meanwhile has searched the queue before this was in it: offer again.
            if version == waits.version:
                queue.put(item)
                return


def look_back(wait: Wait, queue: LineQueue, waits: Waits, state: threading.Lock) -> Optional[Message]:
    """Take the oldest line that matches out of the queue; if there is none, register the wait.

    From any thread.
    """
    seen: list[object] = []  # Kept alive, so that no new object can get the id() of one.
    known: set[int] = set()
    while True:
        with state:
            new = [item for item in queue.received() if id(item) not in known]
            if not new:
                # Under the same hold of the lock that found nothing new: see offer_or_put().
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
