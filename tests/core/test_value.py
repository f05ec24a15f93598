"""Values, and copies of them with other parts."""

from dataclasses import FrozenInstanceError, fields, replace

import pytest

from podling.core.task import TaskStatus
from podling.core.value import changed
from tests.builders import build_task


def test_a_changed_value_equals_a_replaced_one() -> None:
    task = build_task()
    assert changed(task, version=7, status=TaskStatus.RUNNING) == replace(
        task, version=7, status=TaskStatus.RUNNING
    )
    assert task == build_task(task_id=task.task_id)


def test_a_changed_value_has_every_field_and_is_frozen_too() -> None:
    copy = changed(build_task())
    assert all(hasattr(copy, field.name) for field in fields(copy))
    with pytest.raises(FrozenInstanceError):
        copy.version = 2  # type: ignore[misc]


def test_a_field_that_is_not_there_is_refused() -> None:
    with pytest.raises(KeyError):
        changed(build_task(), versoin=2)
