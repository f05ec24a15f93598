"""Containers on a real engine."""

import asyncio
import os
import socket
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from podling.core.errors import RuntimeFailure
from podling.core.logrecord import Stream
from podling.core.spec import (
    ContainerSpec,
    Mount,
    MountType,
    Port,
    PullPolicy,
    ResourceRequirements,
)
from podling.worker.runtime.base import Condition
from podling.worker.runtime.docker import DockerRuntime
from tests.docker_engine import IMAGE, docker
from tests.worker.runtime.containers import inspected, name, shell
from tests.worker.runtime.recorder import DEADLINE_SECONDS, Recorder, output_of, run, text_of, work_of

pytestmark = pytest.mark.docker
MEBIBYTE = 1024 * 1024


async def saying(runtime: DockerRuntime, container_id: str, word: bytes) -> None:
    """Follow the output until it contains the word."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for record in runtime.logs(container_id, follow=True):
            if word in record.data:
                return
    raise AssertionError(f"{word!r} was never said")


async def started(runtime: DockerRuntime, script: str, **options: Any) -> str:
    """Start a shell that says `ready` when its traps are set; return its id."""
    prepared = await runtime.prepare(work_of(name(), shell(script, **options)))
    await runtime.start(prepared.container_id)
    await saying(runtime, prepared.container_id, b"ready")
    return prepared.container_id


async def test_exit_codes_and_times_are_told(docker_runtime: DockerRuntime, recorder: Recorder) -> None:
    for code in (0, 3, 255):
        found = await run(docker_runtime, recorder, work_of(name(), shell(f"exit {code}")))
        assert (found.exit_code, found.error_code) == (code, None)
        assert found.started_at is not None and found.finished_at is not None
        assert found.started_at <= found.finished_at
        assert found.image_digest is not None and found.image_digest.startswith("sha256:")
        assert (found.task_id, found.attempt, found.container_name) == ("task-1", 1, "main")


async def test_a_known_name_is_adopted_and_run_once(
    docker_runtime: DockerRuntime, recorder: Recorder, cluster: str, tmp_path: Path
) -> None:
    ledger = Mount(type=MountType.BIND, source=str(tmp_path), target="/ledger")
    work = work_of(name(), shell("echo run >>/ledger/runs", mounts=(ledger,)))
    created = await docker_runtime.prepare(work)
    again = await docker_runtime.prepare(work)
    assert (again.container_id, again.condition) == (created.container_id, Condition.CREATED)
    await docker_runtime.start(created.container_id)
    await recorder.exit_of(created.container_id)

    other = DockerRuntime(cluster, "node-1")
    await other.open(Recorder())
    adopted = await other.prepare(work)
    assert (adopted.container_id, adopted.condition) == (created.container_id, Condition.EXITED)
    assert (await other.start(adopted.container_id)).exit_code == 0
    await other.close()
    assert (tmp_path / "runs").read_text() == "run\n"


async def test_a_name_taken_by_a_stranger_is_refused(docker_runtime: DockerRuntime) -> None:
    work = work_of(name(), shell("true"))
    await docker_runtime.prepare(work)
    with pytest.raises(RuntimeFailure, match="not this task's") as caught:
        await docker_runtime.prepare(replace(work, attempt=2))
    assert caught.value.code == "CREATE"


async def test_restart_runs_it_again(docker_runtime: DockerRuntime, recorder: Recorder) -> None:
    found = await run(docker_runtime, recorder, work_of(name(), shell("echo hello; exit 4")))
    running = await docker_runtime.restart(found.container_id)
    second = await recorder.exit_of(found.container_id, count=2)
    assert second.exit_code == 4
    assert second.started_at == running.started_at != found.started_at


async def test_too_much_memory_is_told_as_such(docker_runtime: DockerRuntime, recorder: Recorder) -> None:
    limits = ResourceRequirements(limits={"memory": 16 * MEBIBYTE})
    script = "x=a; while :; do x=$x$x; done"
    found = await run(docker_runtime, recorder, work_of(name(), shell(script, resources=limits)))
    assert (found.exit_code, found.error_code) == (137, "OOM")
    assert found.error is not None and "memory" in found.error


async def test_stop_sends_the_signal_and_waits_for_the_grace(
    docker_runtime: DockerRuntime, recorder: Recorder
) -> None:
    script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done"
    container_id = await started(docker_runtime, script)
    await docker_runtime.stop(container_id, "SIGUSR1", 30)
    assert (await recorder.exit_of(container_id)).exit_code == 7


async def test_stop_uses_the_containers_own_signal(docker_runtime: DockerRuntime, recorder: Recorder) -> None:
    script = "trap 'exit 8' USR2; echo ready; while :; do sleep 0.05; done"
    container_id = await started(docker_runtime, script, stop_signal="SIGUSR2")
    await docker_runtime.stop(container_id, None, 30)
    assert (await recorder.exit_of(container_id)).exit_code == 8


async def test_stop_kills_after_the_grace_without_blocking(
    docker_runtime: DockerRuntime, recorder: Recorder
) -> None:
    container_id = await started(docker_runtime, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    async with asyncio.timeout(5):
        await docker_runtime.stop(container_id, None, 60)
    await docker_runtime.stop(container_id, None, 0.3)
    found = await recorder.exit_of(container_id)
    assert (found.exit_code, found.error_code) == (137, None)
    await docker_runtime.stop(container_id, None, 10)


async def test_a_stop_by_hand_is_told_as_external(docker_runtime: DockerRuntime, recorder: Recorder) -> None:
    container_id = await started(docker_runtime, "echo ready; sleep 1000")
    await asyncio.to_thread(docker, "kill", container_id)
    found = await recorder.exit_of(container_id)
    assert (found.exit_code, found.error_code) == (137, "EXTERNAL")


async def test_a_removal_by_hand_is_told(docker_runtime: DockerRuntime, recorder: Recorder) -> None:
    container_id = await started(docker_runtime, "echo ready; sleep 1000")
    await asyncio.to_thread(docker, "rm", "-f", container_id)
    assert (await recorder.gone(container_id)).container_id == container_id
    assert (await recorder.exit_of(container_id)).error_code == "EXTERNAL"


async def test_own_removal_is_not_told_and_may_be_repeated(
    docker_runtime: DockerRuntime, recorder: Recorder
) -> None:
    removed = await started(docker_runtime, "echo ready; sleep 1000")
    await docker_runtime.remove(removed)
    await docker_runtime.remove(removed)
    await run(docker_runtime, recorder, work_of(name(), shell("true")))
    assert not [news for news in recorder.told if type(news).__name__ == "Gone"]
    assert removed not in {found.container_id for found in await docker_runtime.inventory()}


async def test_inventory_knows_this_cluster_and_node_alone(
    docker_runtime: DockerRuntime, recorder: Recorder, cluster: str
) -> None:
    waiting = await docker_runtime.prepare(work_of(name(), shell("true")))
    running = await started(docker_runtime, "echo ready; sleep 1000")
    ended = await run(docker_runtime, recorder, work_of(name(), shell("exit 5")))
    neighbour = DockerRuntime(cluster, "node-2")
    await neighbour.open(Recorder())
    assert await neighbour.inventory() == []
    await neighbour.close()

    again = DockerRuntime(cluster, "node-1")
    await again.open(Recorder())
    found = {one.container_id: one for one in await again.inventory()}
    await again.close()
    assert found[waiting.container_id].condition is Condition.CREATED
    assert found[running].condition is Condition.RUNNING
    assert found[running].started_at is not None
    assert found[ended.container_id].exit_code == 5


async def test_output_is_taken_apart(docker_runtime: DockerRuntime, recorder: Recorder) -> None:
    script = r"printf 'a\377b\nrest'; echo bad >&2"
    found = await run(docker_runtime, recorder, work_of(name(), shell(script)))
    records = await output_of(docker_runtime, found.container_id)
    assert text_of(records) == "a\N{REPLACEMENT CHARACTER}b\nrest".encode()
    assert text_of(records, Stream.STDERR) == b"bad\n"
    assert found.started_at is not None
    assert all(abs(record.at - found.started_at) < timedelta(minutes=1) for record in records)


async def test_follow_ends_with_the_container_and_since_gives_the_rest(
    docker_runtime: DockerRuntime,
) -> None:
    prepared = await docker_runtime.prepare(work_of(name(), shell("echo one; sleep 0.3; echo two")))
    await docker_runtime.start(prepared.container_id)
    records = await output_of(docker_runtime, prepared.container_id, follow=True)
    assert text_of(records) == b"one\ntwo\n"
    later = docker_runtime.logs(prepared.container_id, since=records[-1].at)
    assert [record.data async for record in later] == [b"two\n"]


async def test_much_output_arrives_whole(docker_runtime: DockerRuntime, recorder: Recorder) -> None:
    script = "yes 0123456789abcdef | head -c 3000000; head -c 100000 /dev/zero | tr '\\0' x"
    found = await run(docker_runtime, recorder, work_of(name(), shell(script)))
    data = text_of(await output_of(docker_runtime, found.container_id))
    assert len(data) == 3_100_000
    assert data.endswith(b"x" * 100_000)


async def test_logs_of_a_vanished_container_are_refused(docker_runtime: DockerRuntime) -> None:
    with pytest.raises(RuntimeFailure, match="not there any more"):
        await output_of(docker_runtime, "0" * 64)


async def test_a_follower_may_leave(docker_runtime: DockerRuntime) -> None:
    container_id = await started(docker_runtime, "echo ready; sleep 1000")
    follower = asyncio.create_task(output_of(docker_runtime, container_id, follow=True))
    await saying(docker_runtime, container_id, b"ready")
    follower.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await follower


async def test_every_option_reaches_the_engine(
    docker_runtime: DockerRuntime, cluster: str, tmp_path: Path
) -> None:
    volume = name()
    spec = ContainerSpec(
        name="web",
        image=IMAGE,
        command=("sleep",),
        args=("1000",),
        env={"A": "1", "B": "2"},
        working_dir="/tmp",
        user="nobody",
        ports=(Port(container_port=80, host_port=0), Port(container_port=53, protocol="UDP")),
        resources=ResourceRequirements(
            requests={"cpu": 250, "memory": 8 * MEBIBYTE}, limits={"cpu": 500, "memory": 32 * MEBIBYTE}
        ),
        mounts=(
            Mount(type=MountType.BIND, source=str(tmp_path), target="/bound", read_only=True),
            Mount(type=MountType.VOLUME, source=volume, target="/volume"),
        ),
        tmpfs={"/scratch": "size=1m"},
        stop_signal="SIGINT",
        init=True,
    )
    work = replace(
        work_of(name(), spec, network="bridge"), labels={"mine": "yes"}, environment={"B": "3", "C": "4"}
    )
    found = await docker_runtime.prepare(work)
    data = inspected(found.container_id)
    config, host = data["Config"], data["HostConfig"]
    assert data["Name"] == f"/{work.engine_name}"
    assert (config["Entrypoint"], config["Cmd"]) == (["sleep"], ["1000"])
    assert {"A=1", "B=3", "C=4"} <= set(config["Env"])
    assert (config["WorkingDir"], config["User"], config["StopSignal"]) == ("/tmp", "nobody", "SIGINT")
    assert config["Labels"] == {
        "mine": "yes",
        "podling.io/managed": "true",
        "podling.io/type": "task",
        "podling.io/cluster": cluster,
        "podling.io/node": "node-1",
        "podling.io/task": "task-1",
        "podling.io/attempt": "1",
        "podling.io/container": "web",
    }
    assert set(config["ExposedPorts"]) == {"80/tcp", "53/udp"}
    assert set(host["PortBindings"]) == {"80/tcp"}
    assert (host["NanoCpus"], host["CpuShares"]) == (500_000_000, 256)
    assert (host["Memory"], host["MemorySwap"]) == (32 * MEBIBYTE, 32 * MEBIBYTE)
    assert host["MemoryReservation"] == 8 * MEBIBYTE
    assert host["Tmpfs"] == {"/scratch": "size=1m"}
    assert host["Init"] is True
    assert host["RestartPolicy"]["Name"] == "no"
    log = host["LogConfig"]
    assert (log["Type"], log["Config"]["max-file"], log["Config"]["max-size"]) == (
        "json-file",
        "4",
        "32000000",
    )
    assert (log["Config"]["mode"], log["Config"]["compress"]) == ("blocking", "false")
    assert host["NetworkMode"] == "bridge"
    mounts = {mount["Target"]: (mount["Type"], mount.get("ReadOnly", False)) for mount in host["Mounts"]}
    assert mounts == {"/bound": ("bind", True), "/volume": ("volume", False)}
    await docker_runtime.remove(found.container_id)
    docker("volume", "rm", volume)


async def test_more_cpu_than_there_is_means_no_limit(
    docker_runtime: DockerRuntime, recorder: Recorder
) -> None:
    limits = ResourceRequirements(limits={"cpu": 1_000_000})
    found = await run(docker_runtime, recorder, work_of(name(), shell("true", resources=limits)))
    assert found.exit_code == 0


async def test_a_port_of_the_host_leads_inside(docker_runtime: DockerRuntime) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spec = shell(
        "echo ready; while :; do echo hello | nc -l -p 8000; done",
        ports=(Port(container_port=8000, host_port=port),),
    )
    prepared = await docker_runtime.prepare(work_of(name(), spec, network="bridge"))
    await docker_runtime.start(prepared.container_id)
    await saying(docker_runtime, prepared.container_id, b"ready")
    answer = b""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while answer != b"hello\n":  # the proxy accepts before the program listens
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answer = await reader.read(100)
            writer.close()

    second = await docker_runtime.prepare(work_of(name(), spec, network="bridge"))
    with pytest.raises(RuntimeFailure, match=f"host port {port} is in use") as caught:
        await docker_runtime.start(second.container_id)
    assert caught.value.code == "START"


@pytest.mark.parametrize(
    ("options", "code", "part"),
    [
        ({"command": ("no-such-command",)}, "START", "command no-such-command is not in the image"),
        ({"command": ("/etc/passwd",)}, "START", "command /etc/passwd may not be executed"),
        ({"user": "nobody-at-all"}, "START", "no user nobody-at-all"),
        ({"working_dir": "/etc/passwd"}, "CREATE", "directory /etc/passwd is not a directory"),
        (
            {"mounts": (Mount(type=MountType.BIND, source="/no/such", target="/x"),)},
            "CREATE",
            "no /no/such to mount",
        ),
        ({"resources": ResourceRequirements(limits={"memory": 1000})}, "CREATE", "memory"),
        ({"image": None}, "CREATE", "needs an image"),
        ({"image": "Not/A/Name!"}, "CREATE", "invalid reference"),
        (
            {"image": "no-such-image:1", "pull_policy": PullPolicy.NEVER},
            "IMAGE_MISSING",
            "no image no-such-image:1",
        ),
    ],
)
async def test_a_refusal_is_a_sentence(
    docker_runtime: DockerRuntime, recorder: Recorder, options: Any, code: str, part: str
) -> None:
    with pytest.raises(RuntimeFailure, match=part) as caught:
        prepared = await docker_runtime.prepare(work_of(name(), shell("true", **options)))
        await docker_runtime.start(prepared.container_id)
    assert caught.value.code == code
    assert recorder.told == []


async def test_an_unknown_network_is_refused(docker_runtime: DockerRuntime) -> None:
    with pytest.raises(RuntimeFailure, match="network no-such-net does not exist"):
        prepared = await docker_runtime.prepare(work_of(name(), shell("true"), network="no-such-net"))
        await docker_runtime.start(prepared.container_id)


async def test_an_image_that_vanishes_is_noticed_at_the_next_create(docker_runtime: DockerRuntime) -> None:
    image = f"podling-test:{uuid4().hex[:8]}"
    await asyncio.to_thread(docker, "tag", IMAGE, image)
    spec = shell("true", image=image, pull_policy=PullPolicy.NEVER)
    await docker_runtime.prepare(work_of(name(), spec))
    await asyncio.to_thread(docker, "rmi", image)
    with pytest.raises(RuntimeFailure) as caught:
        await docker_runtime.prepare(work_of(name(), spec))
    assert caught.value.code == "IMAGE_MISSING"


async def test_capacity_is_the_machines(docker_runtime: DockerRuntime) -> None:
    capacity = docker_runtime.detected_capacity()
    assert capacity["cpu"] == (os.cpu_count() or 0) * 1000
    assert capacity["memory"] > 100 * MEBIBYTE
    assert await docker_runtime.check() is None


async def test_an_engine_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    runtime = DockerRuntime("c", "n", f"unix://{tmp_path}/none.sock")
    with pytest.raises(RuntimeFailure, match="cannot be reached") as caught:
        await runtime.open(Recorder())
    assert caught.value.code == "RUNTIME"
    await runtime.close()
