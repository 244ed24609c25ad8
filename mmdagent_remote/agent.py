"""``Agent``: a Handler that can wait for answers, speak, and pass messages to marked methods.

``Server.accept()`` returns one, too. ``connection/waits.py`` matches lines to waits;
``speech/mouth.py`` puts utterances in order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Any, ClassVar, Optional, TypeVar, Union

from .connection.transport import Deadline
from .connection.waits import Wait
from .errors import InvalidMessage
from .handler import Handler
from .message import Field, Message, clean_text, compose, join_fields
from .profile import full_width, in_full_width, reads_ascii
from .sound.format import Format
from .sound.playback import MAX_LEAD
from .sound.player import Player, Progress
from .sound.sources import Source, open_sound
from .speech.sentences import SentenceCutter, cut_to_fit
from .speech.speaker import Speaker
from .vocabulary.pattern import Matcher, Pattern, matcher_of
from .vocabulary.table import answer_to

_Method = TypeVar("_Method", bound=Callable[..., object])

#: Bytes of a line that speaks, where the peer's profile sets no limit.
_MAX_LINE = 2047


def on(*patterns: Pattern) -> Callable[[_Method], _Method]:
    """Mark a method of an :class:`Agent`: matching messages call it, with their arguments.

    ::

        @on("RECOG_EVENT_STOP")
        def heard(self, text): ...

    Args:
        patterns: any of them; a ``str`` may contain arguments as well: ``"TIMER_EVENT_STOP|t"``.

    Several methods may get the same message. Echoes are not passed to them.

    Raises:
        TypeError, ValueError: there is no pattern, or one is invalid.
    """
    if not patterns:
        raise TypeError("on() needs a pattern: @on(\"RECOG_EVENT_STOP\")")
    matchers = [matcher_of(pattern) for pattern in patterns]

    def mark(method: _Method) -> _Method:
        marks = [*getattr(method, "_mmdagent_remote_on", ()), *matchers]
        method._mmdagent_remote_on = marks  # type: ignore[attr-defined]
        return method
    return mark


class Agent(Handler):
    """A :class:`Handler` for dialogues. As a context manager it closes its connection on exit.

    Methods for the caller, beside those of a Handler, from any thread: ``request``, ``submit``,
    ``wait_for``, ``say``, ``say_stream``, ``speak_audio``, ``stop_speaking``.
    """

    _takers: ClassVar[dict[str, list[Matcher]]] = {}
    # Made when first needed, since __init__ is the user's.
    _speaker: Optional[Speaker] = None
    _player: Optional[Player] = None
    _stops: Optional[dict[str, int]] = None
    # Guards the creation of these three; held for a statement.
    _making = threading.Lock()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        takers: dict[str, list[Matcher]] = {}
        for each in reversed(cls.__mro__):
            for name, member in vars(each).items():
                marks = getattr(member, "_mmdagent_remote_on", None)
                if marks is not None:
                    takers[name] = marks
        cls._takers = takers
        cls._has_takers = bool(takers)

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self.close()

    # Waiting

    def wait_for(self, *patterns: Pattern, timeout: Optional[float] = 10.0) -> Message:
        """Wait for a message that matches one of the patterns, and take it.

        Lines that came but were not delivered yet are checked first, oldest first. All other lines
        reach ``on_message`` or ``read_line``, in order.

        Args:
            patterns: see ``Pattern`` in ``pattern.py``.
            timeout: seconds; None waits for ever.

        Raises:
            TimeoutError: no match came; the text shows the last lines that did.
            ConnectionClosed: the connection has ended.
            QueueFull: the line queue is full of lines that nobody reads.
        """
        connection = self._connected()
        wait = Wait(patterns)
        found = connection.look_back(wait)
        return found if found is not None else self._wait(wait, timeout)

    def request(self, *fields: Union[Field, Message],
                until: Union[Pattern, tuple[Pattern, ...], list[Pattern], None] = None,
                timeout: Optional[float] = 10.0) -> Message:
        """Send a command and wait for the message that answers it.

        Args:
            fields: as for :meth:`send`.
            until: a pattern, or several, of which the first match wins. None: the answer to this
                command is looked up in the table of MMDAgent-EX's messages.
            timeout: seconds; None waits for ever.

        Raises:
            ValueError: MMDAgent-EX does not answer this command, or the table does not have it.
            TypeError, InvalidMessage, ConnectionClosed, TimeoutError: as :meth:`send` and
                :meth:`wait_for` do.
        """
        wait, line = self._prepare(fields, until, calls_back=False)
        self._connected().waits.add(wait)
        self._send_for(wait, line)
        return self._wait(wait, timeout)

    def submit(self, *fields: Union[Field, Message],
               until: Union[Pattern, tuple[Pattern, ...], list[Pattern], None] = None,
               timeout: Optional[float] = 10.0) -> Future[Message]:
        """Do what :meth:`request` does, but return at once, with a future of the answer.

        The future's callbacks run in a thread of this connection. Raises what :meth:`send`
        raises, and ValueError as :meth:`request` does.
        """
        connection = self._connected()
        wait, line = self._prepare(fields, until, calls_back=True)
        when = None if timeout is None else monotonic() + timeout
        connection.waits.add(wait)
        self._send_for(wait, line)
        if when is not None:
            def give_up() -> None:
                if connection.waits.claim(wait):
                    wait.fail(TimeoutError(connection.waits.timeout_text(wait, timeout)))
            connection.courier.run_at(when, give_up, wait.future.done)
        connection.see_to(wait)
        return wait.future

    # Speaking

    def say(self, model: Field, voice: Field, text: str) -> Future[bool]:
        """Have a model speak a text, after everything that was queued before it.

        Args:
            model: its alias, such as ``"0"``.
            voice: a voice of the content, such as ``"mei_voice_normal"``.
            text: any text; :func:`clean_text` cleans it, and a long one is cut between sentences.

        Returns:
            a future: True when it was spoken to the end, False when it was stopped or cut off. It
            fails with ``TimeoutError`` when the voice did not begin within 10 s or did not end, and
            with ``ConnectionClosed`` when the connection has ended.

        Raises:
            TypeError, InvalidMessage: model or voice cannot be carried.
            ConnectionClosed: the connection has ended.
        """
        return self._say(model, voice, text, lambda: True)

    def say_stream(self, model: Field, voice: Field, tokens: Iterable[str]) -> Future[bool]:
        """Speak text that comes in pieces, for example from a language model, sentence by sentence.

        Returns at once; a thread of this connection takes the pieces.

        Args:
            model: its alias.
            voice: a voice of the content.
            tokens: any iterable of str. Its ``close()``, if any, is called at the end or on a stop.

        Returns:
            a future: True when all was spoken, False when it was stopped or cut off. It fails like
            that of :meth:`say`, and with what the iterable raises.

        Raises:
            TypeError, InvalidMessage, ConnectionClosed: as for :meth:`say`.
        """
        name, _ = self._speech_lines(model, voice, "")
        future: Future[bool] = Future()
        stops = self._stop_counts().get(name, 0)

        def speak() -> None:
            try:
                result = self._speak_stream(name, voice, tokens, stops)
            except BaseException as error:  # Of the user's iterable: the future carries it.
                with suppress(Exception):
                    future.set_exception(error)
            else:
                with suppress(Exception):  # Cancelled.
                    future.set_result(result)
        self.spawn(speak)
        return future

    def speak_audio(self, model: Field, source: Source, *, lead: float = 0.2, live: bool = False,
                    rate: int = 16000, channels: int = 1, width: int = 2,
                    progress: Optional[Progress] = None) -> Future[bool]:
        """Have a model speak a sound that was made elsewhere, with lip-sync. Returns at once.

        The sound is sent in real time. The sounds of one connection are played in order. They do
        not wait for :meth:`say`, and :meth:`say` does not wait for them.

        Args:
            model: its alias, such as ``"0"``. If there is no such model, nothing is played and
                nothing is reported.
            source: a path; an open binary file; bytes; or an iterable of bytes, such as a
                microphone. A thread of this connection reads an iterable some seconds ahead, and
                closes it at the end. Bytes are a sound file, or samples. 16 kHz, 16 bits, mono is
                played as it is; anything else needs the extra ``audio``.
            lead: seconds of sound that are sent ahead, 0 to 30. More tolerates a worse network;
                with less the model is silent sooner after a stop.
            live: MMDAgent-EX itself cuts out silence, for a microphone.
            rate: sample rate in Hz. This and the next two apply only where there is no header.
            channels: channels of the samples.
            width: bytes of one sample of one channel.
            progress: called with the seconds heard so far and the seconds in total (None while that
                is not known), 25 times a second, in a thread of this connection.

        Returns:
            a future: True when all of it must have been heard, False when it was stopped. The time
            is computed from the sound's length, since MMDAgent-EX does not report it. It fails with
            ``ConnectionClosed``, with what the iterable raises, and with ``QueueFull`` when too
            many sounds wait.

        Raises:
            TypeError, ValueError, InvalidMessage: a value is wrong, or the source is not a sound.
            OSError: the file cannot be opened.
            ImportError: the extra is needed and not installed.
            ConnectionClosed: the connection has ended.
        """
        name = join_fields((model, "")).partition("|")[0]
        if not name or "," in name or len(name.encode()) > 200:
            raise InvalidMessage(f"no model to speak with: {name[:80]!r}")
        if not 0 <= lead <= MAX_LEAD:
            raise ValueError(f"lead must be from 0 to {MAX_LEAD:g} seconds, not {lead!r}")
        if progress is not None and not callable(progress):
            raise TypeError(f"progress must be callable, not {type(progress).__name__}")
        samples = Format(rate, channels, width)
        self._require_open()
        return self._audio().play(name, open_sound(source, samples), lead, live, progress)

    def stop_speaking(self, model: Field) -> None:
        """Stop a model's voice and drop what waits for it; the futures of both yield False.

        MMDAgent-EX still plays the part of a :meth:`speak_audio` sound that it has: the lead.

        Raises:
            TypeError, InvalidMessage: the model cannot be carried.
        """
        name, _ = self._speech_lines(model, "voice", "")
        counts = self._stop_counts()
        with self._making:
            counts[name] = counts.get(name, 0) + 1
        self._speech().stop(name)
        if self._player is not None:
            self._player.stop(name)

    # Private

    def _dispatch(self, message: Message) -> None:
        taken = False
        if self._takers and not message.is_echo:
            for name, matchers in self._takers.items():
                if any(matches(message) for matches in matchers):
                    taken = True
                    getattr(self, name)(*message.args)
        if not taken:
            self.on_message(message)

    def _prepare(self, fields: tuple[Union[Field, Message], ...],
                 until: Union[Pattern, tuple[Pattern, ...], list[Pattern], None], *,
                 calls_back: bool) -> tuple[Wait, str]:
        line = compose(fields)
        patterns: Iterable[Pattern]
        if until is None:
            patterns = (answer_to(Message(line)),)
        else:
            patterns = until if isinstance(until, (tuple, list)) else (until,)
        return Wait(patterns, self._connected().callbacks.run if calls_back else None), line

    def _send_for(self, wait: Wait, line: str) -> None:
        try:
            self.send_lines((line,))
        except BaseException:  # Of any kind: a line that was not sent gets no answer.
            self._connected().waits.claim(wait)
            raise

    def _wait(self, wait: Wait, timeout: Optional[float]) -> Message:
        connection = self._connected()
        try:
            in_time = connection.wait(wait, Deadline(timeout))
        except BaseException:  # Such as Ctrl-C: the caller no longer waits.
            connection.waits.claim(wait)
            raise
        if not in_time:
            raise TimeoutError(connection.waits.timeout_text(wait, timeout))
        return wait.future.result()

    def _require_open(self) -> None:
        if self.closed:
            self._connected().raise_closed()

    def _speech_lines(self, model: Field, voice: Field, text: str) -> tuple[str, list[str]]:
        """The model's name, and the commands that speak a text."""
        if not isinstance(text, str):
            raise TypeError(f"a text to say must be a str, not {type(text).__name__}")
        head = join_fields(("SYNTH_START", model, voice, ""))
        name = head.split("|")[1]
        room = (self._connected().profile.max_line or _MAX_LINE) - len(head.encode()) - 1
        if room < 64 or not name or head.count("|") != 3 or "||" in head:
            raise InvalidMessage(f"no model and voice to speak with: {head[:80]!r}")
        cleaned = clean_text(text)
        if not cleaned:
            return name, []
        # In full width each ASCII letter takes three bytes, so that is counted before it is known
        # which of the parts will need it.
        connection, spoken_by = self._connected(), head.split("|")[2]
        as_sent = str if reads_ascii(spoken_by, connection.profile) else in_full_width
        lines = [head + part for part in cut_to_fit(cleaned, room, as_sent)]
        sent = [full_width(line, connection.profile) for line in lines]
        if sent != lines:
            connection.tell_voice(spoken_by)
        return name, sent

    def _say(self, model: Field, voice: Field, text: str,
             is_wanted: Callable[[], bool]) -> Future[bool]:
        name, lines = self._speech_lines(model, voice, text)
        self._require_open()
        if not lines:
            nothing: Future[bool] = Future()
            nothing.set_result(True)
            return nothing
        return self._speech().say(name, lines, is_wanted)

    def _speech(self) -> Speaker:
        if self._speaker is None:
            with self._making:
                if self._speaker is None:
                    self._speaker = Speaker(self._connected())
        return self._speaker

    def _audio(self) -> Player:
        if self._player is None:
            with self._making:
                if self._player is None:
                    self._player = Player(self._connected())
        return self._player

    def _stop_counts(self) -> dict[str, int]:
        with self._making:
            if self._stops is None:
                self._stops = {}
            return self._stops

    def _speak_stream(self, model: str, voice: Field, tokens: Iterable[str], stops: int) -> bool:
        cutter = SentenceCutter()
        spoken: list[Future[bool]] = []

        def is_wanted() -> bool:
            return self._stop_counts().get(model, 0) == stops

        def is_stopped() -> bool:
            return not is_wanted() or any(each.done() and not each.result() for each in spoken)

        def say_all(sentences: list[str]) -> None:
            spoken.extend(self._say(model, voice, sentence, is_wanted) for sentence in sentences)
        try:
            for piece in tokens:
                if is_stopped():
                    return False
                say_all(cutter.feed(piece or ""))
            if is_stopped():
                return False
            say_all(cutter.flush())
        finally:
            close = getattr(tokens, "close", None)
            if close is not None:
                close()
        return all([each.result() for each in spoken])
