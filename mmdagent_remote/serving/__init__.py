"""A server's threads: one accepts, one serves each connection, one looks after all of them.

- ``settings.py`` (pure): routes and options. ``listener.py``: the listening sockets.
- ``run.py``: from one start to its shutdown. Its thread ``mmdagent-remote-accept`` accepts.
- ``session.py``: the thread of one connection, ``mmdagent-remote-7``: handshake, hooks, end.
- ``registry.py``: what is connected, what may connect, which threads wait in ``accept()``.
- ``attendant.py``: ``mmdagent-remote-attendant`` pings, sends what is due, reads for busy handlers.

Locks: the registry's, which guards its collections. It is a leaf: no lock is acquired under it.
"""
