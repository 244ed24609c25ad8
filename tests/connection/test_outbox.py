"""``outbox.py``: what leaves next and when, with byte strings and a clock of numbers."""

from __future__ import annotations

import unittest
from dataclasses import replace
from typing import Any

from mmdagent_remote.connection.outbox import NEVER, Outbox, OutboxSealed
from mmdagent_remote.profile import MMDAGENT_EX, STRICT, Profile
from mmdagent_remote.websocket.lines import EchoMemory, Outgoing, prepare_line

from ..client import CLOSE, PING, PONG, TEXT, frame
from ..websocket.test_protocol import PONG as _PONG
from ..websocket.test_protocol import frame as client_frame
from ..websocket.test_protocol import opened

#: When the outbox is made, and when its 101 has left.
MADE, OPENED = 100.0, 100.5
HOLD, GAP = MMDAGENT_EX.first_line_hold, MMDAGENT_EX.gap
LATER = OPENED + 10.0


def ours(payload: bytes | str, opcode: int = TEXT, *, fin: bool = True) -> bytes:
    """A frame of the server's."""
    return frame(payload, opcode, fin=fin, mask=False)


class OutboxCase(unittest.TestCase):
    """An outbox of one profile."""

    profile: Profile = STRICT

    def setUp(self) -> None:
        self.protocol = opened(self.profile)[0]
        self.outbox = self.make()

    def make(self, max_size: int = 1000, **changes: Any) -> Outbox:
        profile = replace(self.profile, **changes)
        self.echoes = EchoMemory() if profile.echoes else None
        return Outbox(self.protocol, profile, self.echoes, profile.max_frame, max_size, MADE)

    def line(self, text: str) -> Outgoing:
        """A line, encoded for this profile."""
        return prepare_line(text, self.profile)

    def put(self, *items: str | bytes) -> None:
        """Queue lines, and binary messages."""
        self.outbox.put_all(item if isinstance(item, bytes) else self.line(item) for item in items)

    def leave(self, now: float) -> bytes:
        """What leaves at this time, all of it."""
        data = b""
        while piece := self.outbox.next_bytes(now):
            data += piece
            self.outbox.has_left(now)
        return data


