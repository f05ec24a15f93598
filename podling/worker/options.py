"""What a worker is and has: chosen by its operator, or found on its machine."""

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from ssl import SSLContext

from podling.core.permissions import Policy
from podling.core.value import value
from podling.worker.credential import NodeCredential
from podling.worker.inside import DoorOptions


@value
class WorkerOptions:
    """`instance` is new at every start; the rest is what the operator chose or the machine has."""

    node_id: str
    instance: str
    hostname: str
    host: str
    port: int
    master_urls: tuple[str, ...]
    capacity: Mapping[str, int]
    allocatable: Mapping[str, int]
    labels: Mapping[str, str]
    runtimes: tuple[str, ...]
    heartbeat_interval: float | None
    shutdown_timeout: float
    token: str | None
    version: str
    policy: Policy = field(default_factory=Policy)
    has_api: bool = True
    own_files: tuple[Path, ...] = ()
    gpus: tuple[str, ...] = ()  # their ids
    credential: NodeCredential | None = None  # this node's own; then `token` is None
    tls: SSLContext | None = None  # whom to trust, and what to show; None: whom this machine trusts
    door: DoorOptions = field(default_factory=DoorOptions)
