"""A start is told late, and not at all where the end has come."""

import asyncio

from podling.core.agent_events import Condition, Event, Seen, Started
from podling.core.protocol import AttemptKey
from podling.worker.late_starts import LATE_SECONDS, LateStarts


def started(task_id: str) -> Started:
    seen = Seen(
        task_id=task_id, attempt=1, container_name="main", container_id="c", condition=Condition.RUNNING
    )
    return Started(key=seen.key, container="main", seen=seen)


async def test_only_what_has_not_ended_meanwhile_is_told() -> None:
    told: asyncio.Queue[Event] = asyncio.Queue()
    ended: set[AttemptKey] = set()
    starts = LateStarts(told.put_nowait, ended.__contains__)
    short, long = started("short"), started("long")
    began = asyncio.get_running_loop().time()
    starts.put(short)
    starts.put(long)
    ended.add(short.key)
    assert await asyncio.wait_for(told.get(), 10) == long
    assert asyncio.get_running_loop().time() - began >= LATE_SECONDS
    starts.put(again := started("again"))
    assert await asyncio.wait_for(told.get(), 10) == again
    starts.close()
    assert told.empty()
