"""What an agent says: texts cut into sentences, and one utterance after another.

- ``sentences.py`` (pure): where a text, or a stream of pieces, is cut.
- ``mouth.py`` (pure): the utterances of one model: which is next, and how each one ends.
- ``speaker.py``: connects the mouths of one connection to its lines and to the user's futures.

Threads: the thread that reads a line shows it to ``speaker.py`` with the state lock held.
``speaker.py`` only passes it to the connection's courier. All else runs there, so the mouths need
no lock.
"""
