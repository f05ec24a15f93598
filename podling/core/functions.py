"""Function tasks: what they may be."""

import re
from dataclasses import fields
from operator import attrgetter

from podling.core.errors import InvalidInput
from podling.core.fields import check_pattern
from podling.core.spec import ContainerSpec, RestartPolicy, Runtime, TaskKind, TaskSpec
from podling.core.value import camel_case

MAX_ATTEMPTS = 25
"""How often a function is tried unless its task says otherwise, the first time included."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_DEFAULT = TaskSpec(name="", containers=(ContainerSpec(),))
_MEANT = frozenset({"name", "resources", "stop_grace_seconds"})
_MEANINGLESS = [field.name for field in fields(ContainerSpec) if field.name not in _MEANT]
_read_meaningless = attrgetter(*_MEANINGLESS)
_NOTHING = _read_meaningless(_DEFAULT.main)


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
    check_without_container(spec, "a function")


def check_without_container(spec: TaskSpec, what: str) -> None:
    """Refuse what only a container or process can have on what runs in neither. Raises InvalidInput."""
    if spec.kind is TaskKind.POD:
        raise InvalidInput.field("runtime", "a pod's containers run in docker only")
    if spec.network != _DEFAULT.network:
        raise InvalidInput.field("network", f"has no meaning for {what}, which uses its worker's")
    if spec.restart_policy is not RestartPolicy.NEVER:
        problem = f"must be Never for {what}, which is tried again by maxAttempts and retry"
        raise InvalidInput.field("restartPolicy", problem)
    for container in spec.containers:
        _check_container(container, what)


def _check_container(container: ContainerSpec, what: str) -> None:
    given = _read_meaningless(container)
    if given != _NOTHING:
        name = next(
            name for name, one, none in zip(_MEANINGLESS, given, _NOTHING, strict=True) if one != none
        )
        raise InvalidInput.field(camel_case(name), f"has no meaning for {what}; leave it out")
    if container.resources.limits:
        problem = f"cannot be kept for {what}, only for a container; reserve with resources.requests"
        raise InvalidInput.field("resources.limits", problem)
