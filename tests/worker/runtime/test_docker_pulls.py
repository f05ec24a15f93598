"""Pulls from a real registry on loopback."""

import asyncio
import os
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import orjson
import pytest

from podling.core.errors import RuntimeFailure
from podling.core.registries import NEXT_TRY
from podling.core.spec import ContainerSpec, PullPolicy
from podling.worker.runtime.docker import DockerRuntime
from podling.worker.runtime.docker_engine import Engine, Refused
from podling.worker.runtime.docker_images import Images
from tests.docker_engine import IMAGE, docker
from tests.docker_registry import free_port, registry_at
from tests.worker.runtime.recorder import Recorder, work_of

pytestmark = pytest.mark.docker
USER = "puller:$2b$04$CRVeQa2o5mj7gotJXUrS2uzR7KDFxAEm0yMdjBo97zjswR8HM7Cxm"  # its password is `secret`
AUTH = "auth: {{htpasswd: {{realm: test, path: {folder}/users}}}}\n"


def log_in(folder: Path, registry: str, password: str) -> None:
    secret = b64encode(f"puller:{password}".encode()).decode()
    (folder / "config.json").write_bytes(orjson.dumps({"auths": {registry: {"auth": secret}}}))


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of Docker's own configuration; no credentials in it yet."""
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


@pytest.fixture
def registry(tmp_path: Path, credentials: Path) -> Iterator[str]:
    (tmp_path / "users").write_text(USER)
    with registry_at(free_port(), tmp_path, AUTH.format(folder=tmp_path)) as name:
        yield name


@pytest.fixture
def pushed(image: str, registry: str, credentials: Path) -> Iterator[str]:
    """An image that is in the registry alone."""
    log_in(credentials, registry, "secret")
    name = f"{registry}/podling-test:{uuid4().hex[:8]}"
    docker("tag", image, name)
    docker("push", name)
    docker("rmi", name)
    yield name
    if docker("images", "-q", name):
        docker("rmi", "-f", name)


def spec(image: str, policy: PullPolicy = PullPolicy.IF_NOT_PRESENT) -> ContainerSpec:
    return ContainerSpec(image=image, command=("true",), pull_policy=policy)


def pulls_of(image: str, since: float) -> int:
    lines = docker(
        "events",
        *("--since", f"{since:.3f}", "--until", f"{time.time():.3f}"),
        *("--filter", "event=pull", "--format", "{{.Actor.ID}}"),
    )
    return lines.split().count(image)


class SlowToAnswer:
    """An engine whose first look at an image is answered after the image was pulled."""

    def __init__(self) -> None:
        self.pulls = 0
        self.looked = False
        self.answer = asyncio.Event()

    async def call(self, *_: object) -> dict[str, Any]:
        if not self.looked:
            self.looked = True
            await self.answer.wait()
            raise Refused("No such image", 404)
        if not self.pulls:
            raise Refused("No such image", 404)
        return {"Id": "sha256:1", "RepoDigests": ["a@sha256:2"]}

    async def pull(self, *_: object) -> None:
        self.pulls += 1


class RefusesAtOnce(SlowToAnswer):
    """An engine that has no image, and whose registry does not know any either."""

    def __init__(self) -> None:
        super().__init__()
        self.answer.set()

    async def pull(self, *_: object) -> None:
        self.pulls += 1
        raise RuntimeFailure("manifest unknown")


async def test_a_pull_that_many_waited_for_has_failed_once() -> None:
    """A leader counts failures of registries; what says when the next try is, is told again."""
    engine = RefusesAtOnce()
    images = Images(cast(Engine, engine))
    asked = (images.ensure("a", PullPolicy.IF_NOT_PRESENT) for _ in range(20))
    told = [str(one) for one in await asyncio.gather(*asked, return_exceptions=True)]
    assert engine.pulls == 1 and all("could not be pulled: manifest unknown" in one for one in told)
    assert sum(NEXT_TRY not in one for one in told) == 1


async def test_an_answer_from_before_a_pull_begins_no_other_one() -> None:
    engine = SlowToAnswer()
    images = Images(cast(Engine, engine))
    late = asyncio.create_task(images.ensure("a", PullPolicy.IF_NOT_PRESENT))
    await asyncio.sleep(0)
    assert await images.ensure("a", PullPolicy.IF_NOT_PRESENT) == "sha256:2"
    images.forget("a")
    engine.answer.set()
    assert await late == "sha256:2"
    assert engine.pulls == 1


async def test_many_containers_of_one_image_are_one_pull(docker_runtime: DockerRuntime, pushed: str) -> None:
    begin = time.time()
    works = [work_of(f"podling-test-{uuid4().hex[:12]}", spec(pushed)) for _ in range(20)]
    found = await asyncio.gather(*(docker_runtime.prepare(work) for work in works))
    assert pulls_of(pushed, begin) == 1
    digests = orjson.loads(docker("image", "inspect", "-f", "{{json .RepoDigests}}", pushed))
    assert {one.image_digest for one in found} == {digests[0].partition("@")[2]}
    await asyncio.gather(*(docker_runtime.remove(one.container_id) for one in found))


async def test_always_pulls_again(docker_runtime: DockerRuntime, pushed: str) -> None:
    begin = time.time()
    for _ in range(2):
        work = work_of(f"podling-test-{uuid4().hex[:12]}", spec(pushed, PullPolicy.ALWAYS))
        found = await docker_runtime.prepare(work)
        await docker_runtime.remove(found.container_id)
    assert pulls_of(pushed, begin) == 2


