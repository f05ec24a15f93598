"""Who is told of what: rules, what happens to a task, and the notifications that follow from both."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

from podling.core.addresses import port_of
from podling.core.node import Node
from podling.core.spec import AlertWish
from podling.core.task import AttemptStatus, Task, TaskStatus
from podling.core.transition import Transition
from podling.core.value import value

MOST_PER_MINUTE = 10


class AlertEvent(StrEnum):
    """What somebody may be told of; all but the last happen to a task."""

    FAILED = "failed"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    RETRYING = "retrying"  # an attempt failed or was lost, and another one follows
    LOST = "lost"  # an attempt was lost with its node
    HELD = "held"  # it waits for its lost node, or for an operator's word
    NODE_LOST = "node_lost"


DEFAULT_EVENTS = (AlertEvent.FAILED,)


@value
class AlertRule:
    """A standing wish. Exactly one of `http` (a URL), `mail` (addresses) and `command` says where to.

    `queue`, `labels` and `task_name` choose among tasks; with `named_only` only tasks that name the
    rule are meant. `command` is the name of one that the operator listed in the master's settings.
    """

    name: str
    on: tuple[AlertEvent, ...] = DEFAULT_EVENTS
    queue: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    task_name: str | None = None
    named_only: bool = False
    http: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    mail: tuple[str, ...] = ()
    command: str | None = None
    max_per_minute: int = MOST_PER_MINUTE

    def chooses(self, task: Task) -> bool:
        """Whether the rule is about this task without being named by it."""
        spec = task.spec
        return (
            not self.named_only
            and self.queue in (None, spec.queue)
            and self.task_name in (None, spec.name)
            and all(spec.labels.get(key) == text for key, text in self.labels.items())
        )


@value
class Facts:
    """What a notification tells, as it was when it happened. Nothing of a task's environment is here."""

    task_id: str | None = None
    name: str | None = None
    queue: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    status: str | None = None
    attempt: int = 0
    node_id: str | None = None
    host: str | None = None
    exit_code: int | None = None
    error_code: str | None = None
    error: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    next_attempt_at: datetime | None = None


@value
class Alert:
    """One notification on its way. `alert_id` is the same for every try at it.

    Either `rule` names a rule, or `wish` is the task's own. `line` is where it goes: alerts of one
    line are counted, and joined, together. Of the rule's mail addresses those in `without` are told by
    another alert; the rules in `also` lead to the same URL and are told by this one.
    """

    alert_id: str
    line: str
    event: AlertEvent
    at: datetime
    facts: Facts
    rule: str | None = None
    wish: AlertWish | None = field(default=None, repr=False)
    without: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    tries: int = 0


def happened(before: Task, transition: Transition) -> Iterator[AlertEvent]:
    """Yield what of a task's move somebody may be told of."""
    after, row = transition.task, transition.attempt
    ended = None if row is None else row.status
    if after.held is not None and before.held is None:
        yield AlertEvent.HELD
    if ended is AttemptStatus.LOST:
        yield AlertEvent.LOST
    if after.status is TaskStatus.PENDING and ended in (AttemptStatus.FAILED, AttemptStatus.LOST):
        yield AlertEvent.RETRYING
    if after.status.is_terminal and not before.status.is_terminal:
        yield AlertEvent(after.status.value)


def alerts_about(
    before: Task, transition: Transition, rules: Mapping[str, AlertRule], host: str | None, now: datetime
) -> tuple[Alert, ...]:
    """Return the notifications that follow from a task's move: of one event, one to each receiver."""
    after = transition.task
    return tuple(
        _alert((after.task_id, after.attempt), event, address, _facts(transition, host), now)
        for event in happened(before, transition)
        for address in _each_once(_addresses(after, event, rules), rules)
    )


def node_alerts(node: Node, rules: Iterable[AlertRule], reason: str, now: datetime) -> tuple[Alert, ...]:
    """Return the notifications about a node that was lost, one to each receiver."""
    facts = Facts(node_id=node.node_id, host=node.hostname, error=reason)
    about, event = (node.node_id, node.session_no), AlertEvent.NODE_LOST
    asking = {rule.name: rule for rule in rules if event in rule.on}
    addresses = _each_once(map(_of_rule, asking), asking)
    return tuple(_alert(about, event, address, facts, now) for address in addresses)


