"""``delivery.py``: no line is lost between the waits and the queue, and none is delivered twice."""

from __future__ import annotations

import threading
import unittest
from collections.abc import Callable
from typing import Optional

from mmdagent_remote import Message
from mmdagent_remote.connection.delivery import look_back, offer_or_put
from mmdagent_remote.connection.linequeue import LineQueue
from mmdagent_remote.connection.waits import Wait, Waits
from mmdagent_remote.websocket.protocol import Item


class DeliveryTest(unittest.TestCase):
    """One connection's queue and waits."""

    def setUp(self) -> None:
        self.queue, self.waits, self.state = LineQueue(100), Waits(), threading.Lock()

    def offer(self, item: Item) -> None:
        """A line was read."""
        offer_or_put(item, self.queue, self.waits, self.state)

    def look(self, *patterns: object) -> tuple[Optional[Message], Wait]:
        """A wait looks back for a line."""
        wait = Wait(patterns)  # type: ignore[arg-type]
        return look_back(wait, self.queue, self.waits, self.state), wait

    def once(self, act: Callable[[], object]) -> Callable[[Message], bool]:
        """A predicate that calls `act` when it is first called, and never matches."""
        asked: list[Message] = []

        def matches(message: Message) -> bool:
            self.assertFalse(self.state.locked(), "user code, so no lock is held")
            asked.append(message)
            if len(asked) == 1:
                act()
            return False
        return matches

    def test_a_wait_comes_first(self) -> None:
        """A line that matches a wait goes to that wait; all others go into the queue."""
        _, wait = self.look("KEY")
        for line in ("A", "KEY|a", "KEY|b"):
            self.offer(Message(line))
        self.assertEqual(wait.future.result(0), "KEY|a")
        self.assertEqual(self.queue.received(), ("A", "KEY|b"))

    def test_whole_messages(self) -> None:
        """A text or binary message that is not cut into lines answers no wait."""
        _, wait = self.look(lambda message: True)
        self.offer("KEY|a\n")
        self.offer(b"KEY|a\n")
        self.assertFalse(wait.future.done())
        self.assertEqual(self.queue.received(), ("KEY|a\n", b"KEY|a\n"))

    def test_registered_during_the_offer(self) -> None:
        """A wait that looks back in vain while a line is offered to others still gets the line."""
        late: list[tuple[Optional[Message], Wait]] = []
        self.look(self.once(lambda: late.append(self.look("KEY"))))
        self.offer(Message("KEY|a"))
        found, wait = late[0]
        self.assertIsNone(found)
        self.assertEqual(wait.future.result(0), "KEY|a")
        self.assertEqual(self.queue.received(), ())

    def test_looks_at_the_oldest_first(self) -> None:
        """A wait takes the oldest queued line that matches, and is then not registered."""
        self.queue.ready.extend((Message("A"), Message("KEY|1")))
        self.offer(Message("KEY|2"))
        self.assertEqual(self.look("KEY")[0], "KEY|1")
        self.assertEqual(self.look("KEY")[0], "KEY|2")
        self.queue.push(iter((Message("KEY|3"),)))
        self.assertEqual(self.look("KEY")[0], "KEY|3")
        self.assertEqual((self.queue.received(), bool(self.waits)), (("A",), False))

    def test_echoes(self) -> None:
        """An echo in the queue answers no wait."""
        self.offer(Message("KEY|a", is_echo=True))
        self.assertIsNone(self.look("KEY")[0])
        self.assertEqual(self.queue.received(), ("KEY|a",))

    def test_a_line_comes_during_the_look(self) -> None:
        """A line that arrives while a wait compares others is compared as well."""
        self.offer(Message("A"))
        found, wait = self.look(self.once(lambda: self.offer(Message("KEY|a"))), "KEY")
        self.assertEqual(found, "KEY|a")
        self.assertFalse(self.waits.pending)
        self.assertFalse(wait.future.done())

    def test_each_line_is_compared_once(self) -> None:
        """However many lines arrive meanwhile, a predicate sees each line once."""
        seen: list[str] = []

        def matches(message: Message) -> bool:
            seen.append(message)
            if len(seen) < 5:
                self.offer(Message(f"L|{len(seen)}"))
            return False

        self.offer(Message("L|0"))
        self.look(matches)
        self.assertEqual(seen, [f"L|{number}" for number in range(5)])
        self.assertEqual(len(self.waits.pending), 1)

    def test_taken_during_the_look(self) -> None:
        """A line that the reader takes while it is compared is not delivered twice."""
        self.offer(Message("KEY|a"))
        self.offer(Message("KEY|b"))
        taken: list[object] = []

        def matches(message: Message) -> bool:
            if not taken:
                taken.append(self.queue.take())
            return message.startswith("KEY")

        self.assertEqual(self.look(matches)[0], "KEY|b")
        self.assertEqual((taken, self.queue.received()), (["KEY|a"], ()))


if __name__ == "__main__":
    unittest.main()
