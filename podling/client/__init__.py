"""Talk to a master from Python, blocking (`Client`) or with asyncio (`AsyncClient`).

Each call is defined once, in `tasks`, `nodes` and `cluster`; both clients send the same calls:

    client = Client("http://127.0.0.1:8070")
    task = client.submit({"name": "hello", "image": "busybox:local", "args": ["echo", "hi"]})
    ended = client.wait(task["taskId"], timeout_seconds=60)
    print(client.send(tasks.explain(task["taskId"]))["summary"])

Every refusal is raised as the error of `podling.core.errors` that the master answered with.
"""

from typing import TYPE_CHECKING, Any

from podling.client import cluster, nodes, tasks
from podling.client.blocking import Client

if TYPE_CHECKING:
    from podling.client.asynchronous import AsyncClient

__all__ = ["AsyncClient", "Client", "cluster", "nodes", "tasks"]


def __getattr__(name: str) -> Any:
    # aiohttp takes longer to import than most programs that use the blocking client run.
    if name == "AsyncClient":
        from podling.client.asynchronous import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
