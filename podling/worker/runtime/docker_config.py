"""From a piece of work to the engine's words for it. Pure."""

from collections.abc import Mapping
from typing import Any

from podling.core.spec import CPU, GPU, MEMORY, ContainerSpec, Mount, Port, ResourceRequirements
from podling.worker.runtime import docker_labels as label
from podling.worker.runtime.base import ContainerWork
from podling.worker.runtime.docker_logs import LogSize
from podling.worker.runtime.docker_options import gpu_request, host_options

LOG_SIZE = LogSize(file_bytes=32_000_000, files=4)
"""So much of one container's output stays with the engine: 96 to 128 MB."""

_LOG_OPTIONS = {
    "mode": "blocking",
    "compress": "false",
    **dict.fromkeys(("labels", "labels-regex", "env", "env-regex", "tag"), ""),
}
"""Else the engine's own settings might have lines dropped in silence, or something added to each."""

PROCESS_LIMIT = 4096
"""Processes and threads in one container, so that a fork bomb ends in it."""

SMALLEST_CPU_LIMIT = 10  # millicores; the engine refuses less
CPU_SHARES_PER_CORE = 1024
SMALLEST_CPU_SHARES = 2


def create_config(
    work: ContainerWork,
    *,
    cluster_id: str,
    node_id: str,
    machine_cpu: int | None = None,
    log_size: LogSize = LOG_SIZE,
) -> dict[str, Any]:
    """Return the body of `POST /containers/create`. `machine_cpu`: millicores, caps the CPU limit."""
    spec = work.container
    config: dict[str, Any] = {
        "Image": spec.image,
        "Env": [f"{name}={text}" for name, text in work.full_environment().items()],
        "Labels": {
            label.TYPE: "task",
            **work.labels,
            label.MANAGED: "true",
            label.CLUSTER: cluster_id,
            label.NODE: node_id,
            label.TASK: work.task_id,
            label.ATTEMPT: str(work.attempt),
            label.CONTAINER: spec.name,
            **({label.GPUS: ",".join(work.gpus)} if work.gpus else {}),
        },
        "ExposedPorts": {_port_name(port): {} for port in spec.ports},
        "HostConfig": _host_config(work, machine_cpu)
        | {"LogConfig": {"Type": "json-file", "Config": _log_options(_own_size(spec) or log_size)}},
    }
    return config | _command(spec)


def _command(spec: ContainerSpec) -> dict[str, Any]:
    chosen = {
        "Entrypoint": list(spec.command),
        "Cmd": list(spec.args),
        "WorkingDir": spec.working_dir,
        "User": spec.user,
        "StopSignal": spec.stop_signal,
        "Hostname": spec.hostname,
    }
    return {name: option for name, option in chosen.items() if option}


def _host_config(work: ContainerWork, machine_cpu: int | None) -> dict[str, Any]:
    spec = work.container
    return {
        "NetworkMode": work.network,
        "PortBindings": _bindings(spec.ports),
        "Mounts": [*map(_mount, spec.mounts), *_inside(work)],
        "Tmpfs": dict(spec.tmpfs),
        "Init": spec.init,
        "RestartPolicy": {"Name": "no"},
        "PidsLimit": PROCESS_LIMIT,
        **host_options(spec),
        **gpu_request(spec.resources.limits.get(GPU, 0), work.gpus),
        **_resources(spec.resources, machine_cpu),
    }


def _own_size(spec: ContainerSpec) -> LogSize | None:
    if spec.logging is None:
        return None
    return LogSize(file_bytes=spec.logging.max_size, files=spec.logging.max_files)


def _log_options(size: LogSize) -> dict[str, str]:
    return {"max-size": str(size.file_bytes), "max-file": str(size.files), **_LOG_OPTIONS}


def _port_name(port: Port) -> str:
    return f"{port.container_port}/{port.protocol.lower()}"


def _bindings(ports: tuple[Port, ...]) -> dict[str, list[dict[str, str]]]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        if port.host_port is not None:
            bindings.setdefault(_port_name(port), []).append({"HostPort": str(port.host_port)})
    return bindings


def _mount(mount: Mount) -> dict[str, Any]:
    return {
        "Type": mount.type.value,
        "Source": mount.source or "",
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }


def _inside(work: ContainerWork) -> list[dict[str, Any]]:
    if work.inside is None or work.inside.directory is None:
        return []
    places = {"Source": work.inside.directory, "Target": work.inside.mounted_at}
    return [{"Type": "bind", **places, "ReadOnly": True}]


def _resources(resources: ResourceRequirements, machine_cpu: int | None) -> dict[str, int]:
    return {
        **_cpu_limit(resources.limits, machine_cpu),
        **_memory_limit(resources.limits),
        **_requests(resources.requests),
    }


def _cpu_limit(limits: Mapping[str, int], machine_cpu: int | None) -> dict[str, int]:
    if CPU not in limits:
        return {}
    # More than the machine has is no limit at all, yet the engine refuses it.
    millicores = max(SMALLEST_CPU_LIMIT, min(limits[CPU], machine_cpu or limits[CPU]))
    return {"NanoCpus": millicores * 1_000_000}


def _memory_limit(limits: Mapping[str, int]) -> dict[str, int]:
    # The same figure for memory and swap together: no swap, so that the limit means what it says.
    return {"Memory": limits[MEMORY], "MemorySwap": limits[MEMORY]} if MEMORY in limits else {}


def _requests(requests: Mapping[str, int]) -> dict[str, int]:
    amounts = {}
    if CPU in requests:
        amounts["CpuShares"] = max(SMALLEST_CPU_SHARES, requests[CPU] * CPU_SHARES_PER_CORE // 1000)
    if MEMORY in requests:
        amounts["MemoryReservation"] = requests[MEMORY]
    return amounts
