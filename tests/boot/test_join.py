"""A worker joins with the token on its command line, once, and keeps the credential that it gets."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from podling.boot.master import running_master
from podling.boot.membership import credential_of
from podling.boot.settings import WorkerSettings, read_master, read_worker
from podling.client import AsyncClient, nodes, tokens
from podling.core.errors import ConfigurationError, Forbidden, PodlingError
from podling.core.token import hash_secret
from podling.kit.clock import SystemClock
from podling.kit.tls import fingerprint_of, trusting
from podling.worker.credential import RENEW_SECONDS, NodeCredential
from podling.worker.datadir import DataDirectory
from podling.worker.joining import AGAIN_SECONDS, Renewal
from tests.boot.test_tls import is_online, working
from tests.master.masters import eventually

JOIN = "podling_join_" + "ab" * 32
CLOCK = SystemClock()


@dataclass
class Cluster:
    address: str
    admin: AsyncClient
    join: str
    authority: Path


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[Cluster]:
    """Give a master with TLS, its admin's client, and a join token as its command prints it."""
    flags = ["--port", "0", "--data-dir", str(folder / "master"), "--tls-self-signed"]
    authority = folder / "master/tls/ca.pem"
    async with running_master(read_master(flags, {})) as address:
        tls = trusting(authority)
        async with AsyncClient(address, tls=tls) as local:
            token = (await local.send(tokens.create("ada", "admin")))["token"]
        async with AsyncClient(address, token=token, tls=tls) as admin:
            join = (await admin.send(tokens.create("second", "join")))["token"]
            yield Cluster(address, admin, f"{join}.{fingerprint_of(authority.read_text())}", authority)


def settings(folder: Path, address: str, *flags: str) -> WorkerSettings:
    return read_worker(["--data-dir", str(folder / "worker"), "--master-url", address, *flags], {})


async def member(given: WorkerSettings, node_id: str = "n1") -> NodeCredential | None:
    """Do what a start of the worker does about its credential."""
    directory = DataDirectory.open(given.data_dir)
    try:
        return await credential_of(given, directory, given.node_id or node_id, CLOCK)
    finally:
        directory.close()


def kept(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "worker/credential").read_text()))


async def test_a_worker_joins_once_and_its_next_start_needs_no_token(tmp_path: Path) -> None:
    async with cluster(tmp_path) as running:
        for flags in (
            ["--join", running.join],
            ["--join", running.join],
            [],
        ):  # the second: used up, and no matter
            async with working(tmp_path, running.address, *flags):
                await eventually(lambda: is_online(running.admin), "the node is online")
        assert (tmp_path / "worker/credential").stat().st_mode & 0o777 == 0o600
        (node,) = [node async for node in running.admin.nodes()]
        listed = (await running.admin.send(tokens.listing())).items
        assert [item["nodeId"] for item in listed if item["kind"] == "node"] == [node["nodeId"]]


async def test_a_token_that_was_used_up_ends_the_first_start(tmp_path: Path) -> None:
    async with cluster(tmp_path) as running:
        await member(settings(tmp_path, running.address, "--join", running.join))
        with pytest.raises(Forbidden, match="the join token second has been used up"):
            await member(settings(tmp_path / "other", running.address, "--join", running.join), "n2")


async def test_a_worker_joins_at_whichever_master_answers(tmp_path: Path) -> None:
    async with cluster(tmp_path) as running:
        urls = f"https://127.0.0.1:1,{running.address}"
        credential = await member(settings(tmp_path, urls, "--join", running.join))
        assert credential is not None and credential.secret is not None
        async with AsyncClient(
            running.address, token=credential.secret, tls=trusting(running.authority)
        ) as own:
            with pytest.raises(Forbidden, match="this needs the role reader"):  # it is known, as a worker's
                await own.send(nodes.listing())


async def test_another_join_token_makes_another_credential(tmp_path: Path) -> None:
    async with cluster(tmp_path) as running:
        first = await member(settings(tmp_path, running.address, "--join", running.join))
        assert first is not None
        bound = (await running.admin.send(tokens.create("back", "join", node_id="n1")))["token"]
        flags = ["--join", bound, "--tls-ca", str(running.authority)]
        second = await member(settings(tmp_path, running.address, *flags))
        assert second is not None
        assert second.secret not in (None, first.secret)


async def test_a_credential_that_is_due_is_renewed_by_the_worker_itself(tmp_path: Path) -> None:
    async with cluster(tmp_path) as running:
        async with working(tmp_path, running.address, "--join", running.join):
            await eventually(lambda: is_online(running.admin), "the node is online")
        old = kept(tmp_path)
        (tmp_path / "worker/credential").write_text(json.dumps(old | {"made_at": 0.0}))
        async with working(tmp_path, running.address):

            async def renewed() -> bool:
                return bool(kept(tmp_path)["secret"] != old["secret"])

            await eventually(renewed, "there is another secret")
        async with working(tmp_path, running.address):
            await eventually(lambda: is_online(running.admin), "the node is online with it")


# What is in the way


