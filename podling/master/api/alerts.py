"""`/api/v1/alerts`."""

from typing import Any

from aiohttp import web

from podling.core.access import Role
from podling.core.alerts import AlertRule
from podling.master.api.http import answer, path_id, read_object
from podling.master.api.keys import CONTEXT, OFFICE, PRINCIPAL
from podling.master.api.route import Route, delete, get, post, put
from podling.master.operations import alerts
from podling.store.ports.alerts import Standing
from podling.wire.alerts import parse_rule, rule_view
from podling.wire.codec import to_plain


def routes() -> list[Route]:
    base = "/api/v1/alerts"
    return [
        get(base, list_alerts, Role.READER),
        get(f"{base}/{{id}}", get_alert, Role.READER),
        put(f"{base}/{{id}}", put_alert, Role.OPERATOR),
        delete(f"{base}/{{id}}", delete_alert, Role.OPERATOR),
        post(f"{base}/{{id}}/test", test_alert, Role.OPERATOR),
    ]


def _view(request: web.Request, rule: AlertRule, standing: Standing) -> dict[str, Any]:
    return rule_view(rule, with_url=request[PRINCIPAL].may(Role.OPERATOR)) | {
        "pending": standing.pending,
        "lastAt": to_plain(standing.last_at),
        "lastError": standing.error,
    }


async def list_alerts(request: web.Request) -> web.Response:
    found = await alerts.list_(request.app[CONTEXT])
    return answer([_view(request, rule, standing) for rule, standing in found])


async def get_alert(request: web.Request) -> web.Response:
    return answer(_view(request, *await alerts.get(request.app[CONTEXT], path_id(request, "alert"))))


async def put_alert(request: web.Request) -> web.Response:
    """The one answer that may hold a secret: one that was made here, and is never shown again."""
    context, name = request.app[CONTEXT], path_id(request, "alert")
    rule = parse_rule(name, await read_object(request))
    kept, is_new, made = await alerts.put(context, rule)
    view = _view(request, *await alerts.get(context, name))
    return answer(view | ({"secret": kept.secret} if made else {}), 201 if is_new else 200)


async def delete_alert(request: web.Request) -> web.Response:
    await alerts.remove(request.app[CONTEXT], path_id(request, "alert"))
    return answer({"message": "alert deleted"})


async def test_alert(request: web.Request) -> web.Response:
    tried = await alerts.test(request.app[CONTEXT], request.app[OFFICE], path_id(request, "alert"))
    return answer(tried)
