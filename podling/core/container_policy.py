"""The rules for one container of a submit. See `podling.core.policy`."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from podling.core.container_options import check_options, options_given
from podling.core.errors import InvalidInput
from podling.core.fields import (
    check_amount,
    check_count,
    check_label_key,
    check_length,
    check_number,
    check_path,
    check_pattern,
    check_storable,
    check_text,
)
from podling.core.permission_rules import plain_path
from podling.core.spec import (
    GPU,
    SLOTS,
    ContainerSpec,
    Mount,
    MountType,
    Port,
    PullPolicy,
    ResourceRequirements,
    Runtime,
)

MAX_ARGUMENT_CHARACTERS = 128 * 1024 - 1  # what Linux passes in one piece

_OWN_VARIABLES = "PODLING_"
_SIMULATION = "PODLING_SIMULATE_"

_DOMAIN_PART = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
_DOMAIN = re.compile(
    rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[0-9A-Fa-f:]+\])(?::[0-9]{{1,5}})?", re.ASCII
)
_PATH_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?", re.ASCII)
_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{1,127}", re.ASCII)
_PORT_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)
_SIGNAL = re.compile(r"(?:SIG)?(?:RTMIN(?:\+(?:[1-9]|1[0-5]))?|RTMAX(?:-(?:[1-9]|1[0-4]))?)", re.ASCII)
_TMPFS_OPTION = re.compile(
    r"rw|ro|exec|noexec|nosuid|nodev|sync|async|atime|noatime|relatime|strictatime"
    r"|size=[0-9]{1,15}[kKmMgG%]?|nr_inodes=[0-9]{1,15}[kKmMgG]?|mode=[0-7]{3,4}|uid=[0-9]{1,10}|gid=[0-9]{1,10}",
    re.ASCII,
)
_SIGNALS = frozenset(
    "HUP INT QUIT ILL TRAP ABRT IOT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP"
    " TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO POLL PWR SYS".split()
)


def check_container(container: ContainerSpec, runtime: Runtime, prefix: str) -> None:
    """Check the form of one container; `prefix` is what its fields' names begin with."""
    _check_program(container, runtime, prefix)
    _check_environment(container.env, f"{prefix}env")
    _check_stop(container, prefix)
    _check_resources(container.resources, f"{prefix}resources")
    _check_ports(container.ports, f"{prefix}ports")
    if container.working_dir is not None:
        check_path(f"{prefix}workingDir", container.working_dir)
    if container.user is not None:
        _check_user(f"{prefix}user", container.user)
    _check_mounts(container, prefix)
    check_options(container, prefix)


def _check_program(container: ContainerSpec, runtime: Runtime, prefix: str) -> None:
    if runtime is Runtime.DOCKER and container.image is None:
        raise InvalidInput.field(f"{prefix}image", "is required for docker")
    if runtime is Runtime.PROCESS:
        _check_process(container, prefix)
    if container.image is not None:
        check_image(f"{prefix}image", container.image)
    for name, words in (("command", container.command), ("args", container.args)):
        check_count(f"{prefix}{name}", words, 4096)
        for word in words:
            check_storable(f"{prefix}{name}", word, MAX_ARGUMENT_CHARACTERS)
    if container.command and not container.command[0]:
        raise InvalidInput.field(f"{prefix}command", "must begin with the name of a program")


def _check_process(container: ContainerSpec, prefix: str) -> None:
    if not container.command:
        raise InvalidInput.field(f"{prefix}command", "is required for a process")
    meaningless = {
        "image": container.image is not None,
        "ports": bool(container.ports),
        "mounts": bool(container.mounts),
        "tmpfs": bool(container.tmpfs),
        "pullPolicy": container.pull_policy is not PullPolicy.IF_NOT_PRESENT,
        "init": container.init,
        **options_given(container),
    }
    for name, given in meaningless.items():
        if given:
            raise InvalidInput.field(f"{prefix}{name}", "has no meaning for a process; leave it out")
    if container.resources.limits:
        problem = "cannot be kept for a process, only for a container; reserve with resources.requests"
        raise InvalidInput.field(f"{prefix}resources.limits", problem)


def check_image(field: str, image: str) -> None:
    """Refuse what is no reference to an image: `[registry/]path[:tag][@digest]`."""
    check_text(field, image, 600)
    name, at, digest = image.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise InvalidInput.field(field, "the digest must be sha256: and 64 digits of 0-9 and a-f")
    name, colon, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "")
    if colon and not _TAG.fullmatch(tag):
        problem = f"the tag {tag[:40]!r} may have letters, digits, '_', '.' and '-' only, at most 128"
        raise InvalidInput.field(field, problem)
    _check_repository(field, name)


@lru_cache(4096)  # the same few images come again and again
def _check_repository(field: str, name: str) -> None:
    check_length(field, name, 255)
    domain, slash, path = name.partition("/")
    if not slash or not (domain == "localhost" or "." in domain or ":" in domain):
        path = name
    elif not _DOMAIN.fullmatch(domain):
        raise InvalidInput.field(field, f"{domain[:80]!r} is not the address of a registry")
    for part in path.split("/"):
        if not _PATH_PART.fullmatch(part):
            problem = f"{part[:80]!r} must be lower-case letters and digits with '.', '_' or '-' between them"
            raise InvalidInput.field(field, problem)


def _check_environment(env: Mapping[str, str], field: str) -> None:
    check_count(field, env, 1000)
    for key, text in env.items():
        if not key:
            raise InvalidInput.field(field, "the name of a variable must not be empty")
        if key.startswith(_OWN_VARIABLES) and not key.startswith(_SIMULATION):
            problem = f"names that begin with {_OWN_VARIABLES} are given by Podling itself; choose another"
            raise InvalidInput.field(f"{field}.{key[:80]}", problem)
        if "=" in key:
            raise InvalidInput.field(field, f"the name {key[:80]!r} must not contain '='")
        check_text(field, key, 1024)
        check_storable(f"{field}.{key}", text, MAX_ARGUMENT_CHARACTERS - len(key) - 1)


