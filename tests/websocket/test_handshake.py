"""The opening handshake's HTTP, in both directions."""

from __future__ import annotations

import base64
import hashlib
import io
import unittest
from http.client import HTTPResponse
from pathlib import Path
from typing import Optional

from hypothesis import example, given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection
from wsproto.events import Request as ClientRequest

from mmdagent_remote.limits import MAX_REQUEST_SIZE, Limits
from mmdagent_remote.profile import MMDAGENT_EX, STRICT, Profile
from mmdagent_remote.websocket.handshake import (BadRequest, Headers, Request, parse_request,
                                                 phrase_of, split_head)
from mmdagent_remote.websocket.protocol import ServerProtocol

RECORDED = (Path(__file__).parent.parent / "data" / "handshake.txt").read_bytes()
KEY = base64.b64encode(b"0123456789abcdef")

# A valid request, header by header.
HEADERS = {
    b"Host": b"localhost:9001",
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Version": b"13",
    b"Sec-WebSocket-Key": KEY,
}
MARK = (b"X-App-Type", b"MMDAgent")


def head_of(target: bytes = b"/chat", *more: tuple[bytes, bytes], line: Optional[bytes] = None,
            without: bytes = b"", mmdagent: bool = False) -> bytes:
    """A request's head, valid unless the arguments make it invalid."""
    pairs = [(name, value) for name, value in HEADERS.items() if name != without]
    pairs += [*more, *([MARK] if mmdagent else [])]
    lines = [b"GET " + target + b" HTTP/1.1" if line is None else line,
             *(name + b": " + value for name, value in pairs)]
    return b"\r\n".join([*lines, b"", b""])


def request_of(head: bytes, forced: Optional[Profile] = None) -> Request:
    return parse_request(head, forced)[1]


class Reply(io.BytesIO):
    """A response, read by the standard library."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        response = HTTPResponse(self)  # type: ignore[arg-type]
        response.begin()
        self.status, self.reason, self.headers = response.status, response.reason, response.headers
        self.body = response.read()
        self.behind = self.read()

    def makefile(self, mode: str) -> Reply:
        return self

    def close(self) -> None:
        """Stay open, so that the bytes after the response can be read."""


class HandshakeTest(unittest.TestCase):
    """Checks refusals."""

    def refused(self, head: bytes, status: int, forced: Optional[Profile] = None) -> BadRequest:
        with self.assertRaises(BadRequest) as caught:
            parse_request(head, forced)
        self.assertEqual(caught.exception.status, status, caught.exception)
        self.assert_answer(caught.exception)
        return caught.exception

    def assert_answer(self, error: BadRequest) -> Reply:
        """A refusal is a whole HTTP response that ends the connection."""
        reply = Reply(error.response())
        self.assertEqual((reply.status, reply.reason), (error.status, error.reason))
        self.assertTrue(reply.reason)
        self.assertEqual(int(reply.headers["Content-Length"]), len(reply.body))
        self.assertEqual(reply.headers["Connection"], "close")
        self.assertEqual(reply.body.decode(), error.detail + "\n")
        return reply


class SplitHeadTest(HandshakeTest):
    """Where a request's head ends."""

    def test_the_recorded_request(self) -> None:
        """The head ends with its blank line; the bytes after it are returned."""
        self.assertEqual(split_head(RECORDED), (RECORDED, b""))
        self.assertEqual(split_head(RECORDED + b"\x81\x80abcd"), (RECORDED, b"\x81\x80abcd"))
        self.assertEqual(split_head(RECORDED + RECORDED), (RECORDED, RECORDED))

    def test_byte_by_byte(self) -> None:
        """A head is complete with the last byte of its blank line, wherever the search starts."""
        for end in range(len(RECORDED)):
            for searched in {0, max(0, end - 1), end}:
                self.assertIsNone(split_head(RECORDED[:end], searched))
        for searched in range(len(RECORDED)):
            self.assertEqual(split_head(RECORDED + b"x", searched), (RECORDED, b"x"))

    @settings(deadline=None)
    @given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"GET"]), max_size=12),
           st.lists(st.integers(1, 4), max_size=12))
    def test_cut_anywhere(self, parts: list[bytes], cuts: list[int]) -> None:
        """A head in pieces, each search continuing the last, is found the same as a whole one."""
        data = b"".join(parts)
        whole = split_head(data)
        end, searched = 0, 0
        for cut in [*cuts, *[1] * len(data)]:
            end = min(end + cut, len(data))
            found = split_head(data[:end], searched)
            if found is not None:
                self.assertIsNotNone(whole)
                self.assertEqual(found[0], whole[0])  # type: ignore[index]
                return
            searched = end
        self.assertIsNone(whole)

    def test_bare_newlines(self) -> None:
        """A bare LF also ends a line, as in h11."""
        self.assertEqual(split_head(b"GET / HTTP/1.1\nA: b\n\nx"), (b"GET / HTTP/1.1\nA: b\n\n", b"x"))

    def test_tls(self) -> None:
        """A TLS hello is recognised by its first byte, and refused with a sentence about TLS."""
        with self.assertRaises(BadRequest) as caught:
            split_head(b"\x16")
        self.assertEqual(caught.exception.status, 400)
        self.assertIn("TLS", caught.exception.detail)

    def test_the_longest_head(self) -> None:
        """A head of 16383 or 16384 bytes is accepted; one more byte is 431, complete or not."""
        for size in (MAX_REQUEST_SIZE - 1, MAX_REQUEST_SIZE, MAX_REQUEST_SIZE + 1):
            bare = len(head_of(b"/chat", (b"X", b"")))
            head = head_of(b"/chat", (b"X", b"x" * (size - bare)))
            self.assertEqual(len(head), size)
            with self.subTest(size):
                if size <= MAX_REQUEST_SIZE:
                    self.assertEqual(split_head(head + b"y" * 100_000), (head, b"y" * 100_000))
                    self.assertIsNone(split_head(b"x" * size))
                    self.assertEqual(request_of(head).path, "/chat")
                else:
                    for data in (head, b"x" * size):
                        with self.assertRaises(BadRequest) as caught:
                            split_head(data)
                        self.assertEqual(caught.exception.status, 431)
                        self.assert_answer(caught.exception)


