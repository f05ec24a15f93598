"""`/api/v1/tasks`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import starmap
from operator import itemgetter
from typing import Any

from aiohttp import web

from podling.core.access import Role
from podling.core.errors import InvalidInput, PodlingError
from podling.core.fields import one_of
from podling.core.page import Place
from podling.core.protocol import Report, ReportKind
from podling.core.retry import ErrorCode
from podling.core.selector import parse_selectors, split_exact
from podling.core.task import TERMINAL, ContainerState, HealthStatus, Resolution, StopReason, Task, TaskStatus
from podling.core.timeline import placed
from podling.master.api.http import (
    answer,
    header,
    moment,
    next_page,
    page_after,
    page_headers,
    page_limit,
    path_id,
    query,
    read_object,
    whole_number,
)
from podling.master.api.keys import AUDITED, CONTEXT, PRINCIPAL
from podling.master.api.route import Node, Route, get, post, put
from podling.master.context import MasterContext
from podling.master.operations import tasks
from podling.master.operations.admission import BATCH, Entry, admit_batch
from podling.store.base import TaskQuery
from podling.wire.body import refuse_unknown
from podling.wire.errors import error_body
from podling.wire.tasks import attempt_view, parse_task, task_view

MOST_PER_BATCH = 1000
_LISTED = ("status", "queue", "node", "label", "name", "limit", "cursor")


def routes() -> list[Route]:
    base = "/api/v1/tasks"
    return [
        post(base, submit, Role.SUBMITTER),
        post(f"{base}:batch", submit_batch, Role.SUBMITTER),
        get(base, list_tasks, Role.READER),
        get(f"{base}/{{id}}", get_task, Role.READER),
        put(f"{base}/{{id}}/status", put_status, Role.WORKER, node=Node.IN_HANDLER),
        get(f"{base}/{{id}}/attempts", get_attempts, Role.READER),
        get(f"{base}/{{id}}/timeline", get_timeline, Role.READER),
        get(f"{base}/{{id}}/explain", get_explanation, Role.READER),
        post(f"{base}/{{id}}/cancel", cancel, Role.SUBMITTER),
        post(f"{base}/{{id}}/retry", retry, Role.SUBMITTER),
        post(f"{base}/{{id}}/replay", replay, Role.SUBMITTER),
        post(f"{base}/{{id}}/resolve", resolve, Role.OPERATOR),
    ]


def _view(context: MasterContext, task: Task) -> dict[str, Any]:
    return _views(context, [task])[0]


def _views(context: MasterContext, found: Sequence[Task]) -> list[dict[str, Any]]:
    return list(map(task_view, found, tasks.scheduling_errors(context, found)))


async def submit(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    plain = await read_object(request)
    spec = parse_task(plain, header(request, "Idempotency-Key"))
    task, is_new = await tasks.submit(context, spec, Entry(actor=request[PRINCIPAL]))
    request[AUDITED]["taskId"] = task.task_id
    return answer(_view(context, task), 201 if is_new else 200)


async def submit_batch(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    given = await read_object(request)
    refuse_unknown(given, frozenset({"tasks"}))
    items = given.get("tasks")
    if not isinstance(items, list) or not 1 <= len(items) <= MOST_PER_BATCH:
        raise InvalidInput.field("tasks", f"must be a list of 1 to {MOST_PER_BATCH} tasks")
    admit_batch(context, len(items), request[PRINCIPAL])
    entry = Entry(actor=request[PRINCIPAL], door=BATCH)
    return answer(await tasks.submit_many(context, starmap(_parsed, enumerate(items)), entry, error_body))


def _parsed(index: int, item: Any) -> Any:
    if not isinstance(item, dict):
        return _no_task(f"tasks.{index}")
    try:
        return parse_task(item)
    except PodlingError as error:
        return error


def _no_task(name: str) -> InvalidInput:
    problem = f"{name}: must be a JSON object, with the fields of a task"
    return InvalidInput(problem, code="invalid_json", details={"field": name})


async def list_tasks(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    asked = _task_query(query(request, *_LISTED), request.query.getall("label", []))
    # One more than asked for tells whether there is a next page.
    found = await tasks.list_(context, replace(asked, limit=asked.limit + 1))
    headers = page_headers(request, found, asked.limit, _place)
    return answer(_views(context, found[: asked.limit]), headers=headers)


def _task_query(given: Mapping[str, str], labels: list[str]) -> TaskQuery:
    exact, selectors = split_exact(parse_selectors(labels))
    return TaskQuery(
        statuses=_statuses(given.get("status")),
        queue=given.get("queue"),
        node_id=given.get("node"),
        name=given.get("name"),
        labels=exact,
        selectors=selectors,
        kind="task",
        after=page_after(given),
        limit=page_limit(given),
    )


def _statuses(text: str | None) -> tuple[TaskStatus, ...]:
    if text is None:
        return ()
    try:
        return tuple(TaskStatus(name) for name in text.split(","))
    except ValueError:
        known = ", ".join(TaskStatus)
        raise InvalidInput.field("status", f"must be one or more of {known}") from None


def _place(task: Task) -> Place:
    return task.created_at, task.task_id


async def get_task(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    return answer(_view(context, await tasks.get(context, path_id(request, "task"))))


async def get_attempts(request: web.Request) -> web.Response:
    given = query(request, "limit", "cursor")
    limit = page_limit(given)
    after = whole_number(given.get("cursor"), "cursor", 1, 2**31 - 1) or 0
    found = await tasks.attempts(request.app[CONTEXT], path_id(request, "task"), after, limit + 1)
    headers = next_page(request, str(found[limit - 1].attempt)) if len(found) > limit else None
    return answer([attempt_view(row) for row in found[:limit]], headers=headers)


async def get_timeline(request: web.Request) -> web.Response:
    given = query(request, "limit", "cursor")
    limit, after = page_limit(given), page_after(given)
    lines = await tasks.timeline_of(request.app[CONTEXT], path_id(request, "task"))
    found = [(place, line) for place, line in placed(lines) if after is None or place > after]
    headers = page_headers(request, found, limit, itemgetter(0))
    return answer([line for _, line in found[:limit]], headers=headers)


async def get_explanation(request: web.Request) -> web.Response:
    return answer(await tasks.explain_task(request.app[CONTEXT], path_id(request, "task")))


async def cancel(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    task = await tasks.cancel(context, path_id(request, "task"))
    return answer(_view(context, task), 200 if task.status.is_terminal else 202)


async def retry(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    return answer(_view(context, await tasks.retry(context, path_id(request, "task"))))


async def replay(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    body = await read_object(request, optional=True)
    given = {key: item for key, item in body.items() if item is not None}
    refuse_unknown(given, frozenset({"queue", "runAt"}))
    for key in given:
        if not isinstance(given[key], str):
            raise InvalidInput.field(key, "must be a string")
    run_at = moment(given.get("runAt"), "runAt")
    task_id = path_id(request, "task")
    task = await tasks.replay(context, task_id, given.get("queue"), run_at, request[PRINCIPAL])
    return answer(_view(context, task), 201)


async def resolve(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    given = await read_object(request)
    refuse_unknown(given, frozenset({"outcome", "attempt"}))
    outcome = one_of(Resolution, "outcome", _text(given, "outcome"))
    attempt = _whole(given, "attempt", 1, 2**31)
    return answer(_view(context, await tasks.resolve(context, path_id(request, "task"), outcome, attempt)))


_STATUS_FIELDS = frozenset(
    {"status", "containerId", "error", "healthStatus", "attempt", "exitCode", "errorCode"}
)


async def put_status(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    task_id = path_id(request, "task")
    given = await read_object(request)
    refuse_unknown(given, _STATUS_FIELDS)
    task = await tasks.report(context, task_id, _report(context, task_id, given), request[PRINCIPAL].node_id)
    return answer(_view(context, task))


def _report(context: MasterContext, task_id: str, given: Mapping[str, Any]) -> Report:
    status = _text(given, "status")
    if status not in (TaskStatus.RUNNING, *TERMINAL):
        raise InvalidInput.field("status", "must be running, completed, failed or cancelled")
    container_id, error = _text(given, "containerId"), _text(given, "error")
    failed = status in (TaskStatus.FAILED, TaskStatus.CANCELLED)
    code = _text(given, "errorCode") or ErrorCode.UNKNOWN
    now = context.clock.now()
    return Report(
        sequence=0,
        task_id=task_id,
        attempt=_whole(given, "attempt", 0, 2**31) or 0,
        kind=ReportKind.RUNNING if status == TaskStatus.RUNNING else ReportKind.ENDED,
        at=now,
        finished_at=None if status == TaskStatus.RUNNING else now,
        exit_code=_whole(given, "exitCode", 0, 255),
        error_code=(ErrorCode.CANCELLED if status == TaskStatus.CANCELLED else code) if failed else None,
        error=error,
        stopped_by=StopReason.CANCEL if status == TaskStatus.CANCELLED else None,
        health_status=_health(given),
        containers=(ContainerState(name="main", container_id=container_id),) if container_id else (),
    )


def _health(given: Mapping[str, Any]) -> HealthStatus:
    return one_of(HealthStatus, "healthStatus", _text(given, "healthStatus") or HealthStatus.UNKNOWN)


def _text(given: Mapping[str, Any], name: str) -> str | None:
    item = given.get(name)
    if item is None or isinstance(item, str):
        return item
    raise InvalidInput.field(name, "must be a string")


def _whole(given: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    item = given.get(name)
    if item is None:
        return None
    if isinstance(item, bool) or not isinstance(item, int) or not least <= item <= most:
        raise InvalidInput.field(name, f"must be a whole number from {least} to {most}")
    return item
