"""The simulated agent and the client on Poco, compared with each other.

They are two independent imitations of one program: the same frames must give the same lines, the
same echoes and the same end.
"""

from __future__ import annotations

import re
import select
import time
import unittest
from typing import NamedTuple, Optional, Union

from mmdagent_remote.testing import SimulatedAgent

from ...client import BINARY, CLOSE, PING, PONG, TEXT
from ...support import DEADLINE, wait_until
from ...testing.peer import ClientFrame, Peer, Visit, server_frame
from .program import PocoCase, PocoClient


class Send(NamedTuple):
    """A frame that is not just a whole text frame."""

    payload: Union[bytes, str]
    opcode: int = TEXT
    fin: bool = True


class Pieces(NamedTuple):
    """A frame in two pieces: all but the `last` bytes, and these later."""

    payload: bytes
    last: int


class End(NamedTuple):
    """The server ends the connection with a FIN."""


Step = Union[str, bytes, Send, Pieces, End]

FIN = End()
LONG = {size: b"x" * (size - 1) + b"\n" for size in (2046, 2047, 2048, 4097, 5000, 8191)}
EIGHTY = "".join(f"LINE|{number:0<95}\n" for number in range(80))
# It stays in the buffer, and takes so much room that the next frame does not fit.
FULL = b"x" * 8000

#: What is sent, by name. Each str or bytes is a text frame.
SCRIPTS: dict[str, list[Step]] = {
    "nothing": [],
    "two lines in a frame": ["A|1\nB|2\n"],
    "a line over two frames": ["A|", "1\n", "B|2", "\n"],
    "fragments": [Send("A|", fin=False), Send("1", 0, fin=False), Send("\nB\n", 0)],
    "CRLF and CR": ["A\r\nB\rC\r\n", "D\r", "E\n"],
    "CRLF over two frames": ["A\r", "\nB\n"],
    "blank lines behind a line": ["A\n\n\r\n\n", "B\n"],
    "a line without newline": ["A|1", "B|2\n"],
    "many lines in a frame": [EIGHTY],
    "characters": ["\u3042|\U0001f600\u2028\x85\x0b\n"],
    "a character over two frames": ["\u3042|".encode()[:2], "\u3042|".encode()[2:] + b"\n"],
    "an empty last field": ["A|\n"],
    "only a newline": ["\n"],
    "only a newline, later": ["A\n", "\n"],
    "only a CR": ["\r"],
    "only newlines": ["\n\r\n"],
    "a newline first": ["\nA\n", "B\n"],
    "a newline first, then reconnects": ["\nA\n", FIN, "B\n", FULL, "y" * 1000, "C\n"],
    "a NUL": ["A\0B\n", "C\n"],
    "a NUL first": ["\0", "C\n"],
    "a NUL behind a line": ["A\nB\0\n", "C\n"],
    "a NUL, then reconnects": ["\0", FULL, "y" * 1000, "C\n"],
    "no lead byte 80": [b"\x80\n"],
    "no lead byte c1": [b"A|\xc1\n"],
    "no lead byte fe": [b"A\n\xfe"],
    "no lead byte ff, later": ["A|", b"\xff"],
    "a lead byte and a letter": [b"\xe3Ab\n", "C\n"],
    "a lead byte and a newline": [b"\xe3\nA|1\n", b"\xc3\n", "B\n"],
    "an old long form": [b"\xf8\x88\x80\x80\x80A\n", b"\xfc\x84\x80\x80\x80\x80B\n"],
    "an empty frame": ["A\n", "", "B\n"],
    "an empty frame in mid line": ["A|", "", "B\n"],
    "an empty binary frame": [Send("", BINARY), "B\n"],
    **{f"a line of {size} bytes": [line, "B\n"] for size, line in LONG.items()},
    "a cut character": ["TEST|" + "\u3042" * 682 + "\n"],
    "a payload of 8192 bytes": [b"A\n" * 4096, "B\n"],
    "a payload too large with what is held": ["A|", b"B\n" * 4095, "C\n"],
    "a payload that just fits with what is held": ["A", b"B" + b"C\n" * 4094, "D\n"],
    "a payload of 70000 bytes": [b"A\n" * 35000, "B\n"],
    "STOP": ["STOP\n", "A\n"],
    "S": ["S\n", "S", "\nA\n"],
    "STOP and a blank line": ["STOP\n\n\n"],
    "a line with S": ["SYNTH|1\nS", "YNTH|2\n"],
    "SND that is no audio": ["SNDHELLO|x\n", "A\n"],
    "SND and a newline": ["SND\nA|b\n"],
    "SND and a newline, later": ["SND\n", "A|b\n"],
    "SND9999": ["SND9999", "A\n"],
    "SND8185": ["SND8185", "A\n"],
    "SND with a sign": ["SND+002abA\n"],
    "SND with blanks": ["SND   2abA\n"],
    "the wrapper": ["__AV_MESSAGE,STOP\n", "__AV_MESSAGE,SND9999\n", "__AV_MESSAGE,__AV_START\n"],
    "the longest in a wrapper": [b"__AV_MESSAGE," + b"x" * 2033 + b"\n"],
    "the empty wrapper": ["__AV_MESSAGE,\n", "A\n"],
    "the empty wrapper behind a STOP": ["STOP\n", "__AV_MESSAGE,\n", "A\n"],
    "words": ["__AV_SETMODEL,0\n", "__AV\nA\n"],
    "bytes apart in the head": [Pieces(b"A|1\n", 5), "B\n"],
    "bytes apart in the payload": [Pieces(b"A|1\n", 2), "B\n"],
    "bytes apart in mid line": ["A|", Pieces(b"1\n", 1), "B\n"],
    "pings": [Send("", PING), Send("xy", PING), "A|", Send(bytes(125), PING), "1\n"],
    "a pong": [Send("x", PONG), "A\n"],
    "a Close with a code": [Send(b"\x03\xe8bye", CLOSE), FIN, "FIRST|line\n"],
    "a Close with code 4000": [Send(b"\x0f\xa0", CLOSE)],
    "a Close in mid line": ["A|", Send(b"\x03\xe8", CLOSE), FIN, "FIRST|line\n"],
    "an empty Close": ["A\n", Send("", CLOSE), "FIRST|line\n"],
    "an empty Close in mid line": ["A|", Send("", CLOSE), "FIRST|line\n"],
    "a FIN": ["A\n", FIN, "FIRST|line\n"],
    "half a line before a FIN": ["A|", FIN, "FIRST|line\n"],
    "binary frames": [Send("A\n", BINARY), Send("B|", BINARY), Send("1\n", BINARY)],
    "words for sound": ["SNDSTRM\n", "SNDFILE\r\n", "SNDBRKSA\n", "SNDBRKS\n\n"],
    "words for sound, newline later": ["SNDSTRM", "\n"],
    "chunks": [Send(b"SND0004\n\0S\xff", BINARY), "A\n", Send(b"SND0002abSND0002cdB\n", BINARY)],
    "a chunk over two frames": [b"SND00", b"04ab", b"cdA\n"],
    "the largest chunk": [b"SND8184" + b"\n" * 8184, "A\n"],
    "an empty chunk": [b"SND0000A\n"],
    "a newline behind a chunk": [b"SND0002ab\n"],
    "a newline behind a chunk, later": [b"SND0002ab", "\n"],
    "a newline behind a chunk, and a line": [b"SND0002ab\nA\n"],
    "a line between halves of a chunk": [b"SND0010abcd", "A|1\n", b"efghij", "B\n", "C\n"],
}

