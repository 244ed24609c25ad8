"""The sound of one connection: connects the sources, the schedule, the wire and the futures.

Each clip's source is read in a thread of its own, since it is user code (a microphone, a speech
synthesiser) and may block. All else runs in the connection's courier, one step after another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Optional

from ..connection.connection import Connection
from ..connection.courier import FutureElsewhere
from ..errors import ConnectionClosed, QueueFull
from ..websocket.lines import prepare_line
from .format import Chunker, chunk_of, seconds_of
from .playback import Action, Clip, Done, Line, Playback
from .sources import Sound

#: Bytes of sound that are read ahead: ten seconds.
READ_AHEAD = 320_000

#: Called with the seconds that were heard, and the total seconds, None while that is not known.
Progress = Callable[[float, Optional[float]], object]


class Reader:
    """Holds the sound that a clip's source has given until it is taken. Any thread may call it.

    Its lock is a leaf. The thread that reads the source waits on it while there is enough sound.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._chunker = Chunker()
        self._is_over = False
        self._is_stopped = False
        self._error: Optional[BaseException] = None

    @property
    def error(self) -> Optional[BaseException]:
        """What the source raised; None until all sound before that was taken."""
        return self._error if self._is_over and not self._chunker else None

    def take(self) -> Optional[bytes]:
        """Return a chunk's sound; empty while more is awaited; None when all was taken."""
        with self._changed:
            sound = self._chunker.take(last=self._is_over)
            self._changed.notify()
            return sound or (None if self._is_over else b"")

    def put(self, sound: bytes) -> bool:
        """Add sound, after waiting until there is room; return False if no more is wanted."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or len(self._chunker) < READ_AHEAD)
            self._chunker.feed(sound)
            return not self._is_stopped

    def end(self, error: Optional[BaseException] = None) -> None:
        """Note that the source has ended."""
        with self._changed:
            self._is_over = True
            self._error = error

    def stop(self) -> None:
        """Note that no more is wanted; ends the wait in :meth:`put`."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()


class _Entry:
    # The state of a clip that the schedule does not use.
    def __init__(self, sound: Sound, reader: Reader, future: Future[bool],
                 progress: Optional[Progress]) -> None:
        self.sound = sound
        self.reader = reader
        self.future = future
        self.progress = progress
        self.is_read = False
        # The seconds heard, and whether a call of `progress` is queued, so that only one ever is.
        self.heard = 0.0
        self.is_told_soon = False
        # Whether a courier step for what was read is queued. Without this a source that gives empty
        # pieces would queue any number.
        self.has_called = False


