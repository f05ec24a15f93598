"""What may come in: every rule of a submit and of a node's registration, for every path there.

`validate_spec` raises InvalidInput (code `invalid_field`, `details.field` names the field as the
outside writes it), or PolicyDenied (`details.rule` too) for what an operator has to allow first.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from podling.core.access import Role
from podling.core.alert_policy import check_wishes
from podling.core.container_policy import check_container, check_unique_ports
from podling.core.errors import InvalidInput
from podling.core.fields import (
    MAX_CPU,
    MAX_NAME_CHARACTERS,
    MAX_SECONDS,
    check_amount,
    check_count,
    check_identifier,
    check_label_key,
    check_labels,
    check_number,
    check_pattern,
    check_seconds,
    check_text,
)
from podling.core.functions import check_function
from podling.core.graph import check_dependencies, check_place
from podling.core.permission_rules import check_allowed, check_limits
from podling.core.permissions import Policy, denied
from podling.core.retry import ErrorCode
from podling.core.spec import (
    SLOTS,
    Affinity,
    Constraint,
    Delivery,
    OnDisconnect,
    OnLost,
    Operator,
    Placement,
    RestartPolicy,
    RetryPolicy,
    Runtime,
    TaskKind,
    TaskSpec,
)
from podling.core.statements import check_statement
from podling.core.value import changed

__all__ = [
    "MAX_CPU",
    "Policy",
    "check_form",
    "validate_node_id",
    "validate_node_registration",
    "validate_spec",
]

_NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
_CONTAINER_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_HOSTNAME = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?",
    re.ASCII,
)
_IPV6 = re.compile(r"[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(?:%[A-Za-z0-9_.-]{1,32})?", re.ASCII)
_EXIT_ENTRY = re.compile(r"exit:(?:[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])", re.ASCII)

_MAX_CONTAINERS = 64
MOST_RESOURCES = 1000  # of a node: each handler and each database is one
_DEFAULT = Policy()
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


def validate_spec(
    spec: TaskSpec,
    policy: Policy = _DEFAULT,
    *,
    roles: frozenset[Role] | None = None,
    allow_simulated: bool = False,
) -> TaskSpec:
    """Return `spec` if it may become a task; see the module for what is raised if not.

    Limits bind whoever submits it by one of the `roles`; a worker, which knows nobody, gives none.
    """
    _check_called(spec)
    _passed.check(spec, policy, roles, allow_simulated)
    return spec


def check_form(spec: TaskSpec, *, allow_simulated: bool = False) -> TaskSpec:
    """Return `spec` if it is one, whatever an operator may say about it. Raises InvalidInput."""
    _check_called(spec)
    _check_form(spec, allow_simulated)
    return spec


class _Passed:
    """Remembers what has passed last: of a thousand tasks most differ in name, key and payload alone."""

    def __init__(self) -> None:
        self._last: tuple[TaskSpec, Policy, frozenset[Role] | None, bool] | None = None

    def check(
        self, spec: TaskSpec, policy: Policy, roles: frozenset[Role] | None, allow_simulated: bool
    ) -> None:
        """Raise as `validate_spec` does, but for name and key."""
        payload = None if spec.payload is None else ""
        rest = changed(spec, name="", idempotency_key=None, payload=payload)
        asked = rest, policy, roles, allow_simulated
        if asked == self._last:
            return
        _check_form(spec, allow_simulated)
        check_allowed(spec, policy)
        if roles is not None:
            check_limits(spec, policy, roles)
        self._last = asked


_passed = _Passed()


def _check_called(spec: TaskSpec) -> None:
    check_text("name", spec.name, MAX_NAME_CHARACTERS)
    if spec.idempotency_key is not None:
        check_text("idempotencyKey", spec.idempotency_key, 255)


def _check_form(spec: TaskSpec, allow_simulated: bool) -> None:
    check_labels("labels", spec.labels)
    check_identifier("queue", spec.queue)
    check_number("priority", spec.priority, -(2**31), 2**31 - 1)
    if spec.concurrency_key is not None:
        check_text("concurrencyKey", spec.concurrency_key, 255)
    if spec.replay_of is not None:
        check_identifier("replayOf", spec.replay_of)
    _check_times(spec)
    _check_attempts(spec)
    _check_loss(spec)
    _check_placement(spec.placement)
    _check_network(spec.network)
    _check_runtime(spec, allow_simulated)
    _check_containers(spec)
    check_wishes(spec.alerts)
    if spec.depends_on:
        check_dependencies(spec.depends_on)
    if spec.array is not None:
        check_place(spec)


def _check_times(spec: TaskSpec) -> None:
    check_seconds("timeoutSeconds", spec.timeout_seconds)
    check_seconds("queueTimeoutSeconds", spec.queue_timeout_seconds)
    check_seconds("deadlineSeconds", spec.deadline_seconds)
    if spec.run_at is None:
        return
    if spec.run_at.utcoffset() is None:
        raise InvalidInput.field("runAt", "must carry a time zone, such as Z or +02:00")
    try:
        at = spec.run_at.astimezone(UTC)
    except OverflowError:
        at = None
    if at is None or at < _EARLIEST:
        raise InvalidInput.field("runAt", "must lie in the years 1970 to 9999")


def _check_attempts(spec: TaskSpec) -> None:
    check_number("maxAttempts", spec.max_attempts, 1, 1000)
    check_number("maxLosses", spec.max_losses, 0, 1000)
    retry: RetryPolicy = spec.retry
    check_number("retry.baseSeconds", retry.base_seconds, 0, MAX_SECONDS)
    check_number("retry.factor", retry.factor, 1, 100)
    check_number("retry.maxSeconds", retry.max_seconds, 0, MAX_SECONDS)
    check_number("retry.jitter", retry.jitter, 0, 1)
    _check_codes("retry.on", retry.on)
    _check_codes("retry.notOn", retry.not_on)
    if both := sorted(set(retry.on) & set(retry.not_on)):
        raise InvalidInput.field("retry.notOn", f"{both[0]} stands in retry.on too; leave one of the two out")


def _check_codes(field: str, codes: tuple[str, ...]) -> None:
    check_count(field, codes, 300)
    for code in codes:
        if code not in ErrorCode.__members__ and not _EXIT_ENTRY.fullmatch(code):
            problem = f"{code[:40]!r} is neither an error code nor exit:1 to exit:255"
            raise InvalidInput.field(field, problem)


def _check_loss(spec: TaskSpec) -> None:
    if spec.on_disconnect is OnDisconnect.KEEP and spec.on_lost is OnLost.RETRY:
        problem = "keep cannot go with onLost retry, which would run it twice; use onLost hold or fail"
        raise InvalidInput.field("onDisconnect", problem)
    if spec.delivery is Delivery.AT_MOST_ONCE and spec.restart_policy is not RestartPolicy.NEVER:
        problem = "must be Never with delivery at_most_once, which never starts a container again"
        raise InvalidInput.field("restartPolicy", problem)


def _check_placement(placement: Placement) -> None:
    check_labels("placement.nodeSelector", placement.node_selector, reserved=True)
    check_count("placement.constraints", placement.constraints, 50)
    for index, constraint in enumerate(placement.constraints):
        _check_condition(f"placement.constraints.{index}", constraint)
    check_count("placement.affinity", placement.affinity, 50)
    for index, affinity in enumerate(placement.affinity):
        field = f"placement.affinity.{index}"
        _check_condition(field, affinity)
        check_number(f"{field}.weight", affinity.weight, -100, 100)
        if affinity.weight == 0:
            raise InvalidInput.field(f"{field}.weight", "must not be 0, which wishes nothing")
    if placement.spread is not None:
        check_label_key("placement.spread", placement.spread)


def _check_condition(field: str, condition: Constraint | Affinity) -> None:
    check_label_key(f"{field}.label", condition.label)
    check_count(f"{field}.values", condition.values, 100)
    compares = condition.operator in (Operator.IN, Operator.NOT_IN)
    if compares and not condition.values:
        raise InvalidInput.field(f"{field}.values", f"must name a value for {condition.operator.value}")
    if not compares and condition.values:
        raise InvalidInput.field(f"{field}.values", f"must be empty for {condition.operator.value}")
    for text in condition.values:
        if text:
            check_text(f"{field}.values", text, MAX_NAME_CHARACTERS)


def _check_network(network: str) -> None:
    if network.startswith(("container:", "ns:")):
        problem = "another container's network cannot be joined; submit a pod instead"
        raise denied("never.containerNetwork", "network", problem)
    check_pattern("network", network, _NETWORK, "must be none, bridge or the name of a network")


def _check_runtime(spec: TaskSpec, allow_simulated: bool) -> None:
    if spec.runtime is Runtime.SIMULATED and not allow_simulated:
        raise InvalidInput.field(
            "runtime", "simulated serves benchmarks only; use docker, process, python or sql"
        )
    if spec.runtime is Runtime.PROCESS and spec.kind is TaskKind.POD:
        raise InvalidInput.field("runtime", "a pod's containers run in docker only")
    if spec.runtime is Runtime.PROCESS and spec.network != "bridge":
        raise InvalidInput.field("network", "has no meaning for a process, which uses the host's")
    check_function(spec)
    check_statement(spec)


def _check_containers(spec: TaskSpec) -> None:
    if not spec.containers:
        raise InvalidInput.field("containers", "must have at least one container")
    check_count("containers", spec.containers, _MAX_CONTAINERS)
    pod = spec.kind is TaskKind.POD
    if not pod and len(spec.containers) > 1:
        raise InvalidInput.field("containers", "a task has one container; submit several as a pod")
    if pod:
        _check_names(container.name for container in spec.containers)
    for index, container in enumerate(spec.containers):
        check_container(container, spec.runtime, f"containers.{index}." if pod else "")
    check_unique_ports(spec.containers, pod)


def _check_names(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        field = f"containers.{index}.name"
        check_text(field, name, 63)
        check_pattern(field, name, _CONTAINER_NAME, "may have letters, digits, '_', '.' and '-' only")
        if name in seen:
            raise InvalidInput.field(field, f"{name!r} is used twice; names of containers are unique")
        seen.add(name)


def validate_node_id(node_id: str) -> str:
    """Return the id if it can be a node's. Raises InvalidInput."""
    check_identifier("nodeId", node_id)
    return node_id


