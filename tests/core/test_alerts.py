"""What of a task's move is told, and to whom."""

from dataclasses import replace
from typing import Any

import pytest

from podling.core.alert_message import MOST_NAMED, body_of, headline, message_of, text_of
from podling.core.alerts import Alert, AlertEvent, AlertRule, Facts, alerts_about, happened, node_alerts
from podling.core.lifecycle import Assign, Cancel, DeclareLost, Event, QueueTimeout, Resolve, apply
from podling.core.protocol import ReportKind
from podling.core.spec import AlertWish, OnLost
from podling.core.task import Resolution, Task
from podling.wire.codec import encode
from tests.builders import NOW, at, build_node, build_task, ended, reported


def scheduled(**fields: Any) -> Task:
    return apply(build_task(**fields), Assign(node_id="node-1"), NOW).task


def events(task: Task, event: Event, now: float = 1) -> list[str]:
    return [str(found) for found in happened(task, apply(task, event, at(now)))]


@pytest.mark.parametrize(
    ("fields", "report", "told"),
    [
        ({}, {}, ["completed"]),
        ({}, {"exit_code": 1, "error_code": "EXIT_CODE"}, ["failed"]),
        ({"max_attempts": 2}, {"exit_code": 1, "error_code": "EXIT_CODE"}, ["retrying"]),
        ({"max_losses": 1}, {"exit_code": None, "error_code": "RUNTIME"}, ["retrying"]),
    ],
)
def test_an_end_is_told(fields: dict[str, Any], report: dict[str, Any], told: list[str]) -> None:
    task = scheduled(**fields)
    assert events(task, ended(task, **report)) == told


def test_other_moves() -> None:
    lost = DeclareLost(attempt=1, reason="gone")
    assert events(scheduled(), lost) == ["lost", "retrying"]
    assert events(scheduled(max_losses=0), lost) == ["lost", "failed"]
    held = scheduled(on_lost=OnLost.HOLD)
    assert events(held, lost) == ["held"]
    waiting = apply(held, lost, at(1)).task
    assert events(waiting, lost) == []
    assert events(waiting, Resolve(outcome=Resolution.FAILED)) == ["lost", "failed"]
    assert events(waiting, Resolve(outcome=Resolution.COMPLETED)) == ["completed"]
    assert events(build_task(), Cancel()) == ["cancelled"]
    assert events(scheduled(), Cancel()) == []
    assert events(build_task(), Assign(node_id="node-1")) == []
    assert events(build_task(queue_timeout_seconds=1), QueueTimeout(), 5) == ["failed"]
    task = scheduled()
    assert events(task, reported(task, ReportKind.RUNNING)) == []
    assert events(task, reported(task, ReportKind.REFUSED, never_started=True)) == []


def found(task: Task, *rules: AlertRule) -> list[tuple[str | None, str]]:
    transition = apply(task, ended(task, exit_code=1, error_code="EXIT_CODE"), at(1))
    alerts = alerts_about(task, transition, {rule.name: rule for rule in rules}, "one.test", NOW)
    assert len({alert.alert_id for alert in alerts}) == len(alerts)
    return [(alert.rule, alert.line) for alert in alerts]


def test_a_rule_that_is_named_counts_whatever_it_chooses() -> None:
    rule = AlertRule(name="ops", queue="other", http="https://example.org")
    assert found(scheduled(), rule) == []
    assert found(scheduled(alerts=(AlertWish(rule="ops"),)), rule) == [("ops", "ops")]
    everybody = AlertRule(name="ops", http="https://example.org")
    assert found(scheduled(alerts=(AlertWish(rule="ops"),)), everybody) == [("ops", "ops")]
    assert found(scheduled(alerts=(AlertWish(rule="ops"),)), replace(rule, on=(AlertEvent.LOST,))) == []


def test_a_rule_that_is_gone_is_still_an_alert() -> None:
    assert found(scheduled(alerts=(AlertWish(rule="ops"),))) == [("ops", "ops")]


def test_wishes_are_for_failures_unless_they_say_otherwise() -> None:
    wishes = (
        AlertWish(http="https://example.org/a"),
        AlertWish(mail=("me@example.org", "you@example.org")),
        AlertWish(on=("completed",), http="https://example.org/b"),
    )
    assert found(scheduled(alerts=wishes)) == [
        (None, "to https://example.org/a"),
        (None, "to me@example.org, you@example.org"),
    ]


def receivers(task: Task, *rules: AlertRule) -> list[tuple[str | None, tuple[str, ...], tuple[str, ...]]]:
    transition = apply(task, ended(task, exit_code=1, error_code="EXIT_CODE"), at(1))
    alerts = alerts_about(task, transition, {rule.name: rule for rule in rules}, "one.test", NOW)
    return [
        (alert.rule, alert.without or (alert.wish.mail if alert.wish else ()), alert.also) for alert in alerts
    ]


