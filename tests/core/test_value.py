"""Values, and copies of them with other parts."""

from dataclasses import FrozenInstanceError, field, fields, replace

import pytest

from podling.core.task import TaskStatus
from podling.core.value import (
    beyond_defaults,
    changed,
    reader_beyond_defaults,
    sharing_defaults,
    value,
)
from tests.builders import build_task


@value
class Part:
    size: int = 1
    note: str | None = None


@value
class Whole:
    name: str
    parts: tuple[Part, ...] = ()
    best: Part = field(default_factory=Part)
    env: dict[str, str] = field(default_factory=dict)


def test_only_what_is_not_as_by_default_is_told_at_every_depth() -> None:
    assert beyond_defaults(Whole(name="a")) == {"name": "a"}
    whole = Whole(name="a", parts=(Part(), Part(size=2)), best=Part(note=""), env={"A": ""})
    assert beyond_defaults(whole) == {
        "name": "a",
        "parts": [{}, {"size": 2}],
        "best": {"note": ""},
        "env": {"A": ""},
    }


def test_a_changed_value_equals_a_replaced_one() -> None:
    task = build_task()
    assert changed(task, version=7, status=TaskStatus.RUNNING) == replace(
        task, version=7, status=TaskStatus.RUNNING
    )
    assert task == build_task(task_id=task.task_id)


def test_a_changed_value_has_every_field_and_is_frozen_too() -> None:
    copy = changed(build_task())
    assert all(hasattr(copy, each.name) for each in fields(copy))
    with pytest.raises(FrozenInstanceError):
        copy.version = 2  # type: ignore[misc]


def test_a_field_that_is_not_there_is_refused() -> None:
    with pytest.raises(AttributeError):
        changed(build_task(), versoin=2)


@value
class Base:
    a: int = 1
    b: int = 2
    c: int = 3


@value
class Derived(Base):
    d: int = 4
    e: int = 5
    f: int = 6


def test_a_value_may_extend_another_one() -> None:
    assert changed(Derived(a=7), f=8) == Derived(a=7, f=8)
    assert (Derived(d=9).c, Derived(d=9).d) == (3, 9)


def test_parts_that_equal_their_defaults_become_the_one_that_all_share() -> None:
    first = sharing_defaults(Whole(name="a", best=Part(), env={}))
    second = sharing_defaults(Whole(name="b", best=Part(), env={"A": ""}))
    assert first == Whole(name="a")
    assert second == Whole(name="b", env={"A": ""})
    assert first.best is second.best
    assert sharing_defaults(first) is first


def test_a_reader_gives_what_is_not_as_by_default_by_the_names_it_was_told() -> None:
    read = reader_beyond_defaults(Whole, str.upper, always=frozenset({"env"}))
    assert read(Whole(name="a")) == {"NAME": "a", "ENV": {}}
    assert read(Whole(name="a", best=Part(size=2))) == {"NAME": "a", "BEST": Part(size=2), "ENV": {}}
