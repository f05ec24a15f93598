"""The one door of all doors: whatever would become a task is let in or refused here.

Submit, batch and replay come through it; a refusal of the policy is kept as a decision.
"""

from podling.core.access import Principal
from podling.core.decision import refusal
from podling.core.errors import PolicyDenied
from podling.core.permission_rules import check_batch
from podling.core.policy import validate_spec
from podling.core.spec import TaskSpec
from podling.core.value import value
from podling.master.context import MasterContext
from podling.master.operations.alerts import check_wishes_of

SUBMIT, BATCH, REPLAY, SCHEDULE = "submit", "batch", "replay", "schedule"


@value
class Entry:
    """Who asks, by which door, and about which task that is there already."""

    actor: Principal
    door: str = SUBMIT
    task_id: str | None = None


async def admit(context: MasterContext, spec: TaskSpec, entry: Entry) -> TaskSpec:
    """Return the specification if it may become a task, with its queue on record.

    Raises InvalidInput, PolicyDenied, StoreUnavailable.
    """
    try:
        admitted = validate_spec(
            spec,
            context.policy.policy,
            roles=entry.actor.roles,
            allow_simulated=context.options.allow_simulated,
        )
        admitted = await check_wishes_of(context, admitted, entry.actor)
    except PolicyDenied as denied:
        note_refusal(context, denied, entry)
        raise
    if not context.queues.is_declared(admitted.queue):
        await context.queues.declare(admitted.queue)
    return admitted


def admit_batch(context: MasterContext, count: int, actor: Principal) -> None:
    """Raise PolicyDenied if so many at once are too many for who asks."""
    try:
        check_batch(count, context.policy.policy, actor.roles)
    except PolicyDenied as denied:
        note_refusal(context, denied, Entry(actor=actor, door=BATCH))
        raise


def note_refusal(context: MasterContext, denied: PolicyDenied, entry: Entry) -> None:
    """Keep it as a decision; writing it down is nothing that anybody waits for."""
    now = context.clock.now()
    decision = refusal(denied, now, actor=entry.actor.name, door=entry.door, task_id=entry.task_id)
    context.decisions.note(decision)
