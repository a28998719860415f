"""The whole pipeline on one machine: sandbox API, embedded PostgreSQL and Meltano, all on loopback.

`python -m demo` (or `make demo`) shows it; the tests in `tests/pipelines` use the same parts.
"""
