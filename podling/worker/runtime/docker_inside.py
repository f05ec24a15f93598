"""How containers reach the worker: by the default bridge, or by a directory of its own. Pure."""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from podling.worker.runtime.base import ContainerWork, Given


def gateway_of(network: Mapping[str, Any]) -> str | None:
    """Return this machine's address in a network, as the engine tells of it."""
    for config in (network.get("IPAM") or {}).get("Config") or ():
        if gateway := config.get("Gateway"):
            return str(gateway)
        if subnet := config.get("Subnet"):
            return str(next(ipaddress.ip_network(subnet).hosts()))
    return None


def address_in(network: Mapping[str, Any], own_towards: Callable[[str], str | None]) -> str | None:
    """Return where containers of the network reach this program; `own_towards` tells its address towards one.

    That is the gateway, which is the machine, unless the program itself runs in a container of the network.
    """
    gateway = gateway_of(network)
    own = None if gateway is None else own_towards(gateway)
    return own if own is not None and _holds(network, own) else gateway


def _holds(network: Mapping[str, Any], address: str) -> bool:
    subnets = [one["Subnet"] for one in network["IPAM"]["Config"] if one.get("Subnet")]
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(subnet) for subnet in subnets)


def without_directory(work: ContainerWork) -> ContainerWork:
    """Return the work without what only a mounted directory would give."""
    if work.inside is None or work.inside.directory is None:
        return work
    return replace(work, inside=None)


def misses_directory(problem: str, given: Given) -> bool:
    """Whether the engine has refused to mount it because it is not there."""
    return given.directory is not None and given.directory in problem and "does not exist" in problem
