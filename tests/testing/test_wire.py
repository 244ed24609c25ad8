"""``SimulatedAgent`` on real sockets: each row of what the real program does with what it is sent.

The server's side is ``peer.py``, which sends exactly what it is told.
"""

from __future__ import annotations

import threading
import unittest

from ..client import BINARY, CLOSE, PING, PONG, TEXT
from ..support import DEADLINE, wait_until
from .peer import AgentCase, server_frame


class ReceivingTests(AgentCase):
    """Rows: how it takes what we send."""

    def test_a_stream_of_bytes(self) -> None:
        """Lines are read from shared, split, fragmented and binary frames, with CRLF and blanks."""
        agent, visit = self.opened()
        visit.say("A\nB\n")
        visit.say("C|")
        visit.say("c\n", BINARY)
        visit.say("D", fin=False)
        visit.say("|d", 0, fin=False)
        visit.say("d\r\nE\n\n\n", 0)
        self.assertEqual(visit.texts(5), ["A\n", "B\n", "C|c\n", "D|dd\n", "E\n"])
        self.assertEqual(agent.received, ["A", "B", "C|c", "D|dd", "E"])
        self.check_well(agent, visit)

    def test_one_frame_a_line(self) -> None:
        """80 lines in one frame of up to 8191 bytes come back as 80 masked text frames."""
        agent, visit = self.opened()
        lines = [f"LINE|{number:095}\n" for number in range(80)]
        visit.say("".join(lines))
        self.assertEqual(visit.texts(80), lines)

    def test_only_a_newline(self) -> None:
        """A frame of only a newline, with nothing held, crashes it."""
        agent, visit = self.opened()
        visit.say("\n")
        self.check_crashed(agent, visit, "an empty line")
        with self.assertRaisesRegex(AssertionError, "crashed: an empty line"):
            agent.expect("A", DEADLINE)

    def test_deaf(self) -> None:
        """A newline in front makes it deaf: it answers pings and sends lines, but hears none."""
        agent, visit = self.opened()
        visit.say("\nA\n")
        visit.say("B\n")
        visit.settle()
        self.assertIn("deaf: a newline in front", agent.crashed)
        agent.emit("C")
        self.assertEqual(visit.text(), "C\n")
        self.assertEqual(agent.received, [])

    def test_the_loop_of_the_deaf(self) -> None:
        """A NUL stays in its buffer over reconnects; once that is full, each frame disconnects."""
        agent, visit = self.opened()
        visit.say("\0")
        visit.say(b"x" * 8000)
        for _ in range(3):
            visit.say(b"y" * 1000)
            self.assertEqual(visit.end(), "RST")
            visit = self.peer.accept().open().settle()
        self.assertIn("deaf", agent.crashed)

    def test_no_lead_byte(self) -> None:
        """A byte that begins no character hangs it: no pong, no line, and the socket stays open."""
        agent, visit = self.opened()
        visit.say(b"A|\xff\n")
        wait_until(lambda: agent.crashed)
        self.assertIn("hung: the byte 0xff", agent.crashed)
        visit.say("x", PING)
        agent.emit("B")
        self.assertTrue(agent.connected)
        agent.leave()
        self.assertIn(visit.end(), ("FIN", "RST"))

    def test_an_empty_frame(self) -> None:
        """An empty data frame counts as a disconnect: it closes and comes back."""
        agent, visit = self.opened()
        visit.say("")
        self.assertEqual(visit.end(), "FIN")
        self.check_well(agent, self.peer.accept().open().settle())

    def test_long_lines(self) -> None:
        """2047 bytes come back whole, 2048 to 4097 are cut to 2047 without a newline."""
        agent, visit = self.opened()
        for size in (2047, 2048, 4097):
            line = "A|" + "x" * (size - 3) + "\n"
            visit.say(line)
            self.assertEqual(visit.text(), line[:2047])
            self.assertEqual(agent.received[-1], line[:-1])

    def test_a_line_of_5000_bytes(self) -> None:
        """A line of 5000 bytes crashes it."""
        agent, visit = self.opened()
        visit.say("A|" + "x" * 4998)
        visit.say("\n")
        self.check_crashed(agent, visit, "a line of 5001 bytes")

    def test_a_frame_of_8192_bytes(self) -> None:
        """A frame of 8192 bytes makes it reset and come back; 8191 bytes are fine."""
        agent, visit = self.opened()
        visit.say("A|xxxxx\n" * 1023 + "BBBBBB\n")
        self.assertEqual(visit.texts(1024)[-1], "BBBBBB\n")
        visit.say("A|xxxxx\n" * 1024)
        self.assertEqual(visit.end(), "RST")
        self.check_well(agent, self.peer.accept().open().settle())

    def test_short_lines_with_s(self) -> None:
        """A short line with S is held until more arrives."""
        agent, visit = self.opened()
        visit.say("STOP\n")
        visit.settle()
        self.assertEqual(agent.received, [])
        visit.say("A|b\n")
        self.assertEqual(visit.texts(2), ["STOP\n", "A|b\n"])

    def test_snd(self) -> None:
        """``SND`` and the next line crash it; ``SND9999`` makes it deaf."""
        agent, visit = self.opened()
        visit.say("SND\n")
        visit.say("A|b\n")
        self.check_crashed(agent, visit, "SND and a newline")
        agent, visit = self.opened()
        visit.say("SND9999")
        visit.say("A|b\n")
        visit.settle()
        self.assertIn("deaf", agent.crashed)

    def test_the_wrapper(self) -> None:
        """A line behind ``__AV_MESSAGE,`` is issued as it is, at once, and comes back unwrapped."""
        agent, visit = self.opened()
        visit.say("__AV_MESSAGE,STOP\n")
        visit.say("__AV_MESSAGE,SNDHELLO\n__AV_MESSAGE,\n")
        self.assertEqual(visit.texts(2), ["STOP\n", "SNDHELLO\n"])
        self.assertEqual(agent.received, ["STOP", "SNDHELLO"])
        self.check_well(agent, visit)

    def test_a_frame_in_pieces(self) -> None:
        """A frame whose bytes arrive apart makes it reset and come back."""
        for cut in (1, 3, 9):
            agent, visit = self.opened()
            visit.send(server_frame("A|123456\n")[:cut])
            again = self.peer.accept()
            self.assertEqual(visit.end(), "RST")
            self.check_well(agent, again.open().settle())
            agent.leave()