def _check_stop(container: ContainerSpec, prefix: str) -> None:
    check_number(f"{prefix}stopGraceSeconds", container.stop_grace_seconds, 0, 3600)
    signal = container.stop_signal
    if signal is None:
        return
    if signal.isascii() and signal.isdigit() and len(signal) <= 2 and 1 <= int(signal) <= 64:
        return
    if signal.removeprefix("SIG") not in _SIGNALS and not _SIGNAL.fullmatch(signal):
        raise InvalidInput.field(f"{prefix}stopSignal", f"{signal[:40]!r} is not a signal, such as SIGTERM")


def _check_resources(resources: ResourceRequirements, field: str) -> None:
    for part, amounts in (("requests", resources.requests), ("limits", resources.limits)):
        check_count(f"{field}.{part}", amounts, 100)
        for resource, amount in amounts.items():
            _check_resource_name(f"{field}.{part}", resource)
            check_amount(f"{field}.{part}.{resource}", resource, amount)
    for resource, limit in resources.limits.items():
        if limit < resources.requests.get(resource, 0):
            raise InvalidInput.field(f"{field}.limits.{resource}", "must not be below the request")
    both = [part[GPU] for part in (resources.requests, resources.limits) if GPU in part]
    if len(set(both)) > 1:
        raise InvalidInput.field(f"{field}.limits.{GPU}", "must be the same as the request: none is shared")


def _check_resource_name(field: str, resource: str) -> None:
    if resource == SLOTS:
        raise InvalidInput.field(f"{field}.{resource}", "is counted by itself: every task takes one")
    check_label_key(field, resource)


def _check_ports(ports: tuple[Port, ...], field: str) -> None:
    check_count(field, ports, 256)
    for index, port in enumerate(ports):
        check_number(f"{field}.{index}.containerPort", port.container_port, 1, 65535)
        if port.host_port is not None:
            check_number(f"{field}.{index}.hostPort", port.host_port, 1, 65535)
        if port.name is not None:
            problem = "must be 1 to 63 letters, digits and '-'"
            check_pattern(f"{field}.{index}.name", port.name, _PORT_NAME, problem)
        if port.protocol not in ("TCP", "UDP"):
            raise InvalidInput.field(f"{field}.{index}.protocol", "must be TCP or UDP")


def check_unique_ports(containers: tuple[ContainerSpec, ...], pod: bool) -> None:
    """Refuse two uses of one port or name: the containers of a pod share their network."""
    seen: set[tuple[str, str]] = set()
    for field, name, used in _used_ports(containers, pod):
        if (name, used) in seen:
            raise InvalidInput.field(f"{field}.{name}", f"{used} is used twice")
        seen.add((name, used))


def _used_ports(containers: tuple[ContainerSpec, ...], pod: bool) -> Iterator[tuple[str, str, str]]:
    for number, container in enumerate(containers):
        for index, port in enumerate(container.ports):
            field = f"containers.{number}.ports.{index}" if pod else f"ports.{index}"
            yield field, "containerPort", f"{port.container_port}/{port.protocol}"
            if port.host_port:
                yield field, "hostPort", f"{port.host_port}/{port.protocol}"
            if port.name is not None:
                yield field, "name", port.name


def _check_user(field: str, user: str) -> None:
    check_pattern(field, user, _USER, "must be a name or number, or two of them as user:group")
    if any(part.isdigit() and int(part) >= 2**31 for part in user.split(":")):
        raise InvalidInput.field(field, "a user's or group's number must be below 2^31")


def _check_mounts(container: ContainerSpec, prefix: str) -> None:
    check_count(f"{prefix}mounts", container.mounts, 100)
    check_count(f"{prefix}tmpfs", container.tmpfs, 100)
    targets: set[str] = set()
    for index, mount in enumerate(container.mounts):
        field = f"{prefix}mounts.{index}"
        _check_target(f"{field}.target", mount.target, targets)
        _check_source(f"{field}.source", mount)
    for target, options in container.tmpfs.items():
        _check_target(f"{prefix}tmpfs", target, targets)
        _check_tmpfs_options(f"{prefix}tmpfs.{target}", options)


def _check_target(field: str, target: str, taken: set[str]) -> None:
    check_path(field, target)
    plain = plain_path(target)
    if plain == "/":
        raise InvalidInput.field(field, "must not be the root directory")
    if ":" in target or "," in target:
        raise InvalidInput.field(field, "must not contain ':' or ','")
    if plain in taken:
        raise InvalidInput.field(field, f"{plain} is mounted twice")
    taken.add(plain)


def _check_source(field: str, mount: Mount) -> None:
    if mount.type is MountType.TMPFS:
        if mount.source is not None:
            raise InvalidInput.field(field, "a tmpfs has none; leave it out")
    elif mount.source is None:
        raise InvalidInput.field(field, "is required for a volume and for a bind mount")
    elif mount.type is MountType.VOLUME:
        problem = "must be the name of a volume: 2 to 128 letters, digits, '_', '.' and '-'"
        check_pattern(field, mount.source, _VOLUME, problem)
    else:
        check_path(field, mount.source)


def _check_tmpfs_options(field: str, options: str) -> None:
    for option in options.split(",") if options else ():
        if not _TMPFS_OPTION.fullmatch(option):
            raise InvalidInput.field(field, f"{option[:40]!r} is not an option of a tmpfs")
