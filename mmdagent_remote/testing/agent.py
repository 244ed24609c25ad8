"""``SimulatedAgent``: a stand-in for MMDAgent-EX, for tests.

This module has the calls for the test's thread. The agent's own thread is in ``client.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Optional
from urllib.parse import urlsplit

from ..message import Message
from ..vocabulary.pattern import Pattern
from .application import SpeechTime
from .client import Client, Options
from .record import Record


class SimulatedAgent:
    """A simulated MMDAgent-EX: connects to a server and behaves as the real one was measured to.

    As a context manager it connects on entry and leaves on exit. After that its thread has ended
    and its socket is closed. All calls may be made from any thread.

    Args:
        url: where the server is, for example ``server.url``. ``ws`` only.
        path: sent unchanged instead of the URL's path, even ``""``.
        model: it has a model and a voice; False: it answers only what a bare application does.
        fragile: it breaks where the real one does; False: a tolerant peer that accepts everything.
        retry_count: ``Plugin_Remote_RetryCount``: further attempts to connect, at the start and
            after each loss. With 0 there is a single attempt.
        hurry: how many times faster the application's time runs: with 100 a dialogue of 30 seconds
            takes 0.3. It does not change the times on the wire.
        all_log: ``Plugin_Remote_AllLog``: it sends its log instead of messages.
        chatter: it sends what the real one sends unasked: start-up events, time of day, idleness.
        speech_time: seconds that speech takes, or a function of the text.
        motion_time: seconds that a motion, a movement or a sound takes.
        dies_when_lost: it ends when its connection is lost, as the stock Linux build does.
        ascii_voices: patterns (of :mod:`fnmatch`) of the voices that read ASCII. With any other voice
            a text of more ASCII than other bytes crashes it, as it does the real one with Open JTalk.
        timeout: seconds to wait for the connection on entry.
        name: part of its thread's name.

    Attributes:
        audio: the sound received, PCM without the headers of its chunks.
        audio_chunks: the same by chunks, each with its time on the monotonic clock.

    Raises:
        ValueError: ``url`` is not a WebSocket URL without TLS, or ``hurry`` is not above zero.
    """

    def __init__(self, url: str, *, path: Optional[str] = None, model: bool = True,
                 fragile: bool = True, retry_count: int = 0, hurry: float = 1.0,
                 all_log: bool = False, chatter: bool = True, speech_time: SpeechTime = 0.1,
                 motion_time: float = 0.1, dies_when_lost: bool = False,
                 ascii_voices: Iterable[str] = ("slt_*",), timeout: float = 10.0,
                 name: str = "simulated") -> None:
        parts = urlsplit(url)
        if parts.scheme != "ws" or not parts.hostname:
            raise ValueError(f"a simulated agent needs a URL like ws://localhost:9001/, not {url!r}")
        if hurry <= 0:
            raise ValueError(f"hurry must be above zero, not {hurry!r}")
        self.url = url
        self._timeout = timeout
        self._options = Options(
            host=parts.hostname, port=parts.port or 80,
            # Cut from the URL unchanged: parts joined again after urlsplit() may differ from it.
            path="/" + url.partition("://")[2].partition("/")[2] if path is None else path,
            name=name, model=model, fragile=fragile, retry_count=retry_count, hurry=hurry,
            all_log=all_log, chatter=chatter, speech_time=speech_time, motion_time=motion_time,
            dies_when_lost=dies_when_lost, ascii_voices=tuple(ascii_voices))
        self._ignored: set[str] = set()
        self._record = Record(self._state)
        self._client = self._new_client()
        self._is_started = False

    def _new_client(self) -> Client:
        return Client(self._options, self._record, self._ignored)

    # Coming and going

    def start(self) -> SimulatedAgent:
        """Begin to connect, and return at once. After :meth:`leave` this is a restart.

        Raises:
            RuntimeError: it is already running.
        """
        if self._is_started and not self._record.has_ended:
            raise RuntimeError("the agent is already running")
        if self._is_started:
            self.leave()
            self._client = self._new_client()
        self._is_started = True
        self._record.begin()
        self._client.start()
        return self

    def wait_connected(self, timeout: Optional[float] = None, *, times: int = 1) -> None:
        """Wait until it is connected.

        Args:
            timeout: seconds; None: the agent's own ``timeout``.
            times: how often it must have connected since its start, to wait for a reconnect.

        Raises:
            TimeoutError: it was not connected in time.
            ConnectionError: it has given up.
        """
        timeout = self._timeout if timeout is None else timeout

        def is_there() -> bool:
            return self.connected and self.connects >= times

        self._record.wait(lambda: is_there() or self._record.has_ended, timeout)
        if not is_there():
            kind = ConnectionError if self._record.has_ended else TimeoutError
            raise kind(f"the simulated agent is not connected to {self.url}: {self._client.problem}")

    def wait_ended(self, timeout: float = 10.0) -> None:
        """Wait until it has ended by itself: it crashed, or has given up.

        Raises:
            TimeoutError: it has not.
        """
        self._record.wait(lambda: self._record.has_ended, timeout)
        if not self._record.has_ended:
            raise TimeoutError("the simulated agent is still running")

    def leave(self) -> None:
        """End it as its user does: it sends what waits, a FIN, and never a Close frame. Idempotent.

        :meth:`start` starts it again.
        """
        if self._is_started:
            self._client.leave(self._timeout)

    def drop(self) -> None:
        """Break its connection with a reset. As after any loss, it then tries to reconnect.

        The reset is sent by its own thread, within some milliseconds.
        """
        self._client.drop()

    def __enter__(self) -> SimulatedAgent:
        self.start()
        try:
            self.wait_connected()
        except BaseException:  # Ctrl-C as well: __exit__ does not run when __enter__ raises.
            self.leave()
            raise
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self.leave()

    # What a test does with it

    def emit(self, line: str) -> None:
        """Say a line on the user's side: it goes to the server, and is obeyed if it is a command.

        While the agent is not connected the line is lost, as with the real one.

        Raises:
            ValueError: it contains a line end, or is empty.
            ConnectionError: the agent has ended.
        """
        line = line[:-1] if line.endswith("\n") else line
        if not line or "\n" in line or "\r" in line:
            raise ValueError(f"emit() takes one line, not {line!r}")
        line.encode()
        if self._record.has_ended:
            raise ConnectionError(f"the simulated agent has ended: {self._client.problem}")
        self._client.emit(line)

    def expect(self, pattern: Pattern, timeout: float = 2.0) -> Message:
        """Wait for a line from the server, and return it.

        Lines that were received before count too, unless an ``expect`` has returned them already.

        Args:
            pattern: a ``str`` or Message whose fields equal the leading fields of the line, a
                compiled regular expression that matches the whole line, or a predicate.
            timeout: seconds.

        Raises:
            AssertionError: none came in time, or the agent ended; its text shows what came instead.
        """
        return self._record.expect(pattern, timeout)

    def ignore(self, *types: str) -> None:
        """Make commands of these types fail from now on without any event, as many real ones do."""
        self._ignored.update(types)

    @property
    def received(self) -> list[Message]:
        """All lines from the server, in order; the last 100,000 of them.

        Words such as ``__AV_START`` are included. A wrapped line is shown without its wrapper.
        """
        return self._record.lines

    @property
    def audio(self) -> bytes:
        """The sound received, PCM without the headers of its chunks."""
        return b"".join(data for _, data in self._record.chunks)

    @property
    def audio_chunks(self) -> list[tuple[float, bytes]]:
        """The chunks of sound, each with the time of its arrival on the monotonic clock."""
        return list(self._record.chunks)

    @property
    def connected(self) -> bool:
        """Whether it is connected."""
        return self._client.is_connected

    @property
    def ended(self) -> bool:
        """Whether it has ended: it left, crashed, or has given up connecting."""
        return self._is_started and self._record.has_ended

    @property
    def waiting(self) -> int:
        """How many lines it still has to send."""
        return self._client.waiting

    @property
    def connects(self) -> int:
        """How many times it has connected since its start."""
        return self._client.connects

    @property
    def path(self) -> str:
        """The path of its last request, which ends with ``-1`` if the server was occupied."""
        return self._client.path

    @property
    def crashed(self) -> Optional[str]:
        """``"crashed: ..."``, ``"hung: ..."`` or ``"deaf: ..."`` with the reason, else None."""
        return self._record.crashed

    @property
    def speech_time(self) -> SpeechTime:
        """Seconds that speech takes, or a function of the text. May be set."""
        return self._options.speech_time

    @speech_time.setter
    def speech_time(self, value: SpeechTime) -> None:
        self._options.speech_time = self._client.application.speech_time = value

    def __repr__(self) -> str:
        return f"<SimulatedAgent {self.url} {self._state()}>"

    def _state(self) -> str:
        if self.crashed:
            return self.crashed
        if not self._is_started:
            return "not started"
        return "connected" if self.connected else f"not connected: {self._client.problem}"
