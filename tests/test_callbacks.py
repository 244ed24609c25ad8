"""``callbacks.py``: the API for scripts written for websocket-server."""

from __future__ import annotations

import inspect
import io
import logging
import socket
import ssl
import subprocess
import sys
import threading
import unittest
from typing import Any

import websocket

from mmdagent_remote import ConnectionClosed, InvalidMessage, Server, callbacks
from mmdagent_remote.callbacks import API, Client, WebSocketHandler, WebsocketServer
from tests.client import BINARY, CLOSE, TEXT
from tests.client import Client as RawClient
from tests.client import frame, request
from tests.support import DATA, DEADLINE, PROJECT, TestCase, wait_until

CERT, KEY = str(DATA / "localhost-cert.pem"), str(DATA / "localhost-key.pem")

#: The methods of the package's class that are not inherited from socketserver.
PUBLIC = ["allow_new_connections", "client_left", "deny_new_connections",
          "disconnect_clients_abruptly", "disconnect_clients_gracefully", "message_received",
          "new_client", "run_forever", "send_message", "send_message_to_all",
          "set_fn_client_left", "set_fn_message_received", "set_fn_new_client",
          "shutdown_abruptly", "shutdown_gracefully"]


class Noting(WebsocketServer):
    """Overrides the callbacks, and notes their calls."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.came: list[Client] = []
        self.left: list[Client] = []
        self.messages: list[Any] = []

    def new_client(self, client: Client, server: WebsocketServer) -> None:
        self.came.append(client)

    def client_left(self, client: Client, server: WebsocketServer) -> None:
        self.left.append(client)

    def message_received(self, client: Client, server: WebsocketServer, message: Any) -> None:
        self.messages.append(message)


class CallbacksCase(TestCase):
    """Makes servers that run in a thread, and clients of websocket-client."""

    def setUp(self) -> None:
        logger, quiet = logging.getLogger("mmdagent_remote"), logging.NullHandler()
        logging.getLogger().addHandler(quiet)
        self.addCleanup(logging.getLogger().removeHandler, quiet)
        self.addCleanup(logger.removeHandler, callbacks._printer)
        self.addCleanup(logger.setLevel, logger.level)

    def front(self, kind: type[WebsocketServer] = Noting, **options: Any) -> Any:
        """A running server, ended with the test."""
        server = kind(**options)
        self.addCleanup(server.server_close)
        server.run_forever(threaded=True)
        return server

    def client(self, server: WebsocketServer, **options: Any) -> Any:
        """A connected client."""
        client = websocket.create_connection(
            f"ws://127.0.0.1:{server.port}/", timeout=DEADLINE, **options)
        self.addCleanup(client.shutdown)
        return client

    def agent(self, server: WebsocketServer) -> RawClient:
        """A client that is treated as MMDAgent-EX."""
        client = RawClient(server, "/chat", mmdagent=True)
        self.addCleanup(client.sock.close)
        return client


class SurfaceTest(CallbacksCase):
    """The names that a script can use."""

    def test_names(self) -> None:
        """All public methods of the package's class are there, with its arguments."""
        import websocket_server
        package = websocket_server.WebsocketServer
        for name in PUBLIC:
            with self.subTest(name):
                theirs = inspect.signature(getattr(package, name)).parameters
                ours = inspect.signature(getattr(WebsocketServer, name)).parameters
                self.assertEqual(list(ours), list(theirs))
        theirs = list(inspect.signature(package).parameters)
        self.assertEqual(list(inspect.signature(WebsocketServer).parameters)[:len(theirs)], theirs)

    def test_is_the_packages_api(self) -> None:
        """A server is an instance of the package's API, and of our Server."""
        server = self.front()
        self.assertIsInstance(server, API)
        self.assertIsInstance(server, Server)

    def test_attributes_before_it_runs(self) -> None:
        """A server listens as soon as it is made, and its attributes tell where."""
        server = WebsocketServer()
        self.addCleanup(server.server_close)
        self.assertEqual((server.host, server.port), server.server_address)
        self.assertEqual(server.socket.getsockname(), server.server_address)
        self.assertEqual((server.clients, server.thread), ([], None))
        with socket.create_connection(server.server_address, timeout=DEADLINE):
            pass

    def test_a_client_that_is_early_waits(self) -> None:
        """A client that connects before run_forever() is served once that is called."""
        server = Noting()
        self.addCleanup(server.server_close)
        early = RawClient(server, open=False)
        self.addCleanup(early.sock.close)
        server.run_forever(threaded=True)
        early.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertIn("400", early.read_head())

    def test_port_in_use(self) -> None:
        """A port that is taken is an OSError that names it, when the server is made."""
        first = WebsocketServer()
        self.addCleanup(first.server_close)
        with self.assertRaisesRegex(OSError, f"127.0.0.1:{first.port}"):
            WebsocketServer(port=first.port)

    def test_options_of_server(self) -> None:
        """Options of Server are taken by name; an unknown one is a TypeError."""
        server = self.front(max_message_size=10)
        client = RawClient(server)
        self.addCleanup(client.sock.close)
        client.text("x" * 11)
        self.assertEqual(client.close_code(), 1009)
        with self.assertRaisesRegex(TypeError, "no_such_option"):
            WebsocketServer(no_such_option=1)

    def test_response_key(self) -> None:
        """The handler's class methods answer the example of RFC 6455 as those of the package do."""
        self.assertEqual(WebSocketHandler.calculate_response_key("dGhlIHNhbXBsZSBub25jZQ=="),
                         "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        response = WebSocketHandler.make_handshake_response("dGhlIHNhbXBsZSBub25jZQ==")
        self.assertIn("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", response)


class CallbackTest(CallbacksCase):
    """The three callbacks, and the list of clients."""

    def test_functions(self) -> None:
        """The set functions get client, server and message, in the thread of the client."""
        calls: list[tuple[Any, ...]] = []
        server = self.front(WebsocketServer)
        server.set_fn_new_client(lambda *args: calls.append(("new", *args)))
        server.set_fn_message_received(
            lambda *args: calls.append(("message", *args, threading.current_thread().name)))
        server.set_fn_client_left(lambda *args: calls.append(("left", *args)))
        connection = self.client(server)
        client, = server.clients
        connection.send("hello\n")
        wait_until(lambda: len(calls) == 2)
        connection.close()
        wait_until(lambda: len(calls) == 3)
        name = client["handler"]._connected().name
        self.assertEqual(calls, [("new", client, server),
                                 ("message", client, server, "hello\n", name),
                                 ("left", client, server)])

    def test_client(self) -> None:
        """A client is a dict with its number, its handler and its address."""
        server = self.front()
        addresses = [self.client(server).sock.getsockname() for _ in range(2)]
        first, second = server.clients
        self.assertEqual([sorted(first), first["id"], second["id"], server.id_counter],
                         [["address", "handler", "id"], 1, 2, 2])
        self.assertEqual([first["address"], second["handler"].client_address], addresses)
        self.assertIs(first["handler"].server, server)
        self.assertIs(first["handler"].client, first)

    def test_listed_as_soon_as_connected(self) -> None:
        """A client that has connected is listed at once, and gets the next broadcast."""
        server = self.front()
        for number in range(1, 41):
            connection = self.client(server)
            server.send_message_to_all(str(number))
            self.assertEqual((connection.recv(), len(server.clients)), (str(number), 1))
            connection.close()
            self.assertEqual(server.clients, [])

    def test_still_listed_in_its_own_client_left(self) -> None:
        """In client_left the client is still in the list; afterwards it is not."""
        server, seen = self.front(WebsocketServer), []

        def client_left(client: Client, server: WebsocketServer) -> None:
            server.clients.remove(client)  # Scripts for the package do this.
            seen.append(client in server.clients)
        server.set_fn_client_left(client_left)
        self.client(server).close()
        wait_until(lambda: seen)
        self.assertEqual((seen, server.clients), ([True], []))

    def test_left_without_close(self) -> None:
        """A client that vanishes is reported once."""
        server = self.front()
        for leave in (lambda raw: raw.sock.close(),
                      lambda raw: (raw.send(frame(b"", CLOSE)), raw.read_all())):
            raw = RawClient(server)
            server.left.clear()
            self.addCleanup(raw.sock.close)
            leave(raw)
            wait_until(lambda: server.left)
        wait_until(lambda: not server.connections)
        self.assertEqual(len(server.left), 1)

    def test_an_exception_in_a_callback(self) -> None:
        """An exception in a callback is logged with its traceback; the client stays connected."""
        server = self.front(WebsocketServer)
        server.set_fn_message_received(lambda client, server, message: int(message))
        connection = self.client(server)
        with self.assertLogs("mmdagent_remote", "ERROR") as logs:
            connection.send("seven")
            connection.ping("p")
            self.assertEqual(connection.recv_data_frame(control_frame=True)[0], 10)
            wait_until(lambda: logs.records)
        self.assertIn("ValueError", logs.output[0])
        self.assertEqual(len(server.clients), 1)

    def test_an_exception_in_client_left(self) -> None:
        """An exception in client_left is logged, and every client is still disconnected."""
        server = self.front(WebsocketServer)
        server.set_fn_client_left(lambda client, server: 1 / 0)
        connections = [self.client(server) for _ in range(3)]
        with self.assertLogs("mmdagent_remote", "ERROR") as logs:
            server.disconnect_clients_gracefully()
        self.assertEqual((server.clients, len(logs.records)), ([], 3))
        for connection in connections:
            self.assertEqual(connection.recv_data()[0], CLOSE)

    def test_binary_and_fragments(self) -> None:
        """A binary message is delivered as bytes, and a message in fragments as one."""
        server = self.front()
        raw = RawClient(server)
        self.addCleanup(raw.sock.close)
        raw.send(frame(b"\0\xff", BINARY) + frame("a", fin=False) + frame("b", 0))
        wait_until(lambda: len(server.messages) == 2)
        self.assertEqual(server.messages, [b"\0\xff", "ab"])

    def test_close_is_answered(self) -> None:
        """A client's Close is answered with its code."""
        server = self.front()
        raw = RawClient(server)
        self.addCleanup(raw.sock.close)
        raw.send(frame(b"\x0f\xa0bye", CLOSE))
        self.assertEqual(raw.close_code(), 4000)


class SendTest(CallbacksCase):
    """send_message(), send_message_to_all() and the handler's send_message()."""

    def test_texts(self) -> None:
        """str and UTF-8 bytes arrive as one text message, of any size."""
        server = self.front()
        connection = self.client(server)
        client, = server.clients
        for message in ("", "a|b", "とても", "x" * 1_500_000):
            server.send_message(client, message)
            self.assertEqual(connection.recv(), message)
            server.send_message_to_all(message.encode())
            self.assertEqual(connection.recv_data(), (TEXT, message.encode()))
        client["handler"].send_message("mine")
        self.assertEqual(connection.recv(), "mine")

    def test_what_is_no_text(self) -> None:
        """Anything but str and UTF-8 bytes logs a warning, and nothing is sent."""
        server = self.front()
        connection = self.client(server)
        for wrong in (42, None, b"\xff"):
            with self.assertLogs("mmdagent_remote.callbacks", "WARNING") as logs:
                server.send_message(server.clients[0], wrong)
                server.send_message_to_all(wrong)
            self.assertEqual(len(logs.records), 2)
        server.send_message_to_all("right")
        self.assertEqual(connection.recv(), "right")

    def test_to_a_client_that_left(self) -> None:
        """A send to a client that left raises BrokenPipeError; a send to all does not."""
        server = self.front()
        connection = self.client(server)
        client, = server.clients
        connection.close()
        with self.assertRaises(BrokenPipeError) as caught:
            server.send_message(client, "too late")
        self.assertIsInstance(caught.exception, ConnectionClosed)
        server.send_message_to_all("nobody")

    def test_the_socket(self) -> None:
        """The handler's socket refuses raw bytes, and raises BrokenPipeError after the end."""
        server = self.front()
        connection = self.client(server)
        view = server.clients[0]["handler"].connection
        self.assertEqual(view.getpeername(), connection.sock.getsockname())
        self.assertGreater(view.fileno(), 0)
        with self.assertRaises(io.UnsupportedOperation):
            view.send(b"test")
        view.close()
        self.assertEqual(connection.recv_data()[0], CLOSE)
        with self.assertRaises(BrokenPipeError):
            view.sendall(b"test")
        wait_until(lambda: view.fileno() == -1)

    def test_a_client_that_does_not_read(self) -> None:
        """A client that does not read delays no other's broadcast, and is given up in the end."""
        server = self.front(send_timeout=0.5, max_send_queue=65536)
        stalled, good = RawClient(server), self.client(server)
        self.addCleanup(stalled.sock.close)
        slow, healthy = server.clients
        texts: list[str] = []

        def broadcast() -> None:
            while slow in server.clients:
                texts.append(f"{len(texts)} " + "x" * 60_000)
                server.send_message_to_all(texts[-1])
            server.send_message_to_all("end")
        self.in_thread(broadcast)
        self.assertEqual(list(iter(good.recv, "end")), texts)
        self.assertEqual(server.clients, [healthy])
        wait_until(lambda: server.left)
        self.assertEqual(server.left, [slow])

    def test_a_slow_client_loses_nothing(self) -> None:
        """Broadcasts wait for a client that reads slowly; all arrive, in order."""
        server = self.front(max_send_queue=65536)
        client = self.client(server)
        sender = self.in_thread(
            lambda: [server.send_message_to_all(f"{n} " + "x" * 60_000) for n in range(150)])
        self.assertEqual([client.recv().split()[0] for _ in range(150)],
                         [str(n) for n in range(150)])
        sender.join(DEADLINE)


class DenyTest(CallbacksCase):
    """deny_new_connections() and allow_new_connections()."""

    def test_denied(self) -> None:
        """A denied client gets the code and the reason, and no callback is called for it."""
        server = self.front()
        for reason in (b"Try later", "Try later"):
            server.deny_new_connections(status=1013, reason=reason)
            opcode, data = self.client(server).recv_data()
            self.assertEqual((opcode, data), (CLOSE, b"\x03\xf5Try later"))
            self.assertEqual(server.clients, [])
        server.allow_new_connections()
        self.client(server)
        self.assertEqual(len(server.clients), 1)
        wait_until(lambda: server.came)
        self.assertEqual((server.came, server.left, server.id_counter), (server.clients, [], 1))

    def test_mmdagent_is_refused_before(self) -> None:
        """A denied MMDAgent-EX gets no connection, since it may not survive the end of one."""
        server = self.front()
        server.deny_new_connections()
        agent = RawClient(server, open=False)
        self.addCleanup(agent.sock.close)
        agent.send(request("/chat", mmdagent=True))
        self.assertTrue(agent.read_head().startswith("HTTP/1.1 503 "))

    def test_wrong_codes(self) -> None:
        """A code that must not be sent, or too long a reason, is a ValueError in the call."""
        server = self.front()
        for call in (server.deny_new_connections, server.disconnect_clients_gracefully,
                     server.shutdown_gracefully):
            for code, reason in ((999, b""), (1005, b""), (1006, b""), (1000, b"x" * 124)):
                with self.subTest(call.__name__, code=code), self.assertRaises(ValueError):
                    call(code, reason)
        self.client(server)
        self.assertEqual(len(server.clients), 1)


class DisconnectTest(CallbacksCase):
    """Disconnects by the script."""

    def two(self, server: Any) -> list[Any]:
        """Two clients that connected one after the other."""
        connections = []
        for count in (1, 2):
            connections.append(self.client(server))
            wait_until(lambda: len(server.came) == count)
        return connections

    def test_gracefully(self) -> None:
        """Every client gets the code, and has left, once, when the call returns."""
        server = self.front()
        connections = self.two(server)
        server.disconnect_clients_gracefully(1001, b"that is all")
        self.assertEqual((server.clients, server.left), ([], server.came))
        for connection in connections:
            self.assertEqual(connection.recv_data(), (CLOSE, b"\x03\xe9that is all"))
        wait_until(lambda: not server._run.registry.sessions)
        self.assertEqual(len(server.left), 2)
        self.client(server)
        self.assertEqual(len(server.clients), 1)

    def test_gracefully_cuts_who_goes_on_talking(self) -> None:
        """A client that does not answer the Close is soon cut off."""
        server = self.front()
        connection = self.client(server)
        server.disconnect_clients_gracefully()

        def fails() -> bool:
            try:
                connection.send("still here")
            except OSError:
                return True
            return False
        wait_until(fails)
        self.assertEqual(server.messages, [])

    def test_abruptly(self) -> None:
        """A client is sent nothing, no Close either; its next message is the last delivered."""
        server = self.front()
        connections = self.two(server)
        server.disconnect_clients_abruptly()
        self.assertEqual((server.clients, server.left), ([], server.came))
        for connection in connections:
            connection.ping("nobody answers")
            connection.send("last")
            with self.assertRaises(websocket.WebSocketConnectionClosedException):
                connection.recv()
        wait_until(lambda: not server._run.registry.sessions)
        self.assertEqual((server.messages, len(server.left)), (["last", "last"], 2))

    def test_abruptly_is_not_for_ever(self) -> None:
        """A client that sends no further message is cut off after a time."""
        self.addCleanup(setattr, callbacks, "_LAST_MESSAGE_TIME", callbacks._LAST_MESSAGE_TIME)
        callbacks._LAST_MESSAGE_TIME = 0.2
        for end in ("disconnect_clients_abruptly", "shutdown_abruptly"):
            server = self.front()
            connection = self.client(server)
            getattr(server, end)()
            with self.subTest(end), self.assertRaises(websocket.WebSocketConnectionClosedException):
                connection.recv()

    def test_abruptly_while_a_callback_runs(self) -> None:
        """After an abrupt disconnect during a callback, its message is the last."""
        server = self.front(WebsocketServer)
        go_on, messages = threading.Event(), []

        def message_received(client: Client, server: WebsocketServer, message: str) -> None:
            messages.append(message)
            go_on.wait(DEADLINE)
        server.set_fn_message_received(message_received)
        connection = self.client(server)
        connection.send("first")
        connection.send("second")
        wait_until(lambda: messages)
        server.disconnect_clients_abruptly()
        go_on.set()
        wait_until(lambda: not server._run.registry.sessions)
        self.assertEqual(messages, ["first"])

    def test_send_close(self) -> None:
        """One client is closed by its handler; the others stay."""
        server = self.front()
        first, second = self.two(server)
        server.clients[0]["handler"].send_close(4000, b"you")
        self.assertEqual(first.recv_data(), (CLOSE, b"\x0f\xa0you"))
        server.send_message_to_all("who is there?")
        self.assertEqual(second.recv(), "who is there?")
        wait_until(lambda: server.left)
        self.assertEqual([client["id"] for client in server.left], [1])


class ShutdownTest(CallbacksCase):
    """The end of a server."""

    def check_ended(self, server: Any) -> None:
        """The server's thread has ended, its port is free, and no client is connected."""
        self.assertFalse(server.thread.is_alive())
        self.assertEqual((server.socket.fileno(), server.clients), (-1, []))
        WebsocketServer(port=server.port).server_close()

    def test_all_ways(self) -> None:
        """Each way to shut down ends everything, even when repeated, with or without clients."""
        for clients in (0, 2):
            for name in ("shutdown_gracefully", "shutdown_abruptly", "server_close", "shutdown"):
                server = self.front()
                connections = [self.client(server) for _ in range(clients)]
                with self.subTest(name, clients=clients):
                    for _ in range(2):
                        getattr(server, name)()
                        self.check_ended(server)
                    for connection in connections:
                        connection.close()
                    wait_until(lambda: len(server.left) == clients)

    def test_gracefully_tells_the_code(self) -> None:
        """Clients get the code that shutdown_gracefully() was given."""
        server = self.front()
        connection = self.client(server)
        server.shutdown_gracefully(1012, b"back soon")
        self.assertEqual(connection.recv_data(), (CLOSE, b"\x03\xf4back soon"))

    def test_abruptly_hears_a_last_message(self) -> None:
        """After shutdown_abruptly() a client notices when it sends; that message is delivered."""
        server = self.front()
        connection = self.client(server)
        server.shutdown_abruptly()
        self.check_ended(server)
        connection.send("anybody there?")
        with self.assertRaises(websocket.WebSocketConnectionClosedException):
            connection.recv()
        self.assertEqual(server.messages, ["anybody there?"])

    def test_blocking_run_forever(self) -> None:
        """A blocking run_forever() returns when a callback shuts the server down."""
        server = WebsocketServer()
        self.addCleanup(server.server_close)
        server.set_fn_message_received(lambda client, server, message: server.shutdown_gracefully())
        runner = self.in_thread(server.run_forever)
        connection = self.client(server)
        self.assertIs(server.thread, runner)
        connection.send("stop")
        self.assertEqual(connection.recv_data()[0], CLOSE)
        runner.join(DEADLINE)
        self.check_ended(server)

    def test_again(self) -> None:
        """A server that was shut down can run again, on the same port."""
        server = self.front()
        port = server.port
        for end in (server.shutdown_gracefully, server.shutdown_abruptly, server.shutdown):
            connection = self.client(server)
            end()
            connection.shutdown()
            server.run_forever(threaded=True)
            self.assertEqual(server.port, port)
        self.assertEqual(len(server.clients), 0)
        self.client(server)
        self.assertEqual(len(server.clients), 1)

    def test_as_a_context_manager(self) -> None:
        """A `with` block starts the server and shuts it down."""
        with Noting() as server:
            connection = self.client(server)
            connection.send("hello")
            wait_until(lambda: server.messages == ["hello"])
        self.assertEqual(connection.recv_data(), (CLOSE, b"\x03\xe9the server is shutting down"))


class TLSTest(CallbacksCase):
    """key and cert."""

    def test_wss(self) -> None:
        """With both files the server speaks TLS and nothing else."""
        with self.assertLogs("mmdagent_remote", "WARNING"):  # MMDAgent-EX wants port 443.
            server = self.front(key=KEY, cert=CERT)
        connection = websocket.create_connection(
            f"wss://127.0.0.1:{server.port}/", timeout=DEADLINE, sslopt={"cert_reqs": ssl.CERT_NONE})
        self.addCleanup(connection.shutdown)
        server.send_message_to_all("secret")
        self.assertEqual(connection.recv(), "secret")
        plain = RawClient(server, open=False)
        self.addCleanup(plain.sock.close)
        plain.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertNotIn(b"HTTP", plain.read_all())

    def test_wrong_files(self) -> None:
        """A file that is missing or wrong is an error that names it when the server is made."""
        for key, cert, error, text in (
                (KEY, "/no/such/cert.pem", FileNotFoundError, "/no/such/cert.pem"),
                ("/no/such/key.pem", CERT, FileNotFoundError, "/no/such/key.pem"),
                (CERT, KEY, ValueError, "localhost-key.pem"),
                (None, CERT, ValueError, "localhost-cert.pem"),
                (KEY, None, ValueError, "key without cert")):
            with self.subTest(text), self.assertRaisesRegex(error, text):
                WebsocketServer(key=key, cert=cert)


class MMDAgentTest(CallbacksCase):
    """A client that is MMDAgent-EX."""

    def test_lines(self) -> None:
        """MMDAgent-EX gets each text as whole lines; other clients get it unchanged."""
        server = self.front()
        agent, other = self.agent(server), self.client(server)
        for text in ("KEY|a", "KEY|b\n", "\nKEY|c\r\n\r\nKEY|d", "STOP"):
            server.send_message_to_all(text)
            self.assertEqual(other.recv(), text)
        self.assertEqual(agent.lines(5), ["KEY|a", "KEY|b", "KEY|c", "KEY|d", "__AV_MESSAGE,STOP"])

    def test_what_would_hurt_it(self) -> None:
        """A text that would harm it raises; in a broadcast it logs a warning, others get it."""
        server = self.front()
        agent, other = self.agent(server), self.client(server)
        client = server.clients[0]
        for text in ("", "\n", "A|\0", "x" * 2047):
            with self.assertRaises(InvalidMessage):
                server.send_message(client, text)
            with self.assertLogs("mmdagent_remote.callbacks", "WARNING"):
                server.send_message_to_all(text)
            self.assertEqual(other.recv(), text)
        server.send_message(client, "fine")
        self.assertEqual(agent.lines(1), ["fine"])

    def test_messages(self) -> None:
        """Its messages are delivered unchanged, and its end without a Close calls client_left."""
        server = self.front()
        agent = self.agent(server)
        agent.text("RECOG_EVENT_STOP|こんにちは\n")
        wait_until(lambda: server.messages)
        self.assertEqual(server.messages, ["RECOG_EVENT_STOP|こんにちは\n"])
        agent.sock.close()
        wait_until(lambda: server.left)

    def test_disconnected(self) -> None:
        """The Close that it gets is empty."""
        server = self.front()
        agent = self.agent(server)
        server.disconnect_clients_gracefully(1001, b"bye")
        self.assertIsNone(agent.close_code())


class OriginTest(CallbacksCase):
    """Web pages."""

    def test_origins(self) -> None:
        """Any page may connect, unless `origins` lists the allowed ones."""
        for origins, allowed in (({}, True), ({"origins": "http://localhost:5000"}, False)):
            server = self.front(**origins)
            client = RawClient(server, open=False)
            self.addCleanup(client.sock.close)
            client.send(request("/", "Origin: http://elsewhere.example"))
            self.assertTrue(client.read_head().startswith(f"HTTP/1.1 {101 if allowed else 403} "))


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True,
                          text=True, timeout=60, check=False)


