"""What MMDAgent-EX's messages are.

- ``messages.json``: the table, 186 messages from MMDAgent-EX's documentation and source.
- ``table.py``: the table for programs, and which message answers a command.
- ``pattern.py``: which messages a wait means.

Pure: no socket, no thread, no clock, no log. Any thread may call.
"""
