"""The server's process: ``python -m tests.benchmark.serve ORDER``, controlled by its parent.

It answers each line on its standard input with a line of measurements, and ends with the input.
"""

from __future__ import annotations

import json
import os
import platform
import ssl
import sys
import sysconfig
import threading
import time
from pathlib import Path
from typing import Any

_DATA = Path(__file__).parent.parent / "data"
CERTIFICATE, KEY = _DATA / "localhost-cert.pem", _DATA / "localhost-key.pem"


def main() -> None:
    """Start the ordered server, and answer until the input ends."""
    order = json.loads(sys.argv[1])
    allow_many_files()
    if order["core"] is not None:
        os.sched_setaffinity(0, {order["core"]})
    try:
        _say({"port": _start(order), "python": python_name()})
    except ImportError as error:
        _say({"missing": f"no {error.name} for CPython {python_name()}"})
    for _ in sys.stdin:
        _say({"cpu": time.process_time(), "rss": _rss(), "threads": threading.active_count()})
    sys.stdout.flush()
    os._exit(0)  # A normal exit would wait for threads of other packages.


def _start(order: dict[str, Any]) -> int:
    if order["pure"]:
        sys.modules["websockets"] = None  # type: ignore[assignment]
    context = None
    if order["tls"]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE, KEY)
    if order["server"] == "floor":
        from . import floor
        return floor.start(order, context)
    if order["server"] == "ours":
        from . import ours
        return ours.start(order, context)
    from . import others
    port: int = getattr(others, f"start_{order['server']}")(order, context)
    return port


def allow_many_files() -> None:
    """Raise the limit of descriptors as far as allowed; it is usually 1024."""
    try:
        import resource
    except ImportError:
        return  # On Windows there is no such limit.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (ValueError, OSError):
        pass  # macOS reports an infinite limit, but allows less.


def python_name() -> str:
    """The version, with a t for a free-threaded build."""
    return platform.python_version() + ("t" if sysconfig.get_config_var("Py_GIL_DISABLED") else "")


def _rss() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