class StrictTest(OutboxCase):
    """Towards any RFC 6455 client."""

    def test_in_order(self) -> None:
        """Each line and message is a frame of its own, and all leave in order, at once."""
        self.put("A|1", b"\0\1", "B")
        self.assertTrue(self.outbox.has_work(MADE))
        self.assertEqual(self.leave(MADE), ours("A|1\n") + ours(b"\0\1", 2) + ours("B\n"))
        self.assertFalse(self.outbox.has_work(MADE))
        self.assertEqual(self.outbox.next_due, NEVER)

    def test_some_at_once(self) -> None:
        """What leaves as one is bounded; the rest leaves next."""
        self.put(*["x" * 999] * 200)
        first = self.outbox.next_bytes(MADE)
        self.assertLess(len(first), 70_000)
        self.assertEqual(len(first + self.leave(MADE)), 200 * (4 + 1000))

    def test_taken(self) -> None:
        """A writer sees by the count when its own lines have left."""
        self.put("A", "B")
        self.assertEqual((self.outbox.taken, len(self.outbox.waiting)), (0, 2))
        self.leave(MADE)
        self.assertEqual((self.outbox.taken, len(self.outbox.waiting)), (2, 0))

    def test_room(self) -> None:
        """Room is counted in bytes, to the byte; an empty queue has room for anything."""
        self.outbox = self.make(max_size=10)
        self.assertTrue(self.outbox.has_room(11))
        self.put("ABCD")
        self.assertEqual([self.outbox.has_room(size) for size in (5, 6)], [True, False])
        self.leave(MADE)
        self.assertTrue(self.outbox.has_room(11))

    def test_pong(self) -> None:
        """A pong goes before what waits; of several only the last is sent."""
        self.put("A")
        self.outbox.pong(b"1")
        self.outbox.pong(b"2")
        self.assertEqual(self.leave(MADE), ours(b"2", PONG) + ours("A\n"))

    def test_ping(self) -> None:
        """Each ping has its own number."""
        for number in (1, 2):
            self.outbox.ping()
            self.assertTrue(self.outbox.has_work(MADE))
            self.assertEqual(self.leave(MADE), ours(number.to_bytes(4, "big"), PING))

    def test_clear(self) -> None:
        """It is clear while nothing is queued, pinged, answered or sealed."""
        self.assertTrue(self.outbox.is_clear)
        for change in (lambda: self.put("A"), self.outbox.ping, lambda: self.outbox.pong(b"")):
            change()
            self.assertFalse(self.outbox.is_clear)
            self.leave(MADE)
            self.assertTrue(self.outbox.is_clear)
        self.outbox.seal()
        self.assertFalse(self.outbox.is_clear)

    def test_close(self) -> None:
        """The Close goes behind what waits, only the first of two, and nothing can be queued then."""
        self.put("A")
        self.outbox.close(1001, "bye", drop=False)
        self.outbox.close(1002, "", drop=False)
        with self.assertRaises(OutboxSealed):
            self.put("B")
        self.assertEqual(self.leave(MADE), ours("A\n") + ours(b"\x03\xe9bye", CLOSE))
        self.assertFalse(self.outbox.is_busy)

    def test_drop(self) -> None:
        """A close that drops leaves at once, and what was dropped is counted."""
        self.put("A", "B")
        self.outbox.close(1000, "", drop=True)
        self.assertEqual(self.leave(MADE), ours(b"\x03\xe8", CLOSE))
        self.assertEqual((self.outbox.unsent, self.outbox.taken), (2, 2))
        self.assertFalse(self.outbox.has_binary)

    def test_after_a_close(self) -> None:
        """What is still queued when a Close has left is dropped, not sent."""
        self.put("A")
        self.protocol.close_frame(1000, "")
        self.assertEqual(self.leave(MADE), b"")
        self.assertEqual(self.outbox.unsent, 1)

    def test_sound_waits(self) -> None:
        """It tells whether a binary message waits."""
        self.put("A", b"SND")
        self.assertTrue(self.outbox.has_binary)
        self.leave(MADE)
        self.assertFalse(self.outbox.has_binary)

    def test_taps(self) -> None:
        """Taps are shown what leaves, in order: lines as they were written, and bytes."""
        seen: list[tuple[int, str | bytes]] = []
        self.outbox.taps = tuple(lambda item, n=n: seen.append((n, item)) for n in (1, 2))
        self.put("A|ä", b"\0")
        self.assertEqual(seen, [])
        self.leave(MADE)
        self.assertEqual(seen, [(1, "A|ä"), (2, "A|ä"), (1, b"\0"), (2, b"\0")])

    def test_taps_see_nothing_that_is_dropped(self) -> None:
        """What a close drops never left, so taps do not see it."""
        seen: list[str | bytes] = []
        self.outbox.taps = (seen.append,)
        self.put("A")
        self.outbox.close(1000, "", drop=True)
        self.leave(MADE)
        self.assertEqual(seen, [])


