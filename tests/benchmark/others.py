"""The other packages, each used as documented, with its own defaults except for TCP_NODELAY."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import suppress
from typing import Any

from .floor import accept_all
from .roles import RARE, Everybody, Talk, pull


def start_websockets(order: dict[str, Any], context: Any) -> int:
    """The threaded server of websockets."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.server import ServerConnection, serve

    everybody = Everybody()

    def handler(connection: ServerConnection) -> None:
        talk = Talk(connection.send, broadcast=everybody.broadcast)
        with everybody.joined(talk.send), suppress(ConnectionClosed):
            pull(connection.recv, talk, order)

    server = serve(handler, "127.0.0.1", 0, ssl=context)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port: int = server.socket.getsockname()[1]
    return port


def start_simple_websocket(order: dict[str, Any], context: Any) -> int:
    """simple-websocket, behind a bare thread that accepts and makes the environ of a web server."""
    from simple_websocket import ConnectionClosed, Server

    everybody = Everybody()

    def serve(sock: socket.socket, fields: dict[str, str]) -> None:
        environ: dict[str, Any] = {f"HTTP_{name.upper().replace('-', '_')}": value
                                   for name, value in fields.items()}
        environ |= {"werkzeug.socket": sock, "PATH_INFO": "/", "QUERY_STRING": ""}
        connection = Server.accept(environ)
        talk = Talk(connection.send, broadcast=everybody.broadcast)
        with everybody.joined(talk.send), suppress(ConnectionClosed):
            pull(connection.receive, talk, order)
        # Its own thread is still answering the Close, and then closes the socket.
        connection.thread.join(5)

    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    accept_all(listener, context, serve, "simple-websocket")
    port: int = listener.getsockname()[1]
    return port


def start_websocket_server(order: dict[str, Any], context: Any) -> int:
    """websocket-server, which sets up TLS itself, from the same files."""
    from websocket_server import WebSocketHandler, WebsocketServer  # type: ignore[import-untyped]

    from .serve import CERTIFICATE, KEY

    # All others set TCP_NODELAY. Without it much of the time is a wait of 40 ms for the client's
    # kernel.
    WebSocketHandler.disable_nagle_algorithm = True

    # It logs the end of a client as a warning.
    files = {"cert": str(CERTIFICATE), "key": str(KEY)} if context is not None else {}
    server = WebsocketServer(host="127.0.0.1", port=0, loglevel=logging.CRITICAL, **files)
    server.set_fn_message_received(_callback(order))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port: int = server.port
    return port


def _callback(order: dict[str, Any]) -> Any:
    def echo(client: Any, server: Any, message: str) -> None:
        server.send_message(client, message)

    def sink(client: Any, server: Any, message: str) -> None:
        if message[0] != "?":
            client["count"] = client.get("count", 0) + 1
        else:
            server.send_message(client, f"{client.pop('count', 0)}\n")

    def rare(client: Any, server: Any, message: str) -> None:
        if "take" not in client:
            talk = Talk(lambda text: server.send_message(client, text),
                        broadcast=server.send_message_to_all)
            client["take"] = RARE[order["role"]](talk, order)
        client["take"](message)

    return {"echo": echo, "sink": sink}.get(order["role"], rare)
