"""Talk to a master from Python, blocking (`Client`) or with asyncio (`AsyncClient`).

    client = Client("http://127.0.0.1:8070")
    task = client.run("hello", image="busybox", args=["echo", "hi"])
    print(task.wait(timeout_seconds=60)["status"], task.output())

`AsyncClient` has the same methods, to be awaited; what yields many items is iterated, not awaited.

The raw door, for what no method does: `send` takes the calls of the modules `tasks`, `nodes`, `events`,
`tokens`, `alerts`, `schedules`, `workflows`, `decisions`, `coordination` and `cluster` (and `items` those
that list), and gives plain JSON; `stream` gives an answer's bytes as they come. `link` and `perform` are
what these stand on.

Every refusal is raised as the error of `podling.core.errors` that the master answered with.
"""

from typing import TYPE_CHECKING, Any

from podling.client import (
    alerts,
    cluster,
    coordination,
    decisions,
    events,
    nodes,
    schedules,
    tasks,
    tokens,
    workflows,
)
from podling.client.blocking import Client
from podling.client.blocking_events import Events
from podling.client.blocking_face import TaskHandle

if TYPE_CHECKING:
    from podling.client.asynchronous import AsyncClient
    from podling.client.asynchronous_events import AsyncEvents
    from podling.client.asynchronous_face import AsyncTaskHandle

__all__ = [
    "AsyncClient",
    "AsyncEvents",
    "AsyncTaskHandle",
    "Client",
    "Events",
    "TaskHandle",
    "alerts",
    "cluster",
    "coordination",
    "decisions",
    "events",
    "nodes",
    "schedules",
    "tasks",
    "tokens",
    "workflows",
]


_ASYNCHRONOUS = {
    "AsyncClient": "asynchronous",
    "AsyncEvents": "asynchronous_events",
    "AsyncTaskHandle": "asynchronous_face",
}


def __getattr__(name: str) -> Any:
    # aiohttp takes longer to import than most programs that use the blocking client run.
    if name in _ASYNCHRONOUS:
        from importlib import import_module

        return getattr(import_module(f"podling.client.{_ASYNCHRONOUS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
