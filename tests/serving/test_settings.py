"""Which path goes to which handler, and which clients may connect."""

from __future__ import annotations

import dataclasses
import unittest
from typing import Any, Optional

from mmdagent_remote.limits import Limits
from mmdagent_remote.profile import MMDAGENT_EX
from mmdagent_remote.serving.settings import Routes, Settings, normal_path


class One:
    """A handler."""


class Two:
    """Another handler."""


def routes(handler: Any, path: Optional[str] = None, follow: bool = False) -> Routes:
    return Routes(handler, path, follow_suffixes=follow)


def settings_of(**changes: Any) -> Settings:
    return dataclasses.replace(
        Settings(limits=Limits(), routes=routes(One), exclusive=False, ssl_context=None,
                 origins=frozenset(), subprotocols=(), compression=False, profile=None,
                 mmdagent=MMDAGENT_EX, fast_lane=True), **changes)


class RoutesTest(unittest.TestCase):
    """The handler of a path."""

    def test_one_handler_for_all(self) -> None:
        """Without a path every request goes to the one handler."""
        table = routes(One)
        for path in ("/", "/chat", "/a/b", "//", "/-1"):
            self.assertIs(table.find(path), One)
        self.assertEqual(table.first_path, "/")

    def test_one_path(self) -> None:
        """With a path any other has no handler; paths are compared exactly."""
        for given in ("/chat", "chat"):
            table = routes(One, given)
            self.assertIs(table.find("/chat"), One)
            for path in ("/", "/chat/", "/Chat", "//chat", "/chat-1", "chat", ""):
                with self.subTest(path):
                    self.assertIsNone(table.find(path))
            self.assertEqual(table.first_path, "/chat")

    def test_several_paths(self) -> None:
        """A dict gives each path its handler, with or without a leading slash."""
        table = routes({"/one": One, "two": Two, "": One})
        self.assertIs(table.find("/one"), One)
        self.assertIs(table.find("/two"), Two)
        self.assertIs(table.find("/"), One)
        self.assertIsNone(table.find("/three"))
        self.assertEqual(table.first_path, "/one")

    def test_a_path_outside_ascii(self) -> None:
        """Paths are decoded before they are compared."""
        self.assertIs(routes(One, "\u982c b").find("/\u982c b"), One)

    def test_suffixes(self) -> None:
        """The paths that MMDAgent-EX tries after a 429 lead to the same handler, if asked for."""
        table = routes({"/chat": One, "/chat-1-2": Two, "/": Two}, follow=True)
        for path in ("/chat", "/chat-1", "/chat-17", "/chat-1-3", "/chat-2-1", "/chat-12-3-4"):
            with self.subTest(path):
                self.assertIs(table.find(path), One)
        for path in ("/chat-1-2", "/chat-1-2-3", "/-1"):
            with self.subTest(path):
                self.assertIs(table.find(path), Two)
        for path in ("/chat-", "/chat-x", "/chat-1x", "/chat1", "/chat-1/", "/chat--", "/other-1"):
            with self.subTest(path):
                self.assertIsNone(table.find(path))

    def test_a_path_that_ends_like_a_suffix(self) -> None:
        """A path that itself ends with a number is found, with or without further suffixes."""
        table = routes(One, "/room-7", follow=True)
        self.assertIs(table.find("/room-7"), One)
        self.assertIs(table.find("/room-7-1"), One)
        self.assertIsNone(table.find("/room"))
        self.assertIsNone(table.find("/room-8"))

    def test_anything_callable(self) -> None:
        """A handler is anything callable."""
        def factory() -> One:
            return One()
        for handler in (One, factory, lambda: One()):
            self.assertIs(routes(handler).find("/"), handler)

    def test_no_handler(self) -> None:
        """A handler that cannot be called is a TypeError at once, not at the first request."""
        for handler in (None, 3, "One", One(), [One]):
            with self.subTest(handler):
                with self.assertRaises(TypeError):
                    routes(handler)
                with self.assertRaises(TypeError):
                    routes({"/": handler})
                with self.assertRaises(TypeError):
                    routes(handler, "/chat")

    def test_a_dict_and_a_path(self) -> None:
        """Both a dict and a path, or an empty dict, is a ValueError."""
        with self.assertRaises(ValueError):
            routes({"/": One}, "/chat")
        with self.assertRaises(ValueError):
            routes({})

    def test_what_is_no_path(self) -> None:
        """A path has no query, since paths are compared without it, and is a str."""
        for path in ("/chat?a=1", "?"):
            with self.subTest(path):
                with self.assertRaises(ValueError):
                    routes(One, path)
                with self.assertRaises(ValueError):
                    routes({path: One})
        with self.assertRaises(TypeError):
            routes({b"/": One})
        with self.assertRaises(TypeError):
            routes({None: One})

    def test_the_same_path_twice(self) -> None:
        """Two spellings of one path in a dict are a ValueError, since one would never be called."""
        with self.assertRaises(ValueError):
            routes({"chat": One, "/chat": Two})


class NormalPathTest(unittest.TestCase):
    """normal_path()."""

    def test_the_slash(self) -> None:
        """A missing leading slash is added, and nothing else changed."""
        for path, normal in (("", "/"), ("/", "/"), ("a", "/a"), ("/a", "/a"), ("//a", "//a"),
                             ("a/", "/a/"), (" ", "/ "), ("%41", "/%41")):
            with self.subTest(path):
                self.assertEqual(normal_path(path), normal)


class SettingsTest(unittest.TestCase):
    """What does not change while a server runs."""

    def test_origins(self) -> None:
        """No Origin is always allowed; an Origin is allowed only if it is listed exactly."""
        none = settings_of()
        self.assertTrue(none.allows_origin(None))
        for origin in ("http://localhost", "null", "", "*"):
            with self.subTest(origin):
                self.assertFalse(none.allows_origin(origin))
        some = settings_of(origins=frozenset({"http://localhost:8000"}))
        self.assertTrue(some.allows_origin("http://localhost:8000"))
        for origin in ("http://localhost", "http://localhost:8000/", "https://localhost:8000",
                       "http://localhost:8000.evil", "HTTP://localhost:8000"):
            with self.subTest(origin):
                self.assertFalse(some.allows_origin(origin))

    def test_all_origins(self) -> None:
        """A star allows every origin."""
        some = settings_of(origins=frozenset({"*"}))
        for origin in (None, "http://anything", "null"):
            self.assertTrue(some.allows_origin(origin))

    def test_subprotocols(self) -> None:
        """Our first subprotocol that the client offers is chosen, or none."""
        some = settings_of(subprotocols=("a", "b"))
        self.assertEqual(some.choose_subprotocol(("b", "a")), "a")
        self.assertEqual(some.choose_subprotocol(("x", "b")), "b")
        self.assertIsNone(some.choose_subprotocol(("x", "A")))
        self.assertIsNone(some.choose_subprotocol(()))
        self.assertIsNone(settings_of().choose_subprotocol(("a",)))

    def test_it_does_not_change(self) -> None:
        """Settings are frozen, since every thread reads them."""
        with self.assertRaises(dataclasses.FrozenInstanceError):
            settings_of().exclusive = True  # type: ignore[misc]


if __name__ == "__main__":
    unittest.main()
