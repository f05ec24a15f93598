# Written by bin/generate-client from asynchronous_workflows.py: change that file instead.
"""Workflows: a method for each route."""

from collections.abc import Iterator, Sequence
from typing import cast
from uuid import uuid4

from podling.client import workflows
from podling.client.blocking_base import PAGE, Caller
from podling.client.models import Workflow, WorkflowOverview, WorkflowStep


class Workflows(Caller):
    """Graphs of tasks."""

    def submit_workflow(
        self, name: str, tasks: Sequence[WorkflowStep], *, idempotency_key: str | None = None
    ) -> Workflow:
        """Submit a graph, all of it or nothing; each task has a `key`, and its parents' in `dependsOn`.

        Raises InvalidInput, with the cycle if there is one.
        """
        body = {"name": name, "tasks": list(tasks)}
        return cast(Workflow, self.send(workflows.submit(body, idempotency_key or str(uuid4()))))

    def workflows(self, *, limit: int | None = None, page: int = PAGE) -> Iterator[WorkflowOverview]:
        """Yield workflows, the newest first and at most `limit`, page by page."""
        return cast(Iterator[WorkflowOverview], self.items(workflows.listing, limit=limit, page=page))

    def workflow(self, workflow_id: str) -> Workflow:
        """Return a workflow with its tasks. Raises NotFound."""
        return cast(Workflow, self.send(workflows.read(workflow_id)))

    def cancel_workflow(self, workflow_id: str) -> Workflow:
        """Stop all of its tasks that have not ended."""
        return cast(Workflow, self.send(workflows.cancel(workflow_id)))
