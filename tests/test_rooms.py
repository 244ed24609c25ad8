"""The house: which module may import which, and what an import does not do."""

from __future__ import annotations

import ast
import subprocess
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parent.parent
PACKAGE = PROJECT / "mmdagent_remote"
NAME = PACKAGE.name

#: From lowest to highest; a module imports only from the lines above its own.
LAYERS = [
    {"errors"},
    {"limits", "profile", "message", "audio"},
    {"lines", "fastlane", "deflate", "keepalive", "pattern", "vocabulary", "sentences", "speech",
     "playback", "convert"},
    {"handshake"},
    {"protocol"},
    {"settings", "mdf", "linequeue"},
    {"turnstile", "naming"},
    {"transport", "listener", "courier", "sources"},
    {"waits"},
    {"wire", "delivery"},
    {"ending"},
    {"reading", "parting"},
    {"connection"},
    {"handler", "speaker", "player"},
    {"registry", "attendant"},
    {"session"},
    {"agent"},
    {"run"},
    {"server"},
    {"__init__"},
    {"callbacks", "testing/receiver", "testing/frames", "testing/documented"},
    {"testing/application", "testing/link", "testing/record"},
    {"testing/client"},
    {"testing/agent"},
    {"testing/case"},
    {"testing/__init__"},
    {"demo", "cli/text", "cli/families", "cli/filters", "cli/script", "cli/mdf"},
    {"cli/recording", "cli/findings", "cli/certificate", "cli/probe", "cli/terminal"},
    {"cli/options"},
    {"cli/recorder", "cli/talk", "cli/steps"},
    {"cli/listen", "cli/send", "cli/play", "cli/simulate", "cli/check", "cli/messages", "cli/demo"},
    {"cli/__init__"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

PURE = {"errors", "message", "limits", "profile", "lines", "fastlane", "handshake", "protocol",
        "settings", "mdf", "linequeue", "deflate", "keepalive", "pattern", "vocabulary", "sentences",
        "speech", "audio", "playback", "testing/receiver", "testing/frames",
        "testing/documented", "testing/application",
        "cli/text", "cli/families", "cli/filters", "cli/recording", "cli/script", "cli/mdf",
        "cli/findings"}
IMPURE = {"socket", "select", "selectors", "ssl", "threading", "_thread", "queue", "time", "logging",
          "asyncio", "concurrent", "multiprocessing", "signal", "subprocess"}
#: What a module needs besides wsproto; the fast lane does without, when it is not there, and so does
#: the command line, but for certificates.
OUTSIDE = {"callbacks": {"websocket_server"}, "fastlane": {"websockets"}, "cli/terminal": {"rich"},
           "cli/certificate": {"cryptography"}}
#: For the type of an option only.
EXCEPTIONS = {("settings", "ssl")}


def modules() -> dict[str, Path]:
    """The package's modules by their name in it, those of a subpackage with a slash."""
    return {str(path.relative_to(PACKAGE).with_suffix("")): path for path in PACKAGE.rglob("*.py")}


def room_of(parts: list[str]) -> str:
    """The room of a module of this package; a subpackage may be one room, or have several."""
    for size in range(len(parts), 0, -1):
        name = "/".join(parts[:size])
        for room in (name, f"{name}/__init__"):
            if room in LEVEL:
                return room
    return parts[0] if parts else "__init__"


def nodes_at_runtime(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes, those under `if TYPE_CHECKING:` left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield other
                yield from nodes_at_runtime(other)
            continue
        yield child
        yield from nodes_at_runtime(child)


def imports_of(source: str, importer: str = "") -> Iterator[tuple[str, bool]]:
    """What a module imports at run time: a name, and whether it is one of this package's rooms."""
    package = importer.split("/")[:-1]
    for node in nodes_at_runtime(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first, *rest = alias.name.split(".")
                yield (room_of(rest), True) if first == NAME else (first, False)
        elif isinstance(node, ast.ImportFrom):
            parts = node.module.split(".") if node.module else []
            if node.level == 0 and parts[0] != NAME:
                yield parts[0], False
                continue
            parts = parts[1:] if node.level == 0 else package[:len(package) + 1 - node.level] + parts
            if "/".join(parts) in LEVEL:
                yield "/".join(parts), True
                continue
            for alias in node.names:
                yield room_of([*parts, alias.name] if parts or alias.name in LEVEL else parts), True


class ImportReaderTest(unittest.TestCase):
    """The reader of imports above, on its own."""

    def test_all_ways_to_import(self) -> None:
        """It sees every way to import, inside functions too, and leaves out those for types."""
        source = (
            "import os.path, mmdagent_remote.lines, mmdagent_remote\n"
            "from .wire import Wire\n"
            "from . import limits, __version__\n"
            "from mmdagent_remote.errors import X\n"
            "from mmdagent_remote import message\n"
            "if TYPE_CHECKING:\n    from .server import Server\nelse:\n    import time\n"
            "def f():\n    from .agent import Agent\n")
        self.assertEqual(list(imports_of(source)), [
            ("os", False), ("lines", True), ("__init__", True), ("wire", True), ("limits", True),
            ("__init__", True), ("errors", True), ("message", True), ("time", False),
            ("agent", True)])

    def test_subpackage(self) -> None:
        """It knows where a relative import inside a subpackage leads, and what a subpackage is."""
        source = ("from ..message import Message\nfrom .link import Link\nfrom . import record\n"
                  "from .. import server\nfrom mmdagent_remote.testing import SimulatedAgent\n")
        self.assertEqual(list(imports_of(source, "testing/client")), [
            ("message", True), ("testing/link", True), ("testing/record", True), ("server", True),
            ("testing/__init__", True)])


class RoomsTest(unittest.TestCase):
    """The direction of imports."""

    def test_every_module_has_its_place(self) -> None:
        """Every module stands in the table of layers."""
        self.assertEqual({name for name in modules() if room_of(name.split("/")) not in LEVEL}, set())

    def test_imports_go_down(self) -> None:
        """A module imports only from the layers below its own."""
        for name, path in modules().items():
            room = room_of(name.split("/"))
            for other, is_ours in imports_of(path.read_text("utf-8"), name):
                if is_ours and room in LEVEL and not (room != name and other == room):
                    with self.subTest(f"{name} imports {other}"):
                        self.assertLess(LEVEL.get(other, len(LAYERS)), LEVEL[room])

    def test_the_pure_rooms(self) -> None:
        """The pure rooms know no socket, no thread, no clock and no log."""
        found = modules()
        for name in sorted(PURE):
            wrong = {other for other, is_ours in imports_of(found[name].read_text("utf-8"))
                     if not is_ours and other in IMPURE and (name, other) not in EXCEPTIONS}
            with self.subTest(name):
                self.assertEqual(wrong, set())

    def test_pure_rooms_stay_among_themselves(self) -> None:
        """A pure room imports no other than pure rooms."""
        found = modules()
        for name in sorted(PURE):
            ours = {other for other, is_ours in imports_of(found[name].read_text("utf-8"), name)
                    if is_ours}
            with self.subTest(name):
                self.assertLessEqual(ours, PURE)

    def test_errors_imports_nothing(self) -> None:
        """The lowest room imports nothing at all."""
        self.assertEqual(list(imports_of(modules()["errors"].read_text("utf-8"))), [])

    def test_outside_there_are_only_wsproto_and_the_standard_library(self) -> None:
        """The package needs wsproto, and websocket-server for its second front door."""
        for name, path in modules().items():
            outside = {other for other, is_ours in imports_of(path.read_text("utf-8"))
                       if not is_ours and other not in sys.stdlib_module_names}
            with self.subTest(name):
                self.assertLessEqual(outside, OUTSIDE.get(name, {"wsproto"}))


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
        names = [f"{NAME}.{name.replace('/', '.')}" for name in modules() if "__" not in name]
        code = ("import importlib, sys\nfor name in sys.argv[1:]:\n"
                f"    for known in [k for k in sys.modules if k.startswith('{NAME}')]:\n"
                "        del sys.modules[known]\n    importlib.import_module(name)\n")
        done = subprocess.run([sys.executable, "-W", "error", "-c", code, *names], cwd=PROJECT,
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