def _alert(
    about: tuple[str, int], event: AlertEvent, address: "_Address", facts: Facts, now: datetime
) -> Alert:
    return Alert(
        alert_id=_id(*about, event, address.key),
        line=address.line,
        rule=address.rule,
        wish=address.wish,
        without=address.without,
        also=address.also,
        event=event,
        at=now,
        facts=facts,
    )


def joint_id(alerts: Iterable[Alert]) -> str:
    """Return the id of a message about all of these: another one whenever there is one more of them."""
    ids = [alert.alert_id for alert in alerts]
    return ids[0] if len(ids) == 1 else _id(*ids)


def web_receiver(url: str) -> str:
    """Return the same for every spelling of a URL that leads to the same place."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{port_of(url)}{parts.path or '/'}?{parts.query}"


@value
class _Address:
    """`key` tells it from the task's others."""

    key: str
    rule: str | None = None
    wish: AlertWish | None = None
    without: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        if self.wish is None:
            return self.rule or ""
        listed = "listed " if self.wish.listed_only else ""
        return f"to {listed}{self.wish.http or ', '.join(self.wish.mail)}"  # no rule's name has a space


def _of_rule(name: str) -> _Address:
    return _Address(key=name, rule=name)


def _addresses(task: Task, event: AlertEvent, rules: Mapping[str, AlertRule]) -> Iterator[_Address]:
    named = {wish.rule for wish in task.spec.alerts if wish.rule is not None}
    for rule in rules.values():
        if event in rule.on and (rule.name in named or rule.chooses(task)):
            yield _of_rule(rule.name)
    if event in DEFAULT_EVENTS:
        # What was removed is an alert, so that the task's timeline tells of it.
        yield from map(_of_rule, sorted(named - rules.keys()))
    for index, wish in enumerate(task.spec.alerts):
        if wish.rule is None and event.value in (wish.on or DEFAULT_EVENTS):
            yield _Address(key=f"wish {index}", wish=wish)


def _each_once(addresses: Iterable[_Address], rules: Mapping[str, AlertRule]) -> list[_Address]:
    """Leave out who is told by an earlier one. Rules come before a task's own wishes: they are signed."""
    kept: dict[str, _Address] = {}
    teller: dict[str, str] = {}  # of each receiver, the key of its address
    for address in addresses:
        receivers = _receivers(address.wish or rules.get(address.key))
        told = tuple(receiver for receiver in receivers if receiver in teller)
        if len(told) < len(receivers) or not receivers:
            kept[address.key] = _leaving_out(address, told)
            teller |= {receiver: address.key for receiver in receivers if receiver not in told}
        elif address.rule is not None:
            first = kept[teller[told[0]]]
            kept[first.key] = replace(first, also=(*first.also, address.rule))
    return list(kept.values())


def _receivers(place: AlertRule | AlertWish | None) -> tuple[str, ...]:
    """Return whom it leads to; nobody can say that of a rule that is gone."""
    if place is None:
        return ()
    if place.http is not None:
        return (web_receiver(place.http),)
    if place.mail:
        return tuple(dict.fromkeys(map(str.lower, place.mail)))
    return (f"command {place.command}",) if isinstance(place, AlertRule) else ()


def _leaving_out(address: _Address, told: tuple[str, ...]) -> _Address:
    if address.wish is None:
        return replace(address, without=told)
    return replace(address, wish=replace(address.wish, mail=others(address.wish.mail, told)))


def others(mail: Iterable[str], without: Iterable[str]) -> tuple[str, ...]:
    """Return the addresses, each once, that are not among those in lower case."""
    left = {address.lower(): address for address in mail}
    return tuple(address for lower, address in left.items() if lower not in set(without))


def _facts(transition: Transition, host: str | None) -> Facts:
    """Tell the attempt's own end, which a task that goes back to pending has forgotten."""
    task, row = transition.task, transition.attempt
    told = task if row is None else row
    waits = task.status is TaskStatus.PENDING
    return Facts(
        task_id=task.task_id,
        name=task.spec.name,
        queue=task.spec.queue,
        labels=task.spec.labels,
        status=task.status.value,
        attempt=task.attempt,
        node_id=told.node_id,
        host=host,
        exit_code=told.exit_code,
        error_code=told.error_code,
        error=task.held or told.error or task.error,
        created_at=task.created_at,
        started_at=told.started_at,
        finished_at=told.finished_at,
        next_attempt_at=task.run_at if waits else None,
    )


def _id(*parts: object) -> str:
    text = "\n".join(map(str, parts))
    return f"msg_{hashlib.sha256(text.encode()).hexdigest()[:32]}"
