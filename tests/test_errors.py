"""The exception tree."""

from __future__ import annotations

import ast
import builtins
import inspect
import pickle
import unittest

from mmdagent_remote import errors
from mmdagent_remote.errors import (ConnectionClosed, HandshakeRejected, InvalidMessage,
                                    MMDAgentRemoteError, QueueFull)


def all_errors() -> list[type]:
    return [value for value in vars(errors).values()
            if isinstance(value, type) and issubclass(value, Exception)]


class TreeTest(unittest.TestCase):
    """Which error inherits from which."""

    def test_base(self) -> None:
        """Every error that this package defines is an MMDAgentRemoteError."""
        self.assertEqual(len(all_errors()), 5)
        for error in all_errors():
            with self.subTest(error.__name__):
                self.assertTrue(issubclass(error, MMDAgentRemoteError))

    def test_no_builtin_is_shadowed(self) -> None:
        """No error has the name of a builtin exception."""
        for error in all_errors():
            with self.subTest(error.__name__):
                self.assertFalse(hasattr(builtins, error.__name__))

    def test_invalid_message_is_a_value_error(self) -> None:
        """InvalidMessage is a ValueError; no other error of the tree is."""
        self.assertEqual([error for error in all_errors() if issubclass(error, ValueError)],
                         [InvalidMessage])

    def test_no_error_is_a_timeout_or_an_os_error(self) -> None:
        """No error of the tree is a TimeoutError or an OSError; the builtin ones are used."""
        for error in all_errors():
            with self.subTest(error.__name__):
                self.assertFalse(issubclass(error, OSError))

    def test_the_module_docstring_draws_the_tree(self) -> None:
        """The tree in the module's docstring names every error."""
        for error in all_errors():
            with self.subTest(error.__name__):
                self.assertIn(error.__name__, errors.__doc__ or "")

    def test_it_imports_nothing(self) -> None:
        """The module of the errors imports nothing, so that every other module may import it."""
        tree = ast.parse(inspect.getsource(errors))
        found = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
        self.assertEqual(found, [])


class ConnectionClosedTest(unittest.TestCase):
    """The end of a connection, as an exception."""

    def test_it_carries_code_and_reason(self) -> None:
        """Code, reason and the connection's name are attributes."""
        error = ConnectionClosed(1001, "going away", connection="mmdagent-remote-7")
        self.assertEqual((error.code, error.reason, error.connection),
                         (1001, "going away", "mmdagent-remote-7"))
        self.assertEqual(error.args, (1001, "going away"))

    def test_its_text_names_the_connection(self) -> None:
        """The text says which connection ended, and with which code and reason."""
        self.assertEqual(str(ConnectionClosed(1001, "bye", connection="mmdagent-remote-7")),
                         "mmdagent-remote-7 is closed: 1001 (bye)")

    def test_its_text_without_a_reason(self) -> None:
        """The text is a whole sentence even without a name and a reason."""
        self.assertEqual(str(ConnectionClosed(1006)), "the connection is closed: 1006")

    def test_it_survives_pickling(self) -> None:
        """It can be sent to another process, for example as the exception of a future."""
        error = pickle.loads(pickle.dumps(ConnectionClosed(1001, "bye", connection="c")))
        self.assertEqual((error.code, error.reason, error.connection), (1001, "bye", "c"))


class HandshakeRejectedTest(unittest.TestCase):
    """A refusal that user code raises."""

    def test_the_status_is_from_400_to_599(self) -> None:
        """400 and 599 are accepted; 399 and 600 are a ValueError."""
        for status in (400, 401, 503, 598, 599):
            self.assertEqual(HandshakeRejected(status).status, status)
        for status in (-1, 0, 101, 200, 399, 600, 1000):
            with self.subTest(status), self.assertRaisesRegex(ValueError, str(status)):
                HandshakeRejected(status)

    def test_the_reason_is_printable_ascii(self) -> None:
        """A reason that would break the status line is a ValueError."""
        for reason in ("", "Too Many Requests", "~ !"):
            self.assertEqual(HandshakeRejected(429, reason).reason, reason)
        for reason in ("a\r\nSet-Cookie: x", "a\nb", "\0", "\x7f", "caf\u00e9", "\u3042", "\ud800"):
            with self.subTest(reason), self.assertRaises(ValueError):
                HandshakeRejected(429, reason)

    def test_it_survives_pickling(self) -> None:
        """Status and reason survive pickling."""
        error = pickle.loads(pickle.dumps(HandshakeRejected(403, "No")))
        self.assertEqual((error.status, error.reason), (403, "No"))


class PlainErrorsTest(unittest.TestCase):
    """Errors that carry only a text."""

    def test_they_carry_a_text(self) -> None:
        """InvalidMessage and QueueFull have the text that they were given."""
        for error in (InvalidMessage, QueueFull):
            self.assertEqual(str(error("what is wrong")), "what is wrong")


if __name__ == "__main__":
    unittest.main()
