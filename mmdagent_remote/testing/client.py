"""The simulated MMDAgent-EX from start to end: its thread, and what that does with a connection.

``receiver.py`` decides what the bytes received mean, and ``application.py`` what is answered. The
loop here joins them to a connection. All but the calls at the top runs in the thread::

    _run
     +-- _connect          attempts, refusals, other paths
     +-- _attend           reads; speaks when nothing has arrived for 10 ms
          +-- _take_in     reads bytes and frames, and acts on them
          +-- _speak       sends all that waits, a frame for each line
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Optional, Union

from .application import Application, Said, SpeechTime
from .frames import CLOSE, PING, PONG, TEXT, FrameReader, FrameTooLarge, Refused, masked
from .link import Link
from .receiver import Fate, Fault, Issued, Receiver, Sound, TolerantReceiver, overrun
from .record import Record

#: It speaks only when nothing has arrived for this many seconds.
QUIET = 0.010
#: What arrives within this many seconds of the 101 is stuck until something arrives later.
STUCK = 0.015
#: If bytes of one frame arrive more than this many seconds apart, the connection breaks.
APART = 0.008
#: Seconds between attempts to connect, and after "Too Many Requests".
RETRY, RETRY_ELSEWHERE = 0.5, 0.2
#: A 101 that takes more seconds than this comes after the start-up events, which are then lost.
_QUICK = 0.5
#: Seconds that the real one waits for the answer to its handshake.
_HANDSHAKE = 60.0
#: Lines that may wait to be sent.
_MAX_WAITING = 1_000_000


@dataclass
class Options:
    """The options of an agent: the arguments of ``SimulatedAgent``."""

    host: str
    port: int
    path: str
    name: str
    model: bool
    fragile: bool
    retry_count: int
    hurry: float
    all_log: bool
    chatter: bool
    speech_time: SpeechTime
    motion_time: float
    dies_when_lost: bool
    ascii_voices: tuple[str, ...]


class Client:
    """One life of the simulated program.

    Args:
        record: stores what it receives, and wakes the waiters.
        ignored: types of commands that fail.
    """

    def __init__(self, options: Options, record: Record, ignored: set[str]) -> None:
        self._options = options
        self._record = record
        self.application = Application(
            model=options.model, hurry=options.hurry, speech_time=options.speech_time,
            motion_time=options.motion_time, clock=_time_of_day if options.chatter else None,
            ignored=ignored)
        self._receiver: Union[Receiver, TolerantReceiver] = (
            Receiver() if options.fragile else TolerantReceiver())
        self._reader = FrameReader()
        self._waiting: deque[bytes] = deque(maxlen=_MAX_WAITING)
        self._stuck = b""
        self._emitted: deque[str] = deque()
        self._link: Optional[Link] = None
        self._leaving = threading.Event()
        self._dropping = False
        self._began_at = time.monotonic()
        self.connects = 0
        self.path = options.path
        #: Why it is not connected, when it is not.
        self.problem = "it is not connected yet"
        self._thread = threading.Thread(
            target=self._run, name=f"mmdagent-agent-{options.name}", daemon=True)

    # Any thread

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def leave(self, timeout: float) -> None:
        """End it with a FIN, and wait for its thread.

        Raises:
            RuntimeError: the thread does not end.
        """
        self._leaving.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise RuntimeError(f"{self._thread.name} does not end")

    def drop(self) -> None:
        """Reset its connection, if it has one."""
        self._dropping = self.is_connected

    def emit(self, line: str) -> None:
        """Say a line on its user's side; the line is lost while it is not connected."""
        if self.is_connected:
            self._emitted.append(line)

    @property
    def waiting(self) -> int:
        """Lines that are still to be sent."""
        return len(self._emitted) + len(self._waiting)

    @property
    def is_connected(self) -> bool:
        """Whether it is connected."""
        return self._link is not None

    # The thread

    def _run(self) -> None:
        try:
            while self._connect():
                fate = self._attend()
                if fate is Fate.HANG:
                    self._leaving.wait()
                if fate is not Fate.LOST:
                    break
                self._disconnect()
                if self._options.dies_when_lost:
                    self._crash(Fault(Fate.CRASH, "the Linux build does not survive a lost connection"))
                    break
        except Exception as error:  # A safety net: a fault of the simulator must not be silent.
            self._crash(Fault(Fate.CRASH, f"the simulator failed: {error!r}"))
        finally:
            self._disconnect()
            self._record.end()

    def _connect(self) -> bool:
        path, tried = self._options.path, 0
        while not self._leaving.is_set():
            try:
                link = Link(self._options.host, self._options.port, path, timeout=_HANDSHAKE,
                            is_over=self._leaving.is_set)
            except (OSError, Refused) as error:
                self.path, self.problem = path, str(error)
                if tried >= self._options.retry_count:
                    return False
                tried += 1
                elsewhere = isinstance(error, Refused) and error.is_occupied
                if elsewhere:
                    path = f"{path}-{tried}"
                self._leaving.wait((RETRY_ELSEWHERE if elsewhere else RETRY) / self._options.hurry)
                continue
            self._opened(link, path)
            return True
        self.problem = "it left"
        return False

    def _opened(self, link: Link, path: str) -> None:
        self.path, self.problem = path, "it lost its connection"
        self._reader = FrameReader()
        # What came with the 101 is in Poco's HTTP buffer, which is not read until more arrives.
        self._stuck = link.leftover
        now = time.monotonic()
        if self._options.all_log:
            place = f"{self._options.host}:{self._options.port}{path}"
            self._log("Remote", "Status", f"connected to {place}")
        if self.connects:
            self.application.heard(now)
        else:
            said = self.application.start(now)
            self._say(said if link.answer_time < _QUICK else [])
        self._emitted.clear()
        self._link = link
        self.connects += 1
        self._record.notify()

    def _disconnect(self, *, reset: bool = False) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close(reset=reset)
            self._record.notify()

    def _attend(self) -> Optional[Fate]:
        link = self._link
        assert link is not None
        try:
            if not self._options.fragile and (fate := self._take_in(b"", link)) is not None:
                return fate
            while not self._leaving.is_set():
                if self._dropping:
                    self._dropping = False
                    return self._break()
                self._live()
                data = link.recv(QUIET)
                if data == b"":
                    return self._end_of_stream(link)
                fate = self._take_in(data, link) if data else None
                if fate is Fate.ERROR:
                    return self._break()
                if fate not in (None, Fate.DEAF):
                    return fate
                if not data or not self._options.fragile:
                    self._speak(link)
            # A test that says a line and then leaves expects the line to arrive.
            self._live()
            self._speak(link)
        except OSError as error:
            self.problem = str(error)
            return Fate.LOST
        self.problem = "it left"
        return None

    def _break(self) -> Fate:
        self._disconnect(reset=True)
        return Fate.LOST

    def _end_of_stream(self, link: Link) -> Fate:
        # The FIN also counts as something that arrives later, so it releases what was stuck.
        fate = self._read_frames(self._stuck, link) if self._stuck else None
        self._stuck = b""
        return fate if fate in (Fate.CRASH, Fate.HANG) else Fate.LOST

    def _live(self) -> None:
        # The application keeps running, whatever the connection does.
        now = time.monotonic()
        while self._emitted:
            line = self._emitted.popleft()
            self._say([Said("MMDAgent", line)])
            self._say(self.application.issue(line, now))
        self._say(self.application.due(now))

    # Receiving

    def _take_in(self, data: bytes, link: Link) -> Optional[Fate]:
        data, self._stuck = self._stuck + data, b""
        if self._options.fragile and time.monotonic() < link.opened_at + STUCK:
            self._stuck = data
            return None
        while True:
            fate = self._read_frames(data, link)
            if fate not in (None, Fate.DEAF) or not self._reader.has_part or not self._options.fragile:
                return fate
            more = link.recv(APART)
            if more is None:
                self.problem = "the bytes of a frame were too far apart"
                return Fate.ERROR
            if not more:
                return Fate.LOST
            data = more

    def _read_frames(self, data: bytes, link: Link) -> Optional[Fate]:
        self._reader.feed(data)
        try:
            while (frame := self._reader.next(self._receiver.room)) is not None:
                fate = None
                if frame.opcode == PING:
                    # The real one answers an empty ping with a pong of one byte.
                    link.send(masked(PONG, frame.payload or b"\0"))
                elif frame.opcode == CLOSE and not (frame.payload and self._options.fragile):
                    fate = Fate.LOST
                elif frame.opcode != PONG:
                    # A Close with a code comes here too: the real one takes it for text.
                    fate = self._hear(frame.payload)
                if fate not in (None, Fate.DEAF):
                    return fate
        except FrameTooLarge as error:
            self.problem = str(error)
            return Fate.ERROR
        finally:
            self._record.notify()
        return None

    def _hear(self, payload: bytes) -> Optional[Fate]:
        now = time.monotonic()
        if payload:
            self._say(self.application.heard(now))
        for each in self._receiver.feed(payload):
            if isinstance(each, Issued):
                self._issue(each, now)
                fault = overrun(each.line, self._options.ascii_voices)
                if fault is not None and self._options.fragile:
                    self._crash(fault)
                    return fault.fate
            elif isinstance(each, Sound):
                self._record.add_sound(now, each.data)
            elif isinstance(each, Fault):
                if each.fate in (Fate.CRASH, Fate.HANG, Fate.DEAF):
                    self._crash(each)
                else:
                    self.problem = each.reason
                return each.fate
            else:
                self._record.add(each.text)
                self._say(self.application.word(each.text))
        return None

    def _issue(self, issued: Issued, now: float) -> None:
        self._record.add(issued.line)
        if self._options.all_log:
            self._log("Remote", "Sent", issued.line)
            plugin = self.application.plugin_of(issued.line)
            if plugin:
                self._log(plugin, "Captured", issued.line)
        elif issued.echo:
            self._waiting.append(issued.echo)
        # Always after the echo.
        self._say(self.application.issue(issued.line, now))

    def _crash(self, fault: Fault) -> None:
        self.problem = f"{fault.fate.value}: {fault.reason}"
        self._record.crash(self.problem)

    # Sending

    def _say(self, lines: list[Said]) -> None:
        for plugin, line in lines:
            if self._options.all_log:
                self._log(plugin, "Sent", line)
            else:
                self._waiting.append(line.encode("utf-8", "replace") + b"\n")

    def _log(self, plugin: str, kind: str, text: str) -> None:
        stamp = datetime.now().strftime("%Y/%m/%d %H:%M:%S.%f")[:-3]
        ticks = int((time.monotonic() - self._began_at) * 1_000_000)
        self._waiting.append(f"[{stamp}] [{ticks}] {plugin}: {kind}: {text}\n\n".encode())

    def _speak(self, link: Link) -> None:
        # One frame for each line. After a break the next connection gets the lines that still wait.
        while self._waiting:
            frames: list[bytes] = []
            while self._waiting and len(frames) < 500:
                frames.append(masked(TEXT, self._waiting.popleft()))
            link.send(b"".join(frames))


def _time_of_day() -> tuple[int, int]:
    now = datetime.now()
    return now.hour, now.minute
