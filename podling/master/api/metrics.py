"""`/metrics` for Prometheus, and the last minute as JSON."""

import time

from aiohttp import web

from podling.core.access import Role
from podling.kit.metrics import CONTENT_TYPE, exposition
from podling.master.api.http import answer
from podling.master.api.keys import CONTEXT, SAMPLER
from podling.master.api.route import Handler, Route, get

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


def routes() -> list[Route]:
    return [get("/metrics", metrics, Role.READER), get("/api/v1/metrics", overview, Role.READER)]


async def metrics(request: web.Request) -> web.Response:
    """Everything that this master counts; the store is not asked."""
    text = exposition(request.app[SAMPLER].instruments())
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})


async def overview(request: web.Request) -> web.Response:
    return answer(request.app[SAMPLER].overview())


@web.middleware
async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count every answer by its route's pattern, never by the path that somebody made up."""
    measures, began = request.app[CONTEXT].measures, time.perf_counter()
    resource = request.match_info.route.resource
    route = "none" if resource is None else resource.canonical
    response: web.StreamResponse | None = None
    try:
        response = await handler(request)
        return response
    finally:
        if isinstance(response, web.Response):
            method = request.method if request.method in _METHODS else "other"
            measures.requests.observe(time.perf_counter() - began, method, route, str(response.status))
        else:
            measures.streams.add(route)
