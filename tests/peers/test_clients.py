"""The main use, with clients that this project did not write."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import unittest

import websocket
from websockets.exceptions import ConnectionClosed as ClientClosed
from websockets.sync.client import connect

from mmdagent_remote import Message, Server

from ..support import DEADLINE, Recorder, TestCase, wait_until

AGENT = {"X-App-Type": "MMDAgent"}

NODE_CLIENT = """
const ws = new WebSocket(process.argv[1]);
let seen = [];
ws.onopen = () => ws.send("HELLO|node\\n");
ws.onmessage = event => { seen.push(event.data); if (seen.length == 2) ws.close(4000, "done"); };
ws.onclose = event => console.log(JSON.stringify({seen, code: event.code, clean: event.wasClean}));
"""


class Dialogue(Recorder):
    """Answers each line with two."""

    def on_message(self, message: Message) -> None:
        super().on_message(message)
        if not message.is_echo:
            self.send("ANSWER", str(message).replace("|", "/"))
            self.send("THEN", "more")


class ClientTests(TestCase):
    """Each client connects, sends and receives lines, and leaves."""

    def check(self, server: Server, lines: list[str], code: int) -> None:
        """The handler has seen what it should."""
        wait_until(lambda: self.handler.done.is_set())
        self.assertEqual(self.handler.messages_seen, lines)
        self.assertEqual(self.handler.closes[0][0], code)

    def serve_dialogue(self) -> Server:
        """Start a server that keeps its one handler."""
        def factory() -> Dialogue:
            self.handler = Dialogue()
            return self.handler
        return self.serve(factory)

    def test_websockets(self) -> None:
        """websockets' client talks, pings and closes cleanly, as any client and as an agent."""
        for headers in ({}, AGENT):
            server = self.serve_dialogue()
            with connect(server.url, additional_headers=headers) as client:
                client.send("HELLO|a\n")
                text = ""
                while text.count("\n") < 2:
                    text += client.recv(timeout=DEADLINE)
                self.assertEqual(text, "ANSWER|HELLO/a\nTHEN|more\n")
                self.assertTrue(client.ping().wait(DEADLINE))
            self.check(server, ["HELLO|a"], 1000)

    def test_websockets_is_told(self) -> None:
        """websockets' client sees the code of our close."""
        server = self.serve_dialogue()
        with connect(server.url) as client:
            server.wait_connected(DEADLINE).close(4001, "enough")
            with self.assertRaises(ClientClosed) as caught:
                client.recv(timeout=DEADLINE)
        self.assertEqual((caught.exception.rcvd.code, caught.exception.rcvd.reason), (4001, "enough"))

    def test_websocket_client(self) -> None:
        """websocket-client talks and closes."""
        server = self.serve_dialogue()
        client = websocket.create_connection(server.url, timeout=DEADLINE, suppress_origin=True)
        client.send("HELLO|b\n")
        self.assertEqual([client.recv(), client.recv()], ["ANSWER|HELLO/b\n", "THEN|more\n"])
        client.close()
        self.check(server, ["HELLO|b"], 1000)

    def test_node(self) -> None:
        """Node's built-in WebSocket (22 and later; 20 and 21 behind a flag) talks and closes."""
        node = shutil.which("node")
        if node is None:
            raise unittest.SkipTest("there is no node on this machine")
        server = self.serve_dialogue()
        command = [node, "-e", NODE_CLIENT, server.url]
        if subprocess.run([node, "-p", "typeof WebSocket"], capture_output=True,
                          text=True).stdout.strip() != "function":
            command.insert(1, "--experimental-websocket")
        result = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        if "bad option" in result.stderr or "is not defined" in result.stderr:
            raise unittest.SkipTest("this node has no WebSocket of its own")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads(result.stdout), {
            "seen": ["ANSWER|HELLO/node\n", "THEN|more\n"], "code": 4000, "clean": True})
        self.check(server, ["HELLO|node"], 4000)

    def test_two_agents(self) -> None:
        """Two agents at once are served independently, each by its own handler."""
        server = self.serve(Dialogue)
        with connect(server.url, additional_headers=AGENT) as one, connect(server.url) as two:
            one.send("A\n")
            two.send("B\n")
            wait_until(lambda: len(server.connections) == 2)
            wait_until(lambda: all(handler.messages_seen for handler in server.connections))
            seen = [handler.messages_seen for handler in server.connections]
        self.assertEqual(seen, [["A"], ["B"]])

    def test_server_restarts(self) -> None:
        """An agent that retries comes back when the server is started again on its port."""
        server = self.serve(Dialogue)
        opened, stop = [], threading.Event()

        def agent() -> None:
            while not stop.is_set():
                try:
                    with connect(server.url, additional_headers=AGENT, open_timeout=1) as client:
                        opened.append(client)
                        for _ in client:
                            pass
                except OSError:
                    stop.wait(0.05)
        self.in_thread(agent)
        self.addCleanup(stop.set)
        wait_until(lambda: len(opened) == 1)
        port = server.port
        for count in (2, 3):
            server.shutdown()
            server._wanted_port = port
            server.start()
            wait_until(lambda: len(opened) == count)
        stop.set()
        server.shutdown()
