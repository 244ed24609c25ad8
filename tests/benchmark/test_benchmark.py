"""The benchmark's parts, and one short run of it; nothing is timed. See ``tests/benchmark``."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from contextlib import suppress
from pathlib import Path

from ..support import DEADLINE, PROJECT, TestCase, wait_until
from . import contestants, figures, frames, plot, works
from .client import Client
from .drive import Drive
from .figures import Result, Row, Sample, exponent, percentile
from .floor import messages
from .frames import Repeated, WrongReply, check_writers, server_frame, writer_line
from .process import Child, ChildError
from .table import short, span, table

FOUR = contestants.choose(["websockets", "floor", "message", "text"], {"": "3"}, False)
WORK = {work.name: work for work in works.TABLE}


def row(name: str, **rates: list[float]) -> Row:
    """A row with a sample for each rate; contestants have the names p0, p1..."""
    return Row(WORK[name], {int(place[1:]): [Sample(rate, 1 / rate) for rate in values]
                            for place, values in rates.items()})


class FiguresTest(unittest.TestCase):
    """The statistics of the samples."""

    def test_ratio(self) -> None:
        """A ratio is the median of the ratios within each round, not the ratio of two medians."""
        found = row("echo", p0=[100.0, 10.0, 50.0], p1=[100.0, 40.0, 150.0])
        self.assertEqual(found.ratios(1, 0), [1.0, 4.0, 3.0])
        self.assertEqual(found.ratio(1, 0), 3.0)
        self.assertEqual(found.value(1, "rate"), 100.0)
        self.assertIsNone(found.ratio(2, 0))
        self.assertIsNone(found.value(2, "rate"))

    def test_percentile(self) -> None:
        """A percentile is the smallest value that so many percent do not exceed."""
        values = list(range(100, 0, -1))
        self.assertEqual([percentile(values, percent) for percent in (50, 99, 100)], [50, 99, 100])
        self.assertEqual([percentile([7], percent) for percent in (0, 50, 99)], [7, 7, 7])
        self.assertEqual(percentile([], 50), 0)

    def test_exponent(self) -> None:
        """The exponent of a constant cost is 0, of a linear 1, of a quadratic 2."""
        for power in (0, 1, 2):
            found = exponent((scale, 3 * scale ** power) for scale in (16, 1, 4))
            self.assertEqual(found and round(found, 6), power)
        self.assertIsNone(exponent([(10, 1.0)]))

    def test_growth_with_the_number(self) -> None:
        """A cost per message that does not depend on their number counts as linear."""
        found = [Row(work, {0: [Sample(1, 5e-6)]}) for work in works.GROWTH
                 if work.growth == "number"]
        self.assertEqual(round(figures.growth(found, 0) or 0.0, 6), 1)

    def test_count(self) -> None:
        """The count fits the time, within the bounds of the work."""
        self.assertEqual(figures.count_for(0.5, 0.1, 1000, 1, 10**6), 5000)
        self.assertEqual(figures.count_for(0.5, 0.1, 1000, 1, 4000), 4000)
        self.assertEqual(figures.count_for(0.1, 0.5, 1000, 600, 10**6), 600)
        self.assertEqual(figures.count_for(0.1, 0.0, 1000, 600, 10**6), 10**6)

    def test_doubts(self) -> None:
        """A busy machine, few rounds, a busy client and a wide spread are the only doubts."""
        fine = row("echo", p0=[10.0] * 5, p1=[20.0, 21.0, 22.0, 20.0, 90.0])
        good = Result(FOUR, [fine], 5, busy_before=0.01)
        self.assertEqual(figures.doubts(good), [])
        busy = Row(WORK["send"], {1: [Sample(1, 1, client=0.95)] * 2})
        wide = row("echo", p0=[10.0, 10.0], p1=[20.0, 30.0])
        bad = Result(FOUR, [wide, busy], 2, busy_before=0.5, others=0.25)
        text = "\n".join(figures.doubts(bad))
        for part in ("start 50% of", "took 25% of", "Rounds: 2", "send: floor 95%", "echo: floor 40%"):
            self.assertIn(part, text)


class TableTest(unittest.TestCase):
    """The table."""

    def result(self) -> Result:
        """A result that has something of each kind."""
        rows = [row("ping-pong", p0=[20000.0], p1=[60000.0], p2=[30000.0]), row("echo", p0=[7.0]),
                Row(WORK["memory-1000"], {0: [Sample(memory=70000, threads=3)]}, {3: "no need"})]
        return Result(contestants.choose([], {"": "3"}, True), rows, 5, {"Machine": "this"},
                      faults=["echo, text: wrong"])

    def test_page(self) -> None:
        """The table has ratios, processor times, memory, reasons and faults, at 100 columns."""
        page = table(self.result())
        self.assertRegex(page, r"(?m)^ping-pong, one core +20\.0k +3\.00 +1\.50 +- ")
        self.assertRegex(page, r"(?m)^ping-pong, one core +50\.0 +16\.7 +33\.3 +- ")
        self.assertRegex(page, r"(?m)^1000 idle +70\.0 +- ")
        self.assertIn("no need.", page)
        self.assertIn("  - echo, text: wrong", page)
        self.assertLessEqual(max(map(len, page.splitlines())), 100)

    def test_without_the_reference(self) -> None:
        """Without websockets.sync the table has rates."""
        page = table(Result(FOUR[1:], [row("echo", p0=[123456.0])], 5))
        self.assertIn("Messages a second", page)
        self.assertRegex(page, r"(?m)^echo, pipelined +123k +- ")

    def test_numbers(self) -> None:
        """A number has three significant digits and at most five characters."""
        for value, text in ((0.0, "0.00"), (1.234, "1.23"), (9.999, "10.0"), (99.99, "100"),
                            (1234, "1234"), (12345, "12.3k"), (123456, "123k"), (1234567, "1.2M"),
                            (None, "-")):
            self.assertEqual(short(value), text)

    def test_times(self) -> None:
        """A time of many microseconds is in milliseconds or seconds, with the unit."""
        for value, text in ((17.46e-6, "17.5"), (0.0042, "4200"), (0.0234, "23.4ms"), (0.688, "688ms"),
                            (2.94, "2.9s"), (None, "-")):
            self.assertEqual(span(value), text)

    def test_bars(self) -> None:
        """The picture has a bar for each ratio, and none for the reference."""
        bars = plot.bars(self.result())
        self.assertEqual(bars.works, ["ping-pong", "echo"])
        self.assertNotIn("websockets", bars.values)
        self.assertEqual(bars.values["simple-websocket"], [3.0, None])

    @unittest.skipUnless(plot.is_there(), "needs matplotlib, from the extra dev")
    def test_drawing(self) -> None:
        """The picture is a PNG."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "rates.png"
            plot.draw(plot.bars(self.result()), path)
            self.assertEqual(path.read_bytes()[:4], b"\x89PNG")

    def test_json(self) -> None:
        """The JSON has every round."""
        data = json.loads(json.dumps(figures.as_json(self.result())))
        peer = data["works"][0]["peers"]["simple-websocket"]
        self.assertEqual((peer["ratio"], len(peer["rounds"])), (3.0, 1))