def validate_node_registration(
    hostname: str,
    port: int,
    capacity: Mapping[str, int],
    allocatable: Mapping[str, int] | None = None,
    labels: Mapping[str, str] | None = None,
    runtimes: tuple[str, ...] = (),
) -> None:
    """Check what a node says of itself. Amounts are by resource: `slots` is the field `capacity`.

    Raises InvalidInput that names the field.
    """
    check_text("hostname", hostname, MAX_NAME_CHARACTERS)
    if not _HOSTNAME.fullmatch(hostname) and not _IPV6.fullmatch(hostname):
        raise InvalidInput.field("hostname", "must be a host name or an IP address")
    check_number("port", port, 1, 65535)
    check_count("capacity", capacity, MOST_RESOURCES)
    for resource, amount in capacity.items():
        _check_capacity(resource, amount)
    for resource, amount in (allocatable or {}).items():
        check_number(f"allocatable.{resource[:80]}", amount, 0, capacity.get(resource, 0))
    check_labels("labels", labels or {})
    check_count("runtimes", runtimes, 20)
    for runtime in runtimes:
        check_identifier("runtimes", runtime)


def _check_capacity(resource: str, amount: int) -> None:
    if resource == SLOTS:
        check_number("capacity", amount, 1, 2**31)
    elif resource in ("cpu", "memory"):
        check_amount(resource, resource, amount)
    else:
        check_label_key("capacity", resource)
        check_number(f"capacity.{resource}", amount, 0, 2**53)
