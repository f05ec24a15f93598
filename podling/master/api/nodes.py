"""`/api/v1/nodes`, without the session."""

import base64
import binascii
from dataclasses import replace
from typing import Any, TypeVar

from aiohttp import web

from podling.core.access import Principal, Role
from podling.core.errors import Forbidden, InvalidInput
from podling.core.fields import one_of
from podling.core.logrecord import MOST_TAILS, TAIL_BYTES, decode
from podling.core.node import Node, NodeStatus
from podling.core.selector import parse_selectors
from podling.core.task import Resolution
from podling.master.api.http import (
    answer,
    boolean,
    page_after,
    page_headers,
    page_limit,
    path_id,
    query,
    read_object,
)
from podling.master.api.keys import CONTEXT, PRINCIPAL
from podling.master.api.route import Node as NodeRule
from podling.master.api.route import Route, delete, get, post
from podling.master.context import MasterContext
from podling.master.operations import nodes, removal
from podling.store.base import LogTail
from podling.wire.body import refuse_unknown
from podling.wire.nodes import node_view, parse_registration

_T = TypeVar("_T")

LONGEST_DRAIN_SECONDS = 10 * 365 * 86_400


def routes() -> list[Route]:
    base = "/api/v1/nodes"
    return [
        post(f"{base}/register", register, Role.WORKER, audited=True),
        get(base, list_nodes, Role.READER),
        get(f"{base}/{{id}}", get_node, Role.READER),
        delete(f"{base}/{{id}}", deregister, Role.OPERATOR),
        post(f"{base}/{{id}}/heartbeat", heartbeat, Role.WORKER, node=NodeRule.IN_PATH),
        _deregister_by_itself(f"{base}/{{id}}/deregister"),
        post(f"{base}/{{id}}/cordon", cordon, Role.OPERATOR),
        post(f"{base}/{{id}}/uncordon", uncordon, Role.OPERATOR),
        post(f"{base}/{{id}}/drain", drain, Role.OPERATOR),
        post(f"{base}/{{id}}/tails", save_tails, Role.WORKER, node=NodeRule.IN_PATH),
    ]


def _deregister_by_itself(path: str) -> Route:
    """A worker may say that it has gone, an operator also what that means."""
    route = post(path, deregister, Role.OPERATOR, node=NodeRule.IN_PATH)
    return replace(route, also=(Role.WORKER,))


def _view(context: MasterContext, node: Node) -> dict[str, Any]:
    view = context.view
    return node_view(context.refusals.told(node), view.used(node.node_id), view.running_tasks(node.node_id))


async def register(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    registration = parse_registration(await read_object(request))
    return answer(_view(context, await nodes.register(context, registration)), 201)


async def list_nodes(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    given = query(request, "status", "label", "limit", "cursor")
    limit = page_limit(given)
    asked = nodes.NodeQuery(
        status=_status(given.get("status")),
        labels=parse_selectors(request.query.getall("label", [])),
        after=page_after(given),
        limit=limit + 1,  # one more tells whether there is a next page
    )
    found = await nodes.list_nodes(context, asked)
    headers = page_headers(request, found, limit, nodes.place)
    return answer([_view(context, node) for node in found[:limit]], headers=headers)


def _status(text: str | None) -> NodeStatus | None:
    return None if text is None else one_of(NodeStatus, "status", text)


async def get_node(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    return answer(_view(context, await nodes.get_node(context, path_id(request, "node"))))


async def heartbeat(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    return answer(_view(context, await nodes.heartbeat(context, path_id(request, "node"))))


async def deregister(request: web.Request) -> web.Response:
    context, node_id = request.app[CONTEXT], path_id(request, "node")
    given = query(request, "lost", "held")
    held = one_of(Resolution, "held", given["held"]) if "held" in given else None
    if held is not None or "lost" in given:
        _check_operator(request[PRINCIPAL])
    if boolean(given.get("lost"), "lost"):
        await removal.remove_as_lost(context, node_id, held)
    elif held is not None:
        raise InvalidInput.field("held", "is only of use with lost")
    else:
        await removal.deregister(context, node_id)
    return answer({"message": "node deregistered successfully"})


def _check_operator(principal: Principal) -> None:
    if not principal.may(Role.OPERATOR):
        raise Forbidden("only an operator may give up what is on a node", code="role_needed")


async def cordon(request: web.Request) -> web.Response:
    return await _cordon(request, True)


async def uncordon(request: web.Request) -> web.Response:
    return await _cordon(request, False)


async def _cordon(request: web.Request, cordoned: bool) -> web.Response:
    context = request.app[CONTEXT]
    return answer(_view(context, await nodes.cordon(context, path_id(request, "node"), cordoned)))


async def drain(request: web.Request) -> web.Response:
    context, node_id = request.app[CONTEXT], path_id(request, "node")
    given = await read_object(request, optional=True)
    refuse_unknown(given, frozenset({"deadlineSeconds"}))
    view = _view(context, await nodes.drain(context, node_id, _deadline(given.get("deadlineSeconds"))))
    return answer(view, 202 if view["runningTasks"] else 200)


def _deadline(item: Any) -> float | None:
    if item is None:
        return None
    if isinstance(item, bool) or not isinstance(item, int | float) or not 0 <= item <= LONGEST_DRAIN_SECONDS:
        raise InvalidInput.field("deadlineSeconds", f"must be a number from 0 to {LONGEST_DRAIN_SECONDS}")
    return float(item)


async def save_tails(request: web.Request) -> web.Response:
    """Keep the newest output of attempts of this node; items of other nodes are left out."""
    context = request.app[CONTEXT]
    node_id = path_id(request, "node")
    items = (await read_object(request)).get("tails")
    if not isinstance(items, list):
        raise InvalidInput.field("tails", "must be a list")
    if len(items) > MOST_TAILS:
        raise InvalidInput.field("tails", f"must be {MOST_TAILS} at most")
    await nodes.save_tails(context, node_id, [_tail(item) for item in items])
    return answer({"message": "saved"})


def _tail(item: Any) -> LogTail:
    try:
        tail = LogTail(
            task_id=_of(str, item["taskId"]),
            attempt=_of(int, item["attempt"]),
            frames=base64.b64decode(_of(str, item["frames"]), validate=True),
            dropped_bytes=_of(int, item.get("droppedBytes", 0)),
            final=_of(bool, item.get("final", False)),
        )
        whole = sum(1 for _ in decode(tail.frames)) > 0 or not tail.frames
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, binascii.Error):
        whole = False
    if not whole:
        raise InvalidInput.field("tails", "each needs taskId, attempt and frames in base64")
    if len(tail.frames) > TAIL_BYTES:
        raise InvalidInput.field("tails", f"frames hold more than {TAIL_BYTES} bytes")
    if not 0 < tail.attempt < 2**31 or not 0 <= tail.dropped_bytes < 2**53:
        raise InvalidInput.field("tails", "attempt or droppedBytes is out of range")
    return tail


def _of(kind: type[_T], item: Any) -> _T:
    """Return what is exactly of this kind: true is no number. Raises TypeError."""
    if type(item) is not kind:
        raise TypeError
    return item
