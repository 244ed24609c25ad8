"""A user's typed script: mypy --strict reads it, nothing runs it."""

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from mmdagent_remote import (Agent, ConnectionClosed, Handler, HandshakeRejected, InvalidMessage,
                             Message, Server, clean_text, on, serve)
from mmdagent_remote.callbacks import Client, WebsocketServer


class Typed(Handler):
    """Uses every hook and most calls."""

    echoes = False

    def on_request(self) -> None:
        if self.query.get("key", [""])[0] != "secret" or "X-Key" not in self.headers:
            raise HandshakeRejected(401, "Unauthorized")

    def on_open(self) -> None:
        self.spawn(self.tick, 2.0)

    def tick(self, seconds: float) -> None:
        while not self.wait_closed(seconds):
            self.send("TEXTAREA_SET", "clock", 12.5)

    def on_message(self, message: Message) -> None:
        match message:
            case Message("KEY", (key,)):
                self.send_lines([f"A|{clean_text(key)}", Message.of("B", 1)])
        answer: str = self.read_line(timeout=1)
        self.write_line(answer)

    def on_close(self, code: int, reason: str) -> None:
        print(code + 1, reason.upper(), self.path, self.remote_address[1] + 1)


class TypedDialogue(Agent):
    """Waits, speaks, and has methods for messages."""

    @on("RECOG_EVENT_START")
    def listen(self) -> None:
        self.stop_speaking("0")

    @on("RECOG_EVENT_STOP", re.compile(r"CHAT\|.+"), lambda message: message.type == "TYPED")
    def answer(self, text: str) -> None:
        history: list[str] = self.server.state[self.path].setdefault("history", [])
        history.append(text)
        spoken: Future[bool] = self.say("0", "mei_voice_normal", text)
        spoken.add_done_callback(self.spoken)
        streamed: Future[bool] = self.say_stream(0, "mei_voice_normal", self.tokens())
        print(streamed.cancelled())

    def tokens(self) -> Iterator[str]:
        yield "Hello. "

    def spoken(self, future: Future[bool]) -> None:
        print("to the end" if future.result() else "stopped")

    @on("KEY")
    def key(self, name: str) -> None:
        value: Message = self.request("VALUE_GET", name, timeout=None)
        print(value.args[-1].upper())
        self.request("TIMER_START", "t", 0.5, until=("TIMER_EVENT_STOP|t", "RECOG_EVENT_START"))
        later: Future[Message] = self.submit(Message.of("VALUE_SET", name, 1), until="VALUE_EVENT_SET")
        print(later.result(timeout=5).type, self.wait_for("A", re.compile("B.*"), timeout=2.5).is_echo)


def accepting() -> list[str]:
    """An accepting server."""
    with Server(port=0, max_queue=5) as server, ThreadPoolExecutor():
        agent: Agent = server.accept(timeout=60)
        with agent:
            try:
                agent.send("A")
                print(agent.request("VALUE_SET", "v", 1).type, agent.say("0", "v", "x").result(5))
            except (ConnectionClosed, InvalidMessage) as error:
                print(error)
            failed: list[Handler] = server.broadcast("X", 1)
            print(failed, server.url, server.address[1])
        return server.shutdown(timeout=1)


def message_received(client: Client, server: WebsocketServer, message: str) -> None:
    """A callback of the second front door."""
    server.send_message(client, f"{client['id']} said {message}")
    client["handler"].send_binary(b"x")
    print(client["address"][1] + 1, [each["handler"].path for each in server.clients], server.url)


if __name__ == "__main__":
    serve(Typed, port=9001, exclusive=True)
    serve({"/a": Typed, "/b": lambda: Typed(), "/c": TypedDialogue})
