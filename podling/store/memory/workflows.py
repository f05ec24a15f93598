"""Workflows."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import islice

from podling.core.page import Place
from podling.core.task import Task
from podling.core.workflow import Progress, Workflow, WorkflowHead
from podling.store.memory.sorted_keys import SortedKeys
from podling.store.ports.workflows import Workflows


class WorkflowTable(Workflows):
    """`find_task` gives a task by its id."""

    def __init__(self, find_task: Callable[[str], Task | None]) -> None:
        self._find_task = find_task
        self._rows: dict[str, Workflow] = {}
        self._keys: dict[str, str] = {}
        self._by_age: SortedKeys[tuple[datetime, str]] = SortedKeys()

    def add(self, workflow: Workflow) -> str | None:
        """Keep the workflow; or return the id of the one that has its idempotency key."""
        key = workflow.idempotency_key
        if key is not None and (owner := self._keys.get(key)) is not None:
            return owner
        if key is not None:
            self._keys[key] = workflow.workflow_id
        self._rows[workflow.workflow_id] = workflow
        self._by_age.add((workflow.created_at, workflow.workflow_id))
        return None

    def forget(self) -> None:
        """Forget those whose tasks are forgotten."""
        for workflow in list(self._rows.values()):
            if any(self._find_task(member.task_id) for member in workflow.members):
                continue
            del self._rows[workflow.workflow_id]
            self._by_age.remove((workflow.created_at, workflow.workflow_id))
            self._keys.pop(workflow.idempotency_key or "", None)

    async def load(self, workflow_id: str) -> Workflow | None:
        return self._rows.get(workflow_id)

    async def by_key(self, idempotency_key: str) -> Workflow | None:
        return self._rows.get(self._keys.get(idempotency_key, ""))

    async def find(self, after: Place | None, limit: int) -> Sequence[WorkflowHead]:
        found = (self._rows[workflow_id] for _, workflow_id in islice(self._by_age.descending(after), limit))
        return [
            WorkflowHead(workflow_id=each.workflow_id, name=each.name, created_at=each.created_at)
            for each in found
        ]

    async def progress(self, workflow_ids: Sequence[str]) -> Mapping[str, Progress]:
        return {each: self._progress(self._rows[each]) for each in workflow_ids if each in self._rows}

    def _progress(self, workflow: Workflow) -> Progress:
        progress = Progress()
        for member in workflow.members:
            if (task := self._find_task(member.task_id)) is not None:
                progress = progress.plus(task.status, task.error_code)
        return progress
