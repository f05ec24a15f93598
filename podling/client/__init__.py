"""Talk to a master from Python, blocking (`Client`) or with asyncio (`AsyncClient`).

    client = Client("http://127.0.0.1:8070")
    task = client.run("hello", image="busybox", args=["echo", "hi"])
    print(task.wait(timeout_seconds=60)["status"], task.output())

`AsyncClient` has the same methods, to be awaited. What they have no method for is sent as a call of
`tasks`, `nodes`, `events`, `tokens` and `cluster`: `client.send(nodes.drain(node_id))`.

Every refusal is raised as the error of `podling.core.errors` that the master answered with.
"""

from typing import TYPE_CHECKING, Any

from podling.client import cluster, events, nodes, tasks, tokens
from podling.client.blocking import Client
from podling.client.blocking_face import TaskHandle

if TYPE_CHECKING:
    from podling.client.asynchronous import AsyncClient
    from podling.client.asynchronous_face import AsyncTaskHandle

__all__ = [
    "AsyncClient",
    "AsyncTaskHandle",
    "Client",
    "TaskHandle",
    "cluster",
    "events",
    "nodes",
    "tasks",
    "tokens",
]


def __getattr__(name: str) -> Any:
    # aiohttp takes longer to import than most programs that use the blocking client run.
    if name in ("AsyncClient", "AsyncTaskHandle"):
        from podling.client import asynchronous, asynchronous_face

        return asynchronous.AsyncClient if name == "AsyncClient" else asynchronous_face.AsyncTaskHandle
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
