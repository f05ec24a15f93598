"""Sorted keys behave like a sorted list, whatever their number."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.store.memory.sorted_keys import SortedKeys

KEYS = st.integers(0, 40)


@given(st.lists(st.tuples(st.booleans(), KEYS)), KEYS, st.integers(0, 50))
def test_it_behaves_like_a_sorted_list(steps: list[tuple[bool, int]], probe: int, limit: int) -> None:
    keys: SortedKeys[tuple[int]] = SortedKeys()
    expected: set[tuple[int]] = set()
    for adds, number in steps:
        if (number,) not in expected:
            keys.add((number,))
            expected.add((number,))
        elif not adds:
            keys.remove((number,))
            expected.remove((number,))
    agree(keys, sorted(expected), probe, limit)


def test_it_behaves_like_a_sorted_list_when_there_are_many() -> None:
    draw = random.Random(7)
    numbers = draw.sample(range(20_000), 10_000)
    keys: SortedKeys[tuple[int]] = SortedKeys()
    for number in numbers:
        keys.add((number,))
    removed = set(numbers[:7_000])
    for number in removed:
        keys.remove((number,))
    left = sorted((number,) for number in numbers[7_000:])
    for probe in (0, left[0][0], left[1500][0], 10_001, 20_000):
        agree(keys, left, probe, 2_000)


def agree(keys: SortedKeys[tuple[int]], expected: list[tuple[int]], probe: int, limit: int) -> None:
    before = [key for key in expected if key < (probe,)]
    assert list(keys) == expected
    assert len(keys) == len(expected)
    assert keys.first() == (expected[0] if expected else None)
    assert keys.count_before((probe,), limit) == min(len(before), limit)
    assert list(keys.descending((probe,))) == before[::-1]
    assert list(keys.descending()) == expected[::-1]
    assert list(keys.ascending((probe,))) == [key for key in expected if key >= (probe,)]


def test_what_is_not_there_cannot_be_removed() -> None:
    keys: SortedKeys[tuple[int]] = SortedKeys()
    keys.add((1,))
    for absent in ((0,), (2,)):
        with pytest.raises(KeyError):
            keys.remove(absent)
    assert list(keys) == [(1,)]
