"""``cli/mdf.py`` and ``cli/findings.py``: what would go wrong with an ``.mdf``."""

from __future__ import annotations

import unittest
from typing import Optional

from mmdagent_remote.cli.findings import Finding, Target, check
from mmdagent_remote.cli.mdf import decode, number_of, parse
from mmdagent_remote.mdf import mdf_lines

HEALTHY = "\n".join(mdf_lines("localhost", 9001, "/chat")) + "\n"
REST = HEALTHY.partition("\n")[2]


class Machine:
    """A machine at 127.0.0.1 and 192.168.0.2 with port 7 in use; "far" is another machine."""

    names = {"localhost": ["127.0.0.1", "::1"], "here": ["192.168.0.2"], "far": ["10.0.0.9"],
             "127.0.0.1": ["127.0.0.1"], "::1": ["::1"], "192.168.0.2": ["192.168.0.2"]}

    def resolve(self, host: str) -> list[str]:
        """Its addresses."""
        return self.names.get(host, [])

    def is_served(self, address: str, host: Optional[str]) -> bool:
        """Whether a server is reached."""
        ours = [host] if host else ["localhost", "here"]
        return any(address in self.names[name] for name in ours)

    def why_not_listen(self, host: str, port: int) -> Optional[str]:
        """Why a port cannot be listened on; None if it can."""
        return "another program does" if port == 7 else None


def findings(text: str, *, encoding: str = "utf-8", **target: object) -> list[Finding]:
    """What is wrong with a text."""
    return check(parse(text.encode(encoding), {"NAME": "localhost"}), Target(**target), Machine())


