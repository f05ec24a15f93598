"""Health, readiness and the cluster at a glance."""

from aiohttp import web

from podling.core.access import Role
from podling.core.errors import Unavailable
from podling.master.api.http import answer
from podling.master.api.keys import CONTEXT
from podling.master.api.route import Route, get
from podling.master.operations import cluster


def routes() -> list[Route]:
    return [
        get("/health", health, None),
        get("/ready", ready, None),
        get("/api/v1/health", health, None),
        get("/api/v1/cluster", overview, Role.READER),
    ]


async def health(request: web.Request) -> web.Response:
    """The process answers; whether it can work is `/ready`."""
    return answer({"status": "ok"})


async def ready(request: web.Request) -> web.Response:
    """A transaction can be made now."""
    context = request.app[CONTEXT]
    if not context.cluster_id:
        raise Unavailable("the master is still starting")
    await context.store.ping()
    return answer({"status": "ready", "leader": context.leads, "clusterId": context.cluster_id})


async def overview(request: web.Request) -> web.Response:
    return answer(await cluster.overview(request.app[CONTEXT]))
