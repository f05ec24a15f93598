"""What is left by SQL becomes what it would have become by HTTP, once, whoever leads meanwhile.

A task is made in the commit that takes its item out of the inbox, so that neither a crash nor two leaders
make it twice. Cancels may be repeated, and are taken out afterwards. Whoever submitted it has its id, so what
the door refuses becomes a task too: a failed one that says why.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from podling.core.access import Principal, Role
from podling.core.errors import IllegalTransition, InvalidInput, NotFound, PodlingError, Unavailable
from podling.core.inbox import stand_in
from podling.core.lifecycle import Cancel, Deny
from podling.core.spec import TaskSpec
from podling.core.task import Task
from podling.master.context import MasterContext
from podling.master.inserts import Insert
from podling.master.operations.admission import SQL, Entry, admit
from podling.master.operations.tasks import hash_of, insert_of, mismatch, missing_parent, new_task
from podling.store.base import WriteResult, WriteStatus
from podling.store.ports.inbox import InboxItem
from podling.wire.tasks import load_object, parse_task

AT_A_TIME = 50  # before others have a turn
_UNEXPECTED = "Podling could not read it, which is a fault of Podling's; the leader's log says more"

_log = logging.getLogger(__name__)


async def submit_all(context: MasterContext, items: Sequence[InboxItem]) -> None:
    """Make each a task, in order. Raises Unavailable; then what is not a task yet still is in the inbox."""
    begun = []
    for index, item in enumerate(items):
        begun.append(context.committer.insert(await _insert(context, item)))
        if index % AT_A_TIME == AT_A_TIME - 1:
            await asyncio.sleep(0)
    answers = await asyncio.gather(*begun, return_exceptions=True)
    for item, answer in zip(items, answers, strict=True):
        await _settle(context, item, answer)


async def cancel_all(context: MasterContext, items: Sequence[InboxItem]) -> None:
    """Stop the task of each, and take the items out; what has ended otherwise stays as it is.

    Raises Unavailable; then all of them are still there.
    """
    stops = [context.committer.apply(item.task_id, Cancel(actor=_principal(item).name)) for item in items]
    for item, answer in zip(items, await asyncio.gather(*stops, return_exceptions=True), strict=True):
        if isinstance(answer, NotFound | IllegalTransition):
            _log.info("the cancel of task %s by SQL came to nothing: %s", item.task_id, answer.message)
        elif isinstance(answer, BaseException):
            raise answer
    await context.store.inbox.remove([item.inbox_id for item in items])


def _principal(item: InboxItem) -> Principal:
    """A login of the database that may call the functions may do what a submitter may."""
    return Principal(name=f"sql:{item.sender}", roles=frozenset({Role.SUBMITTER}))


async def _insert(context: MasterContext, item: InboxItem) -> Insert:
    """Return what the item becomes; whatever is wrong with it is its own matter. Raises Unavailable."""
    spec = None
    try:
        spec = parse_task(load_object(item.body.encode()))
        spec = await admit(context, spec, Entry(actor=_principal(item), door=SQL, task_id=item.task_id))
    except Unavailable:
        raise
    except InvalidInput as refusal:
        return _denied(context, item, stand_in(**_called(item)), refusal.message)
    except PodlingError as refusal:
        return _denied(context, item, spec or stand_in(**_called(item)), refusal.message)
    except Exception:  # noqa: BLE001 - or one item would hold up all others for ever
        _log.exception("task %s, submitted by SQL, could not be read", item.task_id)
        return _denied(context, item, stand_in(), _UNEXPECTED)
    return _new(context, item, spec)


def _new(
    context: MasterContext, item: InboxItem, spec: TaskSpec, over: Cancel | Deny | None = None
) -> Insert:
    body_hash = None if spec.idempotency_key is None else hash_of(spec)
    task = new_task(item.task_id, spec, context.clock.now())
    return insert_of(context, task, body_hash, inbox_id=item.inbox_id, over=over)


def _denied(context: MasterContext, item: InboxItem, spec: TaskSpec, reason: str) -> Insert:
    """It uses no idempotency key: the same one may come again, corrected."""
    return _new(context, item, replace(spec, idempotency_key=None), Deny(reason=reason))


def _called(item: InboxItem) -> dict[str, Any]:
    try:
        plain = orjson.loads(item.body)
    except orjson.JSONDecodeError:
        return {}
    return {key: plain.get(key) for key in ("name", "queue")} if isinstance(plain, dict) else {}


async def _settle(
    context: MasterContext, item: InboxItem, answer: Task | WriteResult | BaseException
) -> None:
    match answer:
        case WriteResult(status=WriteStatus.DUPLICATE) if answer.task_id != item.task_id:
            await context.committer.insert(await _twin(context, item, answer))
        case WriteResult(status=WriteStatus.NO_PARENT):
            await context.committer.insert(await _orphan(context, item, answer.task_id))
        case InvalidInput():  # the store cannot keep it
            await context.committer.insert(_denied(context, item, stand_in(), answer.message))
        case BaseException():
            raise answer


async def _orphan(context: MasterContext, item: InboxItem, parent_id: str) -> Insert:
    """Return what becomes of a task that depends on one that is not there."""
    spec = replace((await _insert(context, item)).task.spec, depends_on=())
    return _denied(context, item, spec, missing_parent(parent_id).message)


async def _twin(context: MasterContext, item: InboxItem, first: WriteResult) -> Insert:
    """Return what becomes of a task under a key that another door has let in meanwhile."""
    insert = await _insert(context, item)
    key, spec = insert.task.spec.idempotency_key, replace(insert.task.spec, idempotency_key=None)
    if not first.same_body:
        return _denied(context, item, spec, mismatch(key, first.task_id).message)
    actor, same = _principal(item).name, f"the same as task {first.task_id}, by its idempotency key {key!r}"
    return _new(context, item, spec, Cancel(actor=actor, reason=same))
