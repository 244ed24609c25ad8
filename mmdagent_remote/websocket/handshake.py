"""The HTTP of the opening handshake: parses a request's head, writes a refusal. Pure.

wsproto and h11 validate the head. This module does what must happen before and beside that. h11
refuses the request targets that MMDAgent-EX sends (empty, with blanks, in raw UTF-8), so those are
repaired first. wsproto accepts a malformed key, so keys are checked here. wsproto sends no reason
phrase, but MMDAgent-EX reads it, so refusals are written here.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Optional
from urllib.parse import parse_qs, quote_from_bytes, unquote_to_bytes, urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import RejectConnection
from wsproto.events import Request as UpgradeRequest
from wsproto.utilities import RemoteProtocolError

from ..limits import MAX_REQUEST_SIZE
from ..profile import MMDAGENT_EX, STRICT, Profile

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_REQUEST_LINE = re.compile(rb"([!#-'*+.^_`|~\w-]+) (.*) HTTP/([0-9])\.([0-9])\r?\n")
_MMDAGENT = re.compile(rb"\r?\nX-App-Type:[ \t]*MMDAgent[ \t]*\r?\n", re.IGNORECASE)

# RFC 9110, section 5.5. h11 accepts some of them. On a terminal they would act as control codes.
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

# Bytes that may stand in a request target as they are (RFC 3986), the percent sign included.
_TARGET_SAFE = "/?#[]@!$&'()*+,;=:~%"


class BadRequest(Exception):
    """The request is refused with this status. Internal: it never reaches a user.

    An empty reason means the standard phrase. ``detail`` is the sentence in the body.
    """

    def __init__(self, status: int, detail: str, *, reason: str = "",
                 headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.reason = reason or phrase_of(status)
        self.headers = headers

    def __str__(self) -> str:
        return f"{self.status} {self.reason}: {self.detail}"

    def response(self) -> bytes:
        """Return the whole HTTP response; after it, the caller ends the connection."""
        body = f"{self.detail}\n".encode()
        lines = [
            f"HTTP/1.1 {self.status} {self.reason}",
            "Content-Type: text/plain; charset=utf-8",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def phrase_of(status: int) -> str:
    """The standard reason phrase of a status, or a general one."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused"


