"""Everything at once, for a given time: ``python -m tests.soak [--minutes 10]``.

Not part of the suite: ``tests/soak/test_soak.py`` runs it for a few seconds only. A server in a
process of its own meets healthy agents whose every line is accounted for, and at the same
time slow, stalled, vanished and hostile peers, connects and disconnects in every style, and
restarts of its own. At the end nothing may be lost, and nothing leaked.

============== =====================================================================
``book.py``    what each side says about a connection, and whether both agree
``handlers.py`` the server's side of every peer
``host.py``    the process that the server runs in, and how it is measured
``peer.py``    one client connection
``world.py``   what all peers share: phase, gate for restarts, counts, faults
``agents.py``  the healthy ones
``churn.py``   connects and disconnects in every style
``trouble.py`` slow, stalled, vanished, hostile and other difficult peers
``run.py``     the phases of a run
``report.py``  the table and the verdict
============== =====================================================================
"""
