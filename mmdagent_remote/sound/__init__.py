"""What an agent plays: any sound, as chunks of 16 kHz mono, each at its time.

- ``format.py`` (pure): sound as MMDAgent-EX takes it. ``convert.py``: any other sound to that.
- ``sources.py``: files, samples and iterators, as one stream.
- ``playback.py`` (pure): which sound is next, when each chunk leaves, when it was heard.
- ``player.py``: carries that out for one connection.

Threads: the connection's courier sends; a thread ``mmdagent-remote-7-audio`` reads each source, which
is user code. Lock: a reader's, round what its source has given; a leaf.
"""
