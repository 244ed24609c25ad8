"""The Autobahn test suite against this package: ``python -m tests.autobahn``, see docs/conformance.md.

``report.py`` is pure: which cases there are, and what is said of them. ``environment.py`` makes
what the suite runs in, once; ``suite.py`` runs it; ``process.py`` starts and ends its programs.
"""