def test_nobody_is_told_twice_by_mail() -> None:
    me = AlertRule(name="a", mail=("me@example.org", "ME@example.org"))
    assert receivers(scheduled(alerts=(AlertWish(mail=("Me@Example.org",)),)), me) == [("a", (), ())]
    wish = AlertWish(mail=("me@example.org", "you@example.org"))
    assert receivers(scheduled(alerts=(wish, wish)), me) == [
        ("a", (), ()),
        (None, ("you@example.org",), ()),
    ]
    both = AlertRule(name="b", mail=("me@example.org", "you@example.org"))
    assert receivers(scheduled(alerts=(wish,)), me, both) == [("a", (), ()), ("b", ("me@example.org",), ())]
    assert receivers(scheduled(), replace(me, on=(AlertEvent.LOST,)), both) == [("b", (), ())]


def test_one_call_for_all_rules_and_wishes_of_a_url() -> None:
    first, second = (AlertRule(name=name, http="https://example.org/x") for name in "ab")
    wishes = (AlertWish(http="HTTPS://Example.org:443/x"), AlertWish(http="https://example.org/X"))
    assert receivers(scheduled(alerts=wishes), first, second) == [("a", (), ("b",)), (None, (), ())]


def test_one_run_of_a_command_for_all_its_rules() -> None:
    first, second, other = (
        AlertRule(name=name, command=command)
        for name, command in (("a", "page"), ("b", "page"), ("c", "log"))
    )
    assert receivers(scheduled(), first, second, other) == [("a", (), ("b",)), ("c", (), ())]


def test_of_a_lost_node_everybody_hears_once() -> None:
    rules = [
        AlertRule(name=name, mail=("me@example.org", *more), on=(AlertEvent.NODE_LOST,))
        for name, more in (("a", ()), ("b", ()), ("c", ("you@example.org",)))
    ]
    alerts = node_alerts(build_node("node-1"), rules, "silent", NOW)
    assert [(alert.rule, alert.without) for alert in alerts] == [("a", ()), ("c", ("me@example.org",))]


def test_ids_tell_events_attempts_and_rules_apart_and_nothing_else() -> None:
    rule = AlertRule(name="ops", http="https://example.org", on=tuple(AlertEvent))
    task = scheduled(max_attempts=3)
    ids = set()
    for _ in range(3):
        move = apply(task, ended(task, exit_code=1, error_code="EXIT_CODE"), at(1))
        first, again = (alerts_about(task, move, {"ops": rule}, None, at(n)) for n in (1, 2))
        assert [alert.alert_id for alert in first] == [alert.alert_id for alert in again]
        ids |= {alert.alert_id for alert in first}
        if not move.task.status.is_terminal:
            task = apply(move.task, Assign(node_id="node-1"), at(2)).task
    assert len(ids) == 3


def test_a_node_is_told_to_the_rules_that_ask_for_it() -> None:
    rules = [
        AlertRule(name="a", http="https://example.org"),
        AlertRule(name="b", mail=("me@example.org",), on=(AlertEvent.NODE_LOST,)),
    ]
    (alert,) = node_alerts(build_node("node-1", session_no=4), rules, "silent", NOW)
    assert (alert.rule, alert.facts.host, alert.facts.error) == ("b", "node-1.local", "silent")
    (later,) = node_alerts(build_node("node-1", session_no=5), rules, "silent", NOW)
    assert later.alert_id != alert.alert_id


def alert(number: int = 1, **facts: Any) -> Alert:
    told = {"task_id": f"task-{number}", "name": "nightly", "status": "failed", "attempt": 1} | facts
    return Alert(
        alert_id=f"msg_{number}", line="ops", rule="ops", event=AlertEvent.FAILED, at=NOW, facts=Facts(**told)
    )


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"host": "db-3", "exit_code": 1}, "nightly failed on db-3: exit code 1"),
        ({"node_id": "n1", "error_code": "TIMEOUT"}, "nightly failed on n1: TIMEOUT"),
        ({"error_code": "QUEUE_TIMEOUT"}, "nightly failed: QUEUE_TIMEOUT"),
        ({"name": "a\r\nBcc: x"}, "a  Bcc: x failed"),
        ({"name": "x" * 300}, "x" * 199 + "…"),
    ],
)
def test_the_headline_is_one_line(facts: dict[str, Any], line: str) -> None:
    assert headline(alert(**facts)) == line


def test_one_message_for_many() -> None:
    many = [alert(number) for number in range(30)]
    message = message_of(many)
    assert message.subject == "podling: nightly failed (and 29 more)"
    assert message.message_id not in {item.alert_id for item in many}
    assert message.message_id == message_of(many).message_id != message_of(many[:-1]).message_id
    body = body_of(message, "cluster")
    assert (body["moreCount"], len(body["more"])) == (29, MOST_NAMED)
    assert b'"taskId":"task-0"' in encode(body)
    text = text_of(message, "", "")
    assert "And 29 more:" in text and "and 9 that are not named here" in text
    assert message_of(many[:1]).message_id == "msg_0"
