"""Benchmarks with public tools; `python -m bench SCENARIO --store STORE`."""
