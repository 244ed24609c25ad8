"""Every bound: its default, and what it refuses."""

from __future__ import annotations

import dataclasses
import math
import unittest

from mmdagent_remote import limits
from mmdagent_remote.limits import Limits

TIMES = ("open_timeout", "send_timeout", "ping_interval", "ping_timeout", "close_timeout")
COUNTS = ("max_message_size", "max_line_size", "max_fragments", "max_queue", "max_send_queue",
          "max_connections")


class LimitsTest(unittest.TestCase):
    """The limits that a user may set."""

    def test_defaults(self) -> None:
        """The defaults are those of the README."""
        self.assertEqual(dataclasses.asdict(Limits()), {
            "open_timeout": 10, "send_timeout": 10, "ping_interval": 20, "ping_timeout": 20,
            "close_timeout": 0.5, "max_message_size": 1 << 20, "max_line_size": 1 << 16,
            "max_fragments": 4096, "max_queue": 1024, "max_send_queue": 1 << 20,
            "max_connections": 1000,
        })

    def test_every_field_is_tested_here(self) -> None:
        """This file names every bound, also a new one."""
        self.assertEqual({field.name for field in dataclasses.fields(Limits)},
                         {*TIMES, *COUNTS})

    def test_it_does_not_change(self) -> None:
        """A bound cannot be changed while a server runs."""
        with self.assertRaises(dataclasses.FrozenInstanceError):
            Limits().max_queue = 1  # type: ignore[misc]

    def test_the_least_count(self) -> None:
        """A count is at least one; zero and less are a ValueError that names it."""
        for name in COUNTS:
            for good in (1, 2, 10**12):
                self.assertEqual(getattr(Limits(**{name: good}), name), good)
            for bad in (0, -1, -(10**12)):
                with self.subTest(name, bad=bad), self.assertRaisesRegex(ValueError, name):
                    Limits(**{name: bad})

    def test_a_count_is_whole(self) -> None:
        """A count that is not an int is a TypeError that names it."""
        for name in COUNTS:
            for bad in (1.0, 1.5, math.inf, "1", None, True, False, b"1"):
                with self.subTest(name, bad=bad), self.assertRaisesRegex(TypeError, name):
                    Limits(**{name: bad})  # type: ignore[arg-type]

    def test_a_time_is_above_zero(self) -> None:
        """A time must be above zero; only close_timeout may be 0."""
        for name in TIMES:
            for good in (0.001, 1, 3600.0):
                self.assertEqual(getattr(Limits(**{name: good}), name), good)
            for bad in (-0.001, -1, math.inf, -math.inf, math.nan):
                with self.subTest(name, bad=bad), self.assertRaisesRegex(ValueError, name):
                    Limits(**{name: bad})
        self.assertEqual(Limits(close_timeout=0).close_timeout, 0)
        for name in TIMES[:-1]:
            for bad in (0, 0.0):
                with self.subTest(name, bad=bad), self.assertRaisesRegex(ValueError, name):
                    Limits(**{name: bad})

    def test_a_time_is_a_number(self) -> None:
        """A time that is not a number is a TypeError that names it."""
        for name in TIMES:
            for bad in ("1", True, False, b"1", [1]):
                with self.subTest(name, bad=bad), self.assertRaisesRegex(TypeError, name):
                    Limits(**{name: bad})  # type: ignore[arg-type]

    def test_none_switches_off(self) -> None:
        """None switches a timeout off, except close_timeout."""
        for name in TIMES[:-1]:
            self.assertIsNone(getattr(Limits(**{name: None}), name))
        with self.assertRaisesRegex(TypeError, "close_timeout"):
            Limits(close_timeout=None)  # type: ignore[arg-type]


class ConstantsTest(unittest.TestCase):
    """Bounds that a user cannot set."""

    def test_a_step_of_a_bomb_stays_small(self) -> None:
        """Deflate expands at most 1032 times, so one step grows to less than the message bound."""
        self.assertLess(limits.COMPRESSED_STEP * 1032, Limits().max_message_size)

    def test_a_takeover_step_is_no_more_than_a_read(self) -> None:
        """The attendant reads no more from a connection at a time than a reader does."""
        self.assertLessEqual(limits.TAKEOVER_SIZE, limits.RECV_SIZE)

    def test_what_the_contract_says(self) -> None:
        """The line queue holds 1 MiB, the last 4096 lines are remembered."""
        self.assertEqual(limits.MAX_QUEUE_BYTES, 1 << 20)
        self.assertEqual(limits.ECHO_MEMORY, 4096)
        self.assertEqual(limits.SHORTEST_HANDLE, 1.0)
        self.assertEqual(limits.PROBE_TIME, 0.2)


if __name__ == "__main__":
    unittest.main()
