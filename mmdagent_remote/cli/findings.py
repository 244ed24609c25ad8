"""What would go wrong with an ``.mdf``, and the line to write instead. Pure.

Each check is a function of what it needs. A :class:`World` tells what depends on this machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Optional, Protocol

from ..mdf import DIRECTORY, HOST, PORT, RETRIES, RETRY_COUNT
from ..serving.settings import Routes
from ..websocket.handshake import BadRequest, parse_request
from .mdf import MdfFile, Setting, number_of

_TCP = ("Plugin_Remote_EnableServer", "Plugin_Remote_EnableClient", "Plugin_Remote_ServerMode",
        "Plugin_Remote_ClientMode")
_ALL_LOG = "Plugin_Remote_AllLog"
_EXCLUDE = "exclude_Plugin_Remote"
_KNOWN = {name.casefold(): name for name in (
    HOST, PORT, DIRECTORY, RETRIES, _ALL_LOG, *_TCP, _EXCLUDE, "disablePlugin", "enablePlugin")}
#: What a name may have around it by mistake.
_AROUND = " \t\u3000\ufeff"
#: The port that MMDAgent-EX uses when none is set.
_DEFAULT_PORT = 80
_TLS_PORT = 443

_HEAD = (b" HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
         b"X-App-Type: MMDAgent\r\n\r\n")


class Finding(NamedTuple):
    """One thing that would go wrong.

    Attributes:
        kind: a word for programs, such as ``no-host``.
        line: the number of the line to change; None: a line must be added.
        problem: what would happen.
        write: the lines to write; empty: there is another remedy, which `problem` gives.
    """

    kind: str
    line: Optional[int]
    problem: str
    write: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """The server that the content is to connect to. None: not given, so any value is accepted."""

    host: Optional[str] = None
    port: Optional[int] = None
    path: Optional[str] = None
    exclusive: bool = False
    tls: bool = False

    @property
    def written_host(self) -> str:
        """The host for an ``.mdf``."""
        return self.host if self.host and self.host not in ("0.0.0.0", "::") else "localhost"

    @property
    def written_port(self) -> int:
        """The port for an ``.mdf``."""
        return _TLS_PORT if self.tls else self.port if self.port not in (None, 0, _TLS_PORT) else 9001


class World(Protocol):
    """What the checks ask about this machine."""

    def resolve(self, host: str) -> list[str]:
        """The addresses of a host, the one that MMDAgent-EX uses comes first; empty: none."""

    def is_served(self, address: str, host: Optional[str]) -> bool:
        """Whether a server on `host` (None: anywhere) is reached at an address."""

    def why_not_listen(self, host: str, port: int) -> Optional[str]:
        """Why a server cannot listen there; None: it can, or one of this package already does."""


def check(file: MdfFile, target: Target, world: World) -> list[Finding]:
    """All findings, sorted by line; those without a line come last."""
    if file.encoding == "utf-16":
        return [Finding("encoding", None, "this is UTF-16, which MMDAgent-EX cannot read: save the "
                        "file as UTF-8")]
    found = [*_whole_file(file), *_names(file)]
    # A setting with a wrong name was reported above, and must not be reported as missing as well.
    file = _with_right_names(file)
    found += [*_tcp(file), *_plugin(file), *_all_log(file)]
    host = file.last(HOST)
    if host is None or not host.value:
        found += _no_host(file, host, target)
    else:
        found += [*_host(host, target, world), *_port(file, host, target, world),
                  *_directory(file, target)]
    found += _retries(file)
    return sorted(found, key=lambda each: each.line or 10**9)


def _whole_file(file: MdfFile) -> Iterator[Finding]:
    if file.broken_line is not None:
        yield Finding("environment", file.broken_line.number,
                      "there is %ENV{ without a }: MMDAgent-EX skips the whole file")
    first = file.settings[0] if file.settings else None
    if file.has_bom and first is not None and first.number == 1:
        yield Finding("bom", 1, "the file begins with a byte order mark, which MMDAgent-EX takes for a "
                      "part of this line's name: put a comment before it (or save without a mark)",
                      ("#", first.name.lstrip("\ufeff") + "=" + first.value))


def _names(file: MdfFile) -> Iterator[Finding]:
    for number, name, value in file.settings:
        plain = name.strip(_AROUND).casefold()
        known = _KNOWN.get(plain)
        if known is not None and name not in (known, "\ufeff" + known):
            yield Finding("name", number, f"MMDAgent-EX does not know {name!r}; case and blanks matter",
                          (f"{known}={value.strip()}",))
        elif known is None and plain.startswith("plugin_remote_websocket"):
            yield Finding("name", number, f"MMDAgent-EX does not know {name!r}, only {HOST}, {PORT} and "
                          f"{DIRECTORY}")


def _with_right_names(file: MdfFile) -> MdfFile:
    right = {name for _, name, _ in file.settings if name in _KNOWN.values()}
    return replace(file, settings=[
        each if known is None or known in right else each._replace(name=known, value=each.value.strip())
        for each in file.settings
        for known in [_KNOWN.get(each.name.strip(_AROUND).casefold())]])


def _tcp(file: MdfFile) -> Iterator[Finding]:
    for name in _TCP:
        setting = file.last(name)
        if setting is not None and setting.value != "false":
            yield Finding("tcp", setting.number, "this switches TCP/IP on, which cannot be set together "
                          "with WebSocket" + (
                              "; any value but false does" if setting.value != "true" else ""),
                          (f"#{name}={setting.value}",))


def _plugin(file: MdfFile) -> Iterator[Finding]:
    enabled, disabled, excluded = (
        file.last(name) for name in ("enablePlugin", "disablePlugin", _EXCLUDE))
    names = enabled.value.split(",") if enabled else []
    if "Remote" in names or enabled is not None and enabled.value == "ALL":
        return
    if disabled is not None and disabled.value == "ALL":
        write = f"enablePlugin={','.join([*filter(None, names), 'Remote'])}"
        yield Finding("plugin", enabled.number if enabled else disabled.number,
                      "all plugins are disabled, and Remote, which connects, is not enabled", (
                          write,) if enabled else ("disablePlugin=ALL", write))
    elif disabled is not None and "Remote" in (off := disabled.value.split(",")):
        others = ",".join(name for name in off if name != "Remote") or "NONE"
        yield Finding("plugin", disabled.number, "the plugin Remote, which connects, is disabled",
                      (f"disablePlugin={others}",))
    elif excluded is not None and excluded.value in ("yes", "true"):
        yield Finding("plugin", excluded.number, "the plugin Remote, which connects, is excluded",
                      (f"{_EXCLUDE}=no",))


def _all_log(file: MdfFile) -> Iterator[Finding]:
    setting = file.last(_ALL_LOG)
    if setting is not None and setting.value != "false":
        yield Finding("all-log", setting.number, "MMDAgent-EX sends its log instead of messages" + (
            "; any value but false does that" if setting.value != "true" else ""),
                      (f"{_ALL_LOG}=false",))


def _no_host(file: MdfFile, host: Optional[Setting], target: Target) -> Iterator[Finding]:
    write = [f"{HOST}={target.written_host}"]
    if host is None:
        wanted = ((PORT, str(target.written_port)), (DIRECTORY, target.path or "/chat"))
        write += [f"{name}={value}" for name, value in wanted if file.last(name) is None]
    yield Finding("no-host", host.number if host else None,
                  f"no {HOST} is set, so MMDAgent-EX makes no WebSocket connection", tuple(write))


def _host(host: Setting, target: Target, world: World) -> Iterator[Finding]:
    write = (f"{HOST}={target.written_host}",)
    if any(character in host.value for character in "/ \t#\u3000") or host.value.count(":") == 1:
        yield Finding("host", host.number, f"{host.value!r} is more than the name or address of a host",
                      write)
        return
    addresses = world.resolve(host.value)
    if not addresses:
        yield Finding("host", host.number, f"no host {host.value!r} can be found", write)
    elif not world.is_served(addresses[0], target.host):
        where = ("is no address of this machine: if the server is to run there, check there"
                 if target.host is None else f"does not lead to a server on {target.host!r}")
        alias = "" if addresses[0] == host.value else f" ({addresses[0]})"
        yield Finding("host", host.number, f"{host.value}{alias} {where}", write)


def _port(file: MdfFile, host: Setting, target: Target, world: World) -> Iterator[Finding]:
    setting = file.last(PORT)
    number = number_of(setting.value) if setting else _DEFAULT_PORT
    line, write = setting.number if setting else None, (f"{PORT}={target.written_port}",)
    if setting is None and number != target.port:
        yield Finding("port", None, "no port is set, so MMDAgent-EX takes 80", write)
    elif not 1 <= number <= 65535:
        yield Finding("port", line, f"{setting.value if setting else ''!r} is no port", write)
    elif target.tls and number != _TLS_PORT:
        yield Finding("tls", line, f"MMDAgent-EX uses TLS on port 443 only, not on {number}", write)
    elif not target.tls and number == _TLS_PORT:
        yield Finding("tls", line, "on port 443 MMDAgent-EX uses TLS: start the server with --tls, and "
                      "say so here with --tls; or take another port", write)
    elif target.tls and target.port not in (None, 0, number):
        yield Finding("tls", line, f"the server is on {target.port}, but MMDAgent-EX uses TLS on port "
                      "443 only: start it with --port 443")
    elif target.port not in (None, 0, number):
        yield Finding("port", line, f"MMDAgent-EX connects to port {number}, but the server is on "
                      f"{target.port}", (f"{PORT}={target.port}",))
    elif not (addresses := world.resolve(host.value)) or not world.is_served(addresses[0], target.host):
        return
    elif (why := world.why_not_listen(
            addresses[0] if target.host is None else target.host, number)) is not None:
        yield Finding("in-use", line, f"a server cannot listen on port {number}: {why}")


def _directory(file: MdfFile, target: Target) -> Iterator[Finding]:
    setting = file.last(DIRECTORY)
    value = setting.value if setting else "/"
    line, write = setting.number if setting else None, (f"{DIRECTORY}={target.path or '/chat'}",)
    if file.encoding != "utf-8" and not value.isascii():
        yield Finding("encoding", line, "this is not sent in UTF-8, since the file is in "
                      f"{'Shift_JIS' if file.encoding == 'cp932' else 'no known encoding'}: save the "
                      "file as UTF-8", (f"{DIRECTORY}={value}",) if file.encoding == "cp932" else ())
        return
    try:
        _, request = parse_request(b"GET " + value.encode("utf-8", "replace") + _HEAD, None)
    except BadRequest as error:
        yield Finding("directory", line, f"the server would refuse {value!r}: {error.detail}", write)
        return
    if target.path is not None and Routes(
            object, target.path, follow_suffixes=target.exclusive).find(request.path) is None:
        yield Finding("directory", line, f"MMDAgent-EX asks for {request.path}, but the server has only "
                      f"{target.path}", write)


def _retries(file: MdfFile) -> Iterator[Finding]:
    setting = file.last(RETRIES)
    if setting is None or number_of(setting.value) < 1:
        what = (f"no {RETRIES} is set" if setting is None
                else f"{setting.value!r} is no number of retries")
        yield Finding("retry-count", setting.number if setting else None,
                      f"{what}: MMDAgent-EX tries to connect once, and never again",
                      (f"{RETRIES}={RETRY_COUNT}",))
