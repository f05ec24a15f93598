"""The door for programs inside attempts: whom it lets in, and what it passes on."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from podling.core.errors import RuntimeFailure
from podling.core.permissions import Policy, TaskTokenPlace
from podling.core.protocol import AttemptKey
from podling.core.spec import ContainerSpec
from podling.core.task_credential import make_credential
from podling.task import NotAnswered, Refused, StaleAttempt, Task
from podling.worker.inside import DoorOptions, Inside, KeptDoor, opened_door
from podling.worker.runtime.base import ContainerWork

KEY = bytes(range(32))
ADDED = ("Accept", "Accept-Encoding", "User-Agent")  # by any client
ONE, OTHER = AttemptKey(task_id="one", attempt=1), AttemptKey(task_id="other", attempt=2)


class Notes:
    """What a journal keeps by name."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def meta(self, name: str) -> str | None:
        return self.kept.get(name)

    def write_later(self, write: Any) -> None:
        self.kept[write.name] = write.value


class Runtime:
    def __init__(self, host: str | None) -> None:
        self._host = host

    async def machine_host(self) -> str | None:
        return self._host


@dataclass
class Held:
    """As much of an attempt as the door looks at."""

    key: AttemptKey
    final: str | None = None


@dataclass
class Ground:
    """A door with a master behind it, which answers with what it was asked; `asked` keeps that."""

    directory: Path
    master_url: str | None = None
    notes: Notes = field(default_factory=Notes)
    held: dict[AttemptKey, Held] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    policy: Policy = field(default_factory=Policy)
    inside: Any = None
    waits: asyncio.Event | None = None

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.asked.append((request.method, request.raw_path, dict(request.headers), body))
        if self.waits is not None and request.path.endswith("/wait"):
            await self.waits.wait()
        return web.json_response({"asked": request.raw_path}, headers={"X-Next-Cursor": "7", "X-Other": "1"})

    def work(self, key: AttemptKey, network: str = "bridge") -> ContainerWork:
        self.held[key] = Held(key)
        return ContainerWork(
            engine_name="n",
            task_id=key.task_id,
            attempt=key.attempt,
            container=ContainerSpec(),
            network=network,
        )

    async def environment(self, key: AttemptKey, runtime: str = "process", network: str = "bridge") -> Any:
        work = await self.inside.given(self.work(key, network), runtime)
        names = {"PODLING_TASK_ID": key.task_id, "PODLING_ATTEMPT": str(key.attempt)}
        return work.full_environment() | names | {"PODLING_NODE_ID": "node"}


@pytest.fixture
async def ground(tmp_path: Path) -> AsyncIterator[Ground]:
    found = Ground(tmp_path / ("long" * 30))
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", found.answer)
    async with TestServer(application) as server:
        found.master_url = str(server.make_url("")).rstrip("/")
        async with opened(found):
            yield found


class opened:
    """Opens the worker's side on the ground; twice, as a worker that was restarted."""

    def __init__(self, ground: Ground, host: str = "auto", docker_host: str | None = None) -> None:
        self._ground, self._host, self._docker_host = ground, host, docker_host

    async def __aenter__(self) -> None:
        ground = self._ground
        kept = KeptDoor(ground.notes)  # type: ignore[arg-type]
        kept.keep(key=KEY)
        ground.inside = Inside(
            "node",
            ground.directory,
            DoorOptions(host=self._host),
            kept,
            ground.held.get,  # type: ignore[arg-type]
            lambda: ground.policy,
        )
        self._door = opened_door(None, lambda: ground.master_url, ground.inside)
        door = await self._door.__aenter__()
        runtimes: Any = {"process": Runtime("127.0.0.1"), "docker": Runtime(self._docker_host)}
        await ground.inside.open(door, runtimes, list(ground.held.values()))

    async def __aexit__(self, *_: object) -> None:
        await self._door.__aexit__(None, None, None)


async def test_a_call_is_passed_on_with_the_attempt_s_credential(ground: Ground) -> None:
    environment = await ground.environment(ONE)
    task = Task(environment)
    await asyncio.to_thread(task.progress, 40)
    ((method, path, headers, body),) = ground.asked
    assert set(headers) <= {"Host", "Authorization", "Content-Type", "Content-Length", *ADDED}
    assert (method, path, json.loads(body)) == ("PUT", "/api/v1/tasks/one/progress", {"progress": 40})
    assert headers["Authorization"] == f"Bearer {make_credential(KEY, ONE, 'node')}"


async def test_only_what_speaks_for_a_live_attempt_gets_through(ground: Ground) -> None:
    environment = await ground.environment(ONE)
    good = environment["PODLING_TOKEN"]
    for token, kind, code in (
        (good + "x", Refused, "unknown_token"),
        (good.replace(".1.", ".3."), Refused, "unknown_token"),
        (make_credential(bytes(32), ONE, "node"), Refused, "unknown_token"),
        (make_credential(KEY, ONE, "elsewhere"), Refused, "unknown_token"),
        ("podling_admin_" + "0" * 64, Refused, "unknown_token"),
        (make_credential(KEY, OTHER, "node"), StaleAttempt, "stale_attempt"),
    ):
        with pytest.raises(kind) as refused:
            await asyncio.to_thread(Task(environment | {"PODLING_TOKEN": token}).progress, 1)
        assert refused.value.code == code
    ground.held[ONE].final = "it has ended"
    with pytest.raises(StaleAttempt):
        await asyncio.to_thread(Task(environment).progress, 1)
    assert ground.asked == []


