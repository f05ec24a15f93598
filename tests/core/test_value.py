"""Values, and copies of them with other parts."""

from dataclasses import FrozenInstanceError, field, fields, replace

import pytest

from podling.core.task import TaskStatus
from podling.core.value import beyond_defaults, changed, value
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
