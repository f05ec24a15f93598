"""What an operator allows: the policy, as its file says it. See `podling.core.permission_rules`.

A rule that is not written allows what is not dangerous: every image, no directory of the node.
"""

import re
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from podling.core.access import Role
from podling.core.errors import PolicyDenied, RuntimeFailure
from podling.core.retry import ErrorCode
from podling.core.value import value

HOST_NETWORK = "host"
DEFAULT_LIMITS = "default"
SUBMITTING_ROLES = (Role.ADMIN, Role.OPERATOR, Role.SUBMITTER)
"""Roles that may submit; of those that somebody has, the first one's limits count."""


@value
class Allowed:
    """`allow` None is everything, an empty list nothing."""

    allow: tuple[str, ...] | None = None


@value
class AllowedByName:
    """What is dangerous: nothing that `allow` does not name."""

    allow: tuple[str, ...] = ()


@value
class AllowedImages:
    """What `deny` names is denied whatever `allow` says."""

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()


@value
class AllowedUsers:
    """Entries are numbers, ranges of them (`1000-1999`) or names. `root` is about user and group 0."""

    allow: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    root: bool = True


@value
class HostPath:
    """A directory of the nodes that bind mounts may lie in."""

    path: str
    read_only: bool = False


@value
class Limits:
    """The most that a task may ask for. With one for CPU, memory or time, a task has to name its own."""

    cpu: int | None = None
    memory: int | None = None
    priority: int | None = None
    timeout_seconds: float | None = None
    max_attempts: int | None = None
    batch: int | None = None


NO_LIMITS = Limits()


class TaskTokenPlace(StrEnum):
    """Where the program in a container finds its attempt's credential."""

    ENV = "env"  # in PODLING_TOKEN
    FILE = "file"  # in a file that PODLING_TOKEN_FILE names, which no `docker inspect` shows


@value
class Policy:
    """`limits` are by role, and by `default` for the roles that have none of their own."""

    images: AllowedImages = field(default_factory=AllowedImages)
    registries: Allowed = field(default_factory=Allowed)
    runtimes: Allowed = field(default_factory=Allowed)
    users: AllowedUsers = field(default_factory=AllowedUsers)
    host_paths: tuple[HostPath, ...] = ()
    volumes: Allowed = field(default_factory=Allowed)
    networks: Allowed = field(default_factory=Allowed)
    host_ports: Allowed = field(default_factory=Allowed)
    privileged: bool = False
    capabilities: AllowedByName = field(default_factory=AllowedByName)
    devices: AllowedByName = field(default_factory=AllowedByName)
    security_options: AllowedByName = field(default_factory=AllowedByName)
    ulimits: AllowedByName = field(default_factory=AllowedByName)
    limits: Mapping[str, Limits] = field(default_factory=dict)
    task_token: TaskTokenPlace = TaskTokenPlace.ENV

    def limits_of(self, roles: frozenset[Role]) -> tuple[str, Limits]:
        """Return the name of the entry that binds who has these roles, and what it says."""
        held = next((role for role in SUBMITTING_ROLES if role in roles), None)
        name = DEFAULT_LIMITS if held is None or held not in self.limits else held.value
        return name, self.limits.get(name, NO_LIMITS)


def denied(rule: str, field_name: str, problem: str) -> PolicyDenied:
    """Return the refusal that names its rule; one that begins with `never.` no policy can change."""
    return PolicyDenied(f"{field_name}: {problem}", details={"rule": rule, "field": field_name})


def denied_here(denial: PolicyDenied) -> RuntimeFailure:
    """Return what ends an attempt that the worker's own policy denies."""
    sentence = f"This node's policy denies it by the rule {denial.details['rule']}: {denial.message}"
    return RuntimeFailure(sentence, code=ErrorCode.POLICY_DENIED)


def rule_in(sentence: str) -> str | None:
    """Return the rule that a sentence of `denied_here` names."""
    found = re.search(r" by the rule ([A-Za-z.]{1,80}): ", sentence)
    return found[1] if found else None
