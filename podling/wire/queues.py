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

OUTPUT_ONLY = frozenset({"running"})
SETTABLE = frozenset(camel_case(field.name) for field in fields(QueuePolicy))


def parse_policy(name: str, plain: Mapping[str, Any]) -> tuple[QueuePolicy, bool | None]:
    """Return the policy of a PUT, and whether it says that the queue is paused.

    A limit that is not named is off, a pause that is not named stays. Raises InvalidInput by field.
    What the fields may hold is decided by `podling.core.queue`, not here.
    """
    given = {key: item for key, item in plain.items() if item is not None and key not in OUTPUT_ONLY}
    refuse_unknown(given, SETTABLE | {"name"})
    if given.pop("name", name) != name:
        raise InvalidInput.field("name", "differs from the name in the path")
    policy = decode(QueuePolicy, orjson.dumps(given))
    return policy, policy.paused if "paused" in given else None


def queue_view(queue: Queue, running: int) -> dict[str, Any]:
    """Return what is read of a queue; `running` tasks are in flight."""
    view: dict[str, Any] = to_plain(queue.policy)
    return {"name": queue.name, **view, "running": running}
