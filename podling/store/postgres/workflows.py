"""Workflows: rows that a commit writes, and what is read of them."""

from collections.abc import Mapping, Sequence

from podling.core.page import Place
from podling.core.retry import ErrorCode
from podling.core.task import TaskStatus
from podling.core.workflow import Progress, Workflow, WorkflowHead
from podling.store.ports.workflows import Workflows
from podling.store.postgres.pool import Connection, Pool
from podling.store.postgres.queries import load
from podling.store.postgres.rows import from_json, to_json

_SQL = load("workflows")


class WorkflowTable(Workflows):
    """See the port."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def load(self, workflow_id: str) -> Workflow | None:
        row = await self._pool.fetch_row(_SQL.load, workflow_id)
        return None if row is None else from_json(Workflow, row["body"])

    async def by_key(self, idempotency_key: str) -> Workflow | None:
        row = await self._pool.fetch_row(_SQL.by_key, idempotency_key)
        return None if row is None else from_json(Workflow, row["body"])

    async def find(self, after: Place | None, limit: int) -> Sequence[WorkflowHead]:
        rows = await self._pool.fetch(_SQL.find, *(after or (None, None)), limit)
        return [WorkflowHead(**dict(row)) for row in rows]

    async def progress(self, workflow_ids: Sequence[str]) -> Mapping[str, Progress]:
        found: dict[str, Progress] = {}
        for row in await self._pool.fetch(_SQL.progress, list(workflow_ids)):
            known = found.get(row["workflow_id"], Progress())
            code = ErrorCode.DEPENDENCY_UNMET if row["skipped"] else None
            found[row["workflow_id"]] = known.plus(TaskStatus(row["status"]), code, row["tasks"])
        return found


async def add(connection: Connection, workflow: Workflow) -> str | None:
    """Keep the workflow, in a commit's transaction; or return the id of another one that has its key.

    One that is there already belongs to a repeated batch, which finds that out by its number.
    """
    key = workflow.idempotency_key
    given = (workflow.workflow_id, workflow.created_at, key, to_json(workflow))
    if await connection.fetchval(_SQL.add, *given) is not None:
        return None
    owner: str | None = None if key is None else await connection.fetchval(_SQL.owner, key)
    return None if owner == workflow.workflow_id else owner