class LoggingTest(unittest.TestCase):
    """What importing and using it does to logging."""

    def check(self, code: str) -> str:
        """Run a program; returns its standard error."""
        done = run_python(code)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stderr

    def test_import_leaves_the_root_logger(self) -> None:
        """An import adds no handler or level to the root logger, and removes no handler."""
        self.assertEqual(self.check(
            "import logging, threading\nroot = logging.getLogger()\n"
            "mine = logging.NullHandler()\n"
            "import mmdagent_remote.callbacks\n"
            "assert (root.handlers, root.level) == ([], logging.WARNING), root.handlers\n"
            "assert threading.active_count() == 1\n"), "")
        self.assertEqual(self.check(
            "import logging\nroot = logging.getLogger()\n"
            "mine = logging.NullHandler()\nroot.addHandler(mine)\n"
            "import mmdagent_remote.callbacks\n"
            "assert root.handlers == [mine]\n"), "")

    def test_loglevel(self) -> None:
        """Lines of `loglevel` are printed while logging is not configured, else logged once."""
        serve = ("from mmdagent_remote.callbacks import WebsocketServer\n"
                 "server = WebsocketServer(loglevel=%s)\nserver.start()\nserver.server_close()\n")
        self.assertEqual(self.check(serve % "30"), "")
        lines = self.check(serve % "20").splitlines()
        self.assertRegex(lines[0], r"^INFO:mmdagent_remote\.server:listening on 127\.0\.0\.1:\d+$")
        configured = self.check("import logging\nlogging.basicConfig(format='%(message)s')\n"
                                + serve % "20").splitlines()
        self.assertRegex(configured[0], r"^listening on 127\.0\.0\.1:\d+$")
        self.assertEqual(len(configured), len(lines))

    def test_without_the_package_elsewhere(self) -> None:
        """The main package does not import websocket-server."""
        self.check("import sys, mmdagent_remote\nassert 'websocket_server' not in sys.modules\n")


if __name__ == "__main__":
    unittest.main()
