"""The long run: a real cluster under load while seeded faults happen; `python -m tests.soak`.

What tasks do is written outside Podling, in a ledger, and compared with the store at the end.
"""