class RecordedTest(HandshakeTest):
    """The recorded request of the real MMDAgent-EX."""

    def test_it_is_recognised(self) -> None:
        """The recorded request opens a connection of MMDAgent-EX on its path."""
        request = request_of(RECORDED)
        self.assertEqual((request.path, request.query, request.subprotocols), ("/chat", {}, ()))
        self.assertIs(request.profile, MMDAGENT_EX)
        self.assertEqual(request.headers["host"], "localhost:9001")
        self.assertEqual(request.headers["X-App-Type"], "MMDAgent")

    def test_its_answer(self) -> None:
        """The answer is a 101 with exactly `Connection: Upgrade` and the right Accept."""
        ws, request = parse_request(RECORDED, None)
        answer = ServerProtocol(ws, request.profile, Limits()).accept(request, None, compression=True)
        first, *lines = answer.decode("ascii").split("\r\n")
        self.assertRegex(first, r"\AHTTP/1\.1 101 .")
        self.assertEqual(lines[-2:], ["", ""])
        headers = dict(line.lower().split(": ", 1) for line in lines[:-2])
        key = b"nLQTUQM3yFumh2d27HB3Kg==258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key).digest())
        self.assertEqual(headers, {"upgrade": "websocket", "connection": "upgrade",
                                   "sec-websocket-accept": accept.decode().lower()})

    def test_the_mark(self) -> None:
        """The X-App-Type header is recognised in any case and with any blanks, and nothing else."""
        for mark in (b"X-App-Type: MMDAgent", b"x-app-type:MMDAgent", b"X-APP-TYPE: \t MMDAgent \t"):
            name, value = mark.split(b":", 1)
            with self.subTest(mark):
                self.assertIs(request_of(head_of(b"/", (name, value))).profile, MMDAGENT_EX)
        for name, value in ((b"X-App-Type", b"MMDAgent2"), (b"X-App-Type", b"x MMDAgent"),
                            (b"Y-X-App-Type", b"MMDAgent"), (b"X", b"X-App-Type: MMDAgent")):
            with self.subTest(value):
                self.assertIs(request_of(head_of(b"/", (name, value))).profile, STRICT)

    def test_forced(self) -> None:
        """A forced profile applies to every client, with the header or without."""
        self.assertIs(request_of(RECORDED, STRICT).profile, STRICT)
        self.assertIs(request_of(head_of(), MMDAGENT_EX).profile, MMDAGENT_EX)
        self.assertEqual(request_of(head_of(b"a b"), MMDAGENT_EX).path, "/a b")