async def test_nothing_but_the_api_is_there(ground: Ground) -> None:
    environment = await ground.environment(ONE)
    root = environment["PODLING_API"].removesuffix("/api/v1")
    show = {"Authorization": f"Bearer {environment['PODLING_TOKEN']}"}
    async with aiohttp.ClientSession() as http:
        for path in ("/metrics", "/", "/api/v2/tasks"):
            async with http.get(root + path, headers=show) as answer:
                assert answer.status == 404, path
        async with http.get(root + "/api/v1/tasks/one/checkpoints") as answer:
            assert (answer.status, (await answer.json())["code"]) == (401, "unauthorized")
        async with http.post(root + "/api/v1/x", headers=show, data=b" " * (3 * 1024 * 1024)) as answer:
            assert answer.status == 413
    assert ground.asked == []


async def test_a_tool_that_knows_no_put_says_so(ground: Ground) -> None:
    environment = await ground.environment(ONE)
    url = URL(environment["PODLING_API"] + "/tasks/one/progress?x=%2F", encoded=True)
    show = {"Authorization": f"Bearer {environment['PODLING_TOKEN']}"}
    async with aiohttp.ClientSession() as http:
        for wanted in ("put", "GET"):
            async with http.post(url, headers=show | {"X-HTTP-Method-Override": wanted}) as answer:
                assert (answer.status, answer.headers["X-Next-Cursor"]) == (200, "7")
                assert "X-Other" not in answer.headers
    assert [(asked[0], asked[1]) for asked in ground.asked] == [
        ("PUT", "/api/v1/tasks/one/progress?x=%2F"),
        ("POST", "/api/v1/tasks/one/progress?x=%2F"),
    ]


async def test_a_packed_body_is_passed_on_unpacked(ground: Ground) -> None:
    environment = await ground.environment(ONE)
    show = {"Authorization": f"Bearer {environment['PODLING_TOKEN']}", "Content-Encoding": "gzip"}
    async with aiohttp.ClientSession() as http:
        packed = gzip.compress(b'{"data": 1}')
        async with http.post(environment["PODLING_API"] + "/x", headers=show, data=packed) as answer:
            assert answer.status == 200
        bomb = gzip.compress(b" " * (3 * 1024 * 1024))
        async with http.post(environment["PODLING_API"] + "/x", headers=show, data=bomb) as answer:
            assert answer.status == 413
    assert [(asked[3], "Content-Encoding" in asked[2]) for asked in ground.asked] == [(b'{"data": 1}', False)]


async def test_many_that_wait_leave_others_their_way(ground: Ground) -> None:
    """A hundred connections is what a client has by default."""
    environment = await ground.environment(ONE)
    ground.waits = asyncio.Event()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        show = {"Authorization": f"Bearer {environment['PODLING_TOKEN']}"}
        url = environment["PODLING_API"] + "/wait"
        waiting = [asyncio.create_task(http.post(url, headers=show)) for _ in range(120)]
        async with asyncio.timeout(20):
            while len(ground.asked) < 120:
                await asyncio.sleep(0.01)
        await asyncio.to_thread(Task(environment).progress, 1)
        ground.waits.set()
        for answer in await asyncio.gather(*waiting):
            assert answer.status == 200
            answer.release()


async def test_while_no_master_is_there_it_says_when_to_try_again(ground: Ground) -> None:
    environment = await ground.environment(ONE)
    here, ground.master_url = ground.master_url, None
    with pytest.raises(NotAnswered, match="no master answers"):
        await asyncio.to_thread(Task(environment, patience_seconds=0.05).progress, 1)
    ground.master_url = "http://127.0.0.1:1"
    with pytest.raises(NotAnswered, match="no master answers"):
        await asyncio.to_thread(Task(environment, patience_seconds=0.05).progress, 1)
    waiting = asyncio.create_task(asyncio.to_thread(Task(environment).progress, 1))
    ground.master_url = here
    await waiting
    assert len(ground.asked) == 1


def by_socket(environment: dict[str, str], ground: Ground, key: AttemptKey) -> Task:
    """Return what a container has whose directory is mounted where the environment says."""
    assert environment["PODLING_API"] == "http+unix://%2Frun%2Fpodling%2Fapi.sock/api/v1"
    assert environment["PODLING_SOCKET"] == "/run/podling/api.sock"
    # The kernel takes a hundred bytes, and the directory has a longer name.
    link = ground.directory.parent / f"{key.task_id}-{key.attempt}"
    if not link.is_symlink():
        link.symlink_to(ground.directory / f"{key.task_id}-{key.attempt}")
    path = str(link / "api.sock").replace("/", "%2F")
    return Task(environment | {"PODLING_API": f"http+unix://{path}/api/v1"}, patience_seconds=1)