#: Where they differ. The measurements support the simulated agent, or do not decide; the client on
#: Poco only models the line buffer, which has exceptions to what was measured.
DIFFERENCES: dict[str, list[Step]] = {
    "only separators, which issue nothing": ["|\n", "A\n"],
    "a relay's notice, which is not issued": ["__peer_disconnected__\n", "A\n"],
    "SND and a newline, with a longer line behind": ["SND\nNEXT|1\n"],
    "as many newlines first as a short line is long": ["\n\nA\n"],
}


class Outcome(NamedTuple):
    """The result of a script."""

    heard: list[str]
    sounds: list[int]
    said: list[bytes]
    pongs: list[bytes]
    connections: int
    fate: Optional[str]


class Poco:
    """The client on Poco, the first of the two."""

    def __init__(self, client: PocoClient) -> None:
        self._client = client

    def say(self, line: str) -> None:
        """Have it send a line."""
        self._client.tell(f"say {line}")
        # By then earlier reports have been read, too.
        wait_until(lambda: f"sent {line}" in self._client.reports)

    @property
    def connections(self) -> int:
        """How often it has connected."""
        return len(self._client.texts("connected"))

    @property
    def fate(self) -> Optional[str]:
        """What became of it."""
        reasons = self._client.texts("crash")
        if reasons:
            return "hung" if reasons[0].startswith("spins") else "crashed"
        return "deaf" if "deaf" in self._client.reports else None

    @property
    def heard(self) -> list[str]:
        """Lines and words, in order."""
        reports = (report.partition(" ") for report in self._client.reports)
        found = [text for kind, _, text in reports if kind in ("line", "avatar", "sound")]
        if self.fate == "crashed" and found and len(found[-1]) > 4097:
            found.pop()  # It reports a line before the crash that the line causes.
        # How many bytes each replacement character replaces depends on the codec.
        return [re.sub(r"(\\x[0-9a-f]{2})+", "\ufffd", text) for text in found]

    @property
    def sounds(self) -> list[int]:
        """The sizes of chunks."""
        return [int(size) for size in self._client.texts("audio") if size != "0"]


