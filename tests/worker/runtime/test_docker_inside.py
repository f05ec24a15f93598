"""How containers on a real engine are given what they speak with."""

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from podling.worker.runtime.base import Given
from podling.worker.runtime.docker import DockerRuntime
from podling.worker.runtime.docker_inside import address_in, gateway_of
from tests.docker_engine import IMAGE, docker
from tests.support import require
from tests.worker.runtime.containers import name, shell
from tests.worker.runtime.recorder import Recorder, output_of, run, text_of, work_of

MADE = {"PODLING_API": "http+unix://x"}
BRIDGE = {"IPAM": {"Config": [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]}}
LISTEN = """
import json, socket, sys
from podling.kit.addresses import own_address_towards
from podling.worker.runtime.docker_inside import address_in
listening = socket.create_server((address_in(json.loads(sys.argv[1]), own_address_towards), 8072))
print(listening.getsockname()[0], flush=True)
line, _ = listening.accept()
line.recv(4096)
line.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\nheard")
"""


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


@pytest.mark.parametrize(
    ("own", "address"),
    [
        ("172.17.0.1", "172.17.0.1"),  # on the machine itself
        ("172.17.0.5", "172.17.0.5"),  # in a container of the network
        ("172.18.0.5", "172.17.0.1"),  # in one of another network, which nothing reaches from there
        (None, "172.17.0.1"),
    ],
)
def test_a_program_in_a_container_is_reached_at_its_own_address(own: str | None, address: str) -> None:
    assert address_in(BRIDGE, lambda gateway: own) == address
    assert address_in({}, lambda gateway: own) is None


@contextmanager
def container(*arguments: str) -> Iterator[str]:
    made = docker("run", "--detach", *arguments)
    try:
        yield made
    finally:
        docker("rm", "--force", "--volumes", made)


@pytest.mark.docker
def test_tasks_reach_a_worker_that_runs_in_a_container(docker_runtime: DockerRuntime) -> None:
    """What its worker does there, in the network of a container on the default bridge."""
    require(os.geteuid() == 0 and shutil.which("nsenter") is not None, "only root enters a network")
    network = json.dumps(json.loads(docker("network", "inspect", "bridge"))[0])
    with container(IMAGE, "sleep", "60") as worker:
        pid = docker("inspect", "--format", "{{.State.Pid}}", worker)
        command = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", LISTEN, network]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listening:
            try:
                assert listening.stdout is not None
                address = listening.stdout.readline().strip()
                assert address == docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", worker)
                assert docker("run", "--rm", IMAGE, "wget", "-qO", "-", f"http://{address}:8072/") == "heard"
            finally:
                listening.kill()


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