async def test_credentials_are_read_at_each_pull(
    docker_runtime: DockerRuntime, pushed: str, registry: str, credentials: Path
) -> None:
    log_in(credentials, registry, "wrong")
    work = work_of(f"podling-test-{uuid4().hex[:12]}", spec(pushed))
    with pytest.raises(
        RuntimeFailure, match=r"could not be pulled: .*(unauthorized|no basic auth)"
    ) as caught:
        await docker_runtime.prepare(work)
    assert caught.value.code == "IMAGE_AUTH"
    log_in(credentials, registry, "secret")
    with pytest.raises(RuntimeFailure, match="next try in"):
        await docker_runtime.prepare(work)
    docker_runtime._images._failed.clear()
    await docker_runtime.remove((await docker_runtime.prepare(work)).container_id)


@pytest.mark.usefixtures("pushed")
async def test_an_unknown_image_is_said(docker_runtime: DockerRuntime, registry: str) -> None:
    with pytest.raises(RuntimeFailure, match=r"no-such-image.*could not be pulled") as caught:
        await docker_runtime.prepare(work_of("podling-test-unknown", spec(f"{registry}/no-such-image:1")))
    assert caught.value.code == "IMAGE_PULL"


async def test_a_registry_that_is_not_there_is_said(docker_runtime: DockerRuntime) -> None:
    image = f"127.0.0.1:{free_port()}/none:1"
    with pytest.raises(RuntimeFailure, match="connection refused") as caught:
        await docker_runtime.prepare(work_of("podling-test-unreachable", spec(image)))
    assert caught.value.code == "IMAGE_PULL"


async def test_an_image_that_is_there_is_not_pulled(docker_runtime: DockerRuntime) -> None:
    begin = time.time()
    found = await docker_runtime.prepare(work_of(f"podling-test-{uuid4().hex[:12]}", spec(IMAGE)))
    assert pulls_of(IMAGE, begin) == 0
    await docker_runtime.remove(found.container_id)


async def test_a_worker_may_have_a_file_of_credentials_of_its_own(
    image: str,
    cluster: str,
    recorder: Recorder,
    pushed: str,
    registry: str,
    credentials: Path,
    tmp_path: Path,
) -> None:
    log_in(credentials, registry, "wrong")
    file = tmp_path / "registries.json"
    runtime = DockerRuntime(cluster, "node-1", registry_config=file)
    await runtime.open(recorder)
    work = work_of(f"podling-test-{uuid4().hex[:12]}", spec(pushed))
    with pytest.raises(RuntimeFailure, match=r"registries\.json cannot be read: No such file") as caught:
        await runtime.prepare(work)
    assert caught.value.code == "IMAGE_AUTH"
    (credentials / "config.json").unlink()
    log_in(tmp_path, registry, "secret")
    (tmp_path / "config.json").rename(file)
    runtime._images._failed.clear()
    await runtime.remove((await runtime.prepare(work)).container_id)
    await runtime.close()


@pytest.mark.filterwarnings("ignore:docker-credential-test not installed")
@pytest.mark.parametrize("installed", [True, False])
async def test_a_helper_that_the_file_names_is_asked(
    docker_runtime: DockerRuntime,
    pushed: str,
    registry: str,
    credentials: Path,
    monkeypatch: pytest.MonkeyPatch,
    installed: bool,
) -> None:
    (credentials / "config.json").write_bytes(orjson.dumps({"credHelpers": {registry: "test"}}))
    if installed:
        helper = credentials / "docker-credential-test"
        helper.write_text('#!/bin/sh\necho \'{"Username": "puller", "Secret": "secret"}\'\n')
        helper.chmod(0o755)
        monkeypatch.setenv("PATH", str(credentials), prepend=os.pathsep)
    work = work_of(f"podling-test-{uuid4().hex[:12]}", spec(pushed))
    if installed:
        await docker_runtime.remove((await docker_runtime.prepare(work)).container_id)
        return
    with pytest.raises(RuntimeFailure, match="docker-credential-test not installed") as caught:
        await docker_runtime.prepare(work)
    assert caught.value.code == "IMAGE_AUTH"


async def test_an_image_for_another_platform_does_not_count(
    docker_runtime: DockerRuntime, pushed: str
) -> None:
    other = replace(spec(IMAGE, PullPolicy.NEVER), platform="linux/s390x")
    with pytest.raises(RuntimeFailure, match="no image podling-busybox:local for linux/s390x") as caught:
        await docker_runtime.prepare(work_of(f"podling-test-{uuid4().hex[:12]}", other))
    assert caught.value.code == "IMAGE_MISSING"
    with pytest.raises(RuntimeFailure, match="was pulled, and it is not for linux/s390x") as caught:
        await docker_runtime.prepare(
            work_of("podling-test-s390x", replace(other, image=pushed, pull_policy=PullPolicy.IF_NOT_PRESENT))
        )
    assert caught.value.code == "IMAGE_MISSING"
    system, architecture = docker("image", "inspect", "-f", "{{.Os}} {{.Architecture}}", IMAGE).split()
    own = replace(spec(pushed), platform=f"{system}/{architecture}")
    found = await docker_runtime.prepare(work_of(f"podling-test-{uuid4().hex[:12]}", own))
    await docker_runtime.remove(found.container_id)
