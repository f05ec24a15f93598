"""Where a reader of events is, as the id of an event."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.core.errors import InvalidInput
from podling.core.position import Position, missing, parse_position, written

PLACES = st.dictionaries(
    st.from_regex(r"[a-z0-9][a-z0-9-]{0,30}", fullmatch=True),
    st.tuples(st.integers(0, 10**17), st.integers(0, 500)),
    max_size=5,
)


@given(PLACES)
def test_an_id_says_where_it_is(places: Mapping[str, tuple[int, int]]) -> None:
    assert parse_position(written(Position(places=places))).places == places


@pytest.mark.parametrize("text", ["a", "a=", "a=-1", "=1", "a=1,", "a=1/", "a=1/2/3", "a=1;b=2", " a=1"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_position(text)


@pytest.mark.parametrize(
    "places, kept, why",
    [
        ({"a": 5}, {"a": (6, 9)}, None),
        ({"a": 5}, {"a": (1, 5)}, None),
        ({"a": 57}, {"a": (57, 57)}, None),
        ({"a": 5}, {"a": (7, 9)}, "older"),
        ({"a": 5}, {"a": (9, 9)}, "older"),
        ({"a": 5}, {"a": (1, 4)}, "restored"),
        ({"a": 5}, {}, "restarted"),
        ({"a": 5}, {"a": (1, 5), "new": (1, 3)}, None),
        ({"a": 5}, {"a": (1, 5), "new": (2, 3)}, "older"),
        ({}, {"a": (1, 5)}, None),
        ({}, {}, None),
    ],
)
def test_what_is_missing_is_noticed(
    places: dict[str, int], kept: dict[str, tuple[int, int]], why: str | None
) -> None:
    found = missing(Position.at(places), kept)
    assert (found is None) if why is None else (found is not None and why in found)


def test_a_batch_may_be_left_in_its_middle() -> None:
    position = Position.at({"a": 5}).moved("b", 3, 2, of=7)
    assert (position.known_of("b", 3), position.has("b", 3), position.has("b", 2)) == (2, False, True)
    assert position.moved("b", 3, 7, of=7).places == {"a": (5, 0), "b": (3, 0)}
