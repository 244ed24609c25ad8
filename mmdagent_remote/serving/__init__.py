"""A server's threads: who accepts, who serves a connection, who looks after all of them.

- ``settings.py`` (pure): routes and options. ``listener.py``: the listening sockets.
- ``run.py``: from one start to its shutdown. Its thread ``mmdagent-remote-accept`` accepts.
- ``session.py``: the thread of one connection, ``mmdagent-remote-7``: handshake, hooks, end.
- ``registry.py``: who is connected, who may come in, who waits in ``accept()``.
- ``attendant.py``: ``mmdagent-remote-attendant`` pings, sends what is due, reads for busy handlers.

Locks: the registry's, round its collections. It is a leaf: nothing else is locked under it.
"""
