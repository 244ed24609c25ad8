"""The messages of MMDAgent-EX.

- ``messages.json``: the table, 186 messages from MMDAgent-EX's documentation and source.
- ``table.py``: reads the table, and finds which message answers a command.
- ``pattern.py``: patterns, which say what messages a wait is for.

Pure: no socket, no thread, no clock, no log. Any thread may call.
"""
