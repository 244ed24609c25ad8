"""How fast it is, beside other blocking servers: ``python -m tests.benchmark``; docs/benchmark.md.

Not part of the suite, and never a timed test: ``tests/benchmark/test_benchmark.py`` only checks
that it works.
Each server has a process of its own, another process makes the load, and the program itself
controls both. In each round all servers have their turn, and only rates of the same round are
compared.

================== =================================================================
``works.py``       what is measured. Pure, like the next five
``contestants.py`` which servers are measured, and which works they cannot do
``frames.py``      lines and frames made by hand, and the check of every reply
``figures.py``     medians, ratios, percentiles, growth, and doubtful measurements
``table.py``       the table as text
``plot.py``        the picture
``serve.py``       the server's process; ``roles.py``: what its handlers do
``ours.py``        this package as a contestant; ``floor.py``: the most that Python can do
``others.py``      the other packages
``load.py``        the client's process; ``client.py``: its connections, ``drive.py``: its works
``process.py``     starting and ending both, with deadlines
``run.py``         the rounds; ``machine.py``: the load of the machine by other programs
================== =================================================================
"""
