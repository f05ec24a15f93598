"""Batches of which the master never learns whether they were written."""

from collections.abc import Sequence

import pytest

from podling.core.errors import StoreUnavailable
from podling.master.inserts import Insert
from podling.master.loops.changes import ChangesFeed
from podling.store.base import Batch, WriteResult
from tests.core.clusters import wanting
from tests.master.bare_master import Leader, WatchedStore


class Unanswering(WatchedStore):
    """Keeps the next batch to itself when `mute`, after it has written it if `writes`."""

    def __init__(self) -> None:
        super().__init__()
        self.mute = False
        self.writes = False
        self.kept: list[Batch] = []

    async def commit(self, batch: Batch) -> Sequence[WriteResult]:
        if not self.mute:
            return await super().commit(batch)
        self.mute = False
        self.kept.append(batch)
        if self.writes:
            await super().commit(batch)
        raise StoreUnavailable("the connection was lost")


@pytest.fixture
def store() -> Unanswering:
    return Unanswering()


async def test_a_batch_that_comes_after_its_successor_changes_nothing(store: Unanswering) -> None:
    """Whoever follows the feed has passed its number by then, and would never hear of it."""
    context = Leader(store).context
    lost, next_one = wanting(), wanting()
    store.mute = True
    with pytest.raises(StoreUnavailable):
        await context.committer.insert(Insert(lost, "hash"))
    await context.committer.insert(Insert(next_one, "hash"))
    await store.commit(store.kept[0])
    assert set(await store.load_tasks([lost.task_id, next_one.task_id])) == {next_one.task_id}


async def test_a_batch_that_was_written_without_an_answer_is_heard_of(store: Unanswering) -> None:
    context = Leader(store).context
    changes = ChangesFeed(context)
    await changes.start()
    heard: list[str] = []
    context.feed.listen(lambda applied: heard.extend(item.after.task_id for item in applied))
    silent, told = wanting(), wanting()
    store.mute = store.writes = True
    with pytest.raises(StoreUnavailable):
        await context.committer.insert(Insert(silent, "hash"))
    await context.committer.insert(Insert(told, "hash"))
    await changes.run_once()
    assert heard == [told.task_id, silent.task_id]
    await changes.run_once()
    assert len(heard) == 2


async def test_while_the_store_is_away_no_numbers_are_used_up(store: Unanswering) -> None:
    context = Leader(store).context
    for _ in range(5):
        store.mute = True
        with pytest.raises(StoreUnavailable):
            await context.committer.insert(Insert(wanting(), "hash"))
    assert {batch.number for batch in store.kept} == {1}
