"""The turnstile: its places, and its thread."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
import unittest
from concurrent.futures import Future
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from mmdagent_remote.connection import turnstile
from mmdagent_remote.connection.transport import SLICED_WAITS, Deadline, Transport
from mmdagent_remote.connection.turnstile import Places, Turnstile, Waiter
from mmdagent_remote.limits import TURNSTILE_PLACES

from ..support import DEADLINE, TestCase, wait_until

HAS_EPOLL = hasattr(select, "epoll")
needs_plain_waits = unittest.skipIf(SLICED_WAITS, "a wait in slices does not go through the turnstile")


def arrived(places: Places, number: int) -> list[Waiter]:
    """New waiters that are ready to be let in."""
    waiters = [Waiter(fd) for fd in range(number)]
    for waiter in waiters:
        places.arrive(waiter)
    return waiters


def let_in(places: Places) -> list[Waiter]:
    """All waiters that are let in now."""
    return list(iter(places.let_in, None))


class PlacesTests(unittest.TestCase):
    """Which waiters may run."""

    def test_few_at_once(self) -> None:
        """At most `few` are let in, in the order of arrival, and one more for each that leaves."""
        places = Places(2)
        a, b, c, d = arrived(places, 4)
        self.assertEqual(let_in(places), [a, b])
        places.leave(b)
        self.assertEqual(let_in(places), [c])
        places.leave(c)
        places.leave(a)
        self.assertFalse(places.is_free)
        self.assertEqual(let_in(places), [d])
        self.assertTrue(places.is_free)

    def test_leaving_twice(self) -> None:
        """Leaving frees no place for a waiter that is not inside."""
        places = Places(1)
        a, b, c = arrived(places, 3)
        places.leave(b)
        self.assertEqual(let_in(places), [a])
        places.leave(a)
        places.leave(a)
        self.assertEqual(let_in(places), [b])
        self.assertEqual(let_in(places), [])

    def test_patience(self) -> None:
        """When none comes out, those inside no longer count; twice as many may enter each time."""
        places = Places(2)
        waiters = arrived(places, 20)
        self.assertEqual(let_in(places), waiters[:2])
        for expected in (waiters[2:6], waiters[6:14], waiters[14:20]):
            places.lose_patience()
            self.assertEqual(let_in(places), expected)

    def test_patience_while_they_move(self) -> None:
        """As long as any comes out, those inside keep their places."""
        places = Places(2)
        a, b, c, d, e = arrived(places, 5)
        self.assertEqual(let_in(places), [a, b])
        places.leave(a)
        self.assertEqual(let_in(places), [c])
        places.lose_patience()
        self.assertEqual(let_in(places), [])
        places.lose_patience()
        self.assertEqual(let_in(places), [d, e])

    def test_late_leavers(self) -> None:
        """A waiter that comes out when it no longer counts frees no place."""
        places = Places(1)
        a, b, c, d = arrived(places, 4)
        let_in(places)
        places.lose_patience()
        self.assertEqual(let_in(places), [b, c])
        places.leave(a)
        self.assertEqual(let_in(places), [])
        places.leave(b)
        self.assertEqual(let_in(places), [d])

    def test_late_leavers_prove_nothing(self) -> None:
        """A waiter that comes out when it no longer counts does not keep the others' places."""
        places = Places(1)
        a, b, c, d, e = arrived(places, 5)
        let_in(places)
        places.lose_patience()
        self.assertEqual(let_in(places), [b, c])
        places.leave(a)
        places.lose_patience()
        self.assertEqual(let_in(places), [d, e])

    def test_patience_with_sleepers(self) -> None:
        """When those inside only sleep, one that comes out does not keep the others' places."""
        places = Places(2)
        a, b, c, d, e, f = arrived(places, 6)
        self.assertEqual(let_in(places), [a, b])
        places.leave(a)
        self.assertEqual(let_in(places), [c])
        places.lose_patience(is_idle=True)
        self.assertEqual(let_in(places), [d, e, f])

    def test_back_to_few(self) -> None:
        """Once none waits any more, as few are let in as at first."""
        places = Places(2)
        first = arrived(places, 4)
        let_in(places)
        places.lose_patience()
        let_in(places)
        for waiter in first:
            places.leave(waiter)
        second = arrived(places, 4)
        self.assertEqual(let_in(places), second[:2])

    def test_clear(self) -> None:
        """All that wait to be let in can be taken at once."""
        places = Places(1)
        waiters = arrived(places, 3)
        let_in(places)
        self.assertEqual(list(places.clear()), waiters[1:])
        places.leave(waiters[0])
        self.assertTrue(places.is_free)

    @given(st.lists(st.sampled_from(["arrive", "leave", "let in", "patience"]), max_size=60),
           st.integers(1, 3))
    def test_any_order(self, steps: list[str], few: int) -> None:
        """Whatever happens, each is let in once, in order, with never more inside than allowed."""
        places = Places(few)
        came: list[Waiter] = []
        entered: list[Waiter] = []
        inside: list[Waiter] = []
        allowed = few
        for step in steps:
            if step == "arrive":
                came += arrived(places, 1)
            elif step == "leave" and inside:
                places.leave(inside.pop())
            elif step == "patience":
                places.lose_patience()
                allowed *= 2
                inside.clear()
            elif step == "let in":
                new = let_in(places)
                entered += new
                inside += new
                self.assertLessEqual(len(inside), allowed)
        for _ in range(20):
            entered += let_in(places)
            places.lose_patience()
            places.lose_patience()
        self.assertEqual(entered, came)


