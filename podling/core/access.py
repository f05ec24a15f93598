"""Who may do what: roles, and which of them includes which."""

from enum import StrEnum

from podling.core.value import value


class Role(StrEnum):
    """What a credential is good for; a route names the least role that may use it."""

    READER = "reader"  # reads
    SUBMITTER = "submitter"  # reads, submits, stops and repeats tasks
    OPERATOR = "operator"  # all of that, and nodes, queues, resolving
    ADMIN = "admin"  # everything, tokens included
    WORKER = "worker"  # a worker's own routes, and no other
    TASK = "task"  # an attempt's own routes, and no other


_INCLUDED: dict[Role, frozenset[Role]] = {
    Role.READER: frozenset({Role.READER}),
    Role.SUBMITTER: frozenset({Role.READER, Role.SUBMITTER}),
    Role.OPERATOR: frozenset({Role.READER, Role.SUBMITTER, Role.OPERATOR}),
    Role.ADMIN: frozenset({Role.READER, Role.SUBMITTER, Role.OPERATOR, Role.ADMIN}),
    Role.WORKER: frozenset({Role.WORKER}),
    Role.TASK: frozenset({Role.TASK}),
}


def allows(held: Role, needed: Role) -> bool:
    """Whether a credential of the role `held` may use a route that needs `needed`."""
    return needed in _INCLUDED[held]


@value
class Principal:
    """Who sent a request; `name` is what is told of them, `node_id` binds a worker's credential."""

    name: str
    roles: frozenset[Role]
    node_id: str | None = None

    def may(self, needed: Role) -> bool:
        """Whether any of the roles includes the one that a route needs."""
        return any(allows(held, needed) for held in self.roles)


EVERY_ROLE = frozenset(Role)
LOCAL = Principal(name="local", roles=EVERY_ROLE)
"""Whoever reaches a master that knows no token: such a master listens on loopback only."""
