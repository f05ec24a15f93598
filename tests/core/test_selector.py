"""Label selectors as texts."""

import pytest

from podling.core.errors import InvalidInput
from podling.core.placement import meets
from podling.core.selector import parse_selectors, split_exact
from podling.core.spec import Operator

LABELS = {"app": "web", "tier": "", "a=b": "x"}


@pytest.mark.parametrize(
    "text, meant",
    [
        ("app=web", True),
        ("app==web", True),
        ("app=db", False),
        ("app!=web", False),
        ("app!=db", True),
        ("gone!=web", True),
        ("gone=", False),
        ("tier=", True),
        ("app", True),
        ("gone", False),
        ("!app", False),
        ("!gone", True),
        ("app in (db, web)", True),
        ("app in (db)", False),
        ("app notin (db)", True),
        ("app notin (web,db)", False),
        ("gone notin (web)", True),
    ],
)
def test_a_selector_says_which_labels_are_meant(text: str, meant: bool) -> None:
    (selector,) = parse_selectors([text])
    assert meets(LABELS, selector) is meant


@pytest.mark.parametrize("text", ["", "=x", "!", "!=x", "a b", "app in web", "app in (web", "a(b)"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_selectors([text])


def test_what_a_store_finds_fast_is_taken_apart() -> None:
    exact, others = split_exact(parse_selectors(["a=1", "b", "a=2", "c in (x)"]))
    assert exact == {"a": "1", "c": "x"}
    assert [(other.label, other.operator) for other in others] == [("b", Operator.EXISTS), ("a", Operator.IN)]
