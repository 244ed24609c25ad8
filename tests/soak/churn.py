"""Connects and disconnects in every style."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from contextlib import suppress

from ..client import CLOSE, PING, frame, request
from .peer import Peer, tls_context
from .world import Lost, Visit, World

_Style = Callable[[Visit, random.Random], None]


def close_handshake(visit: Visit, chance: random.Random) -> None:
    """Close frames from both sides."""
    with _open(visit, chance) as peer:
        peer.send(frame(b"\x03\xe8", CLOSE))
        peer.close_code()


def fin(visit: Visit, chance: random.Random) -> None:
    """FIN after a line, without a Close frame."""
    with _open(visit, chance) as peer:
        peer.finish()
        peer.read_all()


def rst(visit: Visit, chance: random.Random) -> None:
    """RST after a line."""
    with _open(visit, chance) as peer:
        peer.reset()


def close_and_go(visit: Visit, chance: random.Random) -> None:
    """A Close frame, then gone before its answer."""
    with _open(visit, chance) as peer:
        peer.send(frame("U|1\n") + frame(b"\x03\xe8", CLOSE))
        _vanish(peer, chance)


def in_request(visit: Visit, chance: random.Random) -> None:
    """Gone in the middle of the request, or before it."""
    with visit.connect("/talk", open=False) as peer:
        data = request("/talk")
        peer.send(data[:chance.randrange(len(data))])
        _vanish(peer, chance)


def in_tls_hello(visit: Visit, chance: random.Random) -> None:
    """Gone in the middle of a TLS hello, which a plain port gets, too."""
    outgoing = ssl.MemoryBIO()
    tls = tls_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    with visit.connect("", open=False, tls=False) as peer:
        data = outgoing.read()
        peer.send(data[:chance.randrange(len(data) + 1)])
        _vanish(peer, chance)


def in_frame(visit: Visit, chance: random.Random) -> None:
    """Gone in the middle of a frame."""
    with _open(visit, chance) as peer:
        data = frame("U|1 " + "x" * chance.choice((1, 200, 70000)))
        peer.send(data[:chance.randrange(1, len(data))])
        _vanish(peer, chance)


def while_we_send(visit: Visit, chance: random.Random) -> None:
    """Gone, with or without a Close, while lines come."""
    with visit.connect("/flood?count=300", agent=chance.random() < 0.5) as peer:
        for _ in range(chance.randrange(3)):
            peer.read()
        if chance.random() < 0.5:
            peer.send(frame(b"", CLOSE))
        _vanish(peer, chance)


def refused(visit: Visit, chance: random.Random) -> None:
    """A path without a handler, or no WebSocket request."""
    with visit.connect("", open=False) as peer:
        peer.send(chance.choice((request("/nowhere"), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")))
        assert peer.read_all().startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 426 ")), "was refused"


STYLES: tuple[_Style, ...] = (
    close_handshake, fin, rst, close_and_go, in_request, in_tls_hello, in_frame, while_we_send, refused)


def churn(world: World, chance: random.Random) -> None:
    """A step: one connection in some style."""
    style, tls = chance.choice(STYLES), chance.random() < 0.2
    with world.visit(style.__name__, tls=tls) as visit:
        style(visit, chance)


def _open(visit: Visit, chance: random.Random) -> Peer:
    # Some peers send a line, some wait for its answer, and some leave at once.
    peer, mood = visit.connect("/talk", agent=chance.random() < 0.5), chance.random()
    try:
        if mood < 0.7:
            peer.send(frame(b"?", PING) + frame("U|0\n"))
        while 0.3 < mood < 0.7 and "D|0" not in peer.read():
            pass
    except Lost:
        peer.sock.close()
        raise
    return peer


def _vanish(peer: Peer, chance: random.Random) -> None:
    if chance.random() < 0.5:
        peer.reset()
