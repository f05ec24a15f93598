"""Rules of alerts, and notifications that come with a commit and go when they are settled."""

from dataclasses import replace
from typing import Any

import pytest

from podling.core.alerts import Alert, AlertEvent, AlertRule, Facts
from podling.core.errors import StaleEpoch
from podling.core.spec import AlertWish
from podling.core.task import Task, TaskEvent
from podling.store.base import Store, WriteStatus
from podling.store.ports.alerts import Settlement, Standing
from tests.builders import NOW, assignment, at, build_batch, build_task, insertion, renumbered


def rule(name: str = "ops", **fields: Any) -> AlertRule:
    return AlertRule(**({"name": name, "http": "https://hooks.example.org"} | fields))


def alert(number: int, task_id: str = "task-1", **fields: Any) -> Alert:
    defaults: dict[str, Any] = {
        "alert_id": f"msg_{number:03}",
        "line": "ops",
        "rule": "ops",
        "event": AlertEvent.FAILED,
        "at": NOW,
        "facts": Facts(task_id=task_id, name="näme", exit_code=1, error="a\tb", finished_at=at(1)),
    }
    return Alert(**(defaults | fields))


def line_of(task: Task) -> TaskEvent:
    return TaskEvent(
        task_id=task.task_id, at=NOW, type="alert_sent", actor="leader", message="sent", details={"a": 1}
    )


async def lead(store: Store) -> int:
    epoch = await store.take_leadership("one", await store.leadership())
    assert epoch is not None
    return epoch


async def test_rules_are_kept_replaced_and_removed(store: Store) -> None:
    full = rule(
        on=(AlertEvent.LOST, AlertEvent.HELD),
        queue="nightly",
        labels={"team": "a"},
        task_name="backup",
        named_only=True,
        secret="whsec_geheim",
        max_per_minute=3,
    )
    assert await store.alerts.save_rule(full) is True
    assert await store.alerts.save_rule(rule("a", http=None, mail=("me@example.org",))) is True
    assert list(await store.alerts.load_rules()) == [rule("a", http=None, mail=("me@example.org",)), full]
    assert await store.alerts.save_rule(rule()) is False
    assert (await store.alerts.load_rules())[1] == rule()
    assert await store.alerts.remove_rule("a") is True
    assert await store.alerts.remove_rule("a") is False
    assert list(await store.alerts.load_rules()) == [rule()]


async def test_alerts_come_with_their_commit_or_not_at_all(store: Store) -> None:
    task, other = build_task(), build_task()
    await store.commit(build_batch([insertion(task), insertion(other)]))
    good = replace(assignment(task), alerts=(alert(2), alert(1)))
    late = replace(assignment(other), expected_version=7, alerts=(alert(3),))
    batch = build_batch([good, late])
    results = await store.commit(batch)
    assert [result.status for result in results] == [WriteStatus.APPLIED, WriteStatus.CONFLICT]
    assert list(await store.alerts.due(NOW, 10)) == [alert(1), alert(2)]
    await store.commit(batch)  # a repeat of unknown outcome
    await store.commit(renumbered(batch))  # in conflict now
    assert list(await store.alerts.due(NOW, 10)) == [alert(1), alert(2)]


async def test_a_wish_is_kept_with_its_alert(store: Store) -> None:
    wish = AlertWish(on=("completed",), mail=("me@example.org", "you@example.org"))
    epoch = await lead(store)
    await store.alerts.add([alert(1, rule=None, wish=wish)], epoch)
    assert list(await store.alerts.due(NOW, 10)) == [alert(1, rule=None, wish=wish)]


async def test_who_is_left_out_and_who_is_meant_too_is_kept(store: Store) -> None:
    epoch = await lead(store)
    kept = alert(1, without=("me@example.org",), also=("second",))
    await store.alerts.add([kept], epoch)
    assert list(await store.alerts.due(NOW, 10)) == [kept]


async def test_due_is_by_time_within_a_limit_and_without_some_lines(store: Store) -> None:
    epoch = await lead(store)
    later = alert(1, at=at(5))
    await store.alerts.add([later, alert(3), alert(2), alert(4, line="other")], epoch)
    assert [found.alert_id for found in await store.alerts.due(at(5), 10)] == [
        *("msg_002", "msg_003", "msg_004", "msg_001")
    ]
    assert list(await store.alerts.due(at(4.9), 2)) == [alert(2), alert(3)]
    assert list(await store.alerts.due(at(5), 10, ["ops"])) == [alert(4, line="other")]
    assert not await store.alerts.due(at(-1), 10)


async def test_what_is_added_again_stays_as_it_is(store: Store) -> None:
    epoch = await lead(store)
    await store.alerts.add([alert(1)], epoch)
    put_off = Settlement(alert=alert(1), at=NOW, due_at=at(60), error="busy")
    await store.alerts.settle([put_off], epoch)
    await store.alerts.add([alert(1)], epoch)
    assert not await store.alerts.due(NOW, 10)
    assert list(await store.alerts.due(at(60), 10)) == [alert(1, tries=1)]


async def test_settling_takes_off_and_tells_once(store: Store) -> None:
    task = build_task()
    await store.commit(build_batch([insertion(task)]))
    epoch = await lead(store)
    await store.alerts.save_rule(rule())
    await store.alerts.add([alert(1, task.task_id), alert(2, task.task_id)], epoch)
    assert dict(await store.alerts.standings()) == {"ops": Standing(pending=2)}
    failed = Settlement(alert=alert(2, task.task_id), at=NOW, due_at=at(5), error="busy")
    await store.alerts.settle([failed], epoch)
    assert dict(await store.alerts.standings()) == {"ops": Standing(pending=2, last_at=NOW, error="busy")}
    sent = Settlement(alert=alert(1, task.task_id), at=at(1), event=line_of(task))
    await store.alerts.settle([sent], epoch)
    await store.alerts.settle([sent], epoch)  # a repeat of unknown outcome
    assert list(await store.load_events(task.task_id)) == [line_of(task)]
    assert dict(await store.alerts.standings()) == {"ops": Standing(pending=1, last_at=at(1))}
    assert list(await store.alerts.due(at(5), 10)) == [alert(2, task.task_id, tries=1)]


async def test_a_line_about_a_task_that_is_gone_is_left_out(store: Store) -> None:
    epoch = await lead(store)
    await store.alerts.add([alert(1)], epoch)
    gone = build_task()
    await store.alerts.settle([Settlement(alert=alert(1), at=NOW, event=line_of(gone))], epoch)
    assert not await store.load_events(gone.task_id)
    assert not await store.alerts.due(NOW, 10)


async def test_only_the_leader_adds_and_settles(store: Store) -> None:
    epoch = await lead(store)
    await store.alerts.add([alert(1)], epoch)
    with pytest.raises(StaleEpoch):
        await store.alerts.add([alert(2)], epoch + 1)
    with pytest.raises(StaleEpoch):
        await store.alerts.settle([Settlement(alert=alert(1), at=NOW)], epoch + 1)
    assert list(await store.alerts.due(NOW, 10)) == [alert(1)]
