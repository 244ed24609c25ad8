"""The house: which module may import which, and what an import does not do."""

from __future__ import annotations

import ast
import subprocess
import sys
import unittest

from .house import (GROUND, LEVEL, NAME, PAGE, PROJECT, Import, imports, imports_of, modules,
                    wing_of, with_picture)

#: Wings and modules that know no socket, no thread, no clock and no log.
PURE = {"ground", "websocket", "vocabulary", "connection/linequeue", "connection/outbox",
        "serving/settings", "speech/sentences", "speech/mouth", "sound/format", "sound/playback",
        "testing/receiver", "testing/frames", "testing/documented", "testing/application", "cli/text",
        "cli/families",
        "cli/filters", "cli/recording", "cli/script", "cli/mdf", "cli/findings"}
IMPURE = {"socket", "select", "selectors", "ssl", "threading", "_thread", "queue", "time", "logging",
          "asyncio", "concurrent", "multiprocessing", "signal", "subprocess"}
#: What a module needs besides wsproto; the fast lane does without, when it is not there, and so does
#: the command line, but for certificates.
OUTSIDE = {"callbacks": {"websocket_server"}, "websocket/fastlane": {"websockets"},
           "cli/terminal": {"rich"}, "cli/certificate": {"cryptography"}}
#: For the type of an option only.
EXCEPTIONS = {("serving/settings", "ssl")}
#: Wings that users and the console script import from; the others have nothing but their page.
FRONT_DOORS = {"testing/__init__", "cli/__init__"}


def is_pure(module: str) -> bool:
    """Whether a module is in the table of the pure ones."""
    return module in PURE or wing_of(module) in PURE


class ImportReaderTest(unittest.TestCase):
    """The reader of imports, on its own."""

    def read(self, source: str, importer: str) -> list[Import]:
        known = dict.fromkeys(["__init__", "errors", "message", "server", "websocket/lines",
                               "connection/__init__", "connection/wire", "testing/__init__",
                               "testing/link"])
        return list(imports_of(source, importer, known))

    def test_all_ways_to_import(self) -> None:
        """It sees every way to import, inside functions too, and tells which are for types."""
        source = (
            "import os.path, mmdagent_remote.websocket.lines, mmdagent_remote\n"
            "from .connection.wire import Wire\n"
            "from .connection import wire\n"
            "from . import message, __version__\n"
            "from mmdagent_remote.errors import X\n"
            "if TYPE_CHECKING:\n    from .server import Server\nelse:\n    import time\n"
            "def f():\n    from .connection.wire import WireSealed as Y\n")
        self.assertEqual(self.read(source, "callbacks"), [
            ("os", False, False), ("websocket/lines", True, False), ("__init__", True, False),
            ("connection/wire", True, False), ("connection/wire", True, False),
            ("message", True, False), ("__init__", True, False), ("errors", True, False),
            ("server", True, True), ("time", False, False), ("connection/wire", True, False)])

    def test_inside_a_wing(self) -> None:
        """It knows where a relative import inside a wing leads."""
        source = ("from ..message import Message\nfrom .link import Link\nfrom . import link\n"
                  "from .. import server\nfrom ..connection.wire import Wire\n"
                  "from mmdagent_remote.testing import SimulatedAgent\n")
        self.assertEqual([each.module for each in self.read(source, "testing/client")], [
            "message", "testing/link", "testing/link", "server", "connection/wire",
            "testing/__init__"])


