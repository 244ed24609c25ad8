"""What an agent plays: any sound, sent as chunks of 16 kHz mono, each at its time.

- ``format.py`` (pure): sound as MMDAgent-EX takes it. ``convert.py``: any other sound to that.
- ``sources.py``: opens files, samples and iterators as one stream.
- ``playback.py`` (pure): which sound is next, when each chunk leaves, when it was heard.
- ``player.py``: carries that out for one connection.

Threads: the connection's courier sends. Each source is user code, so a thread of its own reads it,
``mmdagent-remote-7-audio``. Lock: each reader has one for what its source has given; it is a leaf.
"""