class ChoiceTest(unittest.TestCase):
    """The choice of contestants and works."""

    def test_lane(self) -> None:
        """If there is a fast lane, this package is also measured without it."""
        self.assertNotIn("text-no-lane", contestants.everybody(False))
        found = contestants.everybody(True)["text-no-lane"]
        self.assertIs(found.order(WORK["echo"], 0)["fast_lane"], False)
        self.assertIsNone(contestants.everybody(True)["text"].fast_lane)

    def test_interpreters(self) -> None:
        """Several interpreters are columns of their own."""
        found = contestants.choose(["message"], {"a": "3.11", "b": "3.13"}, False)
        self.assertEqual(figures.labels(found), ["message on 3.11", "message on 3.13"])

    def test_works(self) -> None:
        """Every work has a name for the command line, and can be chosen alone."""
        self.assertEqual({work.name for work in works.choose(["echo"], True)}, {"echo"})
        self.assertEqual(works.choose([], False), list(works.WORKS))
        self.assertLess(len(works.choose([], True)), len(works.TABLE))


class FramesTest(unittest.TestCase):
    """Frames made by hand, and the check of the replies."""

    def test_what_is_right(self) -> None:
        """The right frames in any pieces are accepted."""
        frame = server_frame(b"hello\n")
        for size in (1, 3, len(frame), 50):
            check, data = Repeated(frame, 10), frame * 10
            for start in range(0, len(data), size):
                check.feed(data[start:start + size])
            self.assertEqual(check.missing, 0)

    def test_what_is_wrong(self) -> None:
        """A wrong byte, one too many, one too few and a wrong opcode are reported with place."""
        frame = server_frame(b"hello\n")
        for data, place in ((frame + frame[:-2] + b"x\n", "reply 0 on, byte 14: .* instead of"),
                            (frame * 2 + b"\x81", "reply 0 on, byte 16: "),
                            (frame[:-1], "closed with 1 bytes missing"),
                            (server_frame(b"hello\n", 2), "reply 0 on, byte 0: ")):
            check = Repeated(frame, 2 if len(data) > 8 else 1)
            with self.assertRaisesRegex(WrongReply, place):
                check.feed(data)
                check.feed(b"")

    def test_writers(self) -> None:
        """A writer's frame that is torn, missing, repeated or out of order is an error."""
        lines = [server_frame(writer_line(writer, number, 40)) for writer, number in
                 ((0, 0), (1, 0), (0, 1), (1, 1))]
        end = server_frame(b"4\n")
        check_writers(b"".join(lines) + end, 2, 2, 40, [b"4\n"])
        a, b, c, d = lines
        for wrong in ([c, b, a, d], [a, b, c], [a, b, c, c], [a[:20], b, a[20:], c, d], [a, a, c, d]):
            with self.assertRaises(WrongReply):
                check_writers(b"".join(wrong) + end, 2, 2, 40, [b"4\n"])
        with self.assertRaises(WrongReply):
            check_writers(b"".join(lines) + server_frame(b"5\n"), 2, 2, 40, [b"4\n"])


