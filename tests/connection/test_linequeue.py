"""``linequeue.py``: which line comes next, which count, and which can be taken out."""

from __future__ import annotations

import sys
import threading
import unittest
from collections.abc import Iterable, Iterator
from typing import Any

from mmdagent_remote import Message
from mmdagent_remote.connection.linequeue import LineQueue
from mmdagent_remote.limits import MAX_QUEUE_BYTES
from mmdagent_remote.websocket.protocol import PeerFault

from ..support import DEADLINE


def lines_of(*lines: str) -> list[Message]:
    """Messages."""
    return [Message(line) for line in lines]


def filled(*, ready: Iterable[str] = (), waiting: Iterable[str] = (), max_queue: int = 100) -> LineQueue:
    """A queue with lines in it."""
    queue = LineQueue(max_queue)
    queue.ready.extend(lines_of(*ready))
    for line in lines_of(*waiting):
        queue.put(line)
    return queue


def all_of(queue: LineQueue) -> list[Any]:
    """Everything in the queue, taken as a reader takes it."""
    found: list[Any] = []
    while (item := queue.take_pushed()) is not None:
        found.append(item)
    while (other := queue.take()) is not None:
        found.append(other)
    return found


class OrderTest(unittest.TestCase):
    """Which line comes next."""

    def test_ready_comes_before_waiting(self) -> None:
        """Lines of the reader's own read come before those that came while the reader was away."""
        queue = filled(ready="ab", waiting="cd")
        self.assertEqual(queue.received(), tuple("abcd"))
        self.assertEqual(all_of(queue), list("abcd"))
        self.assertFalse(queue.has_any())

    def test_pushed_comes_first(self) -> None:
        """Pushed lines come before all that were read, which keep their order."""
        queue = filled(ready="ab", waiting="cd")
        queue.push(iter(lines_of("x", "y")))
        queue.push(iter(lines_of("z")))
        self.assertFalse(queue.ready, "it would be taken without a look at what was pushed")
        self.assertEqual(all_of(queue), list("xyzabcd"))

    def test_pushed_is_cut_when_it_is_taken(self) -> None:
        """A pushed text is cut lazily, a line each time one is taken; it may have no lines."""
        cut = []

        def cutting() -> Iterator[Message]:
            for line in lines_of("x", "y"):
                cut.append(line)
                yield line

        queue = LineQueue(10)
        for lines in (iter(()), cutting(), iter(())):
            queue.push(lines)
        self.assertTrue(queue.has_any())
        self.assertEqual((queue.take_pushed(), cut), ("x", ["x"]))
        self.assertEqual([queue.take_pushed(), queue.take_pushed()], ["y", None])
        self.assertFalse(queue.has_any())

    def test_a_fault_in_its_place(self) -> None:
        """The fault of a line that is too long comes in the place of that line."""
        queue, fault = LineQueue(10), PeerFault(1009, "too long")
        queue.push(iter((Message("x"), fault)))
        self.assertEqual(queue.received(), ("x", fault))
        self.assertEqual(all_of(queue), ["x", fault])

    def test_never_empty_while_it_is_cut(self) -> None:
        """While a pushed text is cut for a wait, the reader does not find the queue empty."""
        queue, seen = filled(waiting="a"), []

        def cutting() -> Iterator[Message]:
            seen.append(bool(queue.pushed or queue.uncut))
            yield Message("x")

        queue.push(cutting())
        self.assertEqual(queue.received(), ("x", "a"))
        self.assertEqual(seen, [True])

    def test_queues_share_nothing(self) -> None:
        """Two queues share no lines."""
        first, second = LineQueue(10), LineQueue(10)
        first.put(Message("a"))
        self.assertEqual((second.received(), second.has_any()), ((), False))


