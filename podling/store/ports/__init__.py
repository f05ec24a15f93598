"""Ports of single aggregates; `podling.store.base.Store` has one object of each."""
