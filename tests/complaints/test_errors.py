"""What users of threaded servers complain about: errors, logging, tests, types."""

from __future__ import annotations

import inspect
import logging
import typing
from pathlib import Path

import mmdagent_remote
from mmdagent_remote import ConnectionClosed, Message

from ..attack import Echo, HostileCase, reset, wait_done
from ..client import CLOSE, Client, frame
from ..support import DEADLINE, Recorder, TestCase, fill, wait_until


class NoiseTests(HostileCase):
    """Ends that are not errors."""

    def test_a_closed_tab(self) -> None:
        """48, websockets #837: however a client leaves, its end is one INFO line and no traceback."""
        for end in (reset, lambda client: client.sock.close(),
                    lambda client: client.send(frame(b"\x03\xe9", CLOSE)),
                    lambda client: client.send(frame(b"", CLOSE))):
            for mmdagent in (False, True):
                server = self.serve(Echo)
                with self.logged() as lines, Client(server, mmdagent=mmdagent) as client:
                    self.assert_served(client)
                    handler = server.wait_connected(DEADLINE)
                    end(client)
                    wait_done(handler)
                    client.sock.close()
                    wait_until(lambda: not server._running().registry.sessions)
                self.assertEqual([line.split(": ")[1].split()[0] for line in lines.at(logging.DEBUG)],
                                 ["connected", "closed"])

    def test_one_error_for_all_timeouts(self) -> None:
        """48, flask-sock #21: the error at the end does not depend on the timeout of the read."""
        for end, code in ((reset, 1006), (lambda client: client.sock.close(), 1006),
                          (lambda client: client.send(frame(b"\x0f\xa0", CLOSE)), 4000)):
            codes = []
            for timeout in (None, DEADLINE, 0):
                server = self.serve()
                with Client(server) as client:
                    agent = server.accept(DEADLINE)
                    end(client)
                    self.assertTrue(timeout != 0 or agent.wait_closed(DEADLINE))
                    with self.assertRaises(ConnectionClosed) as caught:
                        agent.read_line(timeout)
                    codes.append(caught.exception.code)
            self.assertEqual(codes, [code] * 3)

    def test_failing_closes(self) -> None:
        """51, ws4py #150: a close or shutdown after the peer has gone raises and logs nothing."""
        for close in (lambda agent: agent.close(), lambda agent: agent.server.shutdown(DEADLINE)):
            for _ in range(10):
                server = self.serve()
                with self.logged() as lines, Client(server) as client:
                    agent = server.accept(DEADLINE)
                    agent.send("A")
                    reset(client)
                    close(agent)
                    self.assertTrue(agent.wait_closed(DEADLINE))
                    wait_until(lambda: agent._connected().fileno() == -1)
                self.assertEqual(lines.at(logging.WARNING), [])

    def test_lines_behind_a_close(self) -> None:
        """51, ws4py #198: lines that could not be sent cost one WARNING, without a traceback."""
        server = self.serve(Recorder, send_timeout=DEADLINE)
        with self.logged() as lines, Client(server) as client:
            handler = server.wait_connected(DEADLINE)
            fill(handler)
            handler.close()
            wait_done(handler)
            client.sock.close()
        warnings = lines.at(logging.WARNING)
        self.assertEqual(len(warnings), 1)
        self.assertRegex(warnings[0], r": \d+ lines could not be sent before the end$")


class ReconnectTests(HostileCase):
    """The peer reconnects, the server does not."""

    def test_every_connection_is_new(self) -> None:
        """54, websocket-client #95: after each reconnect a new handler starts at on_open."""
        handlers = []

        class Greeting(Recorder):
            def on_open(self) -> None:
                super().on_open()
                handlers.append(self)
                self.send("HELLO", len(handlers))

            def on_message(self, message: Message) -> None:
                super().on_message(message)
                self.send("SEEN", len(self.messages_seen))

        server = self.serve(Greeting, exclusive=True)
        for number in range(1, 6):
            with Client(server, "/chat", mmdagent=True) as client:
                self.assertEqual(client.lines(1), [f"HELLO|{number}"])
                client.text("x\n")
                self.assertEqual(client.lines(1), ["SEEN|1"])
        for handler in handlers:
            wait_done(handler)
        self.assertEqual(len(set(map(id, handlers))), 5)
        self.assertEqual([handler.closes for handler in handlers], [[(1006, "")]] * 5)


class TypesTests(TestCase):
    """Hints for users' type checkers."""

    def test_everything_public_is_typed(self) -> None:
        """53, websockets #1346: the package is marked as typed, and all public names have hints."""
        package = Path(mmdagent_remote.__file__).parent
        self.assertTrue((package / "py.typed").is_file())
        for name in mmdagent_remote.__all__:
            found = getattr(mmdagent_remote, name)
            with self.subTest(name):
                for function in self.functions_of(found):
                    self.check(function)

    def functions_of(self, found: object) -> list[typing.Any]:
        """A function itself, or the public functions that a class defines."""
        if inspect.isfunction(found):
            return [found]
        if not inspect.isclass(found):
            return []
        functions = []
        for name, each in vars(found).items():
            each = getattr(each, "fget", None) or getattr(each, "__func__", each)
            if inspect.isfunction(each) and (not name.startswith("_") or name == "__init__"):
                functions.append(each)
        return functions

    def check(self, function: typing.Any) -> None:
        """Every parameter except self, and the result, has an annotation."""
        signature = inspect.signature(function)
        names = [name for number, name in enumerate(signature.parameters)
                 if number or name not in ("self", "cls")]
        for name in names:
            self.assertIsNot(signature.parameters[name].annotation, inspect.Parameter.empty,
                             f"{function.__qualname__}({name})")
        self.assertIsNot(signature.return_annotation, inspect.Signature.empty, function.__qualname__)
