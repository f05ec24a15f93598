"""I33: hints are only hints. With every one of them dropped, the polls do the same a little later."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from podling.store.base import Store, ignore
from tests.master.masters import Masters, RunningMaster, eventually
from tests.master.test_logs import Log, line

POLL_SECONDS = 1.0
WITHIN_SECONDS = POLL_SECONDS + 1.0
ROUNDS = 5


class Deaf:
    """A store whose hints never arrive; all else it does as ever."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def listen(
        self,
        on_hint: Callable[[], None],
        on_call: Callable[[], None] = ignore,
        on_inbox: Callable[[], None] = ignore,
    ) -> None:
        await asyncio.Event().wait()


@pytest.fixture
async def deaf(masters: Masters) -> tuple[RunningMaster, RunningMaster]:
    """A leader and a follower with the poll interval of every master, which hear no hints."""
    leader, follower = [
        await masters.start(
            name, poll_seconds=POLL_SECONDS, store=cast(Store, Deaf(masters.make_store())), dialable=True
        )
        for name in ("one", "two")
    ]
    return leader, follower


async def test_a_task_starts_within_the_poll_interval_and_a_second(
    deaf: tuple[RunningMaster, RunningMaster],
) -> None:
    """Accepted by the follower, placed by the leader, delivered by the follower again."""
    leader, follower = deaf
    worker = await follower.worker(slots=ROUNDS)
    await eventually(lambda: _knows(leader), "the leader to know the node")
    for _ in range(ROUNDS):
        began = time.monotonic()
        task = await follower.api.submit()
        await worker.start(await worker.assigned(task["taskId"]))
        assert time.monotonic() - began < WITHIN_SECONDS


async def test_a_cancel_and_a_log_cross_masters_without_hints(
    deaf: tuple[RunningMaster, RunningMaster],
) -> None:
    leader, follower = deaf
    worker = await follower.worker()
    task = await leader.api.submit()
    await worker.start(await worker.assigned(task["taskId"]))
    worker.serve_log = Log(line("hello"))
    await eventually(lambda: _knows(leader), "the leader to know the node")
    assert (await leader.api.get(f"/tasks/{task['taskId']}/logs")).text == "hello\n"
    began = time.monotonic()
    await leader.api.post(f"/tasks/{task['taskId']}/cancel")
    await worker.stopped(task["taskId"])
    assert time.monotonic() - began < WITHIN_SECONDS


async def _knows(master: RunningMaster) -> bool:
    return master.server.context.view.node("node-1") is not None