class TargetTest(HandshakeTest):
    """Request targets."""

    def test_mended(self) -> None:
        """Targets that only MMDAgent-EX sends are mended: empty, blank, raw UTF-8, no slash."""
        cases = {
            b"": "/", b" ": "/ ", b"  ": "/  ", b"chat": "/chat", b"a b c": "/a b c",
            b"/a b": "/a b", "/\u982c\u3042".encode(): "/\u982c\u3042", "\u982c".encode(): "/\u982c",
            b"/\xff": "/\ufffd", b"//": "//", b"/%e9%a0%ac": "/\u982c", b"/100%": "/100%",
            b"/<\"\\^`{|}>": "/<\"\\^`{|}>", b"/a HTTP/1.1": "/a HTTP/1.1", b"/a\tb": "/a\tb",
        }
        for target, path in cases.items():
            with self.subTest(target):
                request = request_of(head_of(target, mmdagent=True))
                self.assertEqual((request.path, request.query), (path, {}))

    def test_mended_with_a_query(self) -> None:
        """A query is split off the mended target and decoded."""
        for target, path, query in (
                (b"chat?a=1", "/chat", {"a": ["1"]}), (b"?a=1", "/", {"a": ["1"]}),
                ("/c?n=\u982c b&n=".encode(), "/c", {"n": ["\u982c b", ""]})):
            with self.subTest(target):
                request = request_of(head_of(target, mmdagent=True))
                self.assertEqual((request.path, request.query), (path, query))

    def test_not_mended_for_others(self) -> None:
        """From any other client, such a target is a bad request."""
        for target in (b"", b" ", b"/a b", "/\u982c".encode(), b"/\xff", b"/a\tb", b"/a\rb", b"/a\0b"):
            with self.subTest(target):
                self.refused(head_of(target), 400)

    def test_no_slash_is_refused_for_others(self) -> None:
        """A target that is neither a path nor a URI is a bad request from any other client."""
        for target in (b"chat", b"*", b"?a=1"):
            with self.subTest(target):
                self.refused(head_of(target), 400)

    @settings(deadline=None)
    @given(st.binary().filter(lambda target: not set(target) & set(b"\n%?")))
    @example(b"\r").via("a lone CR")
    @example(b"\0").via("a NUL")
    def test_any_target_of_mmdagent(self, target: bytes) -> None:
        """Any bytes without a line end make a path: these bytes, after a slash."""
        wanted = target if target.startswith(b"/") else b"/" + target
        request = request_of(head_of(target, mmdagent=True))
        self.assertEqual(request.path, wanted.decode("utf-8", "replace"))

    def test_absolute_uri(self) -> None:
        """An absolute URI is allowed (RFC 6455, section 4.2.1); scheme and host are dropped."""
        for target, path, query in (
                (b"http://localhost:9001/chat", "/chat", {}), (b"http://localhost", "/", {}),
                (b"ws://[::1]:9001/a/b?x=1", "/a/b", {"x": ["1"]}),
                (b"http://localhost?x=1", "/", {"x": ["1"]})):
            with self.subTest(target):
                request = request_of(head_of(target))
                self.assertEqual((request.path, request.query), (path, query))

    def test_a_broken_uri(self) -> None:
        """A URI with a broken IPv6 address is a bad request."""
        self.refused(head_of(b"http://[::1/chat"), 400)

    def test_the_path_is_decoded_once(self) -> None:
        """Percent escapes of the path are decoded as UTF-8, once, and a plus stays a plus."""
        cases = {b"/%E9%A0%AC": "/\u982c", b"/a%2Fb%3Fc": "/a/b?c", b"/%2525": "/%25", b"/a+b": "/a+b",
                 b"/%ff": "/\ufffd", b"/%zz": "/%zz", b"//a//": "//a//", b"/../a": "/../a"}
        for target, path in cases.items():
            with self.subTest(target):
                self.assertEqual(request_of(head_of(target)).path, path)

    def test_the_query_is_decoded(self) -> None:
        """A query has every value of each name; empty values are kept, and a plus is a blank."""
        request = request_of(head_of(b"/c?a=1&b=x+y&a=%E9%A0%AC&c&d=&e=%ff&f=1=2&g=a;b"))
        self.assertEqual(request.path, "/c")
        self.assertEqual(request.query, {"a": ["1", "\u982c"], "b": ["x y"], "c": [""], "d": [""],
                                         "e": ["\ufffd"], "f": ["1=2"], "g": ["a;b"]})

    def test_the_longest_query(self) -> None:
        """A query of 999 or 1000 fields is accepted, one of 1001 is a bad request."""
        for count in (999, 1000):
            query = request_of(head_of(b"/?" + b"&".join([b"a=1"] * count))).query
            self.assertEqual(query, {"a": ["1"] * count})
        self.refused(head_of(b"/?" + b"&".join([b"a=1"] * 1001)), 400)