class BoundTest(unittest.TestCase):
    """When the queue is full."""

    def test_full_in_lines(self) -> None:
        """It is full when the ready and waiting lines together reach its bound."""
        for ready, waiting in ((3, 0), (0, 3), (2, 1)):
            queue = filled(ready="a" * (ready and ready - 1), waiting="a" * (waiting - (not ready)),
                           max_queue=3)
            self.assertFalse(queue.is_full())
            queue.put(Message("a"))
            self.assertTrue(queue.is_full())

    def test_full_in_bytes(self) -> None:
        """It is full when the waiting items, line ends included, reach a mebibyte."""
        queue = LineQueue(100)
        queue.put("x" * (MAX_QUEUE_BYTES - 4))
        queue.put(b"y")
        self.assertEqual((queue.size, queue.is_full()), (MAX_QUEUE_BYTES - 1, False))
        queue.put(Message(""))
        self.assertTrue(queue.is_full())

    def test_full_until_half(self) -> None:
        """Once full, it stays full until it is half empty."""
        queue = filled(waiting="abcd", max_queue=4)
        self.assertTrue(queue.is_full())
        for expected in (True, True, False):
            queue.take()
            self.assertIs(queue.is_paused, expected)
        self.assertFalse(queue.is_full())
        queue.put(Message("e"))
        queue.put(Message("f"))
        self.assertFalse(queue.is_full())

    def test_bound_of_one(self) -> None:
        """A queue with a bound of one is full with one line, and not full without it."""
        queue = filled(waiting="a", max_queue=1)
        self.assertTrue(queue.is_full())
        queue.take()
        self.assertFalse(queue.is_full())

    def test_echoes_do_not_count(self) -> None:
        """Echoes of our own lines do not count, from wherever they are taken."""
        queue = LineQueue(2)
        echoes = [Message("long" * 100, is_echo=True) for _ in range(20)]
        for echo in echoes:
            queue.put(echo)
        queue.put(Message("a"))
        self.assertTrue(queue.take_out(echoes[3]))
        self.assertEqual((queue.size, queue.is_full()), (2, False))
        self.assertEqual(len(all_of(queue)), 20)
        self.assertEqual(queue.size, 0)

    def test_all_ways_count_alike(self) -> None:
        """The size is right whether items are put, pushed back, taken or taken out."""
        queue = filled(ready=["aa", "bb"], waiting=["cc"])
        self.assertEqual(queue.size, 3)
        queue.push(iter(()))
        self.assertEqual(queue.size, 9)
        found = queue.received()[1]
        assert isinstance(found, Message)
        self.assertTrue(queue.take_out(found))
        self.assertEqual(queue.size, 6)
        self.assertEqual((all_of(queue), queue.size), (["aa", "cc"], 0))


class TakeOutTest(unittest.TestCase):
    """A line that a wait has found."""

    def test_from_each_part(self) -> None:
        """A line can be taken out of each part, once; the others stay in order."""
        for wanted in "xybdf":
            queue = filled(ready="abc", waiting="def")
            if wanted in "xy":
                queue.push(iter(lines_of("x", "y")))
            received = queue.received()
            message = received[[str(item) for item in received].index(wanted)]
            assert isinstance(message, Message)
            self.assertTrue(queue.take_out(message))
            self.assertFalse(queue.take_out(message))
            self.assertEqual(all_of(queue), [item for item in received if item != wanted])

    def test_this_very_line(self) -> None:
        """Among equal lines, the very one that was found is taken."""
        for part in ("ready", "waiting"):
            queue = filled(**{part: "aaaa"})
            received = queue.received()
            assert isinstance(received[2], Message)
            self.assertTrue(queue.take_out(received[2]))
            left = all_of(queue)
            self.assertEqual([id(item) for item in left],
                             [id(received[place]) for place in (0, 1, 3)])

    def test_gone(self) -> None:
        """A line that the reader has taken cannot be taken out, nor an equal one in its place."""
        queue = filled(ready="aa")
        message = queue.take()
        assert isinstance(message, Message)
        self.assertFalse(queue.take_out(message))
        self.assertEqual(all_of(queue), ["a"])

    def test_never_empty_meanwhile(self) -> None:
        """While a line is taken out, a reader that looks does not find the queue empty."""
        queue, is_over = filled(ready="abcdef"), threading.Event()
        looks, empty = 0, 0

        def look() -> None:
            nonlocal looks, empty
            while not is_over.is_set():
                looks += 1
                empty += not queue.has_any()

        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-6)
        thread = threading.Thread(target=look)
        thread.start()
        try:
            for _ in range(5000):
                message = queue.received()[3]
                assert isinstance(message, Message)
                queue.take_out(message)
                queue.ready.append(message)
        finally:
            is_over.set()
            thread.join(DEADLINE)
        self.assertTrue(looks)
        self.assertEqual(empty, 0)

    def test_taken_in_the_middle_of_the_search(self) -> None:
        """A line is found even if the reader takes another during the search."""
        queue = LineQueue(10)

        class Compared(Message):
            def __eq__(self, other: object) -> bool:
                if queue.ready[0] is oldest:
                    queue.ready.popleft()
                return super().__eq__(other)

            __hash__ = Message.__hash__

        oldest, *others = map(Compared, "abcd")
        queue.ready.extend((oldest, *others))
        self.assertTrue(queue.take_out(others[1]))
        self.assertEqual([id(item) for item in queue.ready], [id(others[0]), id(others[2])])

    def test_reader_takes_meanwhile(self) -> None:
        """Whenever the reader takes lines meanwhile, each line is delivered once, in order."""
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-6)
        for _ in range(200):
            queue = filled(ready=[str(number) for number in range(60)])
            wanted = [item for item in queue.received() if int(item) % 4 == 0]  # type: ignore[arg-type]
            read: list[Any] = []

            def take_all() -> None:
                while queue.ready:
                    try:
                        read.append(queue.ready.popleft())
                    except IndexError:
                        return

            thread = threading.Thread(target=take_all)
            thread.start()
            taken = [item for item in reversed(wanted) if queue.take_out(item)]  # type: ignore[arg-type]
            thread.join(DEADLINE)
            self.assertEqual(read, sorted(read, key=int))
            self.assertEqual(sorted([*read, *taken], key=int), [str(number) for number in range(60)])


if __name__ == "__main__":
    unittest.main()