class SocketTest(TestCase):
    """The client with a faulty server, and the floor's reading."""

    def answering(self, reply: bytes) -> int:
        """The port of a server that answers the handshake, and then all that comes with `reply`."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def serve() -> None:
            with listener.accept()[0] as sock:
                sock.settimeout(DEADLINE)
                sock.recv(65536)
                sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: "
                             + frames._ACCEPT + b"\r\n\r\n")
                with suppress(ConnectionResetError):
                    while data := sock.recv(65536):
                        sock.sendall(reply)
                        if data[0] == 0x88:
                            break

        self.in_thread(serve)
        port: int = listener.getsockname()[1]
        return port

    def test_a_wrong_reply(self) -> None:
        """A round trip with one wrong byte in the reply fails, a right one does not."""
        right = server_frame(frames.line_of(100))
        for reply, fails in ((right, False), (right[:-2] + b"?\n", True)):
            drive = Drive(WORK["ping-pong"], self.answering(reply), 3)
            self.addCleanup(drive.end)
            if not fails:
                drive.run()
                self.assertEqual(len(drive.times), 3)
                continue
            with self.assertRaisesRegex(WrongReply, r"\?"):
                drive.run()

    def test_a_wrong_count(self) -> None:
        """A server that has lost a message is an error."""
        drive = Drive(WORK["receive-100"], self.answering(server_frame(b"2\n")), 3)
        self.addCleanup(drive.end)
        with self.assertRaisesRegex(WrongReply, "instead of"):
            drive.run()

    def test_a_wrong_handshake(self) -> None:
        """A handshake that is refused, or is for another key, is an error."""
        for head in (b"HTTP/1.1 404 Not Found", b"HTTP/1.1 101 Fine\r\nSec-WebSocket-Accept: x"):
            with self.assertRaises(WrongReply):
                frames.check_response(head + b"\r\n\r\n")

    def test_floor_reads(self) -> None:
        """The floor reads frames of all length forms, whole and in pieces, up to a Close."""
        payloads = [frames.line_of(size) for size in (2, 125, 126, 1199, 1200, 65535, 65536, 100001)]
        data = b"".join(map(frames.client_frame, payloads))
        for size in (997, len(data)):
            ours, theirs = socket.socketpair()
            with ours, theirs:
                thread = threading.Thread(target=self._feed, args=(ours, data, size))
                thread.start()
                self.addCleanup(thread.join)
                self.assertEqual(list(messages(theirs)), payloads)
                self.assertEqual(ours.recv(100), server_frame(b"bye", 8))

    def test_floor_reads_no_further(self) -> None:
        """The floor returns a frame of several pieces at once, without waiting for the next."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.settimeout(DEADLINE)
            self.in_thread(ours.sendall, frames.client_frame(frames.line_of(100001)))
            self.assertEqual(next(messages(theirs)), frames.line_of(100001))

    def _feed(self, sock: socket.socket, data: bytes, size: int) -> None:
        for start in range(0, len(data), size):
            sock.sendall(data[start:start + size])
        sock.sendall(frames.client_frame(b"bye", opcode=8))

    def test_closing(self) -> None:
        """The closing handshake fails when a message comes instead of the Close frame."""
        client = Client(self.answering(server_frame(b"late\n"))).open()
        self.addCleanup(client.drop)
        with self.assertRaisesRegex(WrongReply, "instead of a Close frame"):
            client.close()


