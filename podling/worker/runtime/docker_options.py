"""The engine's words for a container's further options. Pure."""

from collections.abc import Sequence
from typing import Any

from podling.core.spec import ContainerSpec, Device, Ulimit


def host_options(spec: ContainerSpec) -> dict[str, Any]:
    """Return the part of `HostConfig` that is for what was asked for; no word for the rest."""
    chosen = {
        "ReadonlyRootfs": spec.read_only_root,
        "Privileged": spec.privileged,
        "CapAdd": list(spec.capabilities.add),
        "CapDrop": list(spec.capabilities.drop),
        "SecurityOpt": list(spec.security_options),
        "Devices": [_device(device) for device in spec.devices],
        "Ulimits": [_ulimit(name, limit) for name, limit in spec.ulimits.items()],
        "ShmSize": spec.shm_size,
        "ExtraHosts": [f"{name}:{address}" for name, address in spec.extra_hosts.items()],
        "Dns": list(spec.dns),
        "DnsSearch": list(spec.dns_search),
        "DnsOptions": list(spec.dns_options),
    }
    return {name: option for name, option in chosen.items() if option}


def gpu_request(count: int, ids: Sequence[str]) -> dict[str, Any]:
    """Return the request for so many GPUs: these if they are named, else whichever the driver takes."""
    if not count:
        return {}
    chosen: dict[str, Any] = {"DeviceIDs": list(ids)} if ids else {"Count": count}
    return {"DeviceRequests": [{"Capabilities": [["gpu"]], **chosen}]}


def _device(device: Device) -> dict[str, str]:
    return {
        "PathOnHost": device.host_path,
        "PathInContainer": device.container_path or device.host_path,
        "CgroupPermissions": device.permissions,
    }


def _ulimit(name: str, limit: Ulimit) -> dict[str, Any]:
    return {"Name": name, "Soft": limit.soft, "Hard": limit.soft if limit.hard is None else limit.hard}
