"""The one door: who asks is found out, whether they may is decided, and what they change is kept.

Default deny: a route that is not in the table of `Access` is refused, whoever asks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

from podling.core.access import ASKED, LOCAL, NOBODY, Principal, Role
from podling.core.audit import AuditEntry, outcome_of, shown_id
from podling.core.coordination_rules import TASK_KEYS
from podling.core.errors import Forbidden, PodlingError, Unauthorized
from podling.core.protocol import AttemptKey
from podling.kit.clock import Clock
from podling.kit.sites import check_local
from podling.master.api.http import query
from podling.master.api.keys import AUDITED, PRINCIPAL
from podling.master.api.route import SECRET, Handler, Node, Route
from podling.master.audit_log import AuditLog
from podling.master.credentials import Credentials, no_token_exists
from podling.master.refusals import Refusals
from podling.wire.credentials import credential_of
from podling.wire.errors import status_of
from podling.wire.openapi.document import described

_NO_TOKEN = "this master has no token yet"
CheckLive = Callable[[AttemptKey], Awaitable[None]]
"""Raises StaleAttempt unless the attempt is live: what its credential is good for ends with it."""

_WORKERS = frozenset({Role.WORKER, Role.JOIN})
_HURRIED = frozenset({Role.OPERATOR, Role.ADMIN})  # few enough that each waits until it is in the audit


class Access:
    """Knows every route by its method and pattern."""

    def __init__(
        self,
        routes: Iterable[Route],
        credentials: Credentials,
        audit: AuditLog,
        clock: Clock,
        refusals: Refusals,
        check_live: CheckLive,
        *,
        wants_certificates: bool = False,
    ) -> None:
        self._routes = {(route.method, route.path): route for route in routes}
        self._without_query = {key for key in self._routes if not _takes_query(*key)}
        self._credentials = credentials
        self._audit = audit
        self._clock = clock
        self._refusals = refusals
        self._check_live = check_live
        self._wants_certificates = wants_certificates

    def middleware(self) -> Any:
        """Return the middleware that lets in who may."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            route = self._route(request)
            if route is not None and route.role is None:
                request[PRINCIPAL] = NOBODY
                return await handler(request)
            try:
                request[PRINCIPAL] = principal = self._principal(route, request)
            except Unauthorized as error:
                self._note_worker(request, route, error)
                raise
            request[AUDITED] = {}
            if request.match_info.http_exception is not None:
                return await handler(request)  # no such path, or not with this method
            try:
                _check(route, request, principal)
                if self._wants_certificates:
                    _check_certificate(route, request)
                if principal.attempt is not None:
                    await self._check_live(principal.attempt)
            except Forbidden as error:
                self._note_worker(request, route, error)
                await self._note(request, route, error)
                raise
            assert route is not None
            return await self._served(request, route, handler)

        return check

    def _route(self, request: web.Request) -> Route | None:
        resource = request.match_info.route.resource
        method = "GET" if request.method == "HEAD" else request.method
        return None if resource is None else self._routes.get((method, resource.canonical))

    def _principal(self, route: Route | None, request: web.Request) -> Principal:
        """Raises Unauthorized."""
        shown = self._credential(request)
        if shown is None and route is not None and route.by_path and not self._credentials.is_open:
            return ASKED
        principal = self._credentials.identify(shown)
        if principal is LOCAL:
            check_local(request, _NO_TOKEN, "make one there with podling token create")
        return principal

    def _credential(self, request: web.Request) -> str | None:
        """Raises Unauthorized for what is none; without any token, nothing that is sent can be one."""
        try:
            return credential_of(request.headers)
        except Unauthorized as error:
            raise no_token_exists() if self._credentials.is_open else error from None

    async def _served(self, request: web.Request, route: Route, handler: Handler) -> web.StreamResponse:
        if not route.audited:
            self._check_query(request, route)
            if route.method != "GET" or _outlives_the_open_door(route, request[PRINCIPAL]):
                return await handler(request)
            with self._credentials.reading(request[PRINCIPAL]):
                return await handler(request)
        try:
            self._check_query(request, route)
            response = await handler(request)
        except asyncio.CancelledError:
            self._audit.note(self._entry(request, route, None, None))
            raise
        except Exception as error:
            await self._note(request, route, error)
            raise
        await self._note(request, route, response.status)
        return response

    def _check_query(self, request: web.Request, route: Route) -> None:
        """Raise InvalidInput for a parameter where none is taken."""
        if request.rel_url.raw_query_string and (route.method, route.path) in self._without_query:
            query(request)

    async def _note(self, request: web.Request, route: Route | None, ended: Exception | int) -> None:
        status = ended if isinstance(ended, int) else _status(ended)
        code = ended.code if isinstance(ended, PodlingError) else None
        self._audit.note(self._entry(request, route, status, code))
        if route is not None and route.role in _HURRIED:
            await self._audit.hurry()

    def _note_worker(self, request: web.Request, route: Route | None, error: PodlingError) -> None:
        if route is not None and route.role is Role.WORKER and route.node is Node.IN_PATH:
            self._refusals.note(request.match_info["id"], error)

    def _entry(
        self, request: web.Request, route: Route | None, status: int | None, code: str | None
    ) -> AuditEntry:
        principal = request[PRINCIPAL]
        ids = {name: text for name, text in request.match_info.items() if name != SECRET}
        return AuditEntry(
            at=self._clock.now(),
            actor=principal.name,
            token_id=principal.token_id,
            address=request.remote,
            method=request.method,
            route=route.path if route else "",
            ids={name: shown_id(text) for name, text in (ids | request[AUDITED]).items()},
            outcome=outcome_of(status),
            status=status,
            code=code,
        )


