"""How fast it is, beside other blocking servers: ``python -m tests.benchmark``; docs/benchmark.md.

Not part of the suite, and never a timed test: ``tests/benchmark/test_benchmark.py`` only sees that it
works.
Each server has a process of its own, the load comes from another, and a third, the program
itself, tells both what to do. In each round all servers have their turn, and only rates of one
round are compared.

================== =================================================================
``works.py``       what is measured. Pure, like the next five
``contestants.py`` who is measured, and who cannot do which work
``frames.py``      lines and frames by hand, and the check of every reply
``figures.py``     medians, ratios, percentiles, growth, and what is in doubt
``table.py``       the table that a person reads
``plot.py``        the picture
``serve.py``       the server's process; ``roles.py``: what its handlers do
``ours.py``        this package as a contestant; ``floor.py``: what Python can do at all
``others.py``      the other packages
``load.py``        the client's process; ``client.py``: its connections, ``drive.py``: its works
``process.py``     starting and ending both, with deadlines
``run.py``         the rounds; ``machine.py``: what else the machine does meanwhile
================== =================================================================
"""
