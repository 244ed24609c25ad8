"""The turnstile: with hundreds of connections, only a few of their threads run at once.

Each thread that waits for the interpreter's lock wakes every 5 ms to ask for it. A thousand of
them, all with something to read, do little else. So above :data:`TURNSTILE_FROM` connections a
thread with nothing to read does not block in ``recv()``, from which many would return together. It
waits on a lock of its own, its *gate*. The turnstile's thread asks the kernel which sockets are
readable, and lets two readers in. A thread that has used up its bytes lets in the next.

A hook may take a minute. So when no thread came out for a moment, or the process hardly worked
during it, those inside are no longer counted, and twice as many are let in. A thousand handlers
that sleep have all begun after some 10 ms.

:class:`Places` counts, and is pure; :class:`Turnstile` has the thread. Without epoll (on systems
other than Linux) threads wait as they do below that number, each in its own call.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Optional

from ..limits import TURNSTILE_FROM, TURNSTILE_IDLE, TURNSTILE_PATIENCE, TURNSTILE_PLACES

_OUTSIDE = -1


class Waiter:
    """What the turnstile knows of one connection's reader."""

    __slots__ = ("fd", "gate", "is_registered", "turn")

    def __init__(self, fd: int) -> None:
        #: The descriptor; negative once closed.
        self.fd = fd
        #: Always held, except between the moment the reader is let in and the moment it goes on.
        self.gate = threading.Lock()
        self.gate.acquire()
        self.is_registered = False
        #: The turn of :class:`Places` in which it was let in.
        self.turn = _OUTSIDE


class Places:
    """Decides which waiters may run. Not thread-safe.

    Args:
        few: how many may run at once.
    """

    def __init__(self, few: int) -> None:
        self._few = self._allowed = few
        self._inside = 0
        self._turn = 0
        self._ready: deque[Waiter] = deque()
        self._has_moved = False

    @property
    def is_free(self) -> bool:
        """Whether a waiter that came now would be let in at once."""
        return not self._ready and self._inside < self._allowed

    def arrive(self, waiter: Waiter) -> None:
        """Add a waiter that has something to read."""
        self._ready.append(waiter)

    def leave(self, waiter: Waiter) -> None:
        """Note that a waiter came out; harmless for one that was not inside."""
        if waiter.turn == self._turn:
            self._inside -= 1
            # Only these: a forgotten waiter that comes out says nothing about those inside.
            self._has_moved = True
        waiter.turn = _OUTSIDE

    def let_in(self) -> Optional[Waiter]:
        """Take the next waiter, if there is a place for it."""
        if not self._ready or self._inside >= self._allowed:
            return None
        waiter = self._ready.popleft()
        waiter.turn = self._turn
        self._inside += 1
        if not self._ready:
            self._allowed = self._few
        return waiter

    def lose_patience(self, *, is_idle: bool = False) -> None:
        """Call after a while: if none came out, forget those inside, and let in twice as many.

        Args:
            is_idle: do so in any case: waiters come out, but mostly they sleep.
        """
        if is_idle or not self._has_moved:
            self._turn += 1
            self._inside = 0
            if self._ready:
                self._allowed *= 2
        self._has_moved = False

    def clear(self) -> Iterator[Waiter]:
        """Take all that wait to be let in."""
        while self._ready:
            yield self._ready.popleft()