class ProcessTest(TestCase):
    """Starting and ending programs."""

    def child(self, code: str) -> Child:
        """A program of a few lines of Python."""
        child = Child("test", [sys.executable, "-c", code])
        self.addCleanup(child.end)
        return child

    def test_answer(self) -> None:
        """Each line gets an answer; a program that ends is an error with its last words."""
        child = self.child("import sys\nprint(input().upper(), flush=True)\nsys.exit('last words')")
        self.assertEqual(child.ask([1], DEADLINE), [1])
        with self.assertRaisesRegex(ChildError, r"(?s)ended.*\| last words"):
            child.ask([2], DEADLINE)

    def test_deadline(self) -> None:
        """A program that does not answer in time is an error, and killed at the end."""
        child = self.child("import signal, time\nfor line in iter(input, ''): time.sleep(100)")
        with self.assertRaisesRegex(ChildError, "no answer within 0 s"):
            child.ask([1], 0.1)


class ProgramTest(TestCase):
    """python -m tests.benchmark."""

    def command(self, *arguments: str) -> list[str]:
        """The command line of the program on this interpreter."""
        return [sys.executable, "-m", "tests.benchmark", *arguments]

    def test_a_moment(self) -> None:
        """A short run of two works on two servers gives the table and JSON with the same works."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "figures.json"
            done = subprocess.run(
                self.command("--seconds", "0.01", "--rounds", "1", "--work", "ping-pong", "receive-100",
                             "--peer", "websockets", "message", "--json", str(path)),
                cwd=PROJECT, capture_output=True, text=True, timeout=DEADLINE * 3, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            data = json.loads(path.read_text(encoding="utf-8"))
        self.assertIn("Processor time of the server", done.stdout)
        self.assertEqual([work["name"] for work in data["works"]], ["ping-pong", "receive-100"])
        for work in data["works"]:
            self.assertEqual(set(work["peers"]), {"websockets", "message"})
            for peer in work["peers"].values():
                self.assertGreater(peer["rate"], 0)
                self.assertGreater(peer["cpu"], 0)
            self.assertRegex(done.stdout, rf"(?m)^{work['title']} +[0-9.]+k? +[0-9.]+$")

    def test_wrong_options(self) -> None:
        """A wrong option is reported in one line before anything is started."""
        for arguments, text in ((["--rounds", "0"], "--rounds must be at least 1"),
                                (["--work", "sleep"], "invalid choice: 'sleep'"),
                                (["--json", "/no/such/place.json"], "there is no directory"),
                                (["--python", "/no/such/python"], "--python: ")):
            done = subprocess.run(self.command(*arguments), cwd=PROJECT, capture_output=True, text=True,
                                  timeout=DEADLINE * 3, check=False)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn(text, done.stderr.splitlines()[-1])

    @unittest.skipUnless(os.name == "posix", "needs POSIX signals")
    def test_ctrl_c(self) -> None:
        """Ctrl-C ends it and its children quietly, with the results so far."""
        process = subprocess.Popen(
            self.command("--seconds", "30", "--work", "echo", "--peer", "message"), cwd=PROJECT,
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        try:
            assert process.stderr is not None
            self.assertIn("echo", process.stderr.readline())
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            found: list[str] = []
            if children.exists():
                wait_until(lambda: len(children.read_text().split()) == 2, "server and load run")
                found = children.read_text().split()
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
            process.communicate()
        self.assertEqual((process.returncode, err), (130, ""))
        self.assertIn("INTERRUPTED", out)
        for child in found:
            self.assertFalse(Path(f"/proc/{child}").exists())


if __name__ == "__main__":
    unittest.main()