class HouseTest(unittest.TestCase):
    """The direction of imports."""

    def test_every_module_has_its_wing(self) -> None:
        """Every module is in a wing of the table, and every wing of the table is there."""
        self.assertEqual({wing_of(name) for name in modules()}, set(LEVEL))
        self.assertLessEqual(GROUND, set(modules()))

    def test_imports_between_wings_go_down(self) -> None:
        """A module imports from other wings only if they are in a row below its own, but for types."""
        for name, each in imports():
            wing, other = wing_of(name), wing_of(each.module)
            if each.is_ours and not each.is_for_types and wing != other:
                with self.subTest(f"{name} imports {each.module}"):
                    self.assertLess(LEVEL[other], LEVEL[wing])

    def test_no_circle_inside_a_wing(self) -> None:
        """Inside a wing, too, no module imports another that imports it."""
        below: dict[str, set[str]] = {name: set() for name in modules()}
        for name, each in imports():
            if each.is_ours and not each.is_for_types:
                below[name].add(each.module)

        def visit(name: str, above: tuple[str, ...]) -> None:
            self.assertNotIn(name, above, "imports itself in the end")
            if name in left:
                left.discard(name)
                for other in below[name]:
                    visit(other, (*above, name))
        left = set(below)
        for name in below:
            visit(name, ())

    def test_pure_modules(self) -> None:
        """The pure modules know no socket, no thread, no clock and no log, and only pure modules."""
        found = modules()
        self.assertLessEqual(PURE, {*found, *map(wing_of, found)})
        for name, each in imports():
            if not is_pure(name) or each.is_for_types or (name, each.module) in EXCEPTIONS:
                continue
            with self.subTest(f"{name} imports {each.module}"):
                self.assertTrue(is_pure(each.module) if each.is_ours else each.module not in IMPURE)

    def test_errors_imports_nothing(self) -> None:
        """The lowest module imports nothing at all."""
        self.assertEqual([each for name, each in imports() if name == "errors"], [])

    def test_outside_there_are_only_wsproto_and_the_standard_library(self) -> None:
        """The package needs wsproto, and websocket-server for its second front door."""
        for name, each in imports():
            if not each.is_ours and each.module not in sys.stdlib_module_names:
                with self.subTest(name):
                    self.assertIn(each.module, OUTSIDE.get(name, {"wsproto"}))

    def test_a_wing_begins_with_its_page(self) -> None:
        """A wing's ``__init__`` says what lives there, names each of its modules, and has no code."""
        for name, path in modules().items():
            if name == "__init__" or not name.endswith("/__init__"):
                continue
            with self.subTest(name):
                tree = ast.parse(path.read_text("utf-8"))
                page = ast.get_docstring(tree) or ""
                names = {each.name for each in path.parent.iterdir() if each.suffix in (".py", ".json")}
                self.assertEqual({each for each in names if each not in page}, {"__init__.py"})
                if name not in FRONT_DOORS:
                    self.assertEqual(len(tree.body), 1, "nothing but the docstring")

    def test_the_picture_is_true(self) -> None:
        """The picture in ``docs/design.md`` is drawn from the imports: ``python -m tests.house``."""
        page = PAGE.read_text("utf-8")
        self.assertEqual(page, with_picture(page))


# Runs in a fresh interpreter; prints what changed.
PROBE = """
import atexit, logging, signal, sys, threading
def signals():
    return {number: signal.getsignal(number) for number in signal.valid_signals()}
before = signals(), sys.excepthook, threading.excepthook, logging.getLogger().level
import mmdagent_remote
assert before == (signals(), sys.excepthook, threading.excepthook, logging.getLogger().level)
assert logging.getLogger().handlers == [], logging.getLogger().handlers
assert threading.active_count() == 1, threading.enumerate()
assert "websockets" not in sys.modules
for name in mmdagent_remote.__all__:
    getattr(mmdagent_remote, name)
print(mmdagent_remote.__version__)
"""


class ImportTest(unittest.TestCase):
    """What `import mmdagent_remote` leaves alone."""

    def test_nothing_happens_at_import(self) -> None:
        """No logging is configured, no thread started, no signal handler set, no warning given."""
        done = subprocess.run([sys.executable, "-W", "error", "-c", PROBE], cwd=PROJECT,
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"\A\d+\.\d+")

    def test_every_module_can_be_imported_first(self) -> None:
        """No module needs another to be imported before it."""
        # Those that the package does not import itself: all others are always imported after it.
        code = (f"import importlib, sys, {NAME}\nbefore = set(sys.modules)\nfor name in sys.argv[1:]:\n"
                "    importlib.import_module(name)\n"
                f"    for new in [k for k in sys.modules if '{NAME}' in k and k not in before]:\n"
                "        del sys.modules[new]\n")
        names = [f"{NAME}.{name.replace('/', '.')}" for name in modules() if "__" not in name]
        done = subprocess.run([sys.executable, "-W", "error", "-c", code, *names], cwd=PROJECT,
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
