"""This package as a contestant: the same roles through each of its ways to receive."""

from __future__ import annotations

import inspect
import threading
from typing import Any

from mmdagent_remote import Agent, ConnectionClosed, Handler, Message, Server

from .roles import RARE, Talk, pull

#: More connections than any work has, including those of the last round that are just ending.
_MAX_CONNECTIONS = 12000


def has_lane() -> bool:
    """Whether this version has the option ``fast_lane``."""
    return "fast_lane" in inspect.signature(Server).parameters


def start(order: dict[str, Any], context: Any) -> int:
    """Start it; returns the port."""
    options: dict[str, Any] = {"ssl_context": context, "max_connections": _MAX_CONNECTIONS}
    if order["fast_lane"] is not None:
        options["fast_lane"] = order["fast_lane"]
    handler = None if order["api"] == "read_line" else _handler(order)
    server = Server(handler, "127.0.0.1", 0, **options).start()
    if handler is None:
        threading.Thread(target=_accept, args=(server, order), daemon=True, name="accept").start()
    return server.port


class MessageEcho(Handler):
    def on_message(self, message: Message) -> None:
        self.send(message)


class TextEcho(Handler):
    def on_text(self, text: str) -> None:
        self.send_text(text)


class MessageSink(Handler):
    count = 0

    def on_message(self, message: Message) -> None:
        if message[0] != "?":
            self.count += 1
        else:
            self.send(str(self.count))
            self.count = 0


class TextSink(Handler):
    count = 0

    def on_text(self, text: str) -> None:
        if text[0] != "?":
            self.count += 1
        else:
            self.send_text(f"{self.count}\n")
            self.count = 0


def _handler(order: dict[str, Any]) -> type[Handler]:
    class MessageRole(Handler):
        def on_open(self) -> None:
            self.take = RARE[order["role"]](_talk(self), order)

        def on_message(self, message: Message) -> None:
            self.take(message)

    class TextRole(Handler):
        def on_open(self) -> None:
            talk = Talk(self.send_text, broadcast=self.server.broadcast)
            self.take = RARE[order["role"]](talk, order)

        def on_text(self, text: str) -> None:
            self.take(text)

    handlers: dict[tuple[str, str], type[Handler]] = {
        ("message", "echo"): MessageEcho, ("message", "sink"): MessageSink,
        ("text", "echo"): TextEcho, ("text", "sink"): TextSink}
    return handlers.get((order["api"], order["role"]),
                        MessageRole if order["api"] == "message" else TextRole)


def _talk(handler: Handler) -> Talk:
    return Talk(handler.send, send_many=handler.send_lines, broadcast=handler.server.broadcast)


def _accept(server: Server, order: dict[str, Any]) -> None:
    def one(agent: Agent) -> None:
        try:
            pull(agent.read_line, _talk(agent), order)
        except ConnectionClosed:
            pass

    while True:
        threading.Thread(target=one, args=(server.accept(),), daemon=True).start()
