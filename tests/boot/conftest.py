"""What programs change in the process that they run in is put right after each test."""

import logging
from collections.abc import Iterator

import pytest

from podling.boot.logs import JsonFormatter, TextFormatter


@pytest.fixture(autouse=True)
def _no_handlers_left() -> Iterator[None]:
    """Take away the handlers of `set_up_logging`; others belong to pytest, which has its own order."""
    root = logging.getLogger()
    level = root.level
    yield
    for handler in root.handlers[:]:
        if isinstance(handler.formatter, TextFormatter | JsonFormatter):
            root.removeHandler(handler)
    root.setLevel(level)
