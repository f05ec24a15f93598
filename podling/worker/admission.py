"""The worker's own door: what a master assigns is checked again before anything is made of it.

It has what the master cannot see: where the links in a path of this machine lead.
"""

import asyncio
import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from podling.core.errors import InvalidInput, PolicyDenied, RuntimeFailure
from podling.core.permission_rules import (
    ENGINE_SOCKET,
    KERNEL_PATHS,
    check_host_path,
    is_below,
    prefixed,
)
from podling.core.permissions import Policy, denied, denied_here
from podling.core.policy import validate_spec
from podling.core.privilege_rules import check_device
from podling.core.protocol import Assignment
from podling.core.retry import ErrorCode
from podling.core.spec import ContainerSpec, Device, Mount, MountType, TaskSpec

LOOK_SECONDS = 10.0
WORKER_FILES = "never.workerFiles"
_DEFAULT = Policy()
_ROOTS = ("/", "/proc", "/sys", "/dev")


class Admission:
    """`policy` may be replaced at any time. `own` are files of the worker, which no task may see."""

    def __init__(self, policy: Policy = _DEFAULT, own: Sequence[Path] = ()) -> None:
        self.policy = policy
        self._own = tuple(os.path.realpath(path) for path in own)

    async def admit(self, assignment: Assignment) -> Assignment:
        """Return it with the real paths of its bind mounts and devices. Raises RuntimeFailure."""
        try:
            spec = validate_spec(assignment.spec, self.policy, allow_simulated=True)
            return replace(assignment, spec=await self._resolved(spec)) if _has_paths(spec) else assignment
        except PolicyDenied as denial:
            raise denied_here(denial) from None
        except InvalidInput as error:
            raise RuntimeFailure(error.message, code=ErrorCode.CREATE) from None

    async def _resolved(self, spec: TaskSpec) -> TaskSpec:
        try:
            # A path may lie on a file system that does not answer.
            async with asyncio.timeout(LOOK_SECONDS):
                return await asyncio.to_thread(self._look, spec)
        except TimeoutError:
            problem = f"A directory to be mounted does not answer within {LOOK_SECONDS:g} s."
            raise RuntimeFailure(problem, code=ErrorCode.CREATE) from None

    def _look(self, spec: TaskSpec) -> TaskSpec:
        containers = [self._real(container, prefix) for prefix, container in prefixed(spec)]
        return replace(spec, containers=tuple(containers))

    def _real(self, container: ContainerSpec, prefix: str) -> ContainerSpec:
        mounts = [
            self._real_mount(mount, f"{prefix}mounts.{index}") if mount.type is MountType.BIND else mount
            for index, mount in enumerate(container.mounts)
        ]
        devices = [
            self._real_device(device, f"{prefix}devices.{index}.hostPath")
            for index, device in enumerate(container.devices)
        ]
        return replace(container, mounts=tuple(mounts), devices=tuple(devices))

    def _real_mount(self, mount: Mount, field: str) -> Mount:
        path, found = _follow(mount.source or "/", f"{field}.source")
        self._check_kind(path, found, f"{field}.source")
        check_host_path(mount, str(path), self.policy, field)
        return replace(mount, source=str(path))

    def _real_device(self, device: Device, field: str) -> Device:
        path, found = _follow(device.host_path, field)
        if not _is_device(found):
            raise RuntimeFailure(f"{field}: {path} of this node is no device", code=ErrorCode.CREATE)
        check_device(str(path), self.policy, field)
        inside = device.container_path or device.host_path
        return replace(device, host_path=str(path), container_path=inside)

    def _check_kind(self, path: Path, found: os.stat_result, field: str) -> None:
        if stat.S_ISSOCK(found.st_mode):
            raise denied(ENGINE_SOCKET, field, f"{path} is a socket, and is never mounted")
        if _is_device(found):
            raise denied(KERNEL_PATHS, field, f"{path} is a device, and is never mounted")
        if any(os.path.samestat(found, Path(root).stat()) for root in _ROOTS):  # mounted at another place
            raise denied(KERNEL_PATHS, field, f"{path} is one of {', '.join(_ROOTS)} by another name")
        for own in self._own:
            if is_below(str(path), (own,)) or is_below(own, (str(path),)):
                raise denied(WORKER_FILES, field, f"{path} shows files of the worker itself")


def _follow(source: str, field: str) -> tuple[Path, os.stat_result]:
    """Return where a path of this node leads to, and what is there."""
    try:
        path = Path(source).resolve(strict=True)
        return path, path.stat()
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "its links lead in a circle"
        raise RuntimeFailure(f"{field}: {source} of this node: {reason}", code=ErrorCode.CREATE) from None


def _has_paths(spec: TaskSpec) -> bool:
    """Whether anything of the node is named by a path, which may be a link."""
    return any(
        container.devices or any(mount.type is MountType.BIND for mount in container.mounts)
        for container in spec.containers
    )


def _is_device(found: os.stat_result) -> bool:
    return stat.S_ISBLK(found.st_mode) or stat.S_ISCHR(found.st_mode)