class ControlTests(AgentCase):
    """Rows: pings, Close frames and the end of TCP."""

    def test_pings(self) -> None:
        """A ping's body comes back in the pong, also in mid line; an empty one gets a zero byte."""
        agent, visit = self.opened()
        visit.say("A|")
        for body in (b"x", b"y" * 125):
            visit.say(body, PING)
            self.assertEqual(visit.frame(), (PONG, body))
        visit.say("", PING)
        self.assertEqual(visit.frame(), (PONG, b"\0"))
        visit.say("unasked", PONG)
        visit.say("b\n")
        self.assertEqual(visit.text(), "A|b\n")

    def test_close_with_a_code(self) -> None:
        """A Close with a code is not answered, and spoils the next first line, as recorded."""
        agent, visit = self.opened()
        visit.say(b"\x03\xe8bye", CLOSE)
        visit.settle()
        visit.close()
        again = self.peer.accept().open().settle()
        again.say("FIRST|line\n")
        again.say("SECOND|line\n")
        self.assertEqual(again.frame(), (TEXT, b"\x03\xe8byeFIRST|line\n"))
        self.assertEqual(again.text(), "SECOND|line\n")

    def test_close_4000(self) -> None:
        """A Close with code 4000 hangs it."""
        agent, visit = self.opened()
        visit.say((4000).to_bytes(2, "big"), CLOSE)
        wait_until(lambda: agent.crashed)
        self.assertIn("hung", agent.crashed)

    def test_empty_close(self) -> None:
        """After an empty Close it sends FIN, no Close, and comes back; the first line is intact."""
        agent, visit = self.opened()
        visit.say("", CLOSE)
        self.assertEqual(visit.end(), "FIN")
        self.check_well(agent, self.peer.accept().open().settle())
        self.assertEqual(agent.connects, 2)

    def test_fin(self) -> None:
        """After a FIN it comes back, and the first line is intact."""
        agent, visit = self.opened()
        visit.close()
        self.check_well(agent, self.peer.accept().open().settle())

    def test_half_a_line_before_a_fin(self) -> None:
        """Half a line before a FIN spoils the first line of the next connection."""
        agent, visit = self.opened()
        visit.say("HALF|")
        visit.settle()
        visit.close()
        again = self.peer.accept().open().settle()
        again.say("FIRST\n")
        self.assertEqual(again.text(), "HALF|FIRST\n")