class Player:
    """Plays on one connection; made by the first ``speak_audio()``. Any thread may call it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._playback = Playback()
        self._entries: dict[Clip, _Entry] = {}
        self._alarm: Optional[float] = None
        connection.on_end(self._farewell)

    def play(self, model: str, sound: Sound, lead: float, live: bool,
             progress: Optional[Progress]) -> Future[bool]:
        """Queue a clip."""
        future: Future[bool] = FutureElsewhere(self._connection.callbacks.run)
        reader = Reader()
        entry = _Entry(sound, reader, future, progress)
        clip = Clip(model, reader, lead, live, lambda: self._begin(entry))
        try:
            self._connection.courier.run(lambda: self._add(clip, entry))
        except BaseException:  # There are too many threads. No other code would close the sound.
            self._close(entry)
            raise
        return future

    def stop(self, model: str) -> None:
        """Drop the model's clips."""
        self._connection.courier.run(lambda: self._carry_out(
            self._playback.stop(model, time.monotonic(), self._is_stuck)))

    def _farewell(self) -> None:
        self._connection.courier.run(lambda: self._carry_out(
            self._playback.fail(self._connection.closed_error())))

    # In the courier

    def _add(self, clip: Clip, entry: _Entry) -> None:
        self._entries[clip] = entry
        if self._connection.end is not None:
            self._carry_out([Done(clip, self._connection.closed_error())])
        elif self._playback.is_full:
            self._carry_out([Done(clip, QueueFull("too many sounds wait for this connection"))])
        else:
            self._carry_out(self._playback.add(clip, time.monotonic(), self._is_stuck))

    def _step(self) -> None:
        self._carry_out(self._playback.advance(time.monotonic(), self._is_stuck))

    @property
    def _is_stuck(self) -> bool:
        return self._connection.wire.has_binary

    def _carry_out(self, actions: list[Action]) -> None:
        try:
            for action in actions:
                if isinstance(action, Done):
                    self._finish(action.clip, action.outcome)
                elif isinstance(action, Line):
                    self._connection.send([prepare_line(action.line, self._connection.profile)])
                else:
                    self._connection.send([chunk_of(action.sound)])
                    self._tell(action.clip)
        except (ConnectionClosed, TimeoutError) as error:  # Nothing can be sent any more.
            self._playback.fail(error)
            for clip in list(self._entries):
                self._finish(clip, error)
        self._set_alarm()

    def _set_alarm(self) -> None:
        when = self._playback.next_time
        if when is None or self._alarm is not None and self._alarm <= when:
            return

        def wake() -> None:
            if self._alarm == when:
                self._alarm = None
                self._step()
        self._alarm = when
        self._connection.courier.run_at(when, wake, lambda: self._alarm != when)

    def _tell(self, clip: Clip) -> None:
        entry = self._entries[clip]
        if entry.progress is not None:
            self._call_progress(entry, self._playback.played(clip, time.monotonic()))

    def _call_progress(self, entry: _Entry, heard: float) -> None:
        entry.heard = heard

        def call() -> None:
            entry.is_told_soon = False  # Before `heard` is read: a later value makes its own call.
            if entry.progress is not None:
                entry.progress(entry.heard, entry.sound.seconds)
        if not entry.is_told_soon:
            entry.is_told_soon = True
            self._connection.callbacks.run(call)

    def _finish(self, clip: Clip, outcome: object) -> None:
        entry = self._entries.pop(clip, None)
        if entry is None:
            return
        entry.reader.stop()
        if not entry.is_read:
            # Closing is user code and may block, and other work depends on the courier.
            self._connection.callbacks.run(lambda: self._close(entry))
        if outcome is True and entry.progress is not None:
            self._call_progress(entry, seconds_of(clip.sent))
        # Its callbacks are user code, so FutureElsewhere runs them outside the courier.
        with suppress(InvalidStateError):  # Cancelled by the user.
            if isinstance(outcome, bool):
                entry.future.set_result(outcome)
            elif isinstance(outcome, BaseException):
                entry.future.set_exception(outcome)

    # The source

    def _begin(self, entry: _Entry) -> bool:
        # Once its turn has come it can no longer be cancelled, only stopped.
        if not entry.future.set_running_or_notify_cancel():
            return False
        entry.is_read = True
        thread = threading.Thread(target=self._read, args=(entry,), daemon=True,
                                  name=f"{self._connection.name}-audio")
        self._connection.spawned.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # There are too many threads.
            self._connection.spawned.discard(thread)
            entry.is_read = False
            entry.reader.end(error)
        return True

    def _read(self, entry: _Entry) -> None:
        courier = self._connection.courier
        try:
            error: Optional[BaseException] = None
            try:
                self._pass_on(entry)
            except BaseException as raised:  # From the user's iterable; the future reports it.
                error = raised
            self._close(entry)
            entry.reader.end(error)
            courier.run(self._step)
        finally:
            self._connection.spawned.discard(threading.current_thread())

    def _pass_on(self, entry: _Entry) -> None:
        def step() -> None:
            entry.has_called = False  # Before the step: sound that comes later makes its own step.
            self._step()
        for sound in entry.sound.pieces:
            if not entry.reader.put(sound):
                return
            if not entry.has_called:
                entry.has_called = True
                self._connection.courier.run(step)

    def _close(self, entry: _Entry) -> None:
        try:
            entry.sound.close()
        except BaseException as error:  # From the user's iterable; this thread has more to do.
            self._connection.log.warning("a sound could not be closed", exc_info=error)