class Simulated:
    """The simulated agent, the second of the two."""

    def __init__(self, agent: SimulatedAgent) -> None:
        self._agent = agent
        self.say = agent.emit

    @property
    def connections(self) -> int:
        """How often it has connected."""
        return self._agent.connects

    @property
    def fate(self) -> Optional[str]:
        """What became of it."""
        return self._agent.crashed.partition(":")[0] if self._agent.crashed else None

    @property
    def heard(self) -> list[str]:
        """Lines and words, in order."""
        # The other's report of a line with a newline in it is cut there.
        return [re.sub("\ufffd+", "\ufffd", line.partition("\n")[0]) for line in self._agent.received]

    @property
    def sounds(self) -> list[int]:
        """The sizes of chunks."""
        return [len(data) for _, data in self._agent.audio_chunks]


class Door(Peer):
    """The server's side, which also tells whether a client has connected."""

    def has_visitor(self) -> bool:
        """Whether accept() would return at once."""
        return bool(select.select([self._socket], [], [], 0)[0])


class Player:
    """Sends a script, and notes what comes back."""

    def __init__(self, door: Door, client: Union[Poco, Simulated]) -> None:
        self._door = door
        self._client = client
        self._said: list[bytes] = []
        self._pongs: list[bytes] = []
        self._marks = 0

    def play(self, script: list[Step]) -> Outcome:
        """Send all of it, one step after the other, on as many connections as it takes."""
        visit: Optional[Visit] = self._next()
        for step in [*script, b"LAST|line\n"]:
            visit = self._take(visit, step)
            if visit is None:
                break
        client = self._client
        return Outcome(client.heard, client.sounds, self._said, self._pongs, client.connections,
                       client.fate)

    def _next(self) -> Visit:
        before = self._client.connections
        visit = self._door.accept().open().settle()
        wait_until(lambda: self._client.connections > before)
        return visit

    def _take(self, visit: Visit, step: Step) -> Optional[Visit]:
        # Returns the connection afterwards, which may be a new one; None if the client is gone.
        try:
            self._send(visit, step)
            if isinstance(step, End):
                return self._next()
            if self._is_done(visit):
                return visit
        except (EOFError, ConnectionError):
            wait_until(lambda: self._is_gone() or self._door.has_visitor())
        return None if self._is_gone() else self._next()

    def _is_gone(self) -> bool:
        return self._client.fate in ("crashed", "hung")

    def _send(self, visit: Visit, step: Step) -> None:
        if isinstance(step, End):
            visit.close()
        elif isinstance(step, Pieces):
            whole = server_frame(step.payload)
            visit.send(whole[:-step.last])
            time.sleep(0.05)  # The pause under test: far longer than its receive timeout.
            visit.send(whole[-step.last:])
        elif isinstance(step, Send):
            visit.say(step.payload, step.opcode, fin=step.fin)
        else:
            visit.say(step)

    def _is_done(self, visit: Visit) -> bool:
        # A pong shows that the step was read, a line of its own that all echoes were sent.
        self._marks += 1
        body = b"mark %d" % self._marks
        visit.say(body, PING)
        if not self._read_to(visit, ClientFrame(PONG, body)):
            return False
        self._client.say(body.decode())
        return self._read_to(visit, ClientFrame(TEXT, body + b"\n"))

    def _read_to(self, visit: Visit, wanted: ClientFrame) -> bool:
        # Returns False if the client hangs.
        visit.sock.settimeout(0.05)
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            try:
                found = visit.frame()
            except TimeoutError:
                if self._client.fate == "hung":
                    return False
                continue
            if found == wanted:
                visit.sock.settimeout(DEADLINE)
                return True
            self._note(found)
        raise AssertionError(f"{wanted} did not come")

    def _note(self, frame: ClientFrame) -> None:
        if frame.opcode != PONG:
            self._said.append(frame.payload)
        else:
            # The byte that answers an empty ping is whatever its buffer holds: zero in a fresh one.
            self._pongs.append(frame.payload if len(frame.payload) > 1 else b"one byte")


class SameTest(PocoCase):
    """Both imitations with the same script."""

    def outcome(self, client: type[Union[Poco, Simulated]], script: list[Step]) -> Outcome:
        """The outcome of a script with one of them."""
        with Door() as door:
            if client is Poco:
                return Player(door, Poco(self.client(door.port))).play(script)
            agent = SimulatedAgent(door.url, chatter=False, timeout=DEADLINE)
            self.addCleanup(agent.leave)
            outcome = Player(door, Simulated(agent.start())).play(script)
            agent.leave()
            return outcome

    def test_each_script(self) -> None:
        """Each script gives both the same lines, sounds, echoes, pongs, reconnects and end."""
        for name, script in SCRIPTS.items():
            with self.subTest(name):
                self.assertEqual(self.outcome(Simulated, script)._asdict(),
                                 self.outcome(Poco, script)._asdict())

    def test_differences(self) -> None:
        """Each listed difference exists."""
        for name, script in DIFFERENCES.items():
            with self.subTest(name):
                self.assertNotEqual(self.outcome(Simulated, script), self.outcome(Poco, script))


if __name__ == "__main__":
    unittest.main()
