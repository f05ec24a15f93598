"""Graphs of tasks: submitted as one, read, cancelled."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from podling.core.access import Principal
from podling.core.errors import (
    IdempotencyMismatch,
    IllegalTransition,
    InvalidInput,
    NotFound,
    PolicyDenied,
    TooLarge,
    TooManyRequests,
)
from podling.core.fields import check_text
from podling.core.lifecycle import Cancel
from podling.core.page import Place
from podling.core.spec import TaskSpec
from podling.core.task import Task
from podling.core.value import beyond_defaults
from podling.core.workflow import (
    Member,
    Progress,
    Step,
    Workflow,
    WorkflowHead,
    check_workflow,
    members_of,
    specs_of,
)
from podling.master.context import MasterContext
from podling.master.inserts import InsertWorkflow
from podling.master.operations.admission import WORKFLOW, Entry, admit, admit_batch
from podling.master.operations.tasks import insert_of, new_task
from podling.store.base import WriteResult
from podling.wire.codec import encode
from podling.wire.workflows import Submission

AT_A_TIME = 50
MOST_ARRAY_BYTES = 16 * 1024 * 1024
"""Of a workflow's arrays together, whose tasks are sent once and kept a thousand times."""


async def submit(context: MasterContext, submission: Submission, actor: Principal) -> tuple[Workflow, bool]:
    """Store a workflow with all its tasks, or nothing; return it, and whether it is new.

    Raises InvalidInput, TooLarge, PolicyDenied, IdempotencyMismatch, StoreUnavailable.
    """
    steps = submission.steps
    if submission.idempotency_key is not None:
        check_text("idempotencyKey", submission.idempotency_key, 255)
    check_workflow(submission.name, steps)
    _check_bytes(steps)
    if (known := await _repeated(context, submission)) is not None:
        return known, False
    admit_batch(context, sum(step.size for step in steps), actor)
    now, workflow_id = context.clock.now(), context.new_id()
    members = members_of(steps, iter(context.new_id, None))
    specs = await _admitted(context, members, specs_of(workflow_id, steps, members), actor)
    workflow = Workflow(
        workflow_id=workflow_id,
        name=submission.name,
        created_at=now,
        members=members,
        idempotency_key=submission.idempotency_key,
        body_hash=_hash(submission),
    )
    inserts = tuple(
        insert_of(context, new_task(member.task_id, spec, now))
        for member, spec in zip(members, specs, strict=True)
    )
    used = await context.committer.insert_workflow(InsertWorkflow(workflow, inserts))
    return (workflow, True) if used is None else (await _same(context, used, submission), False)


def _check_bytes(steps: Sequence[Step]) -> None:
    arrays = (step for step in steps if step.array is not None)
    size = sum(step.size * len(encode(beyond_defaults(step.spec))) for step in arrays)
    if size > MOST_ARRAY_BYTES:
        raise TooLarge(
            f"tasks: those of arrays have {size} bytes of JSON together, and {MOST_ARRAY_BYTES} may be; keep"
            " large data elsewhere and submit where it is",
            details={"field": "tasks", "bytes": size, "limit": MOST_ARRAY_BYTES},
        )


async def _admitted(
    context: MasterContext, members: Sequence[Member], specs: Sequence[TaskSpec], actor: Principal
) -> Sequence[TaskSpec]:
    """Ask of each what is asked at every door, and say whose fault it is; beats are answered in between."""
    admitted = []
    for index, (member, spec) in enumerate(zip(members, specs, strict=True)):
        try:
            admitted.append(await admit(context, spec, Entry(actor=actor, door=WORKFLOW)))
        except (InvalidInput, PolicyDenied, TooManyRequests) as refusal:
            refusal.message = f"task {member.key}: {refusal.message}"
            refusal.details["key"] = member.key
            raise
        if index % AT_A_TIME == AT_A_TIME - 1:
            await asyncio.sleep(0)
    return admitted


def _hash(submission: Submission) -> str:
    """Return what tells a repeat from another workflow under the same key."""
    asked = beyond_defaults(replace(submission, idempotency_key=None))
    return hashlib.sha256(encode(asked, sort_names=True)).hexdigest()


async def _repeated(context: MasterContext, submission: Submission) -> Workflow | None:
    """Return the workflow that has the key already: before the door, which a repeat has passed."""
    if submission.idempotency_key is None:
        return None
    known = await context.store.workflows.by_key(submission.idempotency_key)
    return None if known is None else _checked(known, submission)


async def _same(context: MasterContext, used: WriteResult, submission: Submission) -> Workflow:
    return _checked(await get(context, used.task_id), submission)


def _checked(known: Workflow, submission: Submission) -> Workflow:
    if known.body_hash != _hash(submission):
        raise IdempotencyMismatch(
            f"the idempotency key {submission.idempotency_key!r} was used for another workflow;"
            " use a new key, or send the same body",
            details={"workflowId": known.workflow_id},
        )
    return known


async def get(context: MasterContext, workflow_id: str) -> Workflow:
    """Raises NotFound."""
    found = await context.store.workflows.load(workflow_id)
    if found is None:
        raise NotFound.of("workflow")
    return found


async def list_(
    context: MasterContext, after: Place | None, limit: int
) -> Sequence[tuple[WorkflowHead, Progress]]:
    """Return workflows with how far they are, newest first."""
    found = await context.store.workflows.find(after, limit)
    progress = await context.store.workflows.progress([workflow.workflow_id for workflow in found])
    return [(workflow, progress.get(workflow.workflow_id, Progress())) for workflow in found]


async def tasks_of(context: MasterContext, workflow: Workflow) -> tuple[Progress, Mapping[str, Task]]:
    """Return those of its tasks that are on record, and how far they are."""
    tasks = await context.store.load_tasks([member.task_id for member in workflow.members])
    progress = Progress()
    for task in tasks.values():
        progress = progress.plus(task.status, task.error_code)
    return progress, tasks


async def cancel(context: MasterContext, workflow_id: str) -> Workflow:
    """Stop all of its tasks that have not ended. Raises NotFound."""
    workflow = await get(context, workflow_id)
    _, tasks = await tasks_of(context, workflow)
    left = [task_id for task_id, task in tasks.items() if not task.status.is_terminal]
    stop = Cancel(reason=f"workflow {workflow.name} was cancelled")
    answers = await asyncio.gather(
        *(context.committer.apply(task_id, stop) for task_id in left), return_exceptions=True
    )
    for answer in answers:
        # One that has ended meanwhile needs no stop.
        if isinstance(answer, BaseException) and not isinstance(answer, IllegalTransition | NotFound):
            raise answer
    return workflow
