"""`/api/v1/queues`."""

from typing import Any

from aiohttp import web

from podling.core.access import Role
from podling.core.queue import ALL_QUEUES, Queue
from podling.master.api.http import answer, next_page, page_limit, path_id, query, read_object
from podling.master.api.keys import CONTEXT
from podling.master.api.route import Route, delete, get, post, put
from podling.master.operations import queues
from podling.wire.queues import parse_policy, queue_view


def routes() -> list[Route]:
    base = "/api/v1/queues"
    return [
        get(base, list_queues, Role.READER),
        get(f"{base}/{{id}}", get_queue, Role.READER),
        put(f"{base}/{{id}}", put_queue, Role.OPERATOR),
        delete(f"{base}/{{id}}", delete_queue, Role.OPERATOR),
        post(f"{base}/{{id}}/pause", pause, Role.OPERATOR),
        post(f"{base}/{{id}}/resume", resume, Role.OPERATOR),
    ]


def _name(request: web.Request) -> str:
    return ALL_QUEUES if request.match_info["id"] == ALL_QUEUES else path_id(request, "queue")


def _view(request: web.Request, queue: Queue) -> dict[str, Any]:
    return queue_view(queue, request.app[CONTEXT].view.flight.of(queue.name))


async def list_queues(request: web.Request) -> web.Response:
    given = query(request, "limit", "cursor")
    limit = page_limit(given)
    found = await queues.list_(request.app[CONTEXT], given.get("cursor", ""), limit + 1)
    headers = next_page(request, found[limit - 1].name) if len(found) > limit else None
    return answer([_view(request, queue) for queue in found[:limit]], headers=headers)


async def get_queue(request: web.Request) -> web.Response:
    return answer(_view(request, await queues.get(request.app[CONTEXT], _name(request))))


async def put_queue(request: web.Request) -> web.Response:
    name = request.match_info["id"]
    policy, paused = parse_policy(name, await read_object(request))
    kept, is_new = await queues.put(request.app[CONTEXT], name, policy, paused)
    return answer(_view(request, kept), 201 if is_new else 200)


async def delete_queue(request: web.Request) -> web.Response:
    await queues.remove(request.app[CONTEXT], _name(request))
    return answer({"message": "queue deleted"})


async def pause(request: web.Request) -> web.Response:
    return answer(_view(request, await queues.pause(request.app[CONTEXT], _name(request), True)))


async def resume(request: web.Request) -> web.Response:
    return answer(_view(request, await queues.pause(request.app[CONTEXT], _name(request), False)))
