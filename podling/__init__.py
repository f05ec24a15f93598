"""Podling: a container orchestrator with a durable queue inside."""

__version__ = "0.1.0"
