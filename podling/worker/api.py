"""The worker's own HTTP API: its health, and the state and logs of what is here."""

import asyncio
import errno
import hmac
import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from podling.core.agent_attempt import Held
from podling.core.errors import (
    ConfigurationError,
    InvalidInput,
    NotFound,
    PodlingError,
    RuntimeFailure,
    Unauthorized,
)
from podling.core.logrecord import render
from podling.core.protocol import AttemptKey, HeldState, Report, ReportKind
from podling.core.token import hash_secret
from podling.kit.connection import arrived, listen
from podling.kit.framing import check_framing, no_route
from podling.kit.metrics import CONTENT_TYPE
from podling.kit.query import query
from podling.kit.sites import check_local
from podling.wire.codec import encode, to_plain
from podling.wire.credentials import credential_of
from podling.wire.errors import error_body, status_of
from podling.worker.logs import Logs
from podling.worker.shell import Shell

DEFAULT_TAIL = 100
MOST_TAIL = 1_000_000
MOST_CONNECTIONS = 256
_STATUSES = {
    HeldState.STARTING: "scheduled",
    HeldState.RUNNING: "running",
    HeldState.STOPPING: "running",
}

_log = logging.getLogger(__name__)

_NO_MASTER = "this is a worker, not a master; give a master's address with --master (its port is mostly 8070)"


class WorkerApi:
    """`start` binds, `stop` unbinds; without a token it is for this machine alone.

    With one it answers who shows that same token: it has no store to ask about others.
    """

    def __init__(
        self,
        node_id: str,
        shell: Shell,
        logs: Logs,
        token: str | None = None,
        metrics: Callable[[], bytes] = bytes,
    ) -> None:
        self._node_id = node_id
        self._shell = shell
        self._logs = logs
        self._token = token
        self._metrics = metrics
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port. Raises ConfigurationError if it cannot be had."""
        application = web.Application(middlewares=[arrived, self._guard])
        application.add_routes(
            [
                web.get("/health", self._health),
                web.get("/metrics", self._read_metrics),
                web.get("/api/v1/tasks/{id}/status", self._status),
                web.get("/api/v1/tasks/{id}/logs", self._read_logs),
                web.get("/api/v1/pods/{id}/status", self._status),
                web.get("/api/v1/pods/{id}/logs", self._read_logs),
            ]
        )
        self._runner = web.AppRunner(application, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            self._listening = await listen(
                self._runner, [application], host, port, _refusal, most=MOST_CONNECTIONS
            )
        except OSError as error:
            await self._runner.cleanup()
            raise _cannot_listen(host, port, error) from error
        return int(self._listening.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._listening is not None:
            self._listening.close()
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            check_framing(request)
            self._authorize(request)
            response: web.StreamResponse = await handler(request)
        except web.HTTPException as error:
            if error.status == 404 and request.path.startswith("/api/v1/"):
                return _error(421, _NO_MASTER, "not_a_master", {})
            refusal, status, headers = no_route(request, error)
            return _json(error_body(refusal), status, headers)
        except PodlingError as error:
            return _refusal(error)
        except Exception:  # noqa: BLE001 - the reader gets a sentence, the log the traceback
            _log.exception("%s %s failed", request.method, request.path)
            return _error(500, "the worker failed unexpectedly; see its log", "internal", {})
        return response

    def _authorize(self, request: web.Request) -> None:
        if request.path == "/health":
            return
        if self._token is None:
            check_local(request, "this worker was started without a token", "start it with --token-file FILE")
            return
        given = credential_of(request.headers) or ""
        if not hmac.compare_digest(hash_secret(given), hash_secret(self._token)):
            raise Unauthorized(
                "this worker wants the token that it was started with: send Authorization: Bearer TOKEN"
            )

    async def _health(self, request: web.Request) -> web.Response:
        problem = await self._shell.check()
        body = {"status": "unhealthy" if problem else "healthy", "nodeId": self._node_id, "problem": problem}
        return _json(body, 503 if problem else 200)

    async def _read_metrics(self, request: web.Request) -> web.Response:
        query(request)
        return web.Response(body=self._metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def _status(self, request: web.Request) -> web.Response:
        query(request)
        task_id = request.match_info["id"]
        held = self._shell.latest(task_id)
        if held is not None:
            return self._answer(_held_body(held))
        ended = [report for key, report in self._shell.state.done.items() if key.task_id == task_id]
        known = [report for report in ended if report is not None]
        if not known:
            raise NotFound.of("task")
        return self._answer(_report_body(max(known, key=lambda report: report.attempt)))

    def _answer(self, body: dict[str, Any]) -> web.Response:
        key = AttemptKey(task_id=body["taskId"], attempt=body["attempt"])
        return _json(body | {"spans": self._shell.spans.get(key)})

    async def _read_logs(self, request: web.Request) -> web.Response:
        tail = _tail(request)
        key = self._logs.find(request.match_info["id"])
        pieces = self._logs.read(key, request.query.get("container"), tail=tail)
        text = b"".join([render(record) async for piece in pieces for record in piece])
        return web.Response(body=text, content_type="text/plain", charset="utf-8")


def check_address(host: str, port: int) -> int:
    """Return the port that is free there, a chosen one for 0, before any master is asked.

    Raises ConfigurationError.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise _cannot_listen(host, port, error) from error


def _cannot_listen(host: str, port: int, error: OSError) -> ConfigurationError:
    reason = "it is in use" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
    if isinstance(error, socket.gaierror):
        reason = "there is no such address"
    return ConfigurationError(f"cannot listen on {host}:{port}: {reason}; choose another one with --port")


def _tail(request: web.Request) -> int:
    text = query(request, "tail", "container").get("tail", str(DEFAULT_TAIL))
    if not (text.isascii() and text.isdecimal()) or len(text) > 7 or int(text) > MOST_TAIL:
        raise InvalidInput.field("tail", f"must be a number from 0 to {MOST_TAIL}")
    return int(text)


def _held_body(held: Held) -> dict[str, Any]:
    if held.final is not None:
        return _report_body(held.final)
    return {
        "taskId": held.key.task_id,
        "attempt": held.key.attempt,
        "status": _STATUSES[held.state],
        "containerId": held.containers[0].container_id,
        "startedAt": to_plain(held.started_at),
        "finishedAt": None,
        "exitCode": None,
        "errorCode": None,
        "error": None,
        "containers": [to_plain(container.state) for container in held.containers],
    }


def _report_body(report: Report) -> dict[str, Any]:
    first = report.containers[0] if report.containers else None
    return {
        "taskId": report.task_id,
        "attempt": report.attempt,
        "status": _end_of(report),
        "containerId": first and first.container_id,
        "startedAt": to_plain(report.started_at),
        "finishedAt": to_plain(report.finished_at),
        "exitCode": report.exit_code,
        "errorCode": report.error_code,
        "error": report.error,
        "containers": to_plain(report.containers),
    }


def _end_of(report: Report) -> str:
    if report.kind is ReportKind.REFUSED:
        return "pending"
    return "completed" if report.error_code is None else "failed"


def _refusal(error: PodlingError) -> web.Response:
    status = 503 if isinstance(error, RuntimeFailure) else status_of(error)
    return _json(error_body(error), status)


def _error(status: int, message: str, code: str, details: dict[str, Any]) -> web.Response:
    return _json({"error": message, "code": code, "details": details}, status)


def _json(body: dict[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=encode(body), status=status, content_type="application/json", headers=headers)
