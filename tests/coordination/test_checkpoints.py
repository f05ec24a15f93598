"""Checkpoints: in order, the last one readable, old attempts fenced off."""

import asyncio
from typing import Any

import pytest

from podling.core.errors import InvalidInput, StaleAttempt, TooLarge
from tests.coordination.ground import Ground


async def test_a_checkpoint_is_read_as_it_was_saved(ground: Ground) -> None:
    checkpoints = ground.coordination.checkpoints
    saved = await checkpoints.save(
        "t", {"at": [1, "ü"]}, progress=12.5, estimated_seconds_remaining=60, attempt=2
    )
    assert (saved.task_id, saved.attempt, saved.sequence, saved.progress) == ("t", 2, 1, 12.5)
    assert saved.data == {"at": [1, "ü"]} and saved.estimated_seconds_remaining == 60
    assert await checkpoints.load(saved.checkpoint_id) == saved == await checkpoints.load_latest("t")


async def test_they_are_listed_in_the_order_of_their_sequence(ground: Ground) -> None:
    checkpoints = ground.coordination.checkpoints
    for number in range(4):
        await checkpoints.save("t", number)
    await checkpoints.save("another", "x")
    assert [(found.sequence, found.data) for found in await checkpoints.list("t")] == [
        (1, 0),
        (2, 1),
        (3, 2),
        (4, 3),
    ]
    latest = await checkpoints.load_latest("t")
    assert latest is not None and latest.data == 3


async def test_nothing_is_known_of_what_nobody_saved(ground: Ground) -> None:
    checkpoints = ground.coordination.checkpoints
    assert await checkpoints.load_latest("t") is None and await checkpoints.load("t") is None
    assert await checkpoints.list("t") == [] and await checkpoints.cleanup("t", 1) == 0
    assert await checkpoints.delete_all("t") == 0


async def test_cleanup_keeps_the_last(ground: Ground) -> None:
    checkpoints = ground.coordination.checkpoints
    for number in range(5):
        await checkpoints.save("t", number)
    assert await checkpoints.cleanup("t", 2) == 3 and await checkpoints.cleanup("t", 2) == 0
    assert [found.data for found in await checkpoints.list("t")] == [3, 4]
    await checkpoints.save("t", 5)
    assert [found.sequence for found in await checkpoints.list("t")] == [4, 5, 6]
    assert await checkpoints.cleanup("t", 0) == 3
    assert (await checkpoints.save("t", 6)).sequence == 7


async def test_delete_all_forgets_the_task(ground: Ground) -> None:
    checkpoints = ground.coordination.checkpoints
    for number in range(3):
        await checkpoints.save("t", number, attempt=9)
    await checkpoints.save("another", "x")
    assert await checkpoints.delete_all("t") == 3 and await checkpoints.list("t") == []
    assert (await checkpoints.save("t", 0, attempt=1)).sequence == 1
    assert len(await checkpoints.list("another")) == 1


async def test_an_old_attempt_saves_nothing(ground: Ground) -> None:
    """I31."""
    checkpoints = ground.coordination.checkpoints
    await checkpoints.save("t", "first", attempt=1)
    await checkpoints.save("t", "second", attempt=2)
    with pytest.raises(StaleAttempt):
        await checkpoints.save("t", "late", attempt=1)
    assert [found.data for found in await checkpoints.list("t")] == ["first", "second"]


async def test_many_at_once_have_a_sequence_each(ground: Ground) -> None:
    checkpoints = ground.coordination.checkpoints
    saved = await asyncio.gather(*(checkpoints.save("t", number) for number in range(50)))
    assert sorted(found.sequence for found in saved) == list(range(1, 51))


async def test_prefixes_are_apart(ground: Ground) -> None:
    one, other = ground.over("a:"), ground.over("b:")
    saved = await one.checkpoints.save("t", 1)
    assert await other.checkpoints.load(saved.checkpoint_id) is None
    assert await other.checkpoints.load_latest("t") is None


@pytest.mark.parametrize(
    "fields", [{"progress": -1}, {"progress": 100.1}, {"attempt": 0}, {"estimated_seconds_remaining": -1}]
)
async def test_what_cannot_be_is_refused(ground: Ground, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await ground.coordination.checkpoints.save("t", 1, **fields)
    with pytest.raises(TooLarge):
        await ground.coordination.checkpoints.save("t", "x" * 1024**2)
    assert await ground.coordination.checkpoints.list("t") == []
