"""`/api/v1/schedules`."""

from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import web

from podling.core.access import Role
from podling.core.fields import one_of
from podling.core.page import Place
from podling.core.schedule import Fire, Outcome, ScheduleEntry
from podling.master.api.http import (
    answer,
    header,
    page_after,
    page_headers,
    page_limit,
    path_id,
    query,
    read_object,
)
from podling.master.api.keys import AUDITED, CONTEXT, PRINCIPAL
from podling.master.api.route import Route, delete, get, post, put
from podling.master.operations import schedules
from podling.store.ports.schedules import FireQuery
from podling.wire.schedules import fire_view, fired_until, overridden, parse_schedule, schedule_view
from podling.wire.tasks import task_view

_BY_HAND = "manual"


def routes() -> list[Route]:
    base = "/api/v1/schedules"
    return [
        post(base, create_schedule, Role.SUBMITTER),
        get(base, list_schedules, Role.READER),
        get(f"{base}/{{id}}", get_schedule, Role.READER),
        put(f"{base}/{{id}}", put_schedule, Role.SUBMITTER),
        delete(f"{base}/{{id}}", delete_schedule, Role.SUBMITTER),
        get(f"{base}/{{id}}/fires", list_fires, Role.READER),
        post(f"{base}/{{id}}/pause", pause_schedule, Role.SUBMITTER),
        post(f"{base}/{{id}}/resume", resume_schedule, Role.SUBMITTER),
        post(f"{base}/{{id}}/run", run_schedule, Role.SUBMITTER),
    ]


def _id(request: web.Request) -> str:
    """An id, or a name: names are unique."""
    return path_id(request, "schedule")


def _view(request: web.Request, entry: ScheduleEntry) -> dict[str, Any]:
    return schedule_view(entry, schedules.next_fires(request.app[CONTEXT], entry))


async def create_schedule(request: web.Request) -> web.Response:
    given = await read_object(request)
    rule, task = parse_schedule(given)
    after = fired_until(given)
    entry = await schedules.create(request.app[CONTEXT], rule, task, request[PRINCIPAL], after=after)
    request[AUDITED]["scheduleId"] = entry.schedule.schedule_id
    return answer(_view(request, entry), 201)


async def list_schedules(request: web.Request) -> web.Response:
    given = query(request, "limit", "cursor")
    limit = page_limit(given)
    found = await schedules.list_(request.app[CONTEXT], page_after(given), limit + 1)
    headers = page_headers(request, found, limit, _place)
    return answer([_view(request, entry) for entry in found[:limit]], headers=headers)


def _place(entry: ScheduleEntry) -> Place:
    return entry.schedule.created_at, entry.schedule.schedule_id


async def get_schedule(request: web.Request) -> web.Response:
    return answer(_view(request, await schedules.get(request.app[CONTEXT], _id(request))))


async def put_schedule(request: web.Request) -> web.Response:
    rule, task = parse_schedule(await read_object(request))
    entry = await schedules.change(request.app[CONTEXT], _id(request), rule, task, request[PRINCIPAL])
    return answer(_view(request, entry))


async def delete_schedule(request: web.Request) -> web.Response:
    await schedules.remove(request.app[CONTEXT], _id(request))
    return answer({"message": "schedule deleted"})


async def pause_schedule(request: web.Request) -> web.Response:
    return answer(_view(request, await schedules.set_paused(request.app[CONTEXT], _id(request), True)))


async def resume_schedule(request: web.Request) -> web.Response:
    return answer(_view(request, await schedules.set_paused(request.app[CONTEXT], _id(request), False)))


async def run_schedule(request: web.Request) -> web.Response:
    given = await read_object(request, optional=True)
    override = partial(overridden, given=given, idempotency_key=header(request, "Idempotency-Key"))
    task, is_new = await schedules.run(request.app[CONTEXT], _id(request), override, request[PRINCIPAL])
    request[AUDITED]["taskId"] = task.task_id
    return answer(task_view(task), 201 if is_new else 200)


async def list_fires(request: web.Request) -> web.Response:
    given = query(request, "outcome", "limit", "cursor")
    after = page_after(given)
    asked = FireQuery(
        schedule_id="",
        outcome=one_of(Outcome, "outcome", given["outcome"]) if "outcome" in given else None,
        after=None if after is None else (after[0], after[1] == _BY_HAND),
        limit=page_limit(given),
    )
    found = await schedules.fires(request.app[CONTEXT], _id(request), replace(asked, limit=asked.limit + 1))
    headers = page_headers(request, found, asked.limit, _fire_place)
    return answer([fire_view(fire) for fire in found[: asked.limit]], headers=headers)


def _fire_place(fire: Fire) -> Place:
    return fire.fire_time, _BY_HAND if fire.manual else "cron"
