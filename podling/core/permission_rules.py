"""Whether a policy allows what a well-formed specification asks for.

Each denial names its rule as the policy's file does: `images.allow`, `limits.submitter.cpu`. A new
privilege gets a rule here, a field in `podling.core.permissions.Policy`, and is denied without one.
"""

from collections.abc import Iterator

from podling.core.access import Role
from podling.core.errors import PolicyDenied
from podling.core.image_names import image_name, is_like, is_like_image
from podling.core.permissions import HOST_NETWORK, NO_LIMITS, HostPath, Limits, Policy, denied
from podling.core.privilege_rules import check_privileges
from podling.core.spec import CPU, MEMORY, ContainerSpec, Mount, MountType, Runtime, TaskKind, TaskSpec

ENGINE_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock", "/var/run/docker", "/run/docker")
KERNEL = ("/proc", "/sys", "/dev")
KERNEL_PATHS = "never.kernelPaths"
ENGINE_SOCKET = "never.engineSocket"


def check_allowed(spec: TaskSpec, policy: Policy) -> None:
    """Raise PolicyDenied for the first thing that the operator has not allowed; limits are apart."""
    _check_runtime(spec, policy)
    if spec.runtime in (Runtime.PYTHON, Runtime.SQL):
        return  # the operator's own code, or a login that he listed: a task names it and cannot change it
    _check_network(spec.network, policy)
    for prefix, container in prefixed(spec):
        _check_image(container, policy, prefix)
        _check_user(container, spec.runtime, policy, prefix)
        _check_mounts(container, policy, prefix)
        _check_ports(container, policy, prefix)
        check_privileges(container, policy, prefix)


def prefixed(spec: TaskSpec) -> Iterator[tuple[str, ContainerSpec]]:
    """Yield each container with what the outside names of its fields begin with."""
    is_pod = spec.kind is TaskKind.POD
    for index, container in enumerate(spec.containers):
        yield f"containers.{index}." if is_pod else "", container


def _check_runtime(spec: TaskSpec, policy: Policy) -> None:
    # The simulated one is for benchmarks, and has a switch of its own.
    allow = policy.runtimes.allow
    if allow is not None and spec.runtime.value not in allow and spec.runtime is not Runtime.SIMULATED:
        problem = f"{spec.runtime.value} is not among the runtimes that the operator allows"
        raise denied("runtimes.allow", "runtime", problem)


def _check_network(network: str, policy: Policy) -> None:
    allow = policy.networks.allow
    if network == HOST_NETWORK:
        if HOST_NETWORK not in (allow or ()):
            problem = "the host's network is not allowed here; use bridge, none or a name"
            raise denied("networks.allow", "network", problem)
    elif allow is not None and not any(is_like(pattern, network) for pattern in allow):
        raise denied("networks.allow", "network", f"the operator does not allow {network}")


def _check_image(container: ContainerSpec, policy: Policy, prefix: str) -> None:
    image = container.image
    if image is None:
        return
    registry = image_name(image).registry
    allowed = policy.registries.allow
    if allowed is not None and not any(is_like(pattern.lower(), registry) for pattern in allowed):
        problem = f"the operator does not allow images of the registry {registry}"
        raise denied("registries.allow", f"{prefix}image", problem)
    if any(is_like_image(pattern, image) for pattern in policy.images.deny):
        raise denied("images.deny", f"{prefix}image", f"the operator denies {image}")
    allowed = policy.images.allow
    if allowed is not None and not any(is_like_image(pattern, image) for pattern in allowed):
        raise denied("images.allow", f"{prefix}image", f"{image} is not an image that the operator allows")


def _check_user(container: ContainerSpec, runtime: Runtime, policy: Policy, prefix: str) -> None:
    rules, field = policy.users, f"{prefix}user"
    if container.user is None:
        _check_no_user(runtime, policy, field)
        return
    user, colon, group = container.user.partition(":")
    if not rules.root and (_is_root(user) or (colon and _is_root(group))):
        raise denied("users.root", field, "root is not allowed here; name another user")
    if rules.allow is not None and not any(_names(entry, user) for entry in rules.allow):
        raise denied("users.allow", field, f"the operator does not allow the user {user}")
    if colon and rules.groups is not None and not any(_names(entry, group) for entry in rules.groups):
        raise denied("users.groups", field, f"the operator does not allow the group {group}")
    if not rules.root and rules.allow is None and runtime is Runtime.DOCKER and not user.isdecimal():
        problem = "a name may be root's in the image, and root is not allowed here; give the number"
        raise denied("users.root", field, problem)


def _check_no_user(runtime: Runtime, policy: Policy, field: str) -> None:
    if policy.users.allow is not None:
        raise denied("users.allow", field, "the operator allows some users only; name one of them")
    if not policy.users.root and runtime is Runtime.DOCKER:
        problem = "the image's own user may be root, which is not allowed here; give the number of another"
        raise denied("users.root", field, problem)


def _is_root(name: str) -> bool:
    return name == "root" or (name.isdecimal() and int(name) == 0)


def _names(entry: str, name: str) -> bool:
    if not name.isdecimal():
        return entry == name
    return is_number_in(entry, int(name))


def is_number_in(entry: str, number: int) -> bool:
    """Whether an entry such as `443` or `8000-8999` has the number."""
    first, _, last = entry.partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()):
        return False
    return int(first) <= number <= int(last or first)