class RequestLineTest(HandshakeTest):
    """Method and version."""

    def test_methods(self) -> None:
        """Any method but GET is 405, with Allow: GET."""
        for method in (b"POST", b"HEAD", b"get", b"CONNECT", b"X-Y"):
            with self.subTest(method):
                error = self.refused(head_of(line=method + b" / HTTP/1.1"), 405)
                self.assertEqual(Reply(error.response()).headers["Allow"], "GET")

    def test_versions(self) -> None:
        """HTTP/1.0 and below are refused."""
        self.refused(head_of(line=b"GET / HTTP/1.0"), 400)
        self.refused(head_of(line=b"GET / HTTP/0.9"), 505)

    def test_no_http(self) -> None:
        """A head without a valid request line is a bad request."""
        for line in (b"", b"GET", b"GET /", b"GET / HTTP/1", b"GET / HTTP/11.1", b"GET / http/1.1",
                     b" GET / HTTP/1.1", b"GET / HTTP/1.1 ", b"GET\t/\tHTTP/1.1", b"SSH-2.0-OpenSSH_9",
                     b"\0", b"GET / HTTP/1.1\rA: b", b"G\xc3\x89T / HTTP/1.1"):
            for mmdagent in (False, True):
                with self.subTest(line, mmdagent=mmdagent):
                    self.refused(head_of(line=line, mmdagent=mmdagent), 400)


