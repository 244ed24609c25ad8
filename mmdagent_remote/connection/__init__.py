"""One connection: its socket, the threads that use it, and its locks.

- ``connection.py`` puts the parts together, and is what the rest of the package calls.
- In: ``reading.py`` reads the socket, ``linequeue.py`` holds what was not delivered yet.
- Out: ``outbox.py`` (pure) decides what leaves next, ``wire.py`` writes it to the socket.
- Waits: ``waits.py`` and ``delivery.py`` give lines to their waits, ``courier.py`` runs timed jobs.
- The end: ``ending.py`` publishes it, ``parting.py`` lets the last bytes arrive.
- The system: ``transport.py`` is the socket and TLS, ``turnstile.py`` is for hundreds of threads,
  ``naming.py`` names threads and log records.

Threads: the connection's own (it reads), any user thread (sends and closes), the attendant, two
couriers. Locks, in this order: the reading right, the wire, the state. See ``connection.py``.
"""
