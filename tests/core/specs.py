"""Specifications with one thing about them."""

from typing import Any

from podling.core.spec import (
    ContainerSpec,
    Device,
    Mount,
    MountType,
    Placement,
    ResourceRequirements,
    Runtime,
    TaskKind,
    TaskSpec,
)
from tests.builders import build_spec

MIB = 2**20


def container(**fields: Any) -> ContainerSpec:
    return ContainerSpec(**({"image": "busybox:local"} | fields))


def with_container(**fields: Any) -> TaskSpec:
    return build_spec(containers=(container(**fields),))


def devices(*given: Device) -> TaskSpec:
    return with_container(devices=given)


def pod(*containers: ContainerSpec) -> TaskSpec:
    return build_spec(kind=TaskKind.POD, containers=containers)


def requests(**amounts: int) -> TaskSpec:
    return with_container(resources=ResourceRequirements(requests=amounts))


def mount(kind: MountType = MountType.VOLUME, target: str = "/data", source: str | None = "data") -> TaskSpec:
    return with_container(mounts=(Mount(type=kind, target=target, source=source),))


def placed(**fields: Any) -> TaskSpec:
    return build_spec(placement=Placement(**fields))


def process(**fields: Any) -> TaskSpec:
    program = ContainerSpec(**({"command": ("true",)} | fields))
    return build_spec(runtime=Runtime.PROCESS, containers=(program,))
