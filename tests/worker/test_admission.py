"""The worker checks again what it is given, and sees where the paths of its machine lead."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podling.core.errors import RuntimeFailure
from podling.core.permissions import Allowed, AllowedByName, AllowedImages, HostPath, Policy, rule_in
from podling.core.retry import ErrorCode
from podling.core.spec import ContainerSpec, Device, Mount, MountType
from podling.wire.session import Assign
from podling.worker.admission import Admission
from tests.worker.conftest import assignment, running_worker
from tests.worker.memory_runtime import MemoryRuntime
from tests.worker.small_master import SmallMaster


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory that the operator allows, reached by no link."""
    allowed = tmp_path.resolve() / "allowed"
    allowed.mkdir()
    yield allowed


def bound(source: Path, **fields: Any) -> Any:
    mount = Mount(type=MountType.BIND, source=str(source), target="/data", **fields)
    return assignment(containers=(ContainerSpec(image="busybox:local", mounts=(mount,)),))


def admission(place: Path, *own: Path, read_only: bool = False) -> Admission:
    return Admission(Policy(host_paths=(HostPath(path=str(place), read_only=read_only),)), own)


def with_device(path: Path) -> Any:
    container = ContainerSpec(image="busybox:local", devices=(Device(host_path=str(path)),))
    return assignment(containers=(container,))


async def test_a_device_is_allowed_by_where_it_really_lies(place: Path) -> None:
    allowing = Admission(Policy(devices=AllowedByName(allow=(f"{place}/*", "/dev/null"))))
    (place / "good").symlink_to("/dev/null")
    admitted = await allowing.admit(with_device(place / "good"))
    expected = Device(host_path="/dev/null", container_path=str(place / "good"))
    assert admitted.spec.main.devices == (expected,)
    (place / "bad").symlink_to("/dev/zero")
    failure = await refused(allowing, with_device(place / "bad"))
    assert (failure.code, rule_in(failure.message)) == (ErrorCode.POLICY_DENIED, "devices.allow")
    (place / "file").touch()
    for nothing in ("file", "missing"):
        failure = await refused(allowing, with_device(place / nothing))
        assert failure.code == ErrorCode.CREATE
        assert "devices.0.hostPath" in failure.message


async def refused(admission: Admission, given: Any) -> RuntimeFailure:
    with pytest.raises(RuntimeFailure) as failure:
        await admission.admit(given)
    return failure.value


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ("/", "never.kernelPaths"),
        ("/proc", "never.kernelPaths"),
        ("/proc/self/root", "never.kernelPaths"),
        ("/dev/null", "never.kernelPaths"),
        ("/sys", "never.kernelPaths"),
        ("/etc", "hostPaths"),
        ("..", "hostPaths"),
    ],
)
async def test_a_link_out_of_the_allowed_directory_is_refused(place: Path, target: str, rule: str) -> None:
    (place / "link").symlink_to(target)
    for path in (place / "link", place / "link" / "."):
        failure = await refused(admission(place), bound(path))
        assert (failure.code, rule_in(failure.message)) == (ErrorCode.POLICY_DENIED, rule)


async def test_a_link_to_a_socket_is_refused_whatever_its_name(place: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(tmp_path / "s"))
        (place / "link").symlink_to(tmp_path / "s")
        failure = await refused(admission(tmp_path.resolve()), bound(place / "link"))
    assert rule_in(failure.message) == "never.engineSocket"


async def test_the_workers_own_files_are_shown_to_nobody(place: Path) -> None:
    own = place / "worker"
    (own / "logs").mkdir(parents=True)
    (place / "other").mkdir()
    for path in (own, own / "logs", place):
        failure = await refused(admission(place, own), bound(path))
        assert rule_in(failure.message) == "never.workerFiles"
    assert await admission(place, own).admit(bound(place / "other"))


async def test_a_link_within_is_replaced_by_where_it_leads(place: Path) -> None:
    (place / "real").mkdir()
    (place / "link").symlink_to(place / "real")
    admitted = await admission(place).admit(bound(place / "link"))
    assert admitted.spec.main.mounts[0].source == str(place / "real")
    failure = await refused(admission(place, read_only=True), bound(place / "link"))
    assert rule_in(failure.message) == "hostPaths.readOnly"
    assert await admission(place, read_only=True).admit(bound(place / "link", read_only=True))


async def test_what_is_not_there_is_told(place: Path) -> None:
    os.symlink("circle", place / "circle")
    for name in ("missing", "circle"):
        failure = await refused(admission(place), bound(place / name))
        assert failure.code == ErrorCode.CREATE
        assert str(place / name) in failure.message


async def test_without_a_policy_no_directory_is_mounted(place: Path) -> None:
    failure = await refused(Admission(), bound(place))
    assert rule_in(failure.message) == "hostPaths"
    assert await Admission().admit(assignment())


async def test_what_its_own_policy_denies_is_not_made_and_ends_with_the_rule(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    policy = Policy(images=AllowedImages(allow=("podling-*",)))
    async with running_worker(tmp_path, runtime, master.url, policy=policy) as worker:
        await master.until("the worker is connected", lambda: master.beats)
        await master.send(Assign(items=(assignment("denied"),)))
        report = await master.end_of("denied")
        assert report.error_code == ErrorCode.POLICY_DENIED
        assert report.error is not None and rule_in(report.error) == "images.allow"
        assert runtime.containers == {}
        worker.use_policy(Policy(networks=Allowed(allow=("none",))))
        await master.send(Assign(items=(assignment("again"),)))
        again = await master.end_of("again")
        assert again.error is not None and rule_in(again.error) == "networks.allow"
