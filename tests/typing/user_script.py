"""A user's typed script: mypy --strict reads it, nothing runs it."""

from concurrent.futures import ThreadPoolExecutor

from mmdagent_remote import (Agent, ConnectionClosed, Handler, HandshakeRejected, InvalidMessage,
                             Message, Server, clean_text, serve)
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


def accepting() -> list[str]:
    """An accepting server."""
    with Server(port=0, max_queue=5) as server, ThreadPoolExecutor():
        agent: Agent = server.accept(timeout=60)
        with agent:
            try:
                agent.send("A")
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
    serve({"/a": Typed, "/b": lambda: Typed()})
