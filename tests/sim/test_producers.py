"""What programs leave by SQL in a simulated cluster: taken in once, whatever happens to leaders."""

from collections.abc import Sequence

import pytest

from podling.core.task import TaskStatus
from podling.store.memory.inbox import InboxTable
from podling.store.ports.inbox import InboxItem, InboxKind
from tests.sim.loop import run_at_once
from tests.sim.world import LawBroken, World

SEED, STEPS = 5, 4000


def test_it_is_taken_in_and_runs() -> None:
    world = World(SEED)
    world.run(STEPS)
    tasks = run_at_once(world.store.load_tasks(world.producers.task_ids))
    assert len(tasks) == len(world.producers.task_ids) > 5
    ends = {task.status for task in tasks.values()}
    assert TaskStatus.COMPLETED in ends and world.producers.cancels > 0
    twins = [task for task in tasks.values() if "the same as task" in (task.error or "")]
    assert all(task.status is TaskStatus.CANCELLED and task.attempt == 0 for task in twins)


def test_what_is_taken_out_before_it_is_a_task_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = InboxTable.page

    async def page(self: InboxTable, after: int, limit: int, most_bytes: int) -> Sequence[InboxItem]:
        items = await kept(self, after, limit, most_bytes)
        for item in items:
            if item.kind is InboxKind.SUBMIT:
                self.take(item.inbox_id)
        return items

    monkeypatch.setattr(InboxTable, "page", page)
    with pytest.raises(LawBroken, match=r"I1: .* was accepted and is gone"):
        World(SEED).run(STEPS)
