"""The one door of all doors: whatever would become a task is let in or refused here.

Submit, batch, replay, schedules and the inbox come through it; a refusal of the policy, or of a queue's
guardrails, is kept as a decision.
"""

from collections.abc import Sequence

from podling.core.access import Principal
from podling.core.decision import by_rule, refusal
from podling.core.errors import PodlingError, PolicyDenied, TooLarge, TooManyRequests
from podling.core.guardrails import check_size, guardrail_of, too_many
from podling.core.permission_rules import check_batch
from podling.core.policy import validate_spec
from podling.core.queue import ALL_QUEUES, UNLIMITED, QueuePolicy
from podling.core.spec import TaskSpec
from podling.core.value import value
from podling.master.context import MasterContext
from podling.master.operations.alerts import check_wishes_of
from podling.wire.tasks import brought_by

SUBMIT, BATCH, REPLAY, SCHEDULE, SQL = "submit", "batch", "replay", "schedule", "sql"
WORKFLOW = "workflow"


@value
class Entry:
    """Who asks, by which door, and about which task that is there already."""

    actor: Principal
    door: str = SUBMIT
    task_id: str | None = None


async def admit(context: MasterContext, spec: TaskSpec, entry: Entry) -> TaskSpec:
    """Return the specification if it may become a task now, with its queue on record.

    Raises InvalidInput, PolicyDenied, TooLarge, TooManyRequests, StoreUnavailable.
    """
    admitted = await check(context, spec, entry)
    await let_in(context, admitted, entry)
    return admitted


async def check(context: MasterContext, spec: TaskSpec, entry: Entry) -> TaskSpec:
    """Return the specification if it may become a task at all; nothing is counted.

    Raises InvalidInput, PolicyDenied, TooLarge.
    """
    try:
        admitted = validate_spec(
            spec,
            context.policy.policy,
            roles=entry.actor.roles,
            allow_simulated=context.options.allow_simulated,
        )
        admitted = await check_wishes_of(context, admitted, entry.actor)
        _check_size(context, admitted)
    except (PolicyDenied, TooLarge) as denied:
        note_refusal(context, denied, entry)
        raise
    return admitted


async def let_in(context: MasterContext, spec: TaskSpec, entry: Entry) -> None:
    """Count a submit to its queue, which is on record from then on. Raises TooManyRequests."""
    try:
        await _count(context, spec.queue)
    except TooManyRequests as denied:
        note_refusal(context, denied, entry)
        raise
    if not context.queues.is_declared(spec.queue):
        await context.queues.declare(spec.queue)


def _asked(context: MasterContext, queue: str) -> Sequence[tuple[str, QueuePolicy]]:
    """Return what is said of the queue, and of all of them together."""
    policies = ((queue, context.queues.of(queue)), (ALL_QUEUES, context.queues.of_all))
    return [(name, policy) for name, policy in policies if policy is not UNLIMITED]


def _check_size(context: MasterContext, spec: TaskSpec) -> None:
    for name, policy in _asked(context, spec.queue):
        if policy.max_payload_bytes is not None:
            check_size(name, *brought_by(spec), policy.max_payload_bytes)


async def _count(context: MasterContext, queue: str) -> None:
    counted: list[str] = []
    for name, policy in _asked(context, queue):
        if (limit := policy.max_submits_per_minute) is None:
            continue
        wait = await context.submit_rates.take(name, limit)
        if wait is not None:
            for other in counted:
                context.submit_rates.give_back(other)
            raise too_many(name, limit, wait)
        counted.append(name)


def admit_batch(context: MasterContext, count: int, actor: Principal) -> None:
    """Raise PolicyDenied if so many at once are too many for who asks."""
    try:
        check_batch(count, context.policy.policy, actor.roles)
    except PolicyDenied as denied:
        note_refusal(context, denied, Entry(actor=actor, door=BATCH))
        raise


def note_refusal(context: MasterContext, denied: PodlingError, entry: Entry) -> None:
    """Keep it as a decision; writing it down is nothing that anybody waits for."""
    now, code = context.clock.now(), guardrail_of(denied)
    decision = refusal(denied, now, actor=entry.actor.name, door=entry.door, task_id=entry.task_id, code=code)
    # Sizes and waits differ from one to the next, which makes them no other decisions.
    context.decisions.note(decision if code is None else by_rule(decision))
