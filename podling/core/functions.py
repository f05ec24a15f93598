"""Function tasks: what they may be, and how placement knows who can run them.

A worker counts its handlers among its resources: `handler/email.send: 10` are ten places for that
job type. So a task goes only to a node that has its handler, and never to more places than it has.
"""

import re
from dataclasses import fields
from operator import attrgetter

from podling.core.errors import InvalidInput
from podling.core.fields import check_pattern
from podling.core.spec import ContainerSpec, RestartPolicy, Runtime, TaskKind, TaskSpec
from podling.core.value import camel_case

MAX_ATTEMPTS = 25
"""How often a function is tried unless its task says otherwise, the first time included."""

_HANDLER = "handler/"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_DEFAULT = TaskSpec(name="", containers=(ContainerSpec(),))
_MEANT = frozenset({"name", "resources", "stop_grace_seconds"})
_MEANINGLESS = [field.name for field in fields(ContainerSpec) if field.name not in _MEANT]
_read_meaningless = attrgetter(*_MEANINGLESS)
_NOTHING = _read_meaningless(_DEFAULT.main)


def place_of(handler: str) -> str:
    """Return the resource of which each running task of a handler takes one."""
    return _HANDLER + handler


def handler_of(resource: str) -> str | None:
    """Return the handler whose places the resource counts; None for any other resource."""
    return resource.removeprefix(_HANDLER) if resource.startswith(_HANDLER) else None


def check_handler_name(field: str, name: str) -> None:
    """Refuse what cannot be a job type. Raises InvalidInput."""
    problem = "must be 1 to 63 letters, digits, '_', '.' and '-', a letter or digit at both ends"
    check_pattern(field, name, _NAME, problem)


def check_function(spec: TaskSpec) -> None:
    """Refuse a function's fields on any other task, and any other's on a function. Raises InvalidInput."""
    if spec.runtime is not Runtime.PYTHON:
        for field, given in (("handler", spec.handler), ("payload", spec.payload)):
            if given is not None:
                raise InvalidInput.field(field, f"has a meaning for runtime python only, not {spec.runtime}")
        return
    if spec.handler is None:
        raise InvalidInput.field("handler", "is required for python: the job type of a registered function")
    check_handler_name("handler", spec.handler)
    if spec.kind is TaskKind.POD:
        raise InvalidInput.field("runtime", "a pod's containers run in docker only")
    _check_task(spec)
    for container in spec.containers:
        _check_container(container)


def _check_task(spec: TaskSpec) -> None:
    if spec.network != _DEFAULT.network:
        raise InvalidInput.field("network", "has no meaning for a function, which uses its worker's")
    if spec.restart_policy is not RestartPolicy.NEVER:
        problem = "must be Never for a function, which is tried again by maxAttempts and retry"
        raise InvalidInput.field("restartPolicy", problem)


def _check_container(container: ContainerSpec) -> None:
    given = _read_meaningless(container)
    if given != _NOTHING:
        name = next(
            name for name, one, none in zip(_MEANINGLESS, given, _NOTHING, strict=True) if one != none
        )
        raise InvalidInput.field(camel_case(name), "has no meaning for a function; leave it out")
    if container.resources.limits:
        problem = "cannot be kept for a function, only for a container; reserve with resources.requests"
        raise InvalidInput.field("resources.limits", problem)
