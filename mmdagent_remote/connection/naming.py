"""The name of a connection: for its thread, and in the log."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from itertools import count
from typing import Any

_numbers = count(1)


class ConnectionLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the connection's name and the peer's address to each record, and before its text."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]
                ) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the two fields to a record."""
        extra = dict(self.extra or {})
        kwargs["extra"] = {**extra, **kwargs.get("extra", {})}
        return f"{extra['connection']} {extra['remote_address']}: {msg}", kwargs


def new_name() -> str:
    """A name for a connection and its thread, unique in this process."""
    return f"mmdagent-remote-{next(_numbers)}"
