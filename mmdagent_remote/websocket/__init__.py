"""The WebSocket protocol (RFC 6455, on wsproto): bytes in, events out; lines in, frames out.

- ``handshake.py``: the request's head becomes a ``Request``, or a refusal that a person can read.
- ``protocol.py``: wsproto for one connection, and what wsproto leaves to its user.
- ``fastlane.py``: decodes and makes plain data frames without wsproto, for speed.
- ``deflate.py``: compression.
- ``lines.py``: cuts text into lines, and makes payloads of frames from lines.
- ``keepalive.py``: when to ping, and when to give up a silent peer.

Pure: no socket, thread, clock or log. Not thread-safe: the connection's state lock guards it.
"""