class MMDAgentTest(OutboxCase):
    """Towards MMDAgent-EX."""

    profile = MMDAGENT_EX

    def open(self) -> None:
        """The 101 has left, and a first line with the ping behind it long ago."""
        self.outbox.has_left(OPENED)
        self.put("FIRST")
        self.leave(OPENED + HOLD)
        self.protocol.receive_data(client_frame(_PONG, b"\0\0\0\1"))
        while self.protocol.next_event() is not None:
            pass
        self.leave(LATER)

    def test_the_first_frame_is_held(self) -> None:
        """The first frame leaves so long after the 101, not after the outbox was made."""
        self.outbox.has_left(OPENED)
        self.put("A")
        self.assertEqual(self.outbox.next_due, OPENED + HOLD)
        self.assertEqual(self.leave(OPENED + HOLD - 0.001), b"")
        self.assertEqual(self.leave(OPENED + HOLD), ours("A\n"))

    def test_nudges(self) -> None:
        """Pings follow the first frame, later and later for two seconds, unless one is answered."""
        self.outbox.has_left(OPENED)
        self.put("A")
        begin = now = OPENED + HOLD
        self.leave(now)
        times = []
        while self.outbox.next_due != NEVER:
            now = self.outbox.next_due
            times.append(now - begin)
            self.assertEqual(self.leave(now), ours(len(times).to_bytes(4, "big"), PING))
        self.assertAlmostEqual(times[0], HOLD)
        pauses = [after - before for before, after in zip(times, times[1:])]
        self.assertEqual(pauses, sorted(pauses))
        self.assertTrue(1.5 < times[-1] < 3.0, times)

    def test_an_answered_nudge_is_the_last(self) -> None:
        """When a pong has come, no nudge leaves any more."""
        self.open()
        self.assertEqual((self.outbox.next_due, self.leave(LATER)), (NEVER, b""))

    def test_a_quiet_connection(self) -> None:
        """A lone line on a quiet connection leaves at once."""
        self.open()
        self.put("A")
        self.assertTrue(self.outbox.has_work(LATER + 1))
        self.assertEqual(self.leave(LATER + 1), ours("A\n"))

    def test_batch(self) -> None:
        """Lines that come in the gap are joined to one frame, which leaves when the gap is over."""
        self.open()
        self.put("A")
        self.leave(LATER + 1)
        self.put("B", "C")
        self.assertFalse(self.outbox.has_work(LATER + 1))
        self.assertAlmostEqual(self.outbox.next_due, LATER + 1 + GAP)
        self.assertEqual(self.leave(LATER + 1 + GAP), ours("B\nC\n"))

    def test_one_frame_in_a_gap(self) -> None:
        """What does not fit one frame waits for the next gap; sound is never joined."""
        self.open()
        self.put(*["x" * 1999] * 5, b"SND0002ab", "Y")
        self.assertEqual(self.leave(LATER + 1), ours(("x" * 1999 + "\n") * 4))
        self.assertEqual(self.leave(LATER + 2), ours("x" * 1999 + "\n"))
        self.assertEqual(self.leave(LATER + 3), ours(b"SND0002ab", 2))
        self.assertEqual(self.leave(LATER + 4), ours("Y\n"))

    def test_the_gap_begins_at_the_end_of_a_send(self) -> None:
        """A send that takes long moves the next one."""
        self.open()
        self.put("A", "B")
        self.outbox.next_bytes(LATER + 1)
        self.outbox.has_left(LATER + 3)
        self.put("C")
        self.assertAlmostEqual(self.outbox.next_due, LATER + 3 + GAP)

    def test_nothing_comes_between_the_frames_of_a_line(self) -> None:
        """A line of several frames is not interrupted, by a pong, a ping, a close or a gap."""
        self.outbox = self.make(max_frame=4)
        self.open()
        self.put("ABCDEFGH", "Z")
        frames = [self.outbox.next_bytes(LATER + 1)]
        self.assertTrue(self.outbox.is_amid_a_line)
        self.outbox.pong(b"p")
        self.outbox.ping()
        self.outbox.close(1000, "", drop=True)
        while self.outbox.is_amid_a_line:
            frames.append(self.outbox.next_bytes(LATER + 1))
        self.assertEqual(b"".join(frames), ours("ABCD") + ours("EFG") + ours("H\n"))
        self.assertEqual(self.leave(LATER + 2),
                         ours(b"p", PONG) + ours(b"\0\0\0\1", PING) + ours("", CLOSE))
        self.assertEqual(self.outbox.unsent, 1)

    def test_a_close_is_held_like_a_first_line(self) -> None:
        """A Close right behind the 101 waits as a first frame does."""
        self.outbox.has_left(OPENED)
        self.outbox.close(1000, "", drop=True)
        self.assertEqual((self.leave(OPENED), self.outbox.next_due), (b"", OPENED + HOLD))
        self.assertEqual(self.leave(OPENED + HOLD), ours("", CLOSE))

    def test_echoes_are_known_before_the_line_leaves(self) -> None:
        """A line is remembered when its frame is made, not when it is queued."""
        self.open()
        self.put("A")
        self.assertFalse(self.echoes.claim("A"))
        self.outbox.next_bytes(LATER + 1)
        self.assertTrue(self.echoes.claim("A"))

    def test_taps_see_what_the_user_wrote(self) -> None:
        """A line that is wrapped for MMDAgent-EX is shown without its wrapping."""
        self.open()
        seen: list[str | bytes] = []
        self.outbox.taps = (seen.append,)
        self.put("STOP", b"SND0002ab")
        self.assertIn(b"__AV_MESSAGE,STOP", self.leave(LATER + 1))
        self.leave(LATER + 2)
        self.assertEqual(seen, ["STOP", b"SND0002ab"])


if __name__ == "__main__":
    unittest.main()