class HeaderTest(HandshakeTest):
    """Header fields."""

    def test_each_is_needed(self) -> None:
        """A request without Host, key or version is 400; without the upgrade it is 426."""
        for name, status in ((b"Host", 400), (b"Sec-WebSocket-Key", 400),
                             (b"Sec-WebSocket-Version", 400), (b"Upgrade", 426), (b"Connection", 426)):
            for mmdagent in (False, True):
                with self.subTest(name, mmdagent=mmdagent):
                    self.refused(head_of(without=name, mmdagent=mmdagent), status)

    def test_a_browser_gets_a_sentence(self) -> None:
        """The answer to a plain GET says that this is a WebSocket server, and which version."""
        head = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Mozilla/5.0\r\n\r\n"
        reply = Reply(self.refused(head, 426).response())
        self.assertIn(b"WebSocket", reply.body)
        self.assertEqual(reply.headers["Upgrade"], "websocket")
        self.assertEqual(reply.headers["Sec-WebSocket-Version"], "13")
        self.assertIn("text/plain", reply.headers["Content-Type"])

    def test_another_version(self) -> None:
        """Another version of the protocol is 426, with our version (RFC 6455, section 4.4)."""
        head = head_of(b"/", (b"Sec-WebSocket-Version", b"8"), without=b"Sec-WebSocket-Version")
        error = self.refused(head, 426)
        self.assertEqual(Reply(error.response()).headers["Sec-WebSocket-Version"], "13")

    def test_keys(self) -> None:
        """A key that is not 16 bytes in base64, or is repeated, is a bad request."""
        for size in (0, 15, 17, 32):
            with self.subTest(size):
                self.refused(head_of(b"/", (b"Sec-WebSocket-Key", base64.b64encode(b"x" * size)),
                                     without=b"Sec-WebSocket-Key"), 400)
        for key in (b"", KEY[:-1], KEY[:-2], KEY + b"=", b"*" + KEY[1:], KEY[:5] + b" " + KEY[6:],
                    b"-_" + KEY[2:], b"x", KEY + b", " + KEY):
            with self.subTest(key):
                self.refused(head_of(b"/", (b"Sec-WebSocket-Key", key),
                                     without=b"Sec-WebSocket-Key"), 400)
        self.refused(head_of(b"/", (b"Sec-WebSocket-Key", KEY)), 400)
        self.refused(head_of(b"/", (b"sec-websocket-key", base64.b64encode(b"y" * 16))), 400)

    def test_not_ascii(self) -> None:
        """A header that is not ASCII is a bad request, whether wsproto decodes it or not."""
        for name in (b"X-Any", b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Extensions", b"Connection",
                     b"Upgrade", b"Origin", b"Host", b"Sec-WebSocket-Key", b"Sec-WebSocket-Version"):
            for value in (b"\xe9", "\u982c".encode()):
                with self.subTest(name, value=value), self.assertRaises(BadRequest) as caught:
                    parse_request(head_of(b"/", (name, value), without=name), None)
                self.assertIn(caught.exception.status, (400, 426))
        self.refused(head_of(b"/", (b"X-\xe9", b"a")), 400)

    def test_odd_hosts(self) -> None:
        """A Host that is not a name, or comes twice, is a bad request, and is refused quickly."""
        for host in (b"xn--" + b"a" * 9000, b"xn--" + b"9" * 9000, b"xn--\xff"):
            with self.subTest(host[:10]):
                self.refused(head_of(b"/", (b"Host", host), without=b"Host"), 400)
        self.refused(head_of(b"/", (b"Host", b"b")), 400)

    def test_broken_headers(self) -> None:
        """Headers that h11 refuses are a bad request."""
        for name, value in ((b"A b", b"c"), (b"", b"c"), (b"A", b"\0"), (b"A", b"b\rc"),
                            (b"Content-Length", b"x"), (b"Transfer-Encoding", b"x")):
            with self.subTest(name, value=value), self.assertRaises(BadRequest) as caught:
                parse_request(head_of(b"/", (name, value)), None)
            self.assertIn(caught.exception.status, (400, 501))

    def test_an_incomplete_head(self) -> None:
        """A head without its blank line is a bad request; parse_request() does not wait for it."""
        self.refused(head_of()[:-2], 400)

    def test_subprotocols(self) -> None:
        """Subprotocols are listed in the client's order, across repeated headers."""
        request = request_of(head_of(b"/", (b"Sec-WebSocket-Protocol", b"b, a"),
                                     (b"sec-websocket-protocol", b"c")))
        self.assertEqual(request.subprotocols, ("b", "a", "c"))
        self.assertEqual(request.headers["Sec-WebSocket-Protocol"], "b, a, c")

    def test_all_headers_are_there(self) -> None:
        """A handler sees every header, including those that wsproto does not pass on."""
        request = request_of(head_of(
            b"/", (b"Sec-WebSocket-Extensions", b"permessage-deflate; client_max_window_bits"),
            (b"Origin", b"http://a"), (b"Cookie", b"a=1"), (b"X-Two", b"1"), (b"x-two", b"2")))
        self.assertEqual({name.lower(): value for name, value in request.headers.items()}, {
            "host": "localhost:9001", "upgrade": "websocket", "connection": "Upgrade",
            "sec-websocket-version": "13", "sec-websocket-key": KEY.decode(),
            "sec-websocket-extensions": "permessage-deflate; client_max_window_bits",
            "origin": "http://a", "cookie": "a=1", "x-two": "1, 2"})

    def test_wsproto_client(self) -> None:
        """A wsproto client and this side agree on a handshake."""
        client = WSConnection(ConnectionType.CLIENT)
        data = client.send(ClientRequest(host="localhost:9001", target="/chat?a=1",
                                         subprotocols=["x", "y"]))
        head, rest = split_head(data) or (b"", b"")
        self.assertEqual(rest, b"")
        ws, request = parse_request(head, None)
        client.receive_data(ServerProtocol(ws, STRICT, Limits()).accept(request, "y", compression=False))
        event = next(client.events())
        self.assertIsInstance(event, AcceptConnection)
        self.assertEqual(event.subprotocol, "y")  # type: ignore[union-attr]


class HeadersTest(unittest.TestCase):
    """The mapping of headers."""

    def setUp(self) -> None:
        self.headers = Headers([("X-One", "1"), ("Two", "a"), ("x-one", "2")])

    def test_any_case(self) -> None:
        """Names are found in any case; a repeated header's values are joined in order."""
        for name in ("X-One", "x-one", "X-ONE"):
            self.assertEqual(self.headers[name], "1, 2")
            self.assertIn(name, self.headers)
        self.assertEqual(self.headers.get("TWO"), "a")

    def test_missing(self) -> None:
        """A missing name is a KeyError; get() returns the default."""
        self.assertNotIn("three", self.headers)
        self.assertNotIn(3, self.headers)
        self.assertIsNone(self.headers.get("three"))
        with self.assertRaises(KeyError):
            self.headers["three"]

    def test_as_a_mapping(self) -> None:
        """The mapping has each name once, in the order and case in which it came first."""
        self.assertEqual(list(self.headers), ["X-One", "Two"])
        self.assertEqual(len(self.headers), 2)
        self.assertEqual(dict(self.headers), {"X-One": "1, 2", "Two": "a"})
        self.assertIn("'X-One': '1, 2'", repr(self.headers))


