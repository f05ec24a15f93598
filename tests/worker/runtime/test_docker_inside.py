"""How containers on a real engine are given what they speak with."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from podling.worker.runtime.base import Given
from podling.worker.runtime.docker import DockerRuntime
from podling.worker.runtime.docker_inside import gateway_of
from tests.docker_engine import docker
from tests.worker.runtime.containers import name, shell
from tests.worker.runtime.recorder import Recorder, output_of, run, text_of, work_of

MADE = {"PODLING_API": "http+unix://x"}


@pytest.mark.parametrize(
    ("network", "gateway"),
    [
        ({"IPAM": {"Config": [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]}}, "172.17.0.1"),
        ({"IPAM": {"Config": [{"Subnet": "10.200.0.0/24"}]}}, "10.200.0.1"),
        ({"IPAM": {"Config": []}}, None),
        ({"IPAM": None}, None),
        ({}, None),
    ],
)
def test_a_gateway_is_told_or_follows_from_the_subnet(network: dict[str, Any], gateway: str | None) -> None:
    assert gateway_of(network) == gateway


@pytest.mark.docker
async def test_the_machine_is_the_gateway_of_the_default_bridge(docker_runtime: DockerRuntime) -> None:
    wanted = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    assert await docker_runtime.machine_host() == wanted


@pytest.mark.docker
async def test_a_directory_is_mounted_and_cannot_be_written(
    docker_runtime: DockerRuntime, recorder: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("secret")
    given = Given(environment=MADE, directory=str(tmp_path), mounted_at="/run/podling")
    script = "echo $PODLING_API; cat /run/podling/token; echo x > /run/podling/token || echo; echo no"
    found = await run(docker_runtime, recorder, replace(work_of(name(), shell(script)), inside=given))
    assert text_of(await output_of(docker_runtime, found.container_id)).startswith(b"http+unix://x\nsecret")
    assert (tmp_path / "token").read_text() == "secret"


@pytest.mark.docker
async def test_where_the_engine_sees_no_directory_a_task_runs_without(
    docker_runtime: DockerRuntime, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    given = Given(environment=MADE, directory="/nowhere/inside/task-1", mounted_at="/run/podling")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            work = replace(work_of(name(), shell("echo ${PODLING_API:-none}")), inside=given)
            found = await run(docker_runtime, recorder, work)
            assert text_of(await output_of(docker_runtime, found.container_id)) == b"none\n"
    assert caplog.text.count("the engine does not see /nowhere/inside/task-1") == 1
    by_address = replace(work_of(name(), shell("echo $PODLING_API")), inside=Given(environment=MADE))
    found = await run(docker_runtime, recorder, by_address)
    assert text_of(await output_of(docker_runtime, found.container_id)) == b"http+unix://x\n"
