"""Queues on the wire."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson

from podling.core.errors import InvalidInput
from podling.core.queue import Queue, QueuePolicy
from podling.core.value import camel_case
from podling.wire.body import refuse_unknown
from podling.wire.codec import decode, to_plain

OUTPUT_ONLY = frozenset({"paused", "running"})
SETTABLE = frozenset(camel_case(field.name) for field in fields(QueuePolicy)) - OUTPUT_ONLY


def parse_policy(name: str, plain: Mapping[str, Any]) -> QueuePolicy:
    """Return the policy of a PUT: what is not named is off. Raises InvalidInput by field.

    What the fields may hold is decided by `podling.core.queue`, not here.
    """
    given = {key: item for key, item in plain.items() if item is not None and key not in OUTPUT_ONLY}
    refuse_unknown(given, SETTABLE | {"name"})
    if given.pop("name", name) != name:
        raise InvalidInput.field("name", "differs from the name in the path")
    return decode(QueuePolicy, orjson.dumps(given))


def queue_view(queue: Queue, running: int) -> dict[str, Any]:
    """Return what is read of a queue; `running` tasks are in flight."""
    view: dict[str, Any] = to_plain(queue.policy)
    return {"name": queue.name, **view, "running": running}
