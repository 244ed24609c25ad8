"""What an agent says: texts cut into sentences, and one utterance after another.

- ``sentences.py`` (pure): where a text, or a stream of pieces, is cut.
- ``mouth.py`` (pure): the utterances of one model, which is next, and how each one ends.
- ``speaker.py``: the mouths of one connection, between its lines and the user's futures.

Threads: lines are shown to ``speaker.py`` where they are read, with the state lock held; it only
hands them to the connection's courier. All else runs there, so the mouths need no lock.
"""
