"""The port of workflows: kept by the commit that makes their tasks."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from podling.core.page import Place
from podling.core.workflow import Progress, Workflow, WorkflowHead


class Workflows(Protocol):
    """A workflow is forgotten by maintenance when none of its tasks is on record any more.

    Every method raises StoreUnavailable when the store cannot be reached in time.
    """

    async def load(self, workflow_id: str) -> Workflow | None: ...

    async def by_key(self, idempotency_key: str) -> Workflow | None: ...

    async def find(self, after: Place | None, limit: int) -> Sequence[WorkflowHead]:
        """Return workflows, newest first by (created_at, workflow_id), from after that place."""

    async def progress(self, workflow_ids: Sequence[str]) -> Mapping[str, Progress]:
        """Return how far these are, by those of their tasks that are on record."""
