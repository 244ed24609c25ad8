"""The Autobahn test suite against this package: ``python -m tests.autobahn``, see docs/conformance.md.

``report.py`` is pure: which cases there are, and their verdicts. ``environment.py`` makes the
environment of the suite, once; ``suite.py`` runs it; ``process.py`` starts and ends its programs.
"""
