"""What the tests of faults need of the machine."""

from tests.e2e.conftest import engine

__all__ = ["engine"]
