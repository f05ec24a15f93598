"""Modules with functions, for the tests of the runtime `python`."""