@unittest.skipUnless(HAS_EPOLL, "there is no epoll here, and so no turnstile")
class TurnstileTests(TestCase):
    """Threads that wait for something to read."""

    def setUp(self) -> None:
        patch = mock.patch.object(turnstile, "TURNSTILE_FROM", 3)
        patch.start()
        self.addCleanup(patch.stop)
        self.turnstile = Turnstile()
        self.addCleanup(self.turnstile.stop, DEADLINE)

    def waiter(self) -> tuple[Waiter, socket.socket]:
        """A waiter for a new socket, and that socket's other end."""
        ours, other = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(other.close)
        return Waiter(ours.fileno()), other

    def test_engaged(self) -> None:
        """It is engaged above a number of connections; its thread starts when it first is."""
        self.turnstile.adapt(3)
        self.assertFalse(self.turnstile.is_engaged)
        self.assertEqual(self._new_threads(), set())
        self.turnstile.adapt(4)
        self.assertTrue(self.turnstile.is_engaged)
        self.assertEqual([each.name for each in self._new_threads()], ["mmdagent-remote-turnstile"])
        self.turnstile.adapt(3)
        self.assertFalse(self.turnstile.is_engaged)
        self.turnstile.adapt(4)
        self.assertEqual(len(self._new_threads()), 1)

    def test_no_epoll(self) -> None:
        """Without epoll or eventfd it is never engaged."""
        for module in ("select", "os"):
            with self.subTest(module), mock.patch.object(turnstile, module, object()):
                self.turnstile.adapt(1000)
            self.assertFalse(self.turnstile.is_engaged)
            self.assertEqual(self._new_threads(), set())

    def test_out_of_descriptors(self) -> None:
        """It is not engaged until there is a descriptor for it, and no file is left open."""
        import resource  # Does not exist on Windows.
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        for more in (0, 1):
            with open(__file__, "rb") as file:
                resource.setrlimit(resource.RLIMIT_NOFILE, (file.fileno() + 1 + more, limits[1]))
                try:
                    self.turnstile.adapt(4)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            self.assertFalse(self.turnstile.is_engaged)
            self.assertFalse(self._new_files())
        self.turnstile.adapt(4)
        self.assertTrue(self.turnstile.is_engaged)

    def test_waits_for_bytes(self) -> None:
        """A thread goes on when there is something to read, and can wait again."""
        self.turnstile.adapt(4)
        waiter, other = self.waiter()
        for _ in range(3):
            thread = self.in_thread(self.turnstile.wait, waiter)
            wait_until(lambda: waiter.fd in self.turnstile._waiting)
            self.assertTrue(thread.is_alive())
            other.send(b"a")
            self._join(thread)
            os.read(waiter.fd, 10)

    def test_end_of_stream(self) -> None:
        """The peer's end of the stream also wakes a thread."""
        self.turnstile.adapt(4)
        waiter, other = self.waiter()
        thread = self.in_thread(self.turnstile.wait, waiter)
        other.close()
        self._join(thread)

    def test_places(self) -> None:
        """As many threads run at once as there are places, and all run in the end."""
        inside, most, done = 0, 0, 0
        lock, go_on = threading.Lock(), threading.Semaphore(0)

        def run(waiter: Waiter) -> None:
            nonlocal inside, most, done
            self.turnstile.wait(waiter)
            with lock:
                inside += 1
                most = max(most, inside)
            go_on.acquire(timeout=DEADLINE)
            with lock:
                inside -= 1
                done += 1
            self.turnstile.leave(waiter)

        with mock.patch.object(turnstile, "TURNSTILE_PATIENCE", 10 * DEADLINE):
            self.turnstile.adapt(4)
            pairs = [self.waiter() for _ in range(12)]
            for waiter, _ in pairs:
                self.in_thread(run, waiter)
            for waiter, other in pairs:
                wait_until(lambda: waiter.fd in self.turnstile._waiting)
                other.send(b"a")
            for number in range(12):
                wait_until(lambda: inside + done >= min(12, number + TURNSTILE_PLACES))
                go_on.release()
            wait_until(lambda: done == 12)
        self.assertEqual(most, TURNSTILE_PLACES)

    def test_patience(self) -> None:
        """Threads that do not come back do not keep others out."""
        self.turnstile.adapt(4)
        barrier = threading.Barrier(12, timeout=DEADLINE)

        def run(waiter: Waiter) -> None:
            self.turnstile.wait(waiter)
            barrier.wait()

        pairs = [self.waiter() for _ in range(12)]
        threads = [self.in_thread(run, waiter) for waiter, _ in pairs]
        for _, other in pairs:
            other.send(b"a")
        for thread in threads:
            self._join(thread)
        self.assertFalse(barrier.broken)

    def test_short_sleeps(self) -> None:
        """Threads that come back in time, but only sleep meanwhile, do not keep others out."""
        patience = 0.05  # So long that even on a busy machine some thread comes out in it.
        self.enterContext(mock.patch.object(turnstile, "TURNSTILE_PATIENCE", patience))
        self.turnstile.adapt(4)
        most, lock, inside, enough = 0, threading.Lock(), 0, threading.Event()

        def run(waiter: Waiter) -> None:
            nonlocal most, inside
            while not enough.is_set() and time.monotonic() < end:
                self.turnstile.wait(waiter)
                with lock:
                    inside += 1
                    most = max(most, inside)
                    if most > 4 * TURNSTILE_PLACES:
                        enough.set()
                enough.wait(patience / 2)
                with lock:
                    inside -= 1
            self.turnstile.leave(waiter)

        end = time.monotonic() + DEADLINE
        pairs = [self.waiter() for _ in range(60)]
        for _, other in pairs:
            other.send(b"a")
        for thread in [self.in_thread(run, waiter) for waiter, _ in pairs]:
            self._join(thread)
        self.assertGreater(most, 4 * TURNSTILE_PLACES)

    def test_stop(self) -> None:
        """After stop() all waiting threads go on, and later ones do not wait."""
        self.turnstile.adapt(4)
        waiters = [self.waiter()[0] for _ in range(5)]
        threads = [self.in_thread(self.turnstile.wait, waiter) for waiter in waiters]
        wait_until(lambda: len(self.turnstile._waiting) == 5)
        self.turnstile.stop(DEADLINE)
        for thread in threads:
            self._join(thread)
        self.turnstile.wait(waiters[0])
        self.assertFalse(self.turnstile.is_engaged)

    def test_not_behind_the_end(self) -> None:
        """adapt() after stop(), from an attendant on a busy machine, does not engage it again."""
        self.turnstile.stop(DEADLINE)
        self.turnstile.adapt(4)
        self.assertFalse(self.turnstile.is_engaged)
        self.assertEqual(self._new_threads(), set())

    def test_the_end_while_it_begins(self) -> None:
        """A stop() while its thread is being started leaves it not engaged."""
        start = threading.Thread.start

        def late(thread: threading.Thread) -> None:
            start(thread)
            self.turnstile.stop(DEADLINE)

        with mock.patch.object(threading.Thread, "start", late):
            self.turnstile.adapt(4)
        self.assertFalse(self.turnstile.is_engaged)
        wait_until(lambda: not self._new_threads())

    def test_cannot_be_watched(self) -> None:
        """For a descriptor that epoll cannot watch, wait() returns at once."""
        self.turnstile.adapt(4)
        with open(__file__, "rb") as file:  # epoll refuses regular files.
            self.turnstile.wait(Waiter(file.fileno()))
        self.assertEqual(self.turnstile._waiting, {})

    def transport(self) -> tuple[Transport, socket.socket]:
        """A transport whose reader uses the turnstile, and the socket at the other end."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            other = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
        self.addCleanup(other.close)
        self.addCleanup(ours.close)
        return Transport(ours, self.turnstile), other

    def reading(self, transport: Transport) -> Future[bytes]:
        """The result of a read in another thread."""
        found: Future[bytes] = Future()

        def read() -> None:
            try:
                found.set_result(transport.recv(Deadline(None)))
            except Exception as error:  # For the test to look at.
                found.set_exception(error)

        self.in_thread(read)
        return found

    @needs_plain_waits
    def test_closed_while_a_thread_waits(self) -> None:
        """A thread that waits for a socket gets an OSError when another thread closes it."""
        self.turnstile.adapt(4)
        transport, _ = self.transport()
        found = self.reading(transport)
        wait_until(lambda: self.turnstile._waiting)
        transport.close()
        self.assertIsInstance(found.exception(DEADLINE), OSError)

    @needs_plain_waits
    def test_closed_before(self) -> None:
        """A read after the close raises OSError; a new socket of the same number is unaffected."""
        self.turnstile.adapt(4)
        transport, other = self.transport()
        other.send(b"a")
        self.assertEqual(self.reading(transport).result(DEADLINE), b"a")
        newer, its_other = self.transport()
        number = transport.fileno()
        transport.close()
        self.assertEqual(os.dup2(newer.fileno(), number), number)
        reused = Transport(socket.socket(fileno=number), self.turnstile)
        self.addCleanup(reused.close)
        found = self.reading(reused)
        wait_until(lambda: number in self.turnstile._waiting)
        unused, _ = self.transport()
        unused.close()
        for closed in (transport, unused):
            self.assertIsInstance(self.reading(closed).exception(DEADLINE), OSError)
        its_other.send(b"b")
        self.assertEqual(found.result(DEADLINE), b"b")
