"""Rows of `changes`: what a batch has changed, for those who follow it and for a repeat of the batch."""

from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import orjson

from podling.core.node import NodeChange, NodeChangeKind
from podling.core.task import TaskStatus
from podling.store.base import Batch, Change, ChangeBatch, WriteResult, WriteStatus
from podling.store.postgres.rows import to_json


def changes_body(batch: Batch, results: Sequence[WriteResult]) -> str:
    """Return the body of the row in `changes`: what was applied, and what was refused and where."""
    changes: list[tuple[Any, ...]] = []
    before, given, refused = [], [], []
    for index, (write, result) in enumerate(zip(batch.tasks, results, strict=True)):
        if result.status is WriteStatus.APPLIED:
            task = write.task
            if write.is_given:
                given.append(len(changes))
            changes.append((task.task_id, task.version, task.status, task.attempt, task.node_id))
            before.append(write.before)
        else:
            refused.append((index, result.task_id, result.status, result.same_body))
    # Masters of an older version read `changes` alone, and each with five parts.
    body = {"changes": changes, "refused": refused, "before": before, "at": batch.now}
    nodes = [(change.node_id, change.kind, change.reason) for change in batch.nodes]
    more = {"nodes": nodes, "given": given}
    return to_json(body | {name: items for name, items in more.items() if items})


def read_batch(master_id: str, number: int, body: str) -> ChangeBatch:
    """Return a row of `changes`, its applied writes in order."""
    record = orjson.loads(body)
    before = record.get("before") or [None] * len(record["changes"])
    return ChangeBatch(
        master_id=master_id,
        number=number,
        changes=_changes(record["changes"], before, frozenset(record.get("given", ()))),
        nodes=tuple(
            NodeChange(node_id=node_id, kind=NodeChangeKind(kind), reason=reason)
            for node_id, kind, reason in record.get("nodes", ())
        ),
        at=datetime.fromisoformat(record["at"]) if "at" in record else None,
    )


def _changes(
    rows: Sequence[Sequence[Any]], before: Sequence[str | None], given: Collection[int]
) -> tuple[Change, ...]:
    changes = map(_change, rows, before)
    if not given:
        return tuple(changes)
    told = (change.with_its_making() if index in given else (change,) for index, change in enumerate(changes))
    return tuple(chain.from_iterable(told))


def _change(parts: Sequence[Any], before: str | None) -> Change:
    task_id, version, status, attempt, node_id = parts
    was = None if before is None else _STATUSES[before]
    return Change(task_id, version, _STATUSES[status], attempt, node_id, was)


_STATUSES = {status.value: status for status in TaskStatus}


def read_results(body: str) -> list[WriteResult]:
    """Return what a row in `changes` says about every write of its batch, in order."""
    record = orjson.loads(body)
    results = [WriteResult(task_id=change[0], status=WriteStatus.APPLIED) for change in record["changes"]]
    for index, task_id, status, same_body in record["refused"]:
        results.insert(index, WriteResult(task_id=task_id, status=WriteStatus(status), same_body=same_body))
    return results