@dataclass
class Door:
    """A master that answers joins and renewals as the test says."""

    answers: list[Any] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    url: str = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json() if request.can_read_body else {})
        self.tokens.append(request.headers.get("Authorization", ""))
        answer = self.answers.pop(0)
        if answer == "drop":
            assert request.transport is not None
            request.transport.abort()
            raise ConnectionResetError
        return web.json_response({"error": "no", "code": "no"}, status=answer)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    found, application = Door(), web.Application()
    application.router.add_route("*", "/{path:.*}", found.serve)
    runner = web.AppRunner(application)
    await runner.setup()
    listening = await asyncio.get_running_loop().create_server(runner.server, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield found
    listening.close()
    await runner.cleanup()


async def test_a_lost_reply_is_asked_for_again_with_the_same_secret(tmp_path: Path, door: Door) -> None:
    door.answers = ["drop", 201]
    credential = await member(settings(tmp_path, door.url, "--join", JOIN))
    assert credential is not None and credential.secret is not None
    assert door.asked == [{"nodeId": "n1", "secretHash": hash_secret(credential.secret)}] * 2
    assert credential.secret not in str(door.asked)


async def test_a_start_that_ended_before_the_answer_goes_on_with_the_same_secret(
    tmp_path: Path, door: Door
) -> None:
    door.answers = [500, 201]
    given = settings(tmp_path, door.url, "--join", JOIN)
    with pytest.raises(PodlingError):
        await member(given)
    assert await member(given) is not None
    assert door.asked[0] == door.asked[1]


async def test_what_a_fingerprint_does_not_vouch_for_sees_no_token(tmp_path: Path, door: Door) -> None:
    pinned = f"{JOIN}.{'0f' * 32}"
    with pytest.raises(ConfigurationError, match="which is not encrypted; write https://"):
        await member(settings(tmp_path, door.url, "--join", pinned))
    assert door.tokens == []
    async with cluster(tmp_path) as running:
        with pytest.raises(ConfigurationError, match="is not the master whose fingerprint was given"):
            await member(settings(tmp_path, running.address, "--join", pinned))
    assert not (tmp_path / "worker/credential").exists()


async def test_a_credential_of_another_node_is_told(tmp_path: Path, door: Door) -> None:
    door.answers = [201]
    await member(settings(tmp_path, door.url, "--join", JOIN))
    with pytest.raises(ConfigurationError, match="is of node n1, not of n2: leave --node-id out"):
        await member(settings(tmp_path, door.url, "--node-id", "n2"))


@pytest.mark.parametrize(
    "damaged",
    [
        lambda text: "",
        lambda text: "garbage",
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "{}",
        lambda text: text.replace("podling_worker_", "x"),
        lambda text: text.replace('"node_id": "n1"', '"node_id": 7'),
        lambda text: text.replace("made_at", "made"),
        lambda text: "\udcff\udcfe",
    ],
)
async def test_garbage_in_the_file_is_one_sentence(
    damaged: Callable[[str], str], tmp_path: Path, door: Door
) -> None:
    door.answers = [201]
    given = settings(tmp_path, door.url, "--join", JOIN)
    await member(given)
    path = tmp_path / "worker/credential"
    path.write_bytes(damaged(path.read_text()).encode(errors="surrogateescape"))
    with pytest.raises(ConfigurationError, match="credential is damaged: bring it back, or remove it"):
        await member(given)
    assert len(door.asked) == 1


@pytest.mark.parametrize("text", ["x", "podling_join_ab", "podling_admin_" + "ab" * 32])
def test_what_is_no_join_token_is_told_before_anything_is_asked(text: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"--join \(PODLING_JOIN\) .*: that is no join token"
    ) as raised:
        read_worker(["--join", text], {})
    assert text not in raised.value.message.replace("no join token", "")


def test_a_join_token_is_not_shown(tmp_path: Path) -> None:
    assert JOIN not in repr(settings(tmp_path, "http://127.0.0.1:1", "--join", JOIN))


# Renewal


@pytest.fixture
async def credential(tmp_path: Path, door: Door) -> NodeCredential:
    door.answers = [201]
    made = await member(settings(tmp_path, door.url, "--join", JOIN))
    assert made is not None
    door.asked.clear()
    return made


class Later(SystemClock):
    """The machine's clock, so many seconds off."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> Any:
        return super().now() + timedelta(seconds=self._seconds)


@asynccontextmanager
async def renewing(credential: NodeCredential, door: Door, seconds: float) -> AsyncIterator[Any]:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {credential.secret}"}) as http:
        yield Renewal(credential, http, lambda: door.url, Later(seconds)), http


@pytest.mark.parametrize(("seconds", "is_due"), [(60.0, False), (RENEW_SECONDS + 1, True), (-60.0, True)])
async def test_a_credential_is_renewed_when_it_is_due(
    seconds: float, is_due: bool, credential: NodeCredential, door: Door
) -> None:
    """Also when the clock was set back since it was made: nobody knows how old it is then."""
    old = credential.secret
    async with renewing(credential, door, seconds) as (renewal, http):
        door.answers = [201]
        await renewal.run_once()
        assert (credential.secret != old) is is_due
        assert http.headers["Authorization"] == f"Bearer {credential.secret}"
        assert door.asked == ([{"secretHash": hash_secret(credential.secret or "")}] if is_due else [])


async def test_a_renewal_that_is_not_answered_is_asked_for_again(
    credential: NodeCredential, door: Door, tmp_path: Path
) -> None:
    old = credential.secret
    async with renewing(credential, door, RENEW_SECONDS + 1) as (renewal, _):
        door.answers = ["drop", 503, 201]
        assert [await renewal.run_once() for _ in range(2)] == [AGAIN_SECONDS] * 2
        assert credential.secret == old
        again = NodeCredential.at(tmp_path / "worker", "n1", lambda bits: 0)  # as after a crash
        assert (again.secret, again.begin_next()) == (old, door.asked[0]["secretHash"])
        await renewal.run_once()
    assert door.asked[0] == door.asked[1] == door.asked[2]
    assert hash_secret(credential.secret or "") == door.asked[0]["secretHash"]
