"""The mouths of one connection: connects received lines, sent lines and the futures of ``say()``.

The mouths run in the connection's courier, one step after another, so there is no lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

from ..connection.connection import Connection
from ..connection.courier import FutureElsewhere
from ..errors import ConnectionClosed, InvalidMessage, QueueFull
from ..message import Message
from ..profile import reads_ascii
from ..websocket.lines import prepare_line
from .mouth import Action, End, Mouth, Send, Turn, Utterance

#: Models that may speak on one connection.
_MAX_MODELS = 1000


class Speaker:
    """Speaks for one connection; made by the first ``say()``. Any thread may call its methods."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._mouths: dict[str, Mouth] = {}
        self._turn = Turn()
        self._futures: dict[Utterance, Future[bool]] = {}
        # The time of each model's pending call of pass_time(); one for each mouth is enough.
        self._alarms: dict[str, float] = {}
        connection.tap_received(self._observe)
        connection.read_eagerly(lambda: bool(self._futures))
        connection.on_end(self._farewell)

    def say(self, model: str, lines: list[str], is_wanted: Callable[[], bool]) -> Future[bool]:
        """Queue an utterance, if it is still wanted after every stop() that was called before."""
        future: Future[bool] = FutureElsewhere(self._connection.callbacks.run)
        # Once its turn has come it can no longer be cancelled, only stopped.

        def begin() -> bool:
            try:
                return future.set_running_or_notify_cancel()
            except RuntimeError:
                return False  # Its user has given it a result.
        utterance = Utterance(lines, begin,
                              takes_turns=self._takes_turns(lines[0].split("|")[2]))
        self._futures[utterance] = future
        self._connection.attend_soon()
        self._do(model, lambda mouth: self._add(model, mouth, utterance, is_wanted()))
        return future

    def _takes_turns(self, voice: str) -> bool:
        profile = self._connection.profile
        return profile.ascii_voices is not None and reads_ascii(voice, profile)

    def stop(self, model: str) -> None:
        """Drop the model's queue and stop its voice."""
        self._do(model, lambda mouth: mouth.stop(time.monotonic()))

    # Called where a line is read, with the connection's state lock held, so it must be quick

    def _observe(self, message: Message) -> None:
        # A handler may pass on a line after the end, when the courier may be gone.
        if message.startswith("SYNTH_") and self._connection.end is None:
            model = message.args[0] if message.args else ""
            self._do(model, lambda mouth: mouth.receive(message, time.monotonic()), known_only=True)

    def _farewell(self) -> None:
        for model in list(self._mouths):
            self._do(model, lambda mouth: mouth.fail(self._connection.closed_error()))

    def _do(self, model: str, step: Callable[[Mouth], list[Action]], *,
            known_only: bool = False) -> None:
        self._connection.courier.run(lambda: self._step(model, step, known_only))

    # In the courier

    def _step(self, model: str, step: Callable[[Mouth], list[Action]], known_only: bool) -> None:
        mouth = self._mouths.get(model)
        if mouth is None:
            if known_only:
                return
            mouth = Mouth(model, self._turn)
            if len(self._mouths) < _MAX_MODELS:
                self._mouths[model] = mouth
        self._carry_out(mouth, step(mouth))
        self._set_alarm(model, mouth)
        # What this mouth gave back, another may wait for.
        while (other := self._turn.next) is not None:
            self._carry_out(other, other.proceed(time.monotonic()))
            self._set_alarm(other.model, other)
            if self._turn.next is other:
                break  # It waits for something else as well, and goes on by itself.

    def _add(self, model: str, mouth: Mouth, utterance: Utterance,
             is_wanted: bool) -> list[Action]:
        if self._connection.end is not None:
            return [End(utterance, self._connection.closed_error())]
        if self._mouths.get(model) is not mouth:
            return [End(utterance, QueueFull("too many models have spoken"))]
        if mouth.is_full:
            return [End(utterance, QueueFull("too many utterances wait for this model"))]
        return mouth.add(utterance, time.monotonic()) if is_wanted else [End(utterance, False)]

    def _carry_out(self, mouth: Mouth, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                try:
                    self._connection.send([prepare_line(action.line, self._connection.profile)])
                except (ConnectionClosed, TimeoutError, InvalidMessage) as error:
                    self._carry_out(mouth, mouth.fail(error))
                continue
            future = self._futures.pop(action.utterance, None)
            if future is not None:
                # Its callbacks are user code, so FutureElsewhere runs them outside the courier.
                with suppress(InvalidStateError):  # Cancelled by the user.
                    if isinstance(action.outcome, bool):
                        future.set_result(action.outcome)
                    else:
                        future.set_exception(action.outcome)

    def _set_alarm(self, model: str, mouth: Mouth) -> None:
        when, known = mouth.next_time, self._alarms.get(model)
        if when is None or known is not None and known <= when:
            return

        def wake() -> None:
            if self._alarms.get(model) == when:
                del self._alarms[model]
            self._step(model, lambda mouth: mouth.pass_time(time.monotonic()), True)
        self._alarms[model] = when
        self._connection.courier.run_at(when, wake)
