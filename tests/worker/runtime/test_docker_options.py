"""What a task asks of Docker beside its program holds in the container, by the real engine."""

from dataclasses import replace

import pytest

from podling.core.errors import RuntimeFailure
from podling.core.spec import Capabilities, Device, Logging, ResourceRequirements, Ulimit
from podling.worker.runtime.docker import DockerRuntime
from tests.worker.runtime.containers import inspected, name, shell
from tests.worker.runtime.recorder import Recorder, output_of, run, text_of, work_of

pytestmark = pytest.mark.docker
MEBIBYTE = 2**20


async def test_options_hold_inside_the_container(docker_runtime: DockerRuntime, recorder: Recorder) -> None:
    script = (
        "touch /x 2>/dev/null || echo read only; ulimit -n; df -k /dev/shm | tail -1 | awk '{print $2}';"
        " hostname; cat /etc/hosts /etc/resolv.conf; grep -e CapEff -e NoNewPrivs /proc/self/status;"
        " test -c /dev/nil && echo nil"
    )
    spec = shell(
        script,
        read_only_root=True,
        capabilities=Capabilities(add=("NET_ADMIN",), drop=("ALL",)),
        security_options=("no-new-privileges",),
        devices=(Device(host_path="/dev/null", container_path="/dev/nil", permissions="r"),),
        ulimits={"nofile": Ulimit(soft=64)},
        shm_size=2 * MEBIBYTE,
        hostname="inner",
        extra_hosts={"db.test": "192.0.2.7"},
        dns=("192.0.2.53",),
        dns_search=("example.org",),
        dns_options=("ndots:2",),
        logging=Logging(max_size=MEBIBYTE, max_files=3),
    )
    found = await run(docker_runtime, recorder, work_of(name(), spec, network="bridge"))
    told = text_of(await output_of(docker_runtime, found.container_id)).decode()
    assert told.startswith("read only\n64\n2048\ninner\n")
    assert "192.0.2.7\tdb.test" in told
    assert {"nameserver 192.0.2.53", "search example.org", "options ndots:2"} <= set(told.splitlines())
    assert {"CapEff:\t0000000000001000", "NoNewPrivs:\t1", "nil"} <= set(told.splitlines())
    host = inspected(found.container_id)["HostConfig"]
    kept = host["LogConfig"]["Config"]
    assert (kept["max-size"], kept["max-file"]) == (str(MEBIBYTE), "3")
    assert host["Privileged"] is False


async def test_a_privileged_container_is_made_as_one(docker_runtime: DockerRuntime) -> None:
    # Not started: the machine of the tests may itself lack what a privileged container would have.
    found = await docker_runtime.prepare(work_of(name(), shell("true", privileged=True)))
    assert inspected(found.container_id)["HostConfig"]["Privileged"] is True


async def test_gpus_are_asked_of_the_engine_by_id_or_number(docker_runtime: DockerRuntime) -> None:
    spec = shell("true", resources=ResourceRequirements(limits={"gpu": 2}))
    chosen = await docker_runtime.prepare(replace(work_of(name(), spec), gpus=("GPU-a", "1")))
    (asked,) = inspected(chosen.container_id)["HostConfig"]["DeviceRequests"]
    assert (asked["DeviceIDs"], asked["Count"], asked["Capabilities"]) == (["GPU-a", "1"], 0, [["gpu"]])
    assert {one.gpus for one in await docker_runtime.inventory()} == {("GPU-a", "1")}
    counted = await docker_runtime.prepare(work_of(name(), spec))
    (asked,) = inspected(counted.container_id)["HostConfig"]["DeviceRequests"]
    assert (asked["DeviceIDs"], asked["Count"]) == (None, 2)


async def test_an_engine_without_gpus_says_so(docker_runtime: DockerRuntime) -> None:
    spec = shell("true", resources=ResourceRequirements(limits={"gpu": 1}))
    prepared = await docker_runtime.prepare(work_of(name(), spec))
    with pytest.raises(RuntimeFailure, match="engine has no driver for GPUs") as caught:
        await docker_runtime.start(prepared.container_id)
    assert caught.value.code == "START"