async def test_a_socket_is_for_one_attempt_alone(ground: Ground) -> None:
    own = await ground.environment(ONE, "docker", "none")
    other = await ground.environment(OTHER, "docker", "none")
    await asyncio.to_thread(by_socket(own, ground, ONE).progress, 1)
    stolen = own | {"PODLING_TOKEN": other["PODLING_TOKEN"]}
    with pytest.raises(Refused) as refused:
        await asyncio.to_thread(by_socket(stolen, ground, ONE).progress, 1)
    assert refused.value.code == "unknown_token" and len(ground.asked) == 1


async def test_addresses_and_sockets_outlive_the_worker_s_program(ground: Ground) -> None:
    tcp = await ground.environment(OTHER)
    own = await ground.environment(ONE, "docker", "none")
    task = by_socket(own, ground, ONE)
    await ground.inside._door.close()
    with pytest.raises(NotAnswered):
        await asyncio.to_thread(Task(tcp, patience_seconds=0.05).progress, 1)
    async with opened(ground):
        await asyncio.to_thread(task.progress, 1)
        await asyncio.to_thread(Task(tcp).progress, 1)
        assert await ground.environment(OTHER) == tcp
    assert len(ground.asked) == 2


async def test_what_runs_speaks_on_when_a_restore_has_brought_another_key(ground: Ground) -> None:
    environment = await ground.environment(ONE)
    for number in range(1, 3):  # a restore, and another one
        new = bytes([number]) * 32
        ground.inside.learn_key(new.hex())
        await asyncio.to_thread(Task(environment).progress, number)
        assert ground.asked[-1][2]["Authorization"] == f"Bearer {make_credential(new, ONE, 'node')}"
    again = KeptDoor(ground.notes)  # type: ignore[arg-type]
    assert (again.key, again.former) == (new, (bytes([1]) * 32, KEY)), "a worker that starts anew knows them"
    ground.held[ONE].final = "it has ended"
    with pytest.raises(StaleAttempt):
        await asyncio.to_thread(Task(environment).progress, 1)
    again.forget_key()  # of another cluster
    assert (again.key, again.former) == (None, ())


async def test_a_key_of_another_cluster_is_forgotten_and_the_port_is_not(ground: Ground) -> None:
    kept = KeptDoor(ground.notes)  # type: ignore[arg-type]
    ground.notes.kept.clear()  # the journal's, when it leaves a cluster
    kept.forget_key()
    again = KeptDoor(ground.notes)  # type: ignore[arg-type]
    assert again.key is None and again.port == kept.port and again.port is not None


async def test_what_an_ended_attempt_left_is_removed(ground: Ground) -> None:
    await ground.environment(ONE, "docker", "none")
    await ground.environment(OTHER, "docker", "none")
    del ground.held[ONE]
    (ground.directory / "nonsense").mkdir()
    await ground.inside.sweep()
    assert [left.name for left in ground.directory.iterdir()] == ["other-2"]


async def test_the_policy_puts_the_token_into_a_file(ground: Ground) -> None:
    ground.policy = Policy(task_token=TaskTokenPlace.FILE)
    work = await ground.inside.given(ground.work(ONE, "none"), "docker")
    assert "PODLING_TOKEN" not in work.full_environment()
    assert work.full_environment()["PODLING_TOKEN_FILE"] == "/run/podling/token"
    token = Path(work.inside.directory) / "token"
    assert token.read_text() == make_credential(KEY, ONE, "node") and token.stat().st_mode & 0o777 == 0o444
    here = work.full_environment() | {"PODLING_TOKEN_FILE": str(token), "PODLING_NODE_ID": "node"}
    here |= {"PODLING_TASK_ID": "one", "PODLING_ATTEMPT": "1"}
    await asyncio.to_thread(by_socket(here, ground, ONE).progress, 1)
    assert "PODLING_TOKEN" in (
        await ground.environment(OTHER)
    )  # a process: nobody else reads its environment


async def test_a_full_disk_is_a_reason(ground: Ground) -> None:
    ground.directory.parent.mkdir(exist_ok=True)
    ground.directory.write_text("a file is in the way")
    with pytest.raises(RuntimeFailure, match="cannot be made") as failed:
        await ground.environment(ONE, "docker", "none")
    assert failed.value.code == "CREATE"


async def test_without_a_way_nothing_is_given(ground: Ground) -> None:
    work = ground.work(ONE)
    assert await ground.inside.given(work, "simulated") is work
    async with opened(ground, host="off"):
        assert await ground.inside.given(work, "docker") is work
    async with opened(ground, docker_host="192.0.2.1"):  # nobody's here: then by a socket
        assert "PODLING_SOCKET" in (await ground.inside.given(work, "docker")).full_environment()
    async with opened(ground, docker_host="127.0.0.1"):
        given = (await ground.inside.given(work, "docker")).full_environment()
        assert given["PODLING_API"].startswith("http://127.0.0.1:") and "PODLING_SOCKET" not in given
