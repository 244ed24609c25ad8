"""The sound of one connection: which clip is next, when each chunk leaves, when it was heard. Pure.

MMDAgent-EX plays sound as it comes, has room for a minute, sends no answer, and cannot be told to
discard what it has. So the sound leaves in real time with a small lead. When it was heard is
computed: the time at which it was sent, plus its length, plus the agent's own delay.

The times of the chunks follow from the first one's, not from each other, so that errors do not
add up. Input: calls and the time. Output: actions, to be carried out in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Optional, Protocol, Union

from .format import seconds_of

#: Maximum seconds from a chunk's arrival until its sound is heard: Plugin_Remote polls every 15 ms,
#: and its sound output holds 50 ms (from its source). The network adds to that.
AGENT_DELAY = 0.2
#: Minimum seconds between chunks, also when catching up, which is twice as fast as they play.
#: A line of text and the agent's own events each need a gap (of 12 ms).
LEAST_PAUSE = 0.02
#: A chunk that is later than this, in seconds, finds the agent silent, so the schedule restarts
#: from it. The next chunks make up for a smaller delay.
PATIENCE = 0.05
#: Seconds until the next check of a send queue that still holds the previous chunk.
BUSY_PAUSE = 0.012
#: Clips that may wait on one connection.
MAX_CLIPS = 1000
#: Maximum lead in seconds. The agent drops what does not fit in its minute.
MAX_LEAD = 30.0


class Feed(Protocol):
    """Where a clip's sound comes from."""

    def take(self) -> Optional[bytes]:
        """Return a chunk's sound; empty while more is awaited; None when all was taken."""

    @property
    def error(self) -> Optional[BaseException]:
        """Why there is no more, if the sound did not reach its end."""


class Clip:
    """One sound to be played, for one model.

    Args:
        model: its alias.
        feed: its sound.
        lead: seconds by which sound is sent ahead of its playback.
        live: the agent itself cuts silence out (``SNDSTRM``); else a prepared clip (``SNDFILE``).
        begin: called when its turn comes, before anything is taken; False: no longer wanted.
    """

    def __init__(self, model: str, feed: Feed, lead: float, live: bool,
                 begin: Callable[[], bool]) -> None:
        self.model = model
        self.feed = feed
        self.lead = lead
        self.live = live
        self.begin = begin
        #: Bytes of its sound that were sent.
        self.sent = 0
        #: When all of it will have been heard; set once all was sent.
        self.heard_at = 0.0


class Line(NamedTuple):
    """Send this line."""

    line: str


class Chunk(NamedTuple):
    """Send this sound, which is the clip's next."""

    clip: Clip
    sound: bytes


class Done(NamedTuple):
    """This clip has ended. True: played to its end. False: stopped. Or an error."""

    clip: Clip
    outcome: Union[bool, BaseException]


Action = Union[Line, Chunk, Done]


