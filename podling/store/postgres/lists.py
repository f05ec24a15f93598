"""Which statement lists tasks: each walks one index in the order of its pages, whatever history holds."""

from collections.abc import Sequence
from dataclasses import dataclass

from podling.core.spec import Constraint
from podling.core.task import LIVE, TaskStatus
from podling.store.base import TaskQuery
from podling.store.postgres.queries import load
from podling.store.postgres.rows import to_json

_SQL = load("tasks")
_FEW = LIVE | {TaskStatus.FAILED, TaskStatus.CANCELLED}
# How the index of labels is read, and two indexes together.
_JOINT = ("SET TRANSACTION READ ONLY", "SET LOCAL enable_bitmapscan = on")


@dataclass(frozen=True, slots=True)
class Listing:
    """A statement; with `settings`, in a transaction that begins with them."""

    sql: str
    arguments: tuple[object, ...]
    settings: tuple[str, ...] = ()


def list_of(query: TaskQuery) -> Listing:
    sql, chosen = _walk(query)
    after_at, after_id = query.after or (None, None)
    arguments = (
        query.kind,
        query.queue,
        query.name,
        to_json(query.labels) if query.labels else None,
        _selectors(query.selectors),
        after_at,
        after_id,
        query.limit,
    )
    is_joint = bool(query.labels or (query.node_id is not None and query.statuses))
    return Listing(sql, arguments + chosen, _JOINT if is_joint else ())


def _walk(query: TaskQuery) -> tuple[str, tuple[object, ...]]:
    """Return the statement that walks the narrowest index, and its own arguments.

    What is on a node now is little, whatever history holds; labels and names are seldom shared by many;
    then comes what has failed; a queue may hold most of what has completed.
    """
    statuses = list(dict.fromkeys(query.statuses))
    if query.node_id is None and statuses and LIVE.issuperset(statuses):
        return _SQL.list_by_status, (statuses,)
    if query.labels or query.name is not None:
        return _SQL.list_by_spec, (query.node_id, statuses or None)
    if query.node_id is not None:
        return _SQL.list_on_node, (query.node_id, statuses or None)
    if statuses and (query.queue is None or _FEW.issuperset(statuses)):
        return _SQL.list_by_status, (statuses,)
    return _SQL.list_by_spec, (None, statuses or None)


def _selectors(selectors: Sequence[Constraint]) -> str | None:
    plain = [
        {"label": selector.label, "operator": selector.operator, "values": selector.values}
        for selector in selectors
    ]
    return to_json(plain) if plain else None
