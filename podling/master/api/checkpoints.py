"""`/api/v1/tasks/{id}/checkpoints`, `/progress` and `/result`: what attempts say of themselves."""

from typing import Any

from aiohttp import web

from podling.core.access import Role
from podling.core.coordination_rules import from_text
from podling.core.errors import Forbidden
from podling.core.protocol import AttemptKey
from podling.core.task import Task
from podling.master.api.http import (
    answer,
    next_page,
    page_limit,
    path_id,
    query,
    read_object,
    whole_number,
)
from podling.master.api.keys import CONTEXT, PRINCIPAL
from podling.master.api.route import Route, also_for_tasks, delete, get, post, put
from podling.master.operations import checkpoints
from podling.wire.checkpoints import checkpoint_view, parse_checkpoint, parse_progress, parse_result

MOST_PER_PAGE = 10  # each may have a mebibyte of data
_MOST_SEQUENCE = 2**63 - 1


def routes() -> list[Route]:
    base = "/api/v1/tasks/{id}"
    return [
        *also_for_tasks(get(f"{base}/checkpoints", list_checkpoints, Role.READER)),
        post(f"{base}/checkpoints", save_checkpoint, Role.TASK),
        delete(f"{base}/checkpoints", delete_checkpoints, Role.SUBMITTER),
        put(f"{base}/progress", put_progress, Role.TASK),
        put(f"{base}/result", put_result, Role.TASK),
    ]


async def list_checkpoints(request: web.Request) -> web.Response:
    given = query(request, "limit", "cursor")
    limit = min(page_limit(given), MOST_PER_PAGE)
    before = whole_number(given.get("cursor"), "cursor", 1, _MOST_SEQUENCE)
    found = await checkpoints.newest(request.app[CONTEXT], path_id(request, "task"), limit + 1, before)
    headers = next_page(request, str(found[limit - 1].sequence)) if len(found) > limit else None
    return answer([checkpoint_view(kept) for kept in found[:limit]], headers=headers)


async def save_checkpoint(request: web.Request) -> web.Response:
    key = _attempt(request)
    wish = parse_checkpoint(await read_object(request, optional=True))
    return answer(checkpoint_view(await checkpoints.save(request.app[CONTEXT], key, wish)), 201)


async def delete_checkpoints(request: web.Request) -> web.Response:
    keep = whole_number(query(request, "keep").get("keep"), "keep", 0, 2**31 - 1) or 0
    removed = await checkpoints.remove(request.app[CONTEXT], path_id(request, "task"), keep)
    return answer({"removed": removed})


async def put_progress(request: web.Request) -> web.Response:
    key, progress = _attempt(request), parse_progress(await read_object(request))
    task = await checkpoints.announce(request.app[CONTEXT], key, progress=progress)
    return answer(_said(task, key) | {"progress": task.progress})


async def put_result(request: web.Request) -> web.Response:
    key, result = _attempt(request), parse_result(await read_object(request))
    task = await checkpoints.announce(request.app[CONTEXT], key, result=result)
    return answer(_said(task, key) | {"result": from_text(task.result or "null")})


def _said(task: Task, key: AttemptKey) -> dict[str, Any]:
    return {"taskId": task.task_id, "attempt": key.attempt}


def _attempt(request: web.Request) -> AttemptKey:
    """Return whose word this is. Raises Forbidden for one who may do everything, and is no attempt."""
    path_id(request, "task")
    if (key := request[PRINCIPAL].attempt) is None:
        raise Forbidden(
            "only the attempt itself may say this: send its credential, which it finds in PODLING_TOKEN",
            code="attempt_needed",
        )
    return key
