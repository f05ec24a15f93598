"""A route with the least role that may use it: there is no other way to add one."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import StrEnum

from aiohttp import web

from podling.core.access import Role
from podling.core.value import value

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SECRET = "secret"
"""The name of a place in a path whose content is told to nobody."""


class Node(StrEnum):
    """What a credential that is bound to one node may do with a worker's route."""

    IN_PATH = "in_path"  # use it for the node that the path's `id` names, if it is its own
    IN_HANDLER = "in_handler"  # use it; the handler looks whose the thing is


@value
class Route:
    """`role` None is open to everybody, credential or not.

    `also` are roles that may use it beside those that include `role`; what they may ask for there is
    the handler's to say. `node` None is closed to credentials of nodes. `audited` is whether its use
    is kept in the audit: by default changes are, except what workers and tasks report all the time.
    `urgent` is let in whatever else there is to do: by default what workers and probes of health ask.
    `by_path` lets in whoever shows no credential for the secret in the path, which the handler checks.
    """

    method: str
    path: str
    handler: Handler
    role: Role | None
    also: tuple[Role, ...] = ()
    node: Node | None = None
    audited: bool
    urgent: bool
    by_path: bool = False

    def definition(self) -> web.RouteDef:
        # aiohttp answers HEAD wherever GET is answered.
        more = {"allow_head": True} if self.method == "GET" else {}
        return web.RouteDef(self.method, self.path, self.handler, more)


def get(
    path: str, handler: Handler, role: Role | None, *, node: Node | None = None, urgent: bool | None = None
) -> Route:
    hurried = _is_urgent(role) if urgent is None else urgent
    return Route(
        method="GET", path=path, handler=handler, role=role, node=node, audited=False, urgent=hurried
    )


def also_for_tasks(*routes: Route) -> list[Route]:
    """Return the routes as open to the credentials of attempts too."""
    return [replace(route, also=(*route.also, Role.TASK)) for route in routes]


def post(
    path: str, handler: Handler, role: Role | None, *, node: Node | None = None, audited: bool | None = None
) -> Route:
    return _change("POST", path, handler, role, node, audited)


def put(
    path: str, handler: Handler, role: Role | None, *, node: Node | None = None, audited: bool | None = None
) -> Route:
    return _change("PUT", path, handler, role, node, audited)


def delete(path: str, handler: Handler, role: Role | None, *, audited: bool | None = None) -> Route:
    return _change("DELETE", path, handler, role, None, audited)


def _change(
    method: str, path: str, handler: Handler, role: Role | None, node: Node | None, audited: bool | None
) -> Route:
    if audited is None:
        audited = role not in (Role.WORKER, Role.TASK)
    return Route(
        method=method,
        path=path,
        handler=handler,
        role=role,
        node=node,
        audited=audited,
        urgent=_is_urgent(role),
    )


def _is_urgent(role: Role | None) -> bool:
    return role in (Role.WORKER, None)
