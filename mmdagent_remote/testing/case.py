"""``AgentTestCase``: a server and a simulated agent for each test."""

from __future__ import annotations

import threading
import time
import unittest
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, ClassVar, Optional

from ..errors import ConnectionClosed
from ..handler import Handler, is_default
from ..message import Message
from ..server import Server
from .agent import SimulatedAgent

#: The agent says the first; the handler's side answers with the second, which causes no echo.
_ASK = "AGENT_TEST_SYNC|"
_ANSWER = "__AV_TEST_SYNC,"

_numbers = count(1)


class AgentTestCase(unittest.TestCase):
    """A test with a running server and a connected :class:`SimulatedAgent`.

    A subclass sets ``handler``. A test fails if it leaves a connection or a thread of user code
    running, or if it makes the agent crash.

    Attributes:
        handler: what ``Server`` takes. None: an accepting server, and the test calls
            ``self.server.accept()``.
        server_options: further options of ``Server``.
        agent_options: options of :class:`SimulatedAgent`.
        deadline: seconds to wait for anything that must happen or end.
        server: the started server, on a free port.
        agent: the connected agent.
    """

    handler: ClassVar[Any] = None
    server_options: ClassVar[Mapping[str, Any]] = {}
    agent_options: ClassVar[Mapping[str, Any]] = {}
    deadline: ClassVar[float] = 10.0

    server: Server
    agent: SimulatedAgent

    def setUp(self) -> None:
        """Start the server and connect the agent. An override calls ``super().setUp()``."""
        super().setUp()
        self._threads_before = set(threading.enumerate())
        # Not read as an attribute of self: a plain function would become a method.
        handler = next(vars(each)["handler"] for each in type(self).__mro__ if "handler" in vars(each))
        if isinstance(handler, staticmethod):
            handler = handler.__func__
        self.server = Server(_watched_routes(handler), **{"port": 0, **self.server_options}).start()
        self.addCleanup(self._end_server)
        self.agent = SimulatedAgent(self.server.url, **self.agent_options)
        self.addCleanup(self._end_agent)
        self.agent.start()
        self.agent.wait_connected()

    def sync(self, timeout: Optional[float] = None) -> None:
        """Wait until all that the agent said was handled and all that the handler sent has arrived.

        It does not wait for what a handler does in threads of its own. The handler's ``on_message``
        must return, or the handler must read its lines.

        Raises:
            AssertionError: it did not happen in time.
        """
        number = next(_numbers)
        self.agent.emit(f"{_ASK}{number}")
        record = self.agent._record
        record.forget(record.expect(
            f"{_ANSWER}{number}", self.deadline if timeout is None else timeout))

    def _end_agent(self) -> None:
        self.agent.leave()
        if self.agent.crashed:
            self.fail(f"the agent is {self.agent.crashed}")

    def _end_server(self) -> None:
        self.assertEqual(self.server.shutdown(self.deadline), [], "threads still in user code")
        end = time.monotonic() + self.deadline
        while left := self._left_threads():
            if time.monotonic() > end:
                self.fail(f"threads still run: {', '.join(sorted(left))}")
            time.sleep(0.002)

    def _left_threads(self) -> list[str]:
        return [each.name for each in set(threading.enumerate()) - self._threads_before
                if each.name.startswith("mmdagent-")]


def _watched_routes(handler: Any) -> Any:
    if handler is None:
        return None
    if isinstance(handler, Mapping):
        return {path: _watched(each) for path, each in handler.items()}
    return _watched(handler) if callable(handler) else handler


def _watched(factory: Callable[[], Any]) -> Callable[[], Any]:
    def make() -> Any:
        handler = factory()
        if isinstance(handler, Handler):
            _watch(handler)
        return handler
    return make


def _watch(handler: Handler) -> None:
    # The marks of sync() are answered where a line reaches the user's code, after all lines before.
    on_message, read = handler.on_message, handler._read_message

    def watched_on_message(message: Message) -> None:
        if not _answered(handler, message):
            on_message(message)

    def watched_read(timeout: Optional[float]) -> Message:
        message = read(timeout)
        while _answered(handler, message):
            message = read(timeout)
        return message

    vars(handler).update(on_message=watched_on_message, _read_message=watched_read)
    if not is_default(handler, "on_text"):
        on_text = handler.on_text

        def watched_on_text(text: str) -> None:
            if not _answered(handler, text.rstrip("\n")):
                on_text(text)

        vars(handler).update(on_text=watched_on_text)


def _answered(handler: Handler, line: str) -> bool:
    if not line.startswith(_ASK):
        return False
    try:
        handler.write_line(_ANSWER + line[len(_ASK):])
    except ConnectionClosed:
        pass  # The agent left; sync() reports it.
    return True
