"""Full collections of garbage are few, and there are some."""

import gc
from collections.abc import Iterator

import pytest

from podling.kit.garbage import FULL, MIDDLE, YOUNG, collect_seldom


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def full_collections() -> int:
    return int(gc.get_stats()[2]["collections"])


def test_much_that_is_kept_is_no_reason_to_look_at_everything() -> None:
    collect_seldom()
    before = full_collections()
    kept = [[number] for number in range(YOUNG * MIDDLE * FULL // 4)]
    assert full_collections() == before
    assert kept


def test_garbage_in_circles_does_not_pile_up() -> None:
    collect_seldom()
    before = full_collections()
    kept: list[object] = []
    for _ in range(2 * YOUNG * MIDDLE * FULL):
        kept.append([kept])
    assert full_collections() > before