def _takes_query(method: str, path: str) -> bool:
    """Whether the document names a parameter in its query; a handler of one that it does reads it itself."""
    return any(parameter.place == "query" for parameter in described()[f"{method} {path}"].parameters)


def _outlives_the_open_door(route: Route, principal: Principal) -> bool:
    """A worker that came before the first token goes on until its connection ends, for its tasks do."""
    return principal is LOCAL and route.role is Role.WORKER


def _status(error: Exception) -> int:
    return status_of(error) if isinstance(error, PodlingError) else 500


def _check(route: Route | None, request: web.Request, principal: Principal) -> None:
    """Raise Forbidden unless this principal may use the route."""
    if route is None:
        raise Forbidden("nobody may use this path: no role is listed for it", code="no_role_listed")
    assert route.role is not None
    if not any(principal.may(role) for role in (route.role, *route.also)):
        held = ", ".join(sorted(principal.roles))
        raise Forbidden(
            f"this needs the role {route.role}, and the token {principal.name} has {held}",
            code="role_needed",
            details={"needed": str(route.role), "held": held},
        )
    if principal.node_id is not None:
        _check_node(route, request, principal.node_id)
    if principal.attempt is not None:
        _check_attempt(request, principal.attempt)


def _check_certificate(route: Route | None, request: web.Request) -> None:
    """Raise Forbidden for a worker that has shown no certificate; one that nobody signed never gets here."""
    if route is None or route.role not in _WORKERS or request.get_extra_info("peercert"):
        return
    raise Forbidden(
        "this master wants a certificate of its workers: give the worker one that --tls-client-ca of the "
        "master has signed, with --tls-cert and --tls-key",
        code="certificate_needed",
    )


def _check_attempt(request: web.Request, key: AttemptKey) -> None:
    names = request.match_info
    if names.get("id", key.task_id) != key.task_id:
        raise Forbidden(f"this is a credential of task {key.task_id} alone", code="another_task")
    if not names.get("key", TASK_KEYS).startswith(TASK_KEYS):
        raise Forbidden(
            f"tasks use keys that begin with {TASK_KEYS}; the others are for programs outside",
            code="key_not_for_tasks",
        )


def _check_node(route: Route, request: web.Request, node_id: str) -> None:
    if route.node is None:
        raise Forbidden("a node's credential is of no use here", code="not_for_nodes")
    if route.node is Node.IN_PATH and request.match_info["id"] != node_id:
        raise Forbidden(
            f"this is the credential of node {node_id}, which speaks for no other", code="another_node"
        )