class Turnstile:
    """The turnstile of one server.

    Its lock guards the places and the waiters. It is a leaf lock, held for a few statements.
    """

    def __init__(self) -> None:
        #: Whether threads must wait here instead of in recv().
        self.is_engaged = False
        self._is_over = False
        self._lock = threading.Lock()
        self._places = Places(TURNSTILE_PLACES)
        self._waiting: dict[int, Waiter] = {}
        # The turnstile's thread pauses while no place is free. A thread that leaves, and so frees
        # one, releases `_pause`.
        self._is_pausing = False
        self._pause = threading.Lock()
        self._pause.acquire()
        # Dropped instead of closed, since another thread may be calling it.
        self._poller: Optional[select.epoll] = None
        self._waker = -1
        self._thread: Optional[threading.Thread] = None
        # When _is_idle() last checked, and the processor time of all threads until then.
        self._clocks = (0.0, 0.0)

    def adapt(self, connections: int) -> None:
        """Engage or disengage, for so many connections. Only the attendant's thread calls it."""
        is_crowded = (connections > TURNSTILE_FROM and not self._is_over
                      and hasattr(select, "epoll") and hasattr(os, "eventfd"))
        if is_crowded and self._thread is None:
            try:
                self._start()
            except (OSError, RuntimeError):
                is_crowded = False  # Out of descriptors or threads: not before the next scan.
        self.is_engaged = is_crowded
        if self._is_over:
            self.stop(1.0)  # The end came meanwhile: it waits for the attendant for a second only.

    def _start(self) -> None:
        poller, waker = select.epoll(), os.eventfd(0)
        thread = threading.Thread(
            target=self._run, args=(poller,), name="mmdagent-remote-turnstile", daemon=True)
        self._poller, self._waker = poller, waker
        try:
            poller.register(waker, select.EPOLLIN)
            thread.start()
        except (OSError, RuntimeError):
            self._poller = None
            os.close(waker)
            raise
        self._thread = thread

    def stop(self, timeout: float) -> None:
        """Release all waiters, end the thread and wait for it. It does not start again."""
        self._is_over = True
        self.is_engaged = False
        with self._lock:
            self._poller = None
            thread, self._thread = self._thread, None
        if thread is not None:
            os.eventfd_write(self._waker, 1)
            thread.join(timeout)
            os.close(self._waker)

    # Connections' threads

    def wait(self, waiter: Waiter) -> None:
        """Wait until there is something to read and a place; return early at the end."""
        with self._lock:
            fd = waiter.fd
            poller = self._poller if fd >= 0 else None
            if poller is not None:
                self._waiting[fd] = waiter
            follower = self._leave(waiter)
        try:
            is_armed = poller is not None and self._arm(poller, waiter, fd)
        finally:
            # Only now: the follower wakes at once, and would have to wait for this thread.
            if follower is not None:
                follower.release()
        if is_armed:
            waiter.gate.acquire()

    def leave(self, waiter: Waiter) -> None:
        """Note that a waiter's thread does something else now, and does not count."""
        with self._lock:
            follower = self._leave(waiter)
        if follower is not None:
            follower.release()

    def forget(self, waiter: Waiter) -> None:
        """Drop a waiter whose descriptor is about to be closed; its number can be reused then.

        A thread that still waits (after ``accept()`` it is not the one that closes) is released:
        the event that would wake it may never be reported.
        """
        with self._lock:
            follower = self._leave(waiter)
            is_waiting = self._take(waiter, waiter.fd)
            waiter.fd = -1
        if follower is not None:
            follower.release()
        if is_waiting:
            waiter.gate.release()

    def _take(self, waiter: Waiter, fd: int) -> bool:
        # With the lock held. False: another thread has taken it, and releases its gate.
        if self._waiting.get(fd) is not waiter:
            return False
        del self._waiting[fd]
        return True

    def _leave(self, waiter: Waiter) -> Optional[threading.Lock]:
        # With the lock held. Returns the lock to release afterwards: the next gate, or the pause.
        self._places.leave(waiter)
        follower = self._places.let_in()
        if follower is not None:
            return follower.gate
        if self._is_pausing and self._places.is_free:
            self._is_pausing = False
            return self._pause
        return None

    def _arm(self, poller: select.epoll, waiter: Waiter, fd: int) -> bool:
        # For one event: a thread inside reads without being watched. Closing a descriptor
        # unregisters it.
        mask = select.EPOLLIN | select.EPOLLONESHOT
        try:
            if waiter.is_registered:
                poller.modify(fd, mask)
            else:
                poller.register(fd, mask)
                waiter.is_registered = True
        except OSError:
            # The system watches no more descriptors, so this thread waits in its own recv().
            with self._lock:
                return not self._take(waiter, fd)
        return True

    # The thread

    def _run(self, poller: select.epoll) -> None:
        try:
            while self._poller is not None:
                events = poller.poll()
                with self._lock:
                    for fd, _ in events:
                        waiter = self._waiting.pop(fd, None)
                        if waiter is not None:
                            self._places.arrive(waiter)
                while self._poller is not None and not self._let_in():
                    self._rest()
        finally:
            self._release_all()

    def _let_in(self) -> bool:
        """Fill the places; False if a pause must come before the next poll."""
        with self._lock:
            waiters = list(iter(self._places.let_in, None))
            self._is_pausing = not self._places.is_free
            is_free = not self._is_pausing
        for waiter in waiters:
            waiter.gate.release()
        return is_free

    def _rest(self) -> None:
        if self._pause.acquire(timeout=TURNSTILE_PATIENCE):
            return
        is_idle = self._is_idle()
        with self._lock:
            was_told = not self._is_pausing
            self._is_pausing = False
            self._places.lose_patience(is_idle=is_idle)
        if was_told:
            self._pause.acquire()  # The thread that left is about to release it.

    def _is_idle(self) -> bool:
        # Since the last check. Hooks that sleep for a millisecond come out all the time, but two of
        # them use none of the processor time that a thousand could share.
        before, self._clocks = self._clocks, (time.monotonic(), time.process_time())
        passed, used = (now - then for now, then in zip(self._clocks, before))
        return used < TURNSTILE_IDLE * passed

    def _release_all(self) -> None:
        with self._lock:
            # Under the same lock as the check in wait(): a thread that comes later does not wait.
            self._poller = None
            waiters = [*self._waiting.values(), *self._places.clear()]
            self._waiting.clear()
        for waiter in waiters:
            waiter.gate.release()
