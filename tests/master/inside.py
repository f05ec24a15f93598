"""A program inside an attempt, as a master sees it: an API client that shows the attempt's credential."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from podling.core.protocol import Assignment, AttemptKey
from podling.core.task_credential import make_credential
from tests.master.fake_worker import FakeWorker
from tests.master.masters import Api, RunningMaster
from tests.master.tokens import showing


def credential(worker: FakeWorker, key: AttemptKey, node_id: str = "node-1") -> str:
    """Return what the worker gives to the attempt."""
    assert worker.welcome is not None and worker.welcome.task_key is not None
    return make_credential(bytes.fromhex(worker.welcome.task_key), key, node_id)


@asynccontextmanager
async def inside(
    master: RunningMaster, worker: FakeWorker, work: Assignment, node_id: str = "node-1"
) -> AsyncIterator[Api]:
    async with showing(master, credential(worker, work.key, node_id)) as api:
        yield api


async def started(master: RunningMaster, worker: FakeWorker, **fields: object) -> Assignment:
    """Submit a task and have its attempt run."""
    return await begun(master.api, worker, **fields)


async def begun(api: Api, worker: FakeWorker, **fields: object) -> Assignment:
    """Do so with this client."""
    task = await api.submit(**fields)
    work = await worker.assigned(task["taskId"])
    await worker.start(work)
    return work
