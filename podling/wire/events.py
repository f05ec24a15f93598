"""Events on the wire: server-sent, each with the id from which a reader goes on."""

from datetime import datetime
from typing import Any

import orjson

from podling.core.happened import NODES, Summary
from podling.core.node import NodeChange
from podling.core.task import TaskStatus
from podling.wire.codec import to_plain

RESET = "reset"
END = "end"


def task_event(
    type_: str,
    at: datetime | None,
    task_id: str,
    status: TaskStatus,
    before: TaskStatus | None,
    attempt: int,
    node_id: str | None,
    summary: Summary,
    progress: float | None = None,
) -> dict[str, Any]:
    """`progress` is only there for a task that says how far it is."""
    return {
        "at": to_plain(at),
        "type": type_,
        "taskId": task_id,
        "name": summary.name,
        "queue": summary.queue,
        "status": str(status),
        "before": None if before is None else str(before),
        "attempt": attempt,
        "nodeId": node_id,
    } | ({} if progress is None else {"progress": progress})


def node_event_type(change: NodeChange) -> str:
    return f"{NODES}.{change.kind}"


def node_event(at: datetime | None, change: NodeChange) -> dict[str, Any]:
    return {
        "at": to_plain(at),
        "type": node_event_type(change),
        "nodeId": change.node_id,
        "reason": change.reason,
    }


def reset_event(at: datetime, reason: str) -> dict[str, Any]:
    return {"at": to_plain(at), "type": RESET, "reason": reason}


def sse_end(at: datetime, code: str, reason: str) -> bytes:
    """Return the last event of a stream that the master ends: it has a name, and no id."""
    data = orjson.dumps({"at": to_plain(at), "type": END, "code": code, "reason": reason})
    return b"event: %b\ndata: %b\n\n" % (END.encode(), data)


def sse_event(event_id: str, event: dict[str, Any]) -> bytes:
    """Return the lines of one event; `reset` has a name, so that `onmessage` gets only others."""
    name = b"event: reset\n" if event["type"] == RESET else b""
    data = orjson.dumps({"id": event_id, **event})
    return b"id: %b\n%bdata: %b\n\n" % (event_id.encode(), name, data)


def sse_heartbeat(event_id: str) -> bytes:
    """Return a comment that shows the line is alive, and the id that it has come to."""
    return b": alive\nid: %b\n\n" % event_id.encode()
