"""The works on the client's side. Each is prepared, run and ended; only the run is timed.

========= ========================================================================
pingpong  a message, its echo, the next; with several connections one is in flight on each
receive   messages as fast as possible; the server answers a last one with their number
echo      messages as fast as possible; each comes back
send      the server sends as many lines as it is asked for
writers   four threads of the server send on one connection, while it receives as many
connect   connect, handshake, Close, its answer, and the server's end, one connection at a time
accept    connect and handshake, four at a time; all stay open until the end
memory    connections that are open, and silent
broadcast the server sends lines to all connections
bytewise  a message in segments of one byte
========= ========================================================================
"""

from __future__ import annotations

import select
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from selectors import EVENT_READ, DefaultSelector
from typing import Any, Optional

from .client import DEADLINE, Client, exchange
from .frames import (Repeated, WrongReply, check_writers, client_frame, flood, line_of,
                     server_frame, writer_line)
from .roles import WRITERS
from .works import Work

_clock = time.perf_counter_ns

#: Connections at a time in accept, since websocket-server's backlog is five.
_UNDER_WAY = 4

#: The same value as EPOLLIN.
_READ = EVENT_READ

_GO, _END = client_frame(b"=\n"), client_frame(b"?\n")


class Drive:
    """One work on one server: connects when it is made.

    Args:
        count: how many messages, or other units of the work.

    Attributes:
        times: nanoseconds of each round trip.
    """

    def __init__(self, work: Work, port: int, count: int, tls: Optional[ssl.SSLContext] = None) -> None:
        self.times: list[int] = []
        self.count = count
        self._work, self._port, self._tls = work, port, tls
        self._line = line_of(work.size)
        self._frame, self._reply = client_frame(self._line), server_frame(self._line)
        self._flood, self._flood_count = flood(self._line)
        self._clients: list[Client] = []
        #: A check that takes longer than the work, and is not part of its time.
        self.after: Callable[[], None] = lambda: None
        number = 0 if work.kind in ("connect", "accept", "memory") else work.connections
        try:
            for _ in range(number):
                self._add_client()
            # A server may register a connection after its handshake, so each must answer "ready".
            if work.kind in ("writers", "broadcast"):
                question = client_frame(b"0\n" if work.kind == "broadcast" else b"!%d\n" % count)
                for client in self._clients:
                    client.ask(question, server_frame(b"ready\n"))
        except BaseException:
            self.end()
            raise

    def run(self) -> None:
        """Do the work.

        Raises:
            WrongReply: a reply is wrong, or there is none.
            OSError: the connection broke.
        """
        getattr(self, f"_{self._work.kind}")()

    def check(self) -> None:
        """Check that each open connection answers."""
        for client in self._clients:
            client.ask(self._frame, self._reply)

    def end(self) -> None:
        """Close the open connections."""
        while self._clients:
            self._clients.pop().drop()

    def _add_client(self) -> None:
        self._clients.append(Client(self._port, self._tls))
        self._clients[-1].open()

    # The kinds

    def _pingpong(self) -> None:
        if len(self._clients) > 1:
            self._pingpong_many()
            return
        client, frame, reply, size = self._clients[0], self._frame, self._reply, len(self._reply)
        send, recv, note = client.sock.send, client.sock.recv, self.times.append
        for _ in range(self.count):
            began = _clock()
            send(frame)
            got = recv(size)
            if got != reply:
                client.expect(reply, got)
            note(_clock() - began)

    def _pingpong_many(self) -> None:
        # For each echo one more message is sent, so that one is in flight on each connection.
        clients = {each.sock.fileno(): each for each in self._clients}
        frame, reply, size = self._frame, self._reply, len(self._reply)
        left, note, began = self.count - len(clients), self.times.append, {}
        with _Readable(clients) as readable:
            for file, client in clients.items():
                began[file] = _clock()
                client.sock.send(frame)
            missing = self.count
            while missing > 0:
                for file in readable.wait():
                    client = clients[file]
                    got = client.sock.recv(size)
                    if got != reply:
                        client.expect(reply, got)
                    now = _clock()
                    note(now - began[file])
                    missing -= 1
                    if left > 0:
                        left -= 1
                        began[file] = now
                        client.sock.send(frame)

    def _receive(self) -> None:
        client = self._clients[0]
        for buffer in self._buffers():
            client.sock.sendall(buffer)
        client.ask(_END, server_frame(b"%d\n" % self.count))

    def _echo(self) -> None:
        check = Repeated(self._reply, self.count)
        for data in exchange(self._clients[0], self._buffers(), check.missing):
            check.feed(data)

    def _send(self) -> None:
        self._clients[0].sock.sendall(client_frame(b"%d\n" % self.count))
        self._clients[0].read(Repeated(self._reply, self.count))

    def _writers(self) -> None:
        count, size = self.count, self._work.size
        last = b"%d\n" % (count * WRITERS)
        missing = len(server_frame(writer_line(0, 0, size))) * WRITERS * count + len(server_frame(last))
        buffers = [_GO, *self._buffers(count * WRITERS), _END]
        data = b"".join(exchange(self._clients[0], buffers, missing))
        self.after = lambda: check_writers(data, WRITERS, count, size, [last])

    def _connect(self) -> None:
        for _ in range(self.count):
            began = _clock()
            Client(self._port, self._tls).open().close()
            self.times.append(_clock() - began)

    def _accept(self) -> None:
        for start in range(0, self.count, _UNDER_WAY):
            under_way = [Client(self._port, self._tls)
                         for _ in range(min(_UNDER_WAY, self.count - start))]
            self._clients += under_way
            for client in under_way:
                client.open()

    def _memory(self) -> None:
        for _ in range(self._work.connections):
            self._add_client()

    def _broadcast(self) -> None:
        self._clients[0].sock.sendall(client_frame(b"%d\n" % self.count))
        for client in self._clients:
            client.read(Repeated(self._reply, self.count))

    def _bytewise(self) -> None:
        client = self._clients[0]
        send, pieces = client.sock.send, [self._frame[at:at + 1] for at in range(len(self._frame))]
        for _ in range(self.count):
            for piece in pieces:
                send(piece)
        client.ask(_END, server_frame(b"%d\n" % self.count))

    def _buffers(self, count: Optional[int] = None) -> Iterator[bytes]:
        # The same large buffer again and again, then a part of it for the rest.
        count = self.count if count is None else count
        for _ in range(count // self._flood_count):
            yield self._flood
        if rest := count % self._flood_count:
            yield self._flood[:len(self._frame) * rest]


class _Readable:
    """Waits for many sockets, with epoll itself if there is one, at half the cost of a selector."""

    def __init__(self, files: Iterable[int]) -> None:
        self._poll: Any = select.epoll() if hasattr(select, "epoll") else DefaultSelector()
        for file in files:
            self._poll.register(file, _READ)

    def __enter__(self) -> _Readable:
        return self

    def __exit__(self, *_: object) -> None:
        self._poll.close()

    def wait(self) -> list[int]:
        """The files that can be read."""
        if isinstance(self._poll, DefaultSelector):
            files = [key.fd for key, _ in self._poll.select(DEADLINE)]
        else:
            files = [file for file, _ in self._poll.poll(DEADLINE)]
        if not files:
            raise WrongReply(f"no reply within {DEADLINE:.0f} s")
        return files
