"""Who may do what: roles, and which of them includes which."""

import ipaddress
from enum import StrEnum
from functools import lru_cache

from podling.core.protocol import AttemptKey
from podling.core.value import value


class Role(StrEnum):
    """What a credential is good for; a route names the least role that may use it."""

    READER = "reader"  # reads
    SUBMITTER = "submitter"  # reads, submits, stops and repeats tasks
    OPERATOR = "operator"  # all of that, and nodes, queues, resolving
    ADMIN = "admin"  # everything, tokens included
    WORKER = "worker"  # a worker's own routes, and no other
    TASK = "task"  # an attempt's own routes, and no other
    JOIN = "join"  # become a node with a credential of its own, and nothing else


_INCLUDED: dict[Role, frozenset[Role]] = {
    Role.READER: frozenset({Role.READER}),
    Role.SUBMITTER: frozenset({Role.READER, Role.SUBMITTER}),
    Role.OPERATOR: frozenset({Role.READER, Role.SUBMITTER, Role.OPERATOR}),
    Role.ADMIN: frozenset({Role.READER, Role.SUBMITTER, Role.OPERATOR, Role.ADMIN}),
    Role.WORKER: frozenset({Role.WORKER}),
    Role.TASK: frozenset({Role.TASK}),
    Role.JOIN: frozenset({Role.JOIN}),
}


def allows(held: Role, needed: Role) -> bool:
    """Whether a credential of the role `held` may use a route that needs `needed`."""
    return needed in _INCLUDED[held]


@value
class Principal:
    """Who sent a request; `name` is what is told of them, `node_id` binds a worker's credential.

    `token_id` is the stored token's that was shown, if it was one; `attempt` the one that it is itself.
    """

    name: str
    roles: frozenset[Role]
    node_id: str | None = None
    token_id: str | None = None
    attempt: AttemptKey | None = None

    def may(self, needed: Role) -> bool:
        """Whether any of the roles includes the one that a route needs."""
        return any(allows(held, needed) for held in self.roles)


EVERY_ROLE = frozenset(Role)
NOBODY = Principal(name="nobody", roles=frozenset())
SHARED = Principal(name="the shared token", roles=EVERY_ROLE)
ASKED = Principal(name="a worker that was asked", roles=frozenset({Role.WORKER}))
"""Whoever knows the path that a master has given over a worker's session."""
LOCAL = Principal(name="local", roles=EVERY_ROLE)
"""Whoever reaches a master that knows no token: such a master listens on loopback only."""


NEEDS_TOKEN = (
    "--host (PODLING_HOST): {host} can be reached from other machines, so a token is needed: add "
    "--token-file FILE, or listen on 127.0.0.1 and make the first token there (podling token create NAME)"
)


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address; a name other than localhost is not."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host.strip("[]")).is_loopback)


@lru_cache(maxsize=1024)
def is_address(host: str) -> bool:
    """Whether it is an IP address and not a name."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
