"""A route with the least role that may use it: there is no other way to add one."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from podling.core.access import Role
from podling.core.value import value

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@value
class Route:
    """`role` None is open to everybody, credential or not."""

    method: str
    path: str
    handler: Handler
    role: Role | None

    def definition(self) -> web.RouteDef:
        # aiohttp answers HEAD wherever GET is answered.
        more = {"allow_head": True} if self.method == "GET" else {}
        return web.RouteDef(self.method, self.path, self.handler, more)


def get(path: str, handler: Handler, role: Role | None) -> Route:
    return Route(method="GET", path=path, handler=handler, role=role)


def post(path: str, handler: Handler, role: Role | None) -> Route:
    return Route(method="POST", path=path, handler=handler, role=role)


def put(path: str, handler: Handler, role: Role | None) -> Route:
    return Route(method="PUT", path=path, handler=handler, role=role)


def delete(path: str, handler: Handler, role: Role | None) -> Route:
    return Route(method="DELETE", path=path, handler=handler, role=role)