class ReadingTest(unittest.TestCase):
    """An .mdf, as MMDAgent-EX reads it."""

    def test_lines(self) -> None:
        """Blanks are part of names and of a value's beginning; the last line of a name counts."""
        file = parse(b"#a=0\r\na=1\r\n a=2\r\nb = 3 \t\r\nnothing\r\na=4\r\nc=x#y=z", {})
        self.assertEqual([tuple(each) for each in file.settings],
                         [(2, "a", "1"), (3, " a", "2"), (4, "b ", " 3"), (6, "a", "4"),
                          (7, "c", "x#y=z")])
        self.assertEqual(file.last("a").number, 6)
        self.assertIsNone(file.last("A"))

    def test_encodings(self) -> None:
        """UTF-8 with and without BOM, Shift_JIS, UTF-16 and bytes of no encoding are read."""
        text = "a=\u9802\u30bd"
        for encoding, found in (("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("cp932", "cp932"),
                                ("utf-16", "utf-16")):
            decoded, name = decode(text.encode(encoding))
            self.assertEqual((decoded.lstrip("\ufeff"), name), (text, found))
        self.assertEqual(decode(b"a=\x81 ")[1], "latin-1")

    def test_environment(self) -> None:
        """%ENV{} is replaced by the variable, or by nothing if there is no such variable."""
        self.assertEqual(parse(b"a=<%ENV{X}|%ENV{Y}>", {"X": "1"}).last("a").value, "<1|>")

    def test_numbers(self) -> None:
        """A value's leading digits are its number, 0 if there are none."""
        self.assertEqual([number_of(text) for text in ("9001", " 9001 # x", "-1", "x", "", "\uff19")],
                         [9001, 9001, -1, 0, 0, 0])


class FindingsTest(unittest.TestCase):
    """Each thing that may be wrong."""

    def one(self, text: str, kind: str, line: Optional[int], *write: str, says: str = "",
            encoding: str = "utf-8", **target: object) -> None:
        """There is exactly this finding."""
        with self.subTest(text, **target):
            found = findings(text, encoding=encoding, **target)
            self.assertEqual([(each.kind, each.line, each.write) for each in found],
                             [(kind, line, write)])
            self.assertIn(says, found[0].problem)

    def test_healthy(self) -> None:
        """A healthy file, in any encoding and with harmless settings, has no finding."""
        for encoding in ("utf-8", "utf-8-sig", "cp932"):
            for ends in ("\n", "\r\n"):
                text = ("# \u9802\n" + HEALTHY + "show_caption=\u771f\n").replace("\n", ends)
                self.assertEqual(findings(text, encoding=encoding), [])
        for more in ("Plugin_Remote_ListenPort=50001\nPlugin_Remote_Hostname=x",
                     "disablePlugin=Audio,Kafka", "Plugin_Remote_EnableServer=false",
                     "#Plugin_Remote_EnableClient=true",
                     "disablePlugin=ALL\nenablePlugin=Audio,Remote", "exclude_Plugin_Remote=no",
                     "disablePlugin=Remote\nenablePlugin=ALL", "Plugin_Remote_AllLog=false",
                     "Plugin_Remote_EnableServer=true\nPlugin_Remote_EnableServer=false",
                     "Plugin_Remote_Websocket_Directory=/chat?who=\u9802", "Plugin_Remote_RetryCount=60",
                     "Plugin_Remote_Websocket_Directory=", "Plugin_Remote_Websocket_Host=%ENV{NAME}"):
            with self.subTest(more):
                self.assertEqual(findings(HEALTHY + more), [])

    def test_healthy_for_a_server(self) -> None:
        """There is no finding when file and server agree."""
        for target in ({"host": "localhost", "port": 9001, "path": "chat"}, {"host": "", "port": 0},
                       {"path": "/chat", "exclusive": True}):
            self.assertEqual(findings(HEALTHY, **target), [])
        suffixed = HEALTHY.replace("/chat", "/chat-1")
        self.assertEqual(findings(suffixed, path="/chat", exclusive=True), [])
        tls = HEALTHY.replace("9001", "443")
        self.assertEqual(findings(tls, tls=True, port=443), [])
        lan = HEALTHY.replace("localhost", "here")
        self.assertEqual(findings(lan), [])
        self.assertEqual(findings(lan, host=""), [])

    def test_no_host(self) -> None:
        """Without a host there is no connection; all the lines that are missing are given."""
        self.assertEqual(findings(""), [
            Finding("no-host", None, findings("")[0].problem, tuple(HEALTHY.split("\n")[:3])),
            Finding("retry-count", None, findings("")[1].problem, (HEALTHY.split("\n")[3],))])
        self.one(REST, "no-host", None, "Plugin_Remote_Websocket_Host=localhost")
        self.one("Plugin_Remote_Websocket_Host=\n" + REST, "no-host", 1,
                 "Plugin_Remote_Websocket_Host=here", host="here")

    def test_tcp(self) -> None:
        """TCP/IP and WebSocket cannot both be set; any value but false switches TCP/IP on."""
        for name in ("EnableServer", "EnableClient", "ServerMode", "ClientMode"):
            self.one(HEALTHY + f"Plugin_Remote_{name}=true", "tcp", 5, f"#Plugin_Remote_{name}=true")
        self.one(HEALTHY + "Plugin_Remote_EnableServer=False", "tcp", 5,
                 "#Plugin_Remote_EnableServer=False", says="any value but false")

    def test_retries(self) -> None:
        """A missing RetryCount, or one that is no number above 0, is a finding."""
        write = HEALTHY.split("\n")[3]
        self.one(HEALTHY.replace(write, ""), "retry-count", None, write)
        for value in ("0", "", "many", "-1"):
            self.one(HEALTHY.replace("1200", value), "retry-count", 4, write)

    def test_host(self) -> None:
        """A host that is not found, not served, or more than a host."""
        def write(host: str) -> str:
            return f"Plugin_Remote_Websocket_Host={host}"
        for host, says in (("nowhere", "no host 'nowhere'"), ("far", "far (10.0.0.9) is no address"),
                           ("ws://localhost", "more than"), ("localhost:9001", "more than"),
                           (" localhost", "more than"), ("localhost # here", "more than")):
            self.one(write(host) + "\n" + REST, "host", 1, write("localhost"), says=says)
        self.one(write("here") + "\n" + REST, "host", 1, write("localhost"), host="localhost",
                 says="does not lead to a server on 'localhost'")
        self.one(HEALTHY, "host", 1, write("here"), host="here")
        # MMDAgent-EX takes the first of several addresses.
        self.assertEqual(findings(HEALTHY, host="127.0.0.1"), [])
        self.one(HEALTHY, "host", 1, write("::1"), host="::1", says="localhost (127.0.0.1)")

    def test_port(self) -> None:
        """A port that is missing, none, another, or in use."""
        write = "Plugin_Remote_Websocket_Port=9001"
        self.one(HEALTHY.replace(write, ""), "port", None, write, says="80")
        for value in ("", "0", "65536", "x"):
            self.one(HEALTHY.replace("9001", value), "port", 2, write, says="is no port")
        self.one(HEALTHY.replace("9001", "9000"), "port", 2, write, says="9000", port=9001)
        self.one(HEALTHY.replace("9001", "7"), "in-use", 2, says="another program")

    def test_tls(self) -> None:
        """Port 443 without TLS, and TLS off 443."""
        write = "Plugin_Remote_Websocket_Port="
        self.one(HEALTHY.replace("9001", "443"), "tls", 2, write + "9001")
        self.one(HEALTHY.replace("9001", "443"), "tls", 2, write + "9002", port=9002)
        self.one(HEALTHY, "tls", 2, write + "443", tls=True)
        self.one(HEALTHY.replace("9001", "443"), "tls", 2, tls=True, port=9001, says="--port 443")

    def test_directory(self) -> None:
        """A directory that no route takes, that the server refuses, or that is not sent in UTF-8."""
        name = "Plugin_Remote_Websocket_Directory"
        for value, target in (("/chat", {"path": "/x"}), ("", {"path": "/x"}),
                              ("/x-1", {"path": "/x"}), ("/x-a", {"path": "/x", "exclusive": True})):
            self.one(HEALTHY.replace("/chat", value), "directory", 3, f"{name}=/x", **target)
        self.one(HEALTHY.replace(f"{name}=/chat\n", ""), "directory", None, f"{name}=/x", path="/x",
                 says="asks for /,")
        self.one(HEALTHY.replace("/chat", "/?" + "a&" * 1500), "directory", 3, f"{name}=/chat",
                 says="the server would refuse")
        self.one(HEALTHY.replace("/chat", "/\u9802"), "encoding", 3, f"{name}=/\u9802", encoding="cp932")
        self.assertEqual(findings(HEALTHY.replace("/chat", "/\u9802"), path="/\u9802"), [])

    def test_names(self) -> None:
        """A name in wrong case or with blanks is one finding, and causes no other."""
        for wrong in ("plugin_remote_retrycount=", " Plugin_Remote_RetryCount=",
                      "Plugin_Remote_RetryCount = "):
            self.one(HEALTHY.replace("Plugin_Remote_RetryCount=", wrong), "name", 4,
                     "Plugin_Remote_RetryCount=1200")
        self.one(HEALTHY.replace("_Host=", "_host="), "name", 1, HEALTHY.split("\n")[0])
        self.one(HEALTHY + "Plugin_Remote_Websocket_Path=/a", "name", 5)

    def test_plugin(self) -> None:
        """A disabled or excluded plugin is a finding."""
        self.one(HEALTHY + "disablePlugin=Audio,Remote", "plugin", 5, "disablePlugin=Audio")
        self.one(HEALTHY + "disablePlugin=Remote", "plugin", 5, "disablePlugin=NONE")
        self.one(HEALTHY + "disablePlugin=ALL", "plugin", 5, "disablePlugin=ALL", "enablePlugin=Remote")
        self.one(HEALTHY + "disablePlugin=ALL\nenablePlugin=Audio", "plugin", 6,
                 "enablePlugin=Audio,Remote")
        for value in ("yes", "true"):
            self.one(HEALTHY + f"exclude_Plugin_Remote={value}", "plugin", 5, "exclude_Plugin_Remote=no")

    def test_all_log(self) -> None:
        """With AllLog set to any value but false there are no messages."""
        for value in ("true", "no", "0"):
            self.one(HEALTHY + f"Plugin_Remote_AllLog={value}", "all-log", 5,
                     "Plugin_Remote_AllLog=false")

    def test_whole_file(self) -> None:
        """A BOM before the first setting, a variable without an end, and UTF-16 are findings."""
        self.one(HEALTHY, "bom", 1, "#", HEALTHY.split("\n")[0], encoding="utf-8-sig")
        self.one(HEALTHY + "x=%ENV{A}%ENV{B", "environment", 5, says="skips the whole file")
        self.one(HEALTHY, "encoding", None, encoding="utf-16")

    def test_order(self) -> None:
        """Findings are ordered by line, missing settings last."""
        text = "Plugin_Remote_AllLog=true\n" + HEALTHY.replace("9001", "0").replace("1200", "0")
        self.assertEqual([each.line for each in findings(text + "disablePlugin=ALL")], [1, 3, 5, 6])
        self.assertEqual([each.kind for each in findings("Plugin_Remote_AllLog=true")],
                         ["all-log", "no-host", "retry-count"])


if __name__ == "__main__":
    unittest.main()