class Playback:
    """The playback of one connection. Not thread-safe. Calls return what to do, in order."""

    def __init__(self) -> None:
        self._waiting: deque[Clip] = deque()
        self._current: Optional[Clip] = None
        # Clips that were sent completely and are still to be heard.
        self._sounding: deque[Clip] = deque()
        # When playback of all that was sent ends, without the agent's delay.
        self._through_at = 0.0
        self._sent_at = 0.0
        self._is_set_up = False
        self._model: Optional[str] = None
        self._live: Optional[bool] = None
        #: When :meth:`advance` has something to do; None: not before more sound has come.
        self.next_time: Optional[float] = None

    @property
    def is_full(self) -> bool:
        """Whether no more clips can wait."""
        return len(self._waiting) >= MAX_CLIPS

    def played(self, clip: Clip, now: float) -> float:
        """Seconds of a clip that were heard by now."""
        return max(0.0, seconds_of(clip.sent) - max(0.0, self._through_at - now))

    def add(self, clip: Clip, now: float, is_stuck: bool) -> list[Action]:
        """Queue it; it is played when all before it were sent."""
        self._waiting.append(clip)
        return self.advance(now, is_stuck)

    def stop(self, model: str, now: float, is_stuck: bool) -> list[Action]:
        """End all clips of a model. The agent still plays what it already has: the lead."""
        line: list[Action] = []
        stopped = self._take_out(self._sounding, model)
        if self._current is not None and self._current.model == model:
            line = self._close_segment(self._current)
            stopped.append(self._current)
            self._current = None
        stopped += self._take_out(self._waiting, model)
        # The line comes last: a peer that does not read may block the send, but not the futures.
        return [*(Done(clip, False) for clip in stopped), *line, *self.advance(now, is_stuck)]

    def fail(self, error: Exception) -> list[Action]:
        """End everything with an error; nothing can be sent any more."""
        clips = [*self._sounding, *([self._current] if self._current else []), *self._waiting]
        self._sounding.clear()
        self._waiting.clear()
        self._current = self.next_time = None
        return [Done(clip, error) for clip in clips]

    def advance(self, now: float, is_stuck: bool) -> list[Action]:
        """Do what is due.

        Args:
            now: on the monotonic clock.
            is_stuck: the previous chunk has not left yet.
        """
        actions: list[Action] = []
        while self._sounding and now >= self._sounding[0].heard_at:
            actions.append(Done(self._sounding.popleft(), True))
        look_at: Optional[float] = None
        while look_at is None and (self._current or self._waiting):
            if self._current is None:
                look_at = self._begin_next(now, actions)
            elif (due := self._due(self._current, now, is_stuck)) > now:
                look_at = due
            elif not self._feed_on(self._current, now, actions):
                break
        times = [look_at, self._sounding[0].heard_at if self._sounding else None]
        self.next_time = min((time for time in times if time is not None), default=None)
        return actions

    @staticmethod
    def _take_out(clips: deque[Clip], model: str) -> list[Clip]:
        taken = [clip for clip in clips if clip.model == model]
        kept = [clip for clip in clips if clip.model != model]
        clips.clear()
        clips.extend(kept)
        return taken

    # One clip

    def _begin_next(self, now: float, actions: list[Action]) -> Optional[float]:
        # Returns the time to wait for, if the clip's turn has not come.
        clip = self._waiting[0]
        through_at = self._through_at + AGENT_DELAY
        if self._model not in (None, clip.model) and now < through_at:
            return through_at  # Else the new model's lips would move to the rest of the last sound.
        self._waiting.popleft()
        if clip.begin():
            self._current = clip
        else:
            actions.append(Done(clip, False))
        return None

    def _due(self, clip: Clip, now: float, is_stuck: bool) -> float:
        due = max(self._through_at - clip.lead, self._sent_at + LEAST_PAUSE)
        return max(due, now + BUSY_PAUSE) if is_stuck else due

    def _feed_on(self, clip: Clip, now: float, actions: list[Action]) -> bool:
        # Returns False if there is nothing to send yet.
        sound = clip.feed.take()
        if sound is None:
            actions += self._sent_all(clip, now)
        elif sound:
            actions += [*self._set_up(clip), Chunk(clip, sound)]
            if now > self._through_at + PATIENCE:
                self._through_at = now
            self._through_at += seconds_of(len(sound))
            self._sent_at = now
            clip.sent += len(sound)
        return sound != b""

    def _set_up(self, clip: Clip) -> list[Action]:
        lines = []
        if not self._is_set_up:
            self._is_set_up = True
            lines.append("__AV_START")
        if clip.model != self._model:
            self._model = clip.model
            lines.append(f"__AV_SETMODEL,{clip.model}")
        if clip.live is not self._live:
            self._live = clip.live
            lines.append("SNDSTRM" if clip.live else "SNDFILE")
        return [Line(line) for line in lines]

    def _sent_all(self, clip: Clip, now: float) -> list[Action]:
        error = clip.feed.error
        if error is not None or not clip.sent:
            return self._end_current(True if error is None else error)
        actions = self._close_segment(clip)
        self._current = None
        clip.heard_at = max(now, self._through_at) + AGENT_DELAY
        self._sounding.append(clip)
        return actions

    def _end_current(self, outcome: Union[bool, BaseException]) -> list[Action]:
        clip, self._current = self._current, None
        return [*self._close_segment(clip), Done(clip, outcome)] if clip else []

    def _close_segment(self, clip: Clip) -> list[Action]:
        return [Line("SNDBRKS")] if clip.sent and not clip.live else []
