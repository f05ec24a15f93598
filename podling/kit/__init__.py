"""Async tools that know nothing of tasks."""
