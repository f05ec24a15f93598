"""`/api/v1/workflows`."""

from typing import Any

from aiohttp import web

from podling.core.access import Role
from podling.core.page import Place
from podling.core.workflow import Progress, Workflow, WorkflowHead
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
from podling.master.api.route import Route, get, post
from podling.master.operations import workflows
from podling.wire.workflows import parse_workflow, whole_view, workflow_view

MOST_PER_PAGE = 100  # each may have a thousand tasks, which are counted


def routes() -> list[Route]:
    base = "/api/v1/workflows"
    return [
        post(base, submit_workflow, Role.SUBMITTER),
        get(base, list_workflows, Role.READER),
        get(f"{base}/{{id}}", get_workflow, Role.READER),
        post(f"{base}/{{id}}/cancel", cancel_workflow, Role.SUBMITTER),
    ]


async def _view(request: web.Request, workflow: Workflow) -> dict[str, Any]:
    return whole_view(workflow, *await workflows.tasks_of(request.app[CONTEXT], workflow))


async def submit_workflow(request: web.Request) -> web.Response:
    submission = parse_workflow(await read_object(request), header(request, "Idempotency-Key"))
    workflow, is_new = await workflows.submit(request.app[CONTEXT], submission, request[PRINCIPAL])
    request[AUDITED]["workflowId"] = workflow.workflow_id
    return answer(await _view(request, workflow), 201 if is_new else 200)


async def list_workflows(request: web.Request) -> web.Response:
    given = query(request, "limit", "cursor")
    limit = min(page_limit(given), MOST_PER_PAGE)
    found = await workflows.list_(request.app[CONTEXT], page_after(given), limit + 1)
    headers = page_headers(request, found, limit, _place)
    return answer([workflow_view(*row) for row in found[:limit]], headers=headers)


def _place(row: tuple[WorkflowHead, Progress]) -> Place:
    return row[0].created_at, row[0].workflow_id


async def get_workflow(request: web.Request) -> web.Response:
    workflow = await workflows.get(request.app[CONTEXT], path_id(request, "workflow"))
    return answer(await _view(request, workflow))


async def cancel_workflow(request: web.Request) -> web.Response:
    workflow = await workflows.cancel(request.app[CONTEXT], path_id(request, "workflow"))
    return answer(await _view(request, workflow))
