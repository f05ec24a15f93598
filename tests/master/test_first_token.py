"""What was begun before the first token, and what becomes of it when there is one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from podling.core.access import Role
from podling.core.errors import Unauthorized
from podling.core.protocol import OLDEST_PROTOCOL_VERSION, Assignment
from podling.wire.credentials import headers_of
from podling.worker.line import dial
from tests.master.fake_worker import FakeWorker
from tests.master.masters import SHORT_LEASE_SECONDS, Api, Masters, RunningMaster, eventually
from tests.master.test_logs import Log, line
from tests.master.tokens import add_token, showing

ENDS_SECONDS = 2.0


async def _running(master: RunningMaster, **hello: Any) -> tuple[FakeWorker, Assignment]:
    worker = await master.worker(**hello)
    work = await worker.assigned((await master.api.submit())["taskId"])
    await worker.start(work)
    return worker, work


@asynccontextmanager
async def _closed(*masters: RunningMaster) -> AsyncIterator[Api]:
    """Make the first token, and give a client that shows it to the first of the masters."""
    made = await masters[0].api.post("/tokens", {"name": "ada"})
    assert made.status == 201
    for master in masters:
        await master.server.context.credentials.run_once()
        assert (await master.api.get("/tasks")).status == 401
    async with showing(masters[0], made.json["token"]) as api:
        yield api


@pytest.mark.parametrize("version", [{}, {"protocol_version": OLDEST_PROTOCOL_VERSION}])
async def test_the_output_of_workers_that_are_connected_is_still_read(
    master: RunningMaster, version: dict[str, int]
) -> None:
    worker, work = await _running(master, **version)
    async with _closed(master) as api:
        worker.serve_log = Log(line("whole"))
        assert (await api.get(f"/tasks/{work.task_id}/logs")).text == "whole\n"


async def test_their_output_is_read_at_another_master_too(masters: Masters) -> None:
    reader = await masters.start("one", dialable=True)
    holder = await masters.start("two", dialable=True)
    worker, work = await _running(holder)
    await reader.until_status(work.task_id, "running")

    async def is_found() -> bool:
        node = reader.server.context.view.node("node-1")
        return node is not None and node.master_id in reader.server.context.masters

    await eventually(is_found, "the other master to know where the worker is")
    async with _closed(reader, holder) as api:
        worker.serve_log = Log(line("from afar"))
        assert (await api.get(f"/tasks/{work.task_id}/logs")).text == "from afar\n"
        assert worker.streams[0].url == reader.url


async def test_the_path_of_a_stream_is_good_for_one_dial_and_for_no_wrong_token(
    master: RunningMaster,
) -> None:
    worker, work = await _running(master)
    statuses = []

    async def dial_often(request: object, socket: aiohttp.ClientWebSocketResponse) -> None:
        path = f"//api/v1/streams/{worker.streams[0].path.rpartition('/')[2]}"
        async with showing(master, None) as nobody, showing(master, "wrong") as wrong:
            statuses.append((await nobody.get(path)).status)
            statuses.append((await nobody.get(path[:-1])).status)
            statuses.append((await wrong.get(path)).status)
        await Log(line("once"))(worker.streams[0], socket)

    worker.serve_log = dial_often
    async with _closed(master) as api:
        assert (await api.get(f"/tasks/{work.task_id}/logs")).text == "once\n"
    assert statuses == [401, 401, 401]


async def test_a_session_lends_what_its_node_s_own_routes_want_for_as_long_as_it_lasts(
    master: RunningMaster,
) -> None:
    worker, work = await _running(master)
    assert worker.welcome is not None
    lent = worker.welcome.secret
    assert lent is not None
    tail = {"taskId": work.task_id, "attempt": work.attempt, "frames": "", "final": True}
    async with showing(master, lent) as own:
        assert (await own.post("/nodes/node-1/tails", {"tails": [tail]})).status == 200, "before the first"
    async with _closed(master), showing(master, lent) as own:
        assert (await own.post("/nodes/node-1/tails", {"tails": [tail]})).status == 200
        assert (await own.post("/nodes/node-2/tails", {"tails": []})).code == "another_node"
        assert (await own.get("/tasks")).code == "role_needed"
        await worker.end(work)
        await worker.close()

        async def is_out() -> bool:
            return (await own.post("/nodes/node-1/tails", {"tails": []})).status == 401

        await eventually(is_out, "what was lent to end with the session")
    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        await worker.connect()


async def test_nothing_is_lent_to_who_has_a_token_or_does_not_know_the_field(masters: Masters) -> None:
    master = await masters.start()
    older = await master.worker("old", protocol_version=OLDEST_PROTOCOL_VERSION)
    assert older.welcome is not None and older.welcome.secret is None
    _, secret = await add_token(master, Role.WORKER)
    worker = FakeWorker(master.url, "new", token=secret)
    try:
        assert (await worker.connect()).secret is None
    finally:
        await worker.close()


@pytest.mark.parametrize("path", ["/tasks/{task}/logs?follow=true", "/events"])
async def test_readers_from_before_are_ended(masters: Masters, path: str) -> None:
    """At the master that makes the token, and at another one."""
    one, two = await masters.start("machine-1"), await masters.start("machine-2")
    task = await one.api.submit(runAt="2090-01-01T00:00:00Z")
    address = path.format(task=task["taskId"])
    async with one.api.stream(address) as here, two.api.stream(address) as there:
        assert (await one.api.post("/tokens", {"name": "ada"})).status == 201
        for response in (here, there):
            async with asyncio.timeout(ENDS_SECONDS):
                await _read_to_its_end(response)


async def _read_to_its_end(response: aiohttp.ClientResponse) -> None:
    """Events say why they end; a log breaks off."""
    if response.content_type == "text/event-stream":
        assert b"event: end" in await response.read()
    else:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer podling_admin_" + "0" * 64},
        {"Authorization": "Basic YWRhOmFkYQ=="},
        {"Authorization": ""},
        {"x-api-key": "stale"},
        {"Authorization": "Bearer one", "x-api-key": "two"},
    ],
)
async def test_no_credential_is_taken_for_a_valid_one_while_there_is_none(
    master: RunningMaster, headers: dict[str, str]
) -> None:
    for method, path in (("GET", "/tasks"), ("POST", "/tokens"), ("GET", "/streams/x")):
        answer = await master.api.call(method, path, {"name": "ada"}, headers=headers)
        assert (answer.status, answer.code) == (401, "no_token_exists"), path
        assert "knows no token" in answer.text
    assert (await master.api.call("GET", "//health", headers=headers)).status == 200
    assert (await master.api.get("/tokens")).json == []


async def test_a_worker_with_a_token_is_told_that_the_master_knows_none(master: RunningMaster) -> None:
    async with aiohttp.ClientSession(headers=headers_of("stale")) as http:
        with pytest.raises(Unauthorized, match="knows no token, so none that is sent is valid"):
            await dial(http, "node-1", master.url, ENDS_SECONDS)
    async with aiohttp.ClientSession() as http:
        await (await dial(http, "node-1", master.url, ENDS_SECONDS)).close()


async def test_it_is_told_why_a_worker_that_was_refused_is_offline(masters: Masters) -> None:
    master = await masters.start(lease_seconds=SHORT_LEASE_SECONDS)
    worker, work = await _running(master)
    async with _closed(master) as api:
        await worker.close()
        for node_id in ("node-1", "never-seen"):
            stranger = FakeWorker(master.url, node_id)
            with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
                await stranger.connect()
            await stranger.close()

        async def is_offline() -> bool:
            return (await api.node("node-1"))["status"] == "offline"

        await eventually(is_offline, "the node to be offline")
        told = (await api.get("/nodes")).json
        assert [node["nodeId"] for node in told] == ["node-1"]
        assert told[0]["lostReason"].endswith("; its worker is refused: it shows no token")
        findings = (await api.get("/doctor")).json["findings"]
        (found,) = [item for item in findings if item["code"] == "worker_refused"]
        assert found["message"] == "its worker is refused: it shows no token"
        assert found["command"] == "podling token create again --join --node node-1"
        reasons = (await api.get(f"/tasks/{work.task_id}/explain")).json["reasons"]
        assert "worker_refused" in [reason["code"] for reason in reasons]
        _, secret = await add_token(master, Role.WORKER)
        back = FakeWorker(master.url, token=secret)
        await back.connect()
        assert (await api.node("node-1"))["lostReason"] is None
        await back.close()