class RefusalTest(HandshakeTest):
    """A refusal as bytes."""

    def test_too_many_requests(self) -> None:
        """429 has exactly the reason phrase on which MMDAgent-EX tries another path."""
        response = BadRequest(429, "Busy.").response()
        self.assertTrue(response.startswith(b"HTTP/1.1 429 Too Many Requests\r\n"))

    def test_own_reason_and_headers(self) -> None:
        """A reason replaces the standard phrase; extra headers come before the body."""
        error = BadRequest(403, "Nein \u982c.", reason="Not today", headers=(("Retry-After", "5"),))
        reply = self.assert_answer(error)
        self.assertEqual((reply.reason, reply.headers["Retry-After"]), ("Not today", "5"))
        self.assertEqual(reply.behind, b"")
        self.assertIn("403 Not today", str(error))

    def test_every_status_has_a_phrase(self) -> None:
        """Every status, even a non-standard one, has a phrase."""
        self.assertEqual(phrase_of(404), "Not Found")
        for status in range(400, 600):
            with self.subTest(status):
                self.assertTrue(phrase_of(status))
                self.assert_answer(BadRequest(status, "x"))


TOKENS = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([*HEADERS, *HEADERS.values(), b"X-App-Type", b"MMDAgent", b"keep-alive, Upgrade",
                     b"Sec-WebSocket-Extensions", b"Sec-WebSocket-Protocol", b"Origin", b"xn--a.b",
                     b"permessage-deflate; client_max_window_bits=x", b"Content-Length", b"5",
                     b"Transfer-Encoding", b"chunked", b"Expect", b"100-continue", b"8", b"\xff"]))
LINES = st.one_of(
    st.sampled_from([b"GET / HTTP/1.1", b"GET /?a=%ff HTTP/1.1", b"GET  HTTP/1.1",
                     b"GET http://[ HTTP/1.1", b"GET / HTTP/2.0", b"POST / HTTP/1.1"]),
    st.binary(max_size=30).map(lambda target: b"GET " + target + b" HTTP/1.1"),
    st.binary(max_size=30))


class HostileTest(HandshakeTest):
    """Hostile requests."""

    def judge(self, data: bytes, forced: Optional[Profile]) -> None:
        """A head gives only BadRequest, or a request that can be accepted."""
        try:
            parts = split_head(data)
            if parts is None:
                return
            ws, request = parse_request(parts[0], forced)
        except BadRequest as error:
            self.assertIn(error.status, range(400, 600))
            self.assert_answer(error)
            return
        self.assertTrue(request.path.startswith("/"))
        answer = ServerProtocol(ws, request.profile, Limits()).accept(request, None, compression=True)
        self.assertTrue(answer.startswith(b"HTTP/1.1 101 "))
        self.assertTrue(answer.endswith(b"\r\n\r\n"))

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=200), st.sampled_from([None, STRICT, MMDAGENT_EX]))
    def test_noise(self, data: bytes, forced: Optional[Profile]) -> None:
        """Noise is refused or incomplete, and never causes another exception."""
        self.judge(data, forced)
        self.judge(data + b"\r\n\r\n", forced)

    @settings(deadline=None, max_examples=400)
    @given(LINES, st.lists(st.tuples(TOKENS, TOKENS), max_size=3), st.sampled_from([b"", *HEADERS]),
           st.sampled_from([None, MMDAGENT_EX]))
    def test_nearly_valid(self, line: bytes, more: list[tuple[bytes, bytes]], without: bytes,
                          forced: Optional[Profile]) -> None:
        """A request that is nearly valid is refused, or accepted with a whole 101."""
        self.judge(head_of(b"/", *more, line=line, without=without), forced)

    @settings(deadline=None, max_examples=300)
    @given(st.integers(0, len(RECORDED) - 1), st.integers(0, 2), st.binary(max_size=3))
    def test_one_fault(self, at: int, removed: int, put: bytes) -> None:
        """The recorded request with some bytes changed is refused, or accepted with a whole 101."""
        self.judge(RECORDED[:at] + put + RECORDED[at + removed:], None)


if __name__ == "__main__":
    unittest.main()