class Headers(Mapping[str, str]):
    """Request headers by case-insensitive name; a repeated header's values are joined by commas."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        found: dict[str, tuple[str, str]] = {}
        for name, value in pairs:
            first, known = found.get(name.lower(), (name, None))
            found[name.lower()] = first, value if known is None else f"{known}, {value}"
        # A tuple, not the dict: headers are read once, but kept as long as the connection.
        self._pairs = tuple(found.values())

    def __getitem__(self, name: str) -> str:
        for known, value in self._pairs:
            if known.lower() == name.lower():
                return value
        raise KeyError(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(name.lower() == known.lower() for known, _ in self._pairs)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __repr__(self) -> str:
        return f"Headers({dict(self)!r})"


@dataclass(frozen=True, slots=True)
class Request:
    """A valid opening handshake request.

    Attributes:
        path: decoded, without query; begins with a slash.
        query: decoded, every value of each name.
        subprotocols: what the client offers, in its order.
    """

    path: str
    query: dict[str, list[str]]
    headers: Headers
    subprotocols: tuple[str, ...]
    profile: Profile


def split_head(data: bytes, searched: int = 0) -> Optional[tuple[bytes, bytes]]:
    """Split a request's head, with its blank line, from the bytes after it.

    Args:
        data: all bytes so far.
        searched: how many of them were searched before, so that a slow sender costs linear time.

    Returns:
        the head and the rest, or None when the head is not complete.

    Raises:
        BadRequest: it is not plain HTTP, or it is too long.
    """
    if data[:1] == b"\x16":
        raise BadRequest(400, "This port speaks plain WebSocket (ws://), not TLS.")
    found = _HEAD_END.search(data, max(0, searched - 3))
    if (found.end() if found else len(data)) > MAX_REQUEST_SIZE:
        raise BadRequest(431, f"The request is longer than {MAX_REQUEST_SIZE} bytes.")
    if found is None:
        return None
    return data[:found.end()], data[found.end():]


def parse_request(head: bytes, forced: Optional[Profile],
                  mmdagent: Profile = MMDAGENT_EX) -> tuple[WSConnection, Request]:
    """Parse and validate a request's head.

    Args:
        head: from the request line to the blank line.
        forced: the profile of every client, or None to recognise it by the request.
        mmdagent: the profile of a client that is recognised as MMDAgent-EX.

    Returns:
        the wsproto connection, which waits for the answer, and the request.

    Raises:
        BadRequest: it is not a valid WebSocket handshake; the status says why.
    """
    if _CONTROLS.search(head, head.find(b"\n")):
        raise BadRequest(400, "A header holds control characters.")
    profile = forced or (mmdagent if _MMDAGENT.search(head) else STRICT)
    head, target = _read_request_line(head, profile)
    ws = WSConnection(ConnectionType.SERVER)
    try:
        ws.receive_data(head)
        event = next(ws.events(), None)
        if not isinstance(event, UpgradeRequest):
            raise BadRequest(400, "The request is not complete.")
        pairs = _all_headers(event)
    except RemoteProtocolError as error:
        raise _refusal(error) from error
    # wsproto decodes header values as ASCII and host names as IDNA. A failure is a UnicodeError,
    # which is a ValueError.
    except ValueError as error:
        raise BadRequest(400, "A header holds characters that are not ASCII.") from error
    path, query = _split_target(target)
    headers = Headers(pairs)
    _check_no_body(headers)
    _check_key(headers["Sec-WebSocket-Key"])
    return ws, Request(path, query, headers, tuple(event.subprotocols), profile)


def _check_no_body(headers: Headers) -> None:
    # The bytes of a body would be parsed as frames.
    if "Transfer-Encoding" in headers or headers.get("Content-Length", "0").strip("0"):
        raise BadRequest(400, "A WebSocket request must not have a body.")


def _read_request_line(head: bytes, profile: Profile) -> tuple[bytes, bytes]:
    found = _REQUEST_LINE.match(head)
    if found is None:
        raise BadRequest(400, "This is not an HTTP/1.1 request.")
    method, target, major, minor = found.groups()
    if (major, minor) < (b"1", b"1"):
        # RFC 6455, section 4.1: "the HTTP version MUST be at least 1.1".
        raise BadRequest(505 if major != b"1" else 400, "A WebSocket needs HTTP/1.1.")
    if method != b"GET":
        raise BadRequest(405, "A WebSocket request must use GET.", headers=(("Allow", "GET"),))
    if profile.mends_target:
        target = _mend_target(target)
        head = b"GET " + target + b" HTTP/1.1\r\n" + head[found.end():]
    return head, target


def _mend_target(target: bytes) -> bytes:
    target = quote_from_bytes(target, safe=_TARGET_SAFE).encode("ascii")
    return target if target.startswith(b"/") else b"/" + target


def _split_target(target: bytes) -> tuple[str, dict[str, list[str]]]:
    if target[:1] != b"/":
        # RFC 6455, section 4.2.1: an absolute URI is allowed as well.
        try:
            parts = urlsplit(target)
        except ValueError as error:
            raise BadRequest(400, "The request target is not a valid URI.") from error
        if parts.scheme not in (b"http", b"https", b"ws", b"wss") or not parts.netloc:
            raise BadRequest(400, "The request target is neither a path nor a URI.")
        target = (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")
    raw_path, _, raw_query = target.partition(b"?")
    path = unquote_to_bytes(raw_path).decode("utf-8", "replace")
    query = raw_query.decode("ascii", "replace")
    try:
        return path, parse_qs(query, keep_blank_values=True, max_num_fields=1000)
    except ValueError as error:
        raise BadRequest(400, "The query has too many fields.") from error


def _all_headers(event: UpgradeRequest) -> list[tuple[str, str]]:
    # wsproto removes these three from the list.
    pairs = [("Host", event.host)]
    if event.extensions:
        pairs.append(("Sec-WebSocket-Extensions", ", ".join(map(str, event.extensions))))
    if event.subprotocols:
        pairs.append(("Sec-WebSocket-Protocol", ", ".join(event.subprotocols)))
    for name, value in event.extra_headers:
        pairs.append((name.decode("ascii").title(), value.decode("ascii")))
    return pairs


def _refusal(error: RemoteProtocolError) -> BadRequest:
    hint = error.event_hint
    status = hint.status_code if isinstance(hint, RejectConnection) else 400
    text = str(error)
    if status == 426 or "Upgrade" in text:
        # A person may have opened this address in a browser, so say what it is.
        return BadRequest(
            426, "This is a WebSocket server (mmdagent_remote), made for MMDAgent-EX. "
            "Connect to it with a WebSocket client.",
            headers=(("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")))
    return BadRequest(400, text.rstrip(".") + ".")


def _check_key(key: str) -> None:
    # RFC 6455, section 4.2.1: base64 of 16 bytes. A repeated header arrives joined by a comma.
    try:
        good = len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        good = False
    if not good:
        raise BadRequest(400, "Sec-WebSocket-Key is not one key of 16 bytes in base64.")
