"""A small master for tests: api.md's routes over plain dicts, told by the test what happens when.

It runs in a thread of its own, so that blocking clients and subprocesses can talk to it.
"""

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

Json = dict[str, Any]
ENDED = ("completed", "failed", "cancelled")
START_SECONDS = 10


class FakeMaster:
    """`tasks`, `nodes`, `timelines`, `explanations` and `outputs` are what it answers with.

    `on_submit` is called with each new task and may change it. `faults` are answered, in order,
    before anything else; a fault `"drop"` closes the connection after the request took effect. So
    many `streams_to_cut` break off after their first output.
    """

    def __init__(self) -> None:
        self.tasks: dict[str, Json] = {}
        self.nodes: list[Json] = []
        self.leftovers: set[str] = set()  # removed nodes that have left attempts behind
        self.resolved_attempts: list[int] = []
        self.timelines: dict[str, list[Json]] = {}
        self.explanations: dict[str, Json] = {}
        self.outputs: dict[tuple[str, int], bytes] = {}
        self.cluster: Json = {}
        self.doctor: Json = {}
        self.keys: dict[str, str] = {}
        self.faults: list[Any] = []
        self.streams_to_cut = 0
        self.requests: list[Json] = []
        self.on_submit: Callable[[Json], None] = lambda task: None
        self.on_cancel: Callable[[Json], None] = lambda task: task.update(status="cancelled")
        self.on_read_node: Callable[[Json], None] = lambda node: None
        self.url = ""
        self._numbers = itertools.count(1)
        self._loop: asyncio.AbstractEventLoop
        self._changed: asyncio.Event
        self._stop: asyncio.Event

    def add_task(self, name: str, status: str = "pending", **more: Any) -> Json:
        """Put a task there as the newest; return it."""
        number = next(self._numbers)
        task_id = more.pop("taskId", f"0192{number:04x}-{number:04x}-7000-8000-000000000000")
        task = {
            "taskId": task_id,
            "name": name,
            "image": "busybox:local",
            "status": status,
            "queue": "default",
            "labels": {},
            "attempt": 0 if status == "pending" else 1,
            "nodeId": None if status == "pending" else "node-1",
            "createdAt": f"2026-01-01T00:{number // 60:02}:{number % 60:02}.000000Z",
            "startedAt": None,
            "finishedAt": None,
            "exitCode": 0 if status == "completed" else None,
            "error": None,
            "errorCode": None,
            "schedulingError": None,
        }
        self.tasks[task_id] = task | more
        return self.tasks[task_id]

    def change(self, task: Json, **fields: Any) -> None:
        """Change a task from the test's thread, and wake those who follow it."""
        self._loop.call_soon_threadsafe(self._apply, task, fields)

    def write(self, task: Json, data: bytes) -> None:
        """Add to the output of the task's present attempt, from the test's thread."""
        self._loop.call_soon_threadsafe(self._append, task, data)

    def _apply(self, task: Json, fields: Json) -> None:
        task.update(fields)
        self._wake()

    def _append(self, task: Json, data: bytes) -> None:
        # The attempt is read here: a change made just before is applied by now, and not earlier.
        key = (task["taskId"], task["attempt"])
        self.outputs[key] = self.outputs.get(key, b"") + data
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    @contextmanager
    def running(self) -> Iterator["FakeMaster"]:
        started = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        thread.start()
        assert started.wait(START_SECONDS), "the fake master did not start"
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join(START_SECONDS)

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._changed, self._stop = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        runner = web.AppRunner(self._application(), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()
        await self._stop.wait()
        await runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._record, self._fail])
        root = "/api/v1"
        application.add_routes(
            [
                web.post(f"{root}/tasks", self._submit),
                web.post(f"{root}/tasks:batch", self._submit_many),
                web.get(f"{root}/tasks", self._list),
                web.get(f"{root}/tasks/{{id}}", self._read),
                web.get(f"{root}/tasks/{{id}}/attempts", self._attempts),
                web.get(f"{root}/tasks/{{id}}/timeline", self._timeline),
                web.get(f"{root}/tasks/{{id}}/explain", self._explain),
                web.get(f"{root}/tasks/{{id}}/logs", self._logs),
                web.post(f"{root}/tasks/{{id}}/cancel", self._cancel),
                web.post(f"{root}/tasks/{{id}}/retry", self._retry),
                web.post(f"{root}/tasks/{{id}}/replay", self._replay),
                web.post(f"{root}/tasks/{{id}}/resolve", self._resolve),
                web.get(f"{root}/nodes", self._nodes),
                web.post(f"{root}/nodes/{{id}}/{{verb:cordon|uncordon}}", self._cordon),
                web.get(f"{root}/nodes/{{id}}", self._read_node),
                web.post(f"{root}/nodes/{{id}}/drain", self._drain),
                web.delete(f"{root}/nodes/{{id}}", self._remove_node),
                web.get(f"{root}/cluster", self._cluster),
                web.get(f"{root}/doctor", self._doctor),
            ]
        )
        return application

    @web.middleware
    async def _record(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.requests.append(
            {
                "method": request.method,
                "path": request.path,
                "query": dict(request.query),
                "body": body,
                "headers": dict(request.headers),
            }
        )
        return await handler(request)

    @web.middleware
    async def _fail(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        fault = self.faults.pop(0) if self.faults else None
        if fault == "drop":
            await handler(request)
            assert request.transport is not None
            request.transport.abort()
        elif fault is not None:
            status, body, headers = fault
            return web.json_response(body, status=status, headers=headers)
        return await handler(request)

    async def _submit(self, request: web.Request) -> web.Response:
        key = request.headers["Idempotency-Key"]
        if key in self.keys:
            return web.json_response(self.tasks[self.keys[key]], status=200)
        body = await request.json()
        task = self.add_task(**body)
        self.keys[key] = task["taskId"]
        self.on_submit(task)
        return web.json_response(task, status=201)

    async def _submit_many(self, request: web.Request) -> web.Response:
        answers = []
        for body in (await request.json())["tasks"]:
            assert body["idempotencyKey"]
            if "image" not in body:
                answers.append({"error": "image: is required", "code": "invalid_field", "details": {}})
                continue
            task = self.add_task(**body)
            self.on_submit(task)
            answers.append({"taskId": task["taskId"]})
        return web.json_response(answers)

    async def _list(self, request: web.Request) -> web.Response:
        return _page([task for task in reversed(self.tasks.values()) if _matches(task, request)], request)

    def _task(self, request: web.Request) -> Json:
        task = self.tasks.get(request.match_info["id"])
        if task is None:
            raise web.HTTPNotFound(
                text='{"error": "task not found", "code": "task_not_found", "details": {}}',
                content_type="application/json",
            )
        return task

    async def _read(self, request: web.Request) -> web.Response:
        return web.json_response(self._task(request))

    async def _attempts(self, request: web.Request) -> web.Response:
        task = self._task(request)
        numbers = range(1, max(task["attempt"], 1) + 1)
        shown = {"taskId": task["taskId"], "status": task["status"], "nodeId": task.get("nodeId")}
        return _page([{"attempt": number, **shown} for number in numbers], request)

    async def _timeline(self, request: web.Request) -> web.Response:
        return _page(self.timelines.get(self._task(request)["taskId"], []), request)

    async def _explain(self, request: web.Request) -> web.Response:
        task = self._task(request)
        default = {"taskId": task["taskId"], "status": task["status"], "summary": f"it is {task['status']}"}
        return web.json_response(self.explanations.get(task["taskId"], default))

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        task, query = self._task(request), request.query
        attempt = int(query.get("attempt", task["attempt"]))
        key = (task["taskId"], attempt)
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        sent = 0
        while True:
            output = _tail(self.outputs.get(key, b""), query.get("tail")) if sent == 0 else self.outputs[key]
            if output[sent:]:
                await response.write(output[sent:])
                sent = len(self.outputs[key])
                if self.streams_to_cut:
                    self.streams_to_cut -= 1
                    assert request.transport is not None
                    request.transport.abort()
                    return response
            over = task["status"] in (*ENDED, "pending") or task["attempt"] > attempt
            if over or query.get("follow") != "true":
                return response
            await self._changed.wait()

    async def _cancel(self, request: web.Request) -> web.Response:
        task = self._task(request)
        if task["status"] in ("completed", "failed"):
            return _refusal(409, "illegal_transition", f"a task that is {task['status']} cannot cancel")
        self.on_cancel(task)
        self._wake()
        return web.json_response(task)

    async def _retry(self, request: web.Request) -> web.Response:
        return web.json_response(self._task(request))

    async def _replay(self, request: web.Request) -> web.Response:
        task = self._task(request)
        if task["status"] not in ENDED:
            return _refusal(409, "illegal_transition", "the task has not ended")
        return web.json_response(self.add_task(task["name"], replayOf=task["taskId"]), status=201)

    async def _resolve(self, request: web.Request) -> web.Response:
        task = self._task(request)
        if not task.get("held"):
            return _refusal(409, "illegal_transition", "the task is not held, so there is nothing to resolve")
        word = await request.json()
        outcome, attempt = word["outcome"], word["attempt"]
        self.resolved_attempts.append(attempt)
        if attempt != task["attempt"]:
            return _refusal(409, "stale_attempt", f"attempt {attempt} of the task is not its live one")
        task.update(held=None, status="pending" if outcome == "retry" else outcome)
        return web.json_response(task)

    async def _nodes(self, request: web.Request) -> web.Response:
        return web.json_response(self.nodes)

    def _node(self, request: web.Request) -> Json:
        return next(node for node in self.nodes if node["nodeId"] == request.match_info["id"])

    async def _read_node(self, request: web.Request) -> web.Response:
        node = self._node(request)
        self.on_read_node(node)
        return web.json_response(node)

    async def _cordon(self, request: web.Request) -> web.Response:
        node = self._node(request)
        node["cordoned"] = request.match_info["verb"] == "cordon"
        return web.json_response(node)

    async def _drain(self, request: web.Request) -> web.Response:
        body = await request.json() if await request.read() else {}
        node = self._node(request)
        node.update(cordoned=True, drain={"deadlineSeconds": body.get("deadlineSeconds")})
        return web.json_response(node, status=202)

    async def _remove_node(self, request: web.Request) -> web.Response:
        node_id = request.match_info["id"]
        if all(node["nodeId"] != node_id for node in self.nodes) and node_id not in self.leftovers:
            return _refusal(404, "not_found", "there is no such node")
        if (
            node_id not in self.leftovers
            and self._node(request).get("runningTasks")
            and "lost" not in request.query
        ):
            return _refusal(409, "node_busy", "the node still has tasks")
        self.nodes = [node for node in self.nodes if node["nodeId"] != node_id]
        return web.json_response({"message": "node deregistered successfully"})

    async def _doctor(self, request: web.Request) -> web.Response:
        return web.json_response(self.doctor | {"scope": request.query["scope"]})

    async def _cluster(self, request: web.Request) -> web.Response:
        return web.json_response(self.cluster)


def _matches(task: Json, request: web.Request) -> bool:
    query = request.query
    labels = [label.partition("=") for label in query.getall("label", [])]
    return (
        all(task[name] == query[name] for name in ("name", "queue") if name in query)
        and ("node" not in query or task["nodeId"] == query["node"])
        and ("status" not in query or task["status"] in query["status"].split(","))
        and all(task["labels"].get(name) == given for name, _, given in labels)
    )


def _page(found: list[Json], request: web.Request) -> web.Response:
    start, limit = int(request.query.get("cursor", 0)), int(request.query.get("limit", 500))
    headers = {"X-Next-Cursor": str(start + limit)} if len(found) > start + limit else {}
    return web.json_response(found[start : start + limit], headers=headers)


def _tail(output: bytes, lines: str | None) -> bytes:
    if lines is None:
        return output
    kept = output.splitlines(keepends=True)
    return b"".join(kept[len(kept) - min(int(lines), len(kept)) :])


def _refusal(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": message, "code": code, "details": {}}, status=status)