def _check_ports(container: ContainerSpec, policy: Policy, prefix: str) -> None:
    allow = policy.host_ports.allow
    for index, port in enumerate(container.ports):
        number = port.host_port
        if number and allow is not None and not any(is_number_in(entry, number) for entry in allow):
            problem = f"the operator does not allow port {number} of the node"
            raise denied("hostPorts.allow", f"{prefix}ports.{index}.hostPort", problem)


# Mounts


def _check_mounts(container: ContainerSpec, policy: Policy, prefix: str) -> None:
    for target in (*(mount.target for mount in container.mounts), *container.tmpfs):
        _check_target(target, container, prefix)
    for index, mount in enumerate(container.mounts):
        if mount.type is MountType.BIND:
            check_host_path(mount, plain_path(mount.source or "/"), policy, f"{prefix}mounts.{index}")
        elif mount.type is MountType.VOLUME:
            _check_volume(mount.source or "", policy, f"{prefix}mounts.{index}.source")


def _check_target(target: str, container: ContainerSpec, prefix: str) -> None:
    plain = plain_path(target)
    if plain in ENGINE_SOCKETS or is_below(plain, ("/proc", "/sys")):
        names = [mount.target for mount in container.mounts]
        field = f"mounts.{names.index(target)}.target" if target in names else "tmpfs"
        rule = ENGINE_SOCKET if plain in ENGINE_SOCKETS else KERNEL_PATHS
        raise denied(rule, prefix + field, f"nothing may be mounted at {plain}")


def _check_volume(name: str, policy: Policy, field: str) -> None:
    allow = policy.volumes.allow
    if allow is not None and not any(is_like(pattern, name) for pattern in allow):
        raise denied("volumes.allow", field, f"the operator does not allow the volume {name}")


def check_host_path(mount: Mount, path: str, policy: Policy, field: str) -> None:
    """Check what a bind mount shows of the node; `path` is the plain path that it leads to."""
    if (refusal := never_mounted(path, f"{field}.source")) is not None:
        raise refusal
    allowed = _narrowest(policy, path)
    if allowed is None:
        problem = "the operator has not allowed this directory of the node; use a volume"
        raise denied("hostPaths", f"{field}.source", problem)
    if allowed.read_only and not mount.read_only:
        problem = f"the operator allows {allowed.path} to be read only; set it to true"
        raise denied("hostPaths.readOnly", f"{field}.readOnly", problem)


def _narrowest(policy: Policy, path: str) -> HostPath | None:
    found = [allowed for allowed in policy.host_paths if is_below(path, (plain_path(allowed.path),))]
    return max(found, key=lambda allowed: len(plain_path(allowed.path)), default=None)


def never_mounted(path: str, field: str) -> PolicyDenied | None:
    """Return the refusal of what no policy can allow: the machine itself, or its engine."""
    if path == "/" or is_below(path, KERNEL):
        return denied(KERNEL_PATHS, field, f"{path} of the node is never mounted; use a volume")
    if path in ENGINE_SOCKETS or any(is_below(socket, (path,)) for socket in ENGINE_SOCKETS):
        return denied(ENGINE_SOCKET, field, f"{path} holds the engine's socket, and is never mounted")
    return None


def plain_path(path: str) -> str:
    """Return the path without doubled slashes, dots and a slash at the end."""
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def is_below(path: str, directories: tuple[str, ...]) -> bool:
    """Whether the path is one of the directories, or in one."""
    return any(
        directory == "/" or path == directory or path.startswith(directory + "/") for directory in directories
    )


# Limits


def check_limits(spec: TaskSpec, policy: Policy, roles: frozenset[Role]) -> None:
    """Raise PolicyDenied if the task asks for more than who submits it may have."""
    name, limits = policy.limits_of(roles)
    if limits is NO_LIMITS:
        return
    rule = f"limits.{name}"
    _check_amounts(spec, limits, rule)
    _check_most(spec.priority, limits.priority, f"{rule}.priority", "priority")
    _check_most(spec.max_attempts, limits.max_attempts, f"{rule}.maxAttempts", "maxAttempts")
    if limits.timeout_seconds is not None and spec.timeout_seconds is None:
        problem = f"has to be given here, at most {limits.timeout_seconds:g}"
        raise denied(f"{rule}.timeoutSeconds", "timeoutSeconds", problem)
    _check_most(spec.timeout_seconds or 0, limits.timeout_seconds, f"{rule}.timeoutSeconds", "timeoutSeconds")


def check_batch(count: int, policy: Policy, roles: frozenset[Role]) -> None:
    """Raise PolicyDenied if so many tasks at once are too many for who submits them."""
    name, limits = policy.limits_of(roles)
    _check_most(count, limits.batch, f"limits.{name}.batch", "tasks")


def _check_amounts(spec: TaskSpec, limits: Limits, rule: str) -> None:
    for resource, most in ((CPU, limits.cpu), (MEMORY, limits.memory)):
        if most is None:
            continue
        total = 0
        for prefix, container in prefixed(spec):
            resources = container.resources
            if spec.runtime is Runtime.DOCKER and resource not in resources.limits:
                field = f"{prefix}resources.limits.{resource}"
                raise denied(f"{rule}.{resource}", field, f"has to be given here, at most {most}")
            total += max(resources.limits.get(resource, 0), resources.requests.get(resource, 0))
        _check_most(total, most, f"{rule}.{resource}", f"resources.{resource}")


def _check_most(given: float, most: float | None, rule: str, field: str) -> None:
    if most is not None and given > most:
        raise denied(rule, field, f"{given:.17g} is more than you may ask for, which is {most:.17g}")