class AudioTests(AgentCase):
    """Rows: audio."""

    def test_audio(self) -> None:
        """Chunks are kept with their times, and get no answer."""
        agent, visit = self.opened()
        visit.say("__AV_START\n__AV_SETMODEL,0\nSNDSTRM\n")
        chunks = [bytes([number]) * 1280 for number in range(5)]
        for chunk in chunks:
            visit.say(b"SND1280" + chunk, BINARY)
        visit.say("SNDBRKS\n")
        agent.expect("SNDBRKS", DEADLINE)
        self.assertEqual(agent.audio, b"".join(chunks))
        times = [moment for moment, _ in agent.audio_chunks]
        self.assertEqual(times, sorted(times))
        self.assertEqual([data for _, data in agent.audio_chunks], chunks)
        self.assertEqual(visit.text(), "AVATAR|START\n")
        agent.leave()
        self.assertEqual(visit.end(), "FIN")

    def test_the_largest_chunk(self) -> None:
        """A chunk of 8184 bytes works."""
        agent, visit = self.opened()
        visit.say(b"SND8184" + b"x" * 8184, BINARY)
        self.check_well(agent, visit)
        self.assertEqual(len(agent.audio), 8184)

    def test_a_newline_behind_a_chunk(self) -> None:
        """A newline behind a chunk crashes it."""
        agent, visit = self.opened()
        visit.say(b"SND0002ab\n", BINARY)
        self.check_crashed(agent, visit, "an empty line")


class TolerantTests(AgentCase):
    """An agent with ``fragile=False``, which takes everything."""

    def test_it_takes_everything(self) -> None:
        """What breaks a fragile agent does no harm, and nothing is stuck."""
        agent = self.agent(fragile=False)
        visit = self.peer.accept().open(behind=server_frame("FIRST\n"))
        self.assertEqual(visit.text(), "FIRST\n")
        for payload in ("\n", "\nA\n", "STOP\n", "B" * 9000 + "\n", "SNDHELLO\n"):
            visit.say(payload)
            self.assertEqual([visit.text()] if payload.strip() else [],
                             [payload.lstrip()] if payload.strip() else [])
        data = server_frame("C|d\n")
        visit.send(data[:3])
        threading.Event().wait(0.05)
        visit.send(data[3:])
        self.assertEqual(visit.text(), "C|d\n")
        self.assertIsNone(agent.crashed)

    def test_close(self) -> None:
        """A Close with a code ends the connection and leaves nothing behind."""
        agent = self.agent(fragile=False)
        visit = self.peer.accept().open().settle()
        visit.say(b"\x0f\xa0bye", CLOSE)
        self.assertEqual(visit.end(), "FIN")
        self.check_well(agent, self.peer.accept().open())


if __name__ == "__main__":
    unittest.main()
