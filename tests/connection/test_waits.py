"""``waits.py``: which line answers which wait."""

from __future__ import annotations

import re
import threading
import unittest
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures import wait as wait_all

from mmdagent_remote import Message
from mmdagent_remote.connection.waits import MAX_WAITS, Wait, Waits


def raise_error(message: Message) -> bool:
    """A predicate that raises."""
    raise LookupError(message)


class WaitsTest(unittest.TestCase):
    """Registering, offering and claiming."""

    def setUp(self) -> None:
        self.waits = Waits()

    def add(self, *patterns: object) -> Wait:
        """A registered wait."""
        wait = Wait(patterns)  # type: ignore[arg-type]
        self.waits.add(wait)
        return wait

    def offer(self, line: str) -> bool:
        """Whether a wait takes the line."""
        return self.waits.offer(Message(line))

    def test_oldest_first(self) -> None:
        """A line answers the oldest wait that matches, and only that one."""
        other, first, second = self.add("B"), self.add("A"), self.add("A")
        self.assertTrue(self.offer("A|1"))
        self.assertEqual(first.future.result(0), "A|1")
        self.assertFalse(other.future.done() or second.future.done())
        self.assertTrue(self.offer("A|2"))
        self.assertEqual(second.future.result(0), "A|2")
        self.assertFalse(self.offer("A|3"))

    def test_any_of_several(self) -> None:
        """A line that matches any of its patterns answers a wait, which is then over."""
        wait = self.add("A", re.compile("B.*"), lambda message: message.args == ("c",))
        self.assertFalse(self.offer("C"))
        self.assertTrue(self.offer("C|c"))
        self.assertEqual((wait.future.result(0), bool(self.waits)), ("C|c", False))

    def test_echoes(self) -> None:
        """An echo is not shown to any predicate, and answers nothing."""
        seen: list[str] = []
        self.add(seen.append)
        self.assertFalse(self.waits.offer(Message("A", is_echo=True)))
        self.assertEqual(seen, [])

    def test_no_pattern(self) -> None:
        """A wait without patterns, or with an invalid one, is a TypeError."""
        for patterns in ((), ("A", 1)):
            with self.subTest(patterns), self.assertRaises(TypeError):
                Wait(patterns)  # type: ignore[arg-type]

    def test_predicate_that_raises(self) -> None:
        """What a predicate raises ends its own wait, and the line is offered to the next."""
        bad, good = self.add(raise_error), self.add("A")
        self.assertTrue(self.offer("A"))
        self.assertIsInstance(bad.future.exception(0), LookupError)
        self.assertEqual(good.future.result(0), "A")

    def test_claimed_once(self) -> None:
        """If several threads claim a wait, exactly one gets it."""
        for _ in range(50):
            wait, got = self.add("A"), []
            threads = [threading.Thread(target=lambda: got.append(self.waits.claim(wait)))
                       for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(sorted(got), [False, False, False, True])

    def race(self, rival: Callable[[], bool]) -> tuple[bool, bool]:
        """Offer a line while another thread runs `rival`; returns whether each succeeded."""
        start, won = threading.Barrier(2), []

        def compete() -> None:
            start.wait()
            won.append(rival())
        thread = threading.Thread(target=compete)
        thread.start()
        start.wait()
        taken = self.offer("A")
        thread.join()
        self.assertEqual(len(won), 1)
        return taken, won[0]

    def test_answer_or_timeout(self) -> None:
        """If an answer races with a timeout, the wait takes the line or times out, never both."""
        for _ in range(200):
            wait = self.add("A")
            taken, timed_out = self.race(lambda: self.waits.claim(wait))
            self.assertEqual(timed_out, not taken)
            self.assertEqual(wait.future.done(), taken)

    def test_cancelled(self) -> None:
        """A cancelled wait takes no line, its predicate is not called again, its waiters wake."""
        seen: list[str] = []
        wait = self.add(seen.append)
        self.assertTrue(wait.future.cancel())
        self.assertFalse(self.offer("A"))
        self.assertEqual((seen, bool(self.waits)), ([], False))
        self.assertEqual(wait_all([wait.future], timeout=0).done, {wait.future})
        with self.assertRaises(CancelledError):
            wait.future.result(0)

    def test_cancelled_while_its_predicate_runs(self) -> None:
        """A wait that is cancelled just before it would take a line leaves the line to the next."""
        wait = self.add(lambda message: wait.future.cancel())
        second = self.add("A")
        self.assertTrue(self.offer("A"))
        self.assertEqual(second.future.result(0), "A")
        self.assertFalse(self.offer("A"))

    def test_cancel_after_the_answer(self) -> None:
        """Once a wait has taken a line it cannot be cancelled, or the line would be lost."""
        later: list[object] = []
        wait = Wait(("A",), later.append)
        wait.future.add_done_callback(lambda future: None)
        self.waits.add(wait)
        self.assertTrue(self.offer("A"))
        self.assertFalse(wait.future.cancel())
        self.assertEqual((wait.future.result(0), len(later)), ("A", 1))

    def test_cancel_races(self) -> None:
        """Whenever a future is cancelled, either it holds the line or the line was not taken."""
        for _ in range(200):
            wait = self.add("A")
            taken, cancelled = self.race(wait.future.cancel)
            self.assertEqual(cancelled, not taken)

    def test_end_of_all(self) -> None:
        """Each pending wait fails with an error object of its own; cancelled ones end quietly."""
        waits = [self.add("A") for _ in range(3)]
        waits[1].future.cancel()
        self.waits.fail_all(lambda: OSError("gone"))
        errors = [waits[n].future.exception(0) for n in (0, 2)]
        self.assertEqual([type(error) for error in errors], [OSError, OSError])
        self.assertIsNot(errors[0], errors[1])
        self.assertFalse(self.waits)

    def test_bound(self) -> None:
        """A wait beyond the bound is refused until another has ended."""
        waits = [self.add("A") for _ in range(MAX_WAITS)]
        with self.assertRaises(RuntimeError):
            self.add("A")
        self.assertTrue(self.waits.claim(waits[0]))
        self.add("A")

    def test_version(self) -> None:
        """The version grows with each registration, but not with an end."""
        before = self.waits.version
        self.waits.claim(self.add("A"))
        self.assertEqual(self.waits.version, before + 1)

    def test_text(self) -> None:
        """The text of a timeout has the patterns and the last five lines, each shortened."""
        wait = self.add("A|1", re.compile("B"))
        self.assertEqual(self.waits.timeout_text(wait, 2), "no 'A|1' or /B/ within 2 s; no line came")
        for number in range(7):
            self.offer(f"L|{number}|" + "x" * 100)
        text = self.waits.timeout_text(wait, None)
        self.assertEqual((text.count("L|"), "L|1" in text, "L|2" in text), (5, False, True))
        self.assertLess(len(text), 600)


if __name__ == "__main__":
    unittest.main()
