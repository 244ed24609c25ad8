"""The protocol: bytes in, events out; lines in, frames out. RFC 6455 on wsproto.

- ``handshake.py``: the request's head becomes a ``Request``, or a refusal that a person can read.
- ``protocol.py``: wsproto for one connection, and what wsproto leaves to its user.
- ``fastlane.py``: plain data frames without wsproto, for speed. ``deflate.py``: compression.
- ``lines.py``: where a text is cut into lines, and how lines become payloads of frames.
- ``keepalive.py``: when to ping, and when to give up a silent peer.

Pure: no socket, no thread, no clock, no log. Not thread-safe: the connection's state lock guards it.
"""
