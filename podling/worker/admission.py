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
from podling.core.protocol import Assignment
from podling.core.retry import ErrorCode
from podling.core.spec import ContainerSpec, Mount, MountType, TaskSpec

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
        """Return it with the real paths of its bind mounts. Raises RuntimeFailure."""
        try:
            spec = validate_spec(assignment.spec, self.policy, allow_simulated=True)
            return replace(assignment, spec=await self._resolved(spec)) if _has_binds(spec) else assignment
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
        return replace(container, mounts=tuple(mounts))

    def _real_mount(self, mount: Mount, field: str) -> Mount:
        source = mount.source or "/"
        try:
            path = Path(source).resolve(strict=True)
            found = path.stat()
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or "its links lead in a circle"
            raise RuntimeFailure(
                f"{field}.source: {source} of this node: {reason}", code=ErrorCode.CREATE
            ) from None
        self._check_kind(path, found, f"{field}.source")
        check_host_path(mount, str(path), self.policy, field)
        return replace(mount, source=str(path))

    def _check_kind(self, path: Path, found: os.stat_result, field: str) -> None:
        if stat.S_ISSOCK(found.st_mode):
            raise denied(ENGINE_SOCKET, field, f"{path} is a socket, and is never mounted")
        if stat.S_ISBLK(found.st_mode) or stat.S_ISCHR(found.st_mode):
            raise denied(KERNEL_PATHS, field, f"{path} is a device, and is never mounted")
        if any(os.path.samestat(found, Path(root).stat()) for root in _ROOTS):  # mounted at another place
            raise denied(KERNEL_PATHS, field, f"{path} is one of {', '.join(_ROOTS)} by another name")
        for own in self._own:
            if is_below(str(path), (own,)) or is_below(own, (str(path),)):
                raise denied(WORKER_FILES, field, f"{path} shows files of the worker itself")


def _has_binds(spec: TaskSpec) -> bool:
    return any(mount.type is MountType.BIND for container in spec.containers for mount in container.mounts)
