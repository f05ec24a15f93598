"""Faults made on purpose, with real programs on a PostgreSQL of the test's own."""
