"""What of the engine's options a policy has to allow by name, and what needs no such word."""

from collections.abc import Sequence

from podling.core.container_options import EVERY_CAPABILITY, NO_NEW_PRIVILEGES, plain_capability
from podling.core.image_names import is_like
from podling.core.permissions import Policy, denied
from podling.core.spec import ContainerSpec

GIVEN_CAPABILITIES = frozenset(
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP"
    " SETUID SYS_CHROOT".split()
)
"""Those that every container has: to add one after dropping ALL asks for nothing more."""

PRIORITY_ULIMITS = ("nice", "rtprio")
"""With these a container may push its neighbours off the processor, whatever its share is."""


def check_privileges(container: ContainerSpec, policy: Policy, prefix: str) -> None:
    """Raise PolicyDenied for the first privilege that the policy does not name."""
    if container.privileged and not policy.privileged:
        problem = "a privileged container is root on its node, and is not allowed here"
        raise denied("privileged", f"{prefix}privileged", problem)
    _check_capabilities(container, policy, f"{prefix}capabilities.add")
    for index, option in enumerate(container.security_options):
        if option not in NO_NEW_PRIVILEGES and not _allowed(policy.security_options.allow, option):
            problem = f"the operator does not allow {option}"
            raise denied("securityOptions.allow", f"{prefix}securityOptions.{index}", problem)
    for index, device in enumerate(container.devices):
        check_device(device.host_path, policy, f"{prefix}devices.{index}.hostPath")
    for name in container.ulimits:
        if name in PRIORITY_ULIMITS and not _allowed(policy.ulimits.allow, name):
            problem = "the operator has to allow this one, which takes from others' share of the processor"
            raise denied("ulimits.allow", f"{prefix}ulimits.{name}", problem)


def check_device(path: str, policy: Policy, field: str) -> None:
    """Check a device of the node; `path` is where it lies, without links on the way."""
    if not _allowed(policy.devices.allow, path):
        raise denied("devices.allow", field, f"the operator does not allow the device {path}")


def _check_capabilities(container: ContainerSpec, policy: Policy, field: str) -> None:
    allow = tuple(plain_capability(name) for name in policy.capabilities.allow)
    for index, name in enumerate(container.capabilities.add):
        plain = plain_capability(name)
        # ALL as an entry is every one; a task that asks for ALL needs just that entry.
        if plain not in GIVEN_CAPABILITIES and plain not in allow and EVERY_CAPABILITY not in allow:
            raise denied("capabilities.allow", f"{field}.{index}", f"the operator does not allow {plain}")


def _allowed(patterns: Sequence[str], name: str) -> bool:
    return any(is_like(pattern, name) for pattern in patterns)
