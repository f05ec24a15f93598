"""What is wrong with a policy whose form is right: entries that could never match, or never hold."""

import re
from collections.abc import Iterable, Iterator, Sequence

from podling.core.container_options import CAPABILITIES, EVERY_CAPABILITY, plain_capability
from podling.core.fields import MAX_CPU, MAX_SECONDS, MIN_MEMORY
from podling.core.permission_rules import never_mounted, plain_path
from podling.core.permissions import DEFAULT_LIMITS, SUBMITTING_ROLES, Limits, Policy
from podling.core.privilege_rules import PRIORITY_ULIMITS
from podling.core.quantity import MAX_AMOUNT
from podling.core.spec import Runtime

Fault = tuple[str, str]
"""The path of the key (`hostPaths.0.path`), and a sentence."""

MOST_ENTRIES = 1000

_RUNTIMES = tuple(runtime.value for runtime in Runtime if runtime is not Runtime.SIMULATED)
_PATTERN = re.compile(r"[A-Za-z0-9_.:/@*\[\]-]{1,300}", re.ASCII)
_SECURITY_OPTION = re.compile(r"[A-Za-z0-9_.:,/*=-]{1,300}", re.ASCII)
_NUMBERS = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?", re.ASCII)
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", re.ASCII)


def faults_of(policy: Policy) -> list[Fault]:
    """Return every fault, in the order of the policy's keys."""
    return [
        *_patterns("images.allow", policy.images.allow),
        *_patterns("images.deny", policy.images.deny),
        *_patterns("registries.allow", policy.registries.allow),
        *_choices("runtimes.allow", policy.runtimes.allow, _RUNTIMES),
        *_users("users.allow", policy.users.allow),
        *_users("users.groups", policy.users.groups),
        *_host_paths(policy),
        *_patterns("volumes.allow", policy.volumes.allow),
        *_patterns("networks.allow", policy.networks.allow),
        *_ports("hostPorts.allow", policy.host_ports.allow),
        *_capabilities("capabilities.allow", policy.capabilities.allow),
        *_devices("devices.allow", policy.devices.allow),
        *_security_options("securityOptions.allow", policy.security_options.allow),
        *_choices("ulimits.allow", policy.ulimits.allow, PRIORITY_ULIMITS),
        *_limits(policy),
    ]


def _entries(path: str, entries: Sequence[str] | None) -> Iterator[tuple[str, str]]:
    for index, entry in enumerate(entries or ()):
        yield f"{path}.{index}", entry


def _patterns(path: str, patterns: Sequence[str] | None) -> Iterator[Fault]:
    for place, pattern in _entries(path, patterns):
        if not _PATTERN.fullmatch(pattern):
            yield place, f"{pattern[:80]!r} is no pattern; write a name, in which * and ** stand for the rest"


def _choices(path: str, entries: Sequence[str] | None, known: Iterable[str]) -> Iterator[Fault]:
    for place, entry in _entries(path, entries):
        if entry not in known:
            yield place, f"{entry[:80]!r} is not one of {', '.join(known)}"


def _users(path: str, entries: Sequence[str] | None) -> Iterator[Fault]:
    for place, entry in _entries(path, entries):
        if not _USER.fullmatch(entry) and not _is_range(entry, 0, 2**31 - 1):
            yield place, f"{entry[:80]!r} is no name, number or range such as 1000-1999"


def _ports(path: str, entries: Sequence[str] | None) -> Iterator[Fault]:
    for place, entry in _entries(path, entries):
        if not _is_range(entry, 1, 65535):
            yield place, f"{entry[:80]!r} is no port from 1 to 65535 and no range such as 8000-8999"


def _capabilities(path: str, entries: Sequence[str]) -> Iterator[Fault]:
    for place, entry in _entries(path, entries):
        if plain_capability(entry) not in CAPABILITIES and entry != EVERY_CAPABILITY:
            yield place, f"{entry[:80]!r} is no capability of Linux, such as NET_ADMIN, and not ALL"


def _devices(path: str, entries: Sequence[str]) -> Iterator[Fault]:
    for place, entry in _entries(path, entries):
        if not entry.startswith("/") or ".." in entry.split("/") or not _PATTERN.fullmatch(entry):
            yield place, f"{entry[:80]!r} must be an absolute path, in which * and ** stand for the rest"


def _security_options(path: str, entries: Sequence[str]) -> Iterator[Fault]:
    for place, entry in _entries(path, entries):
        if not _SECURITY_OPTION.fullmatch(entry):
            yield place, f"{entry[:80]!r} is no option or pattern, such as seccomp=unconfined or apparmor=*"


def _is_range(entry: str, least: int, most: int) -> bool:
    match = _NUMBERS.fullmatch(entry)
    return match is not None and least <= int(match[1]) <= int(match[2] or match[1]) <= most


def _host_paths(policy: Policy) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, allowed in enumerate(policy.host_paths):
        place, path = f"hostPaths.{index}.path", allowed.path
        plain = plain_path(path)
        if not path.startswith("/") or ".." in path.split("/") or not path.isprintable():
            yield place, f"{path[:80]!r} must be an absolute path without '..'"
        elif (refusal := never_mounted(plain, place)) is not None:
            yield place, refusal.message.removeprefix(f"{place}: ")
        elif plain in seen:
            yield place, f"{plain} is there twice"
        seen.add(plain)


def _limits(policy: Policy) -> Iterator[Fault]:
    known = (DEFAULT_LIMITS, *sorted(role.value for role in SUBMITTING_ROLES))
    for name, limits in policy.limits.items():
        if name not in known:
            yield f"limits.{name}", f"is no role that may submit; known are {', '.join(known)}"
        yield from _amounts(f"limits.{name}", limits)


def _amounts(path: str, limits: Limits) -> Iterator[Fault]:
    bounds: tuple[tuple[str, float | None, float, float], ...] = (
        ("cpu", limits.cpu, 1, MAX_CPU),
        ("memory", limits.memory, MIN_MEMORY, MAX_AMOUNT),
        ("priority", limits.priority, -(2**31), 2**31 - 1),
        ("timeoutSeconds", limits.timeout_seconds, 0.001, MAX_SECONDS),
        ("maxAttempts", limits.max_attempts, 1, 1000),
        ("batch", limits.batch, 1, 1000),
    )
    for name, amount, least, most in bounds:
        if amount is not None and not least <= amount <= most:
            yield f"{path}.{name}", f"must be at least {least:.17g} and at most {most:.17g}"
