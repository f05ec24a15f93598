"""What is too long for every run is marked `soak`, and runs in `make soak` alone."""

import pytest

from tests.faults.programs import IN_SOAK


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: runs in `make soak` alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    long = [] if IN_SOAK else [item for item in items if item.get_closest_marker("soak")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]
