"""What one batch does, and what it refuses."""

from dataclasses import replace

import pytest

from podling.core.errors import StaleEpoch
from podling.core.lifecycle import Cancel
from podling.core.protocol import ReportKind
from podling.core.spec import (
    Affinity,
    Constraint,
    ContainerSpec,
    Mount,
    MountType,
    Operator,
    Placement,
    Port,
    ResourceRequirements,
    RetryPolicy,
)
from podling.core.task import (
    AttemptStatus,
    ContainerState,
    ContainerStatus,
    HealthStatus,
    StopReason,
    Task,
    TaskEvent,
    TaskStatus,
)
from podling.store.base import Store, TaskWrite
from tests.builders import (
    NOW,
    assignment,
    at,
    build_batch,
    build_spec,
    build_task,
    ended,
    happening,
    insertion,
    reported,
)
from tests.store.conformance.committing import APPLIED, CONFLICT, commit, stored


def rich_task() -> Task:
    """Return a task with every field set to something."""
    container = ContainerSpec(
        name="main",
        image="busybox:local",
        command=("sh", "-c"),
        args=("echo 'ü \\ \"'",),
        env={"KEY": "value", "EMPTY": "", "UNICODE": "日本\n"},
        working_dir="/tmp",
        user="1000:1000",
        ports=(Port(container_port=80, host_port=0, name="http"),),
        resources=ResourceRequirements(requests={"cpu": 100, "memory": 2**40}, limits={"cpu": 200}),
        mounts=(Mount(type=MountType.VOLUME, target="/data", source="data", read_only=True),),
        tmpfs={"/run": "size=1m"},
        stop_signal="SIGINT",
        stop_grace_seconds=2.5,
        init=True,
    )
    spec = build_spec(
        containers=(container, ContainerSpec(name="side", image="other:local")),
        labels={"app": "web", "tier": "ü"},
        queue="fast",
        priority=-7,
        run_at=at(60),
        idempotency_key="rich",
        max_attempts=3,
        retry=RetryPolicy(base_seconds=0.5, on=("TIMEOUT", "exit:75"), not_on=("OOM",)),
        timeout_seconds=10.5,
        queue_timeout_seconds=20.0,
        deadline_seconds=30.0,
        placement=Placement(
            node_selector={"disk": "ssd"},
            constraints=(Constraint(label="zone", operator=Operator.NOT_IN, values=("a", "b")),),
            affinity=(Affinity(label="gpu", operator=Operator.EXISTS, weight=-3),),
            spread="zone",
        ),
        replay_of="task-0",
        handler="email.send",
        payload='{"to":[1e+22,null,"ü \\u2028"]}',
    )
    state = ContainerState(
        name="main",
        status=ContainerStatus.TERMINATED,
        container_id="c" * 64,
        image_digest="sha256:1",
        started_at=at(1),
        finished_at=at(2),
        exit_code=137,
        error="killed",
        restart_count=2,
    )
    return build_task(
        spec=spec,
        status=TaskStatus.RUNNING,
        version=5,
        run_at=at(60),
        attempt=2,
        node_id="node-1",
        scheduled_at=at(0.25),
        started_at=at(1),
        finished_at=at(2.000001),
        failures=1,
        losses=1,
        exit_code=-1,
        error_code="SIGNAL",
        error='it\'s \\ "quoted" ü\n',
        dead_letter_reason="why",
        stop_reason=StopReason.CANCEL,
        stop_requested_at=at(3),
        held="its node is lost",
        health_status=HealthStatus.UNHEALTHY,
        containers=(state,),
    )


async def test_a_task_is_read_as_it_was_written(store: Store) -> None:
    task = rich_task()
    assert await commit(store, insertion(task)) == [APPLIED]
    assert await stored(store, task) == task


async def test_an_ended_task_is_read_as_it_was_written(store: Store) -> None:
    task = replace(rich_task(), status=TaskStatus.FAILED)
    assert await commit(store, insertion(task)) == [APPLIED]
    assert await stored(store, task) == task


async def test_unknown_ids_are_left_out(store: Store) -> None:
    task = build_task()
    await commit(store, insertion(task))
    assert await store.load_tasks(["nobody", task.task_id, task.task_id]) == {task.task_id: task}
    assert await store.load_tasks([]) == {}
    assert list(await store.load_attempts("nobody")) == []
    assert list(await store.load_events("nobody")) == []


async def test_an_empty_batch_is_answered(store: Store) -> None:
    assert await commit(store) == []


async def test_an_update_needs_the_version_that_the_store_holds(store: Store) -> None:
    task = build_task(version=3)
    await commit(store, insertion(task))
    changed = replace(task, version=4, error="changed")
    for wrong in (2, 4):
        assert await commit(store, TaskWrite(task=changed, expected_version=wrong)) == [CONFLICT]
    assert await stored(store, task) == task
    assert await commit(store, TaskWrite(task=changed, expected_version=3)) == [APPLIED]
    assert await stored(store, task) == changed


async def test_an_update_of_an_unknown_task_is_a_conflict(store: Store) -> None:
    task = build_task()
    assert await commit(store, TaskWrite(task=task, expected_version=1)) == [CONFLICT]
    assert await stored(store, task) is None


async def test_an_id_is_inserted_once(store: Store) -> None:
    task = build_task()
    await commit(store, insertion(task))
    other = replace(task, spec=build_spec(name="other"))
    assert await commit(store, insertion(other)) == [CONFLICT]
    assert await stored(store, task) == task


async def test_the_id_of_an_ended_task_stays_taken(store: Store) -> None:
    task = build_task()
    await commit(store, insertion(task))
    await commit(store, happening(task, Cancel()))
    assert await commit(store, insertion(task)) == [CONFLICT]


async def test_each_write_is_refused_by_itself(store: Store) -> None:
    known, free = build_task(), build_task()
    await commit(store, insertion(known))
    stale = TaskWrite(task=replace(known, version=9), expected_version=8)
    lost = TaskWrite(task=build_task(), expected_version=1)
    result = await store.commit(build_batch([lost, insertion(free), stale, insertion(known)]))
    assert [item.status for item in result] == [CONFLICT, APPLIED, CONFLICT, CONFLICT]
    assert [item.task_id for item in result] == [
        lost.task.task_id,
        free.task_id,
        known.task_id,
        known.task_id,
    ]
    assert await stored(store, free) == free


async def test_of_two_writes_of_one_version_in_a_batch_the_first_counts(store: Store) -> None:
    task = build_task()
    await commit(store, insertion(task))
    first = assignment(task, "node-1")
    second = assignment(task, "node-2")
    assert await commit(store, first, second) == [APPLIED, CONFLICT]
    assert await stored(store, task) == first.task
    assert list(await store.load_attempts(task.task_id)) == list(first.attempts)


async def test_of_two_inserts_of_one_id_in_a_batch_the_first_counts(store: Store) -> None:
    task = build_task()
    assert await commit(store, insertion(task), insertion(replace(task, version=2))) == [APPLIED, CONFLICT]
    assert await stored(store, task) == task


async def test_one_batch_may_take_a_task_several_steps(store: Store) -> None:
    task = build_task()
    assigned = assignment(task)
    done = happening(assigned.task, ended(assigned.task))
    assert await commit(store, insertion(task), assigned, done) == [APPLIED] * 3
    assert await stored(store, task) == done.task
    assert list(await store.load_attempts(task.task_id)) == list(done.attempts)


async def test_a_large_batch_is_applied_in_its_order(store: Store) -> None:
    tasks = [build_task() for _ in range(300)]
    tasks.reverse()
    result = await store.commit(build_batch(map(insertion, tasks)))
    assert [item.task_id for item in result] == [task.task_id for task in tasks]
    assert {item.status for item in result} == {APPLIED}
    assert await store.load_tasks([task.task_id for task in tasks]) == {task.task_id: task for task in tasks}


# Attempts and events


async def test_attempts_are_replaced_whole_and_listed_oldest_first(store: Store) -> None:
    task = build_task(max_attempts=3)
    first = assignment(task, "node-1")
    failed = happening(first.task, ended(first.task, exit_code=75, error_code="EXIT_CODE", error="no"))
    second = assignment(failed.task, "node-2", at(60))
    await commit(store, insertion(task))
    await commit(store, first)
    await commit(store, failed)
    await commit(store, second)
    rows = await store.load_attempts(task.task_id)
    assert list(rows) == [*failed.attempts, *second.attempts]
    assert [(row.attempt, row.status) for row in rows] == [
        (1, AttemptStatus.FAILED),
        (2, AttemptStatus.SCHEDULED),
    ]


async def test_ten_and_more_attempts_are_in_order_of_their_numbers(store: Store) -> None:
    task = build_task()
    template = assignment(task).attempts[0]
    rows = tuple(replace(template, attempt=number) for number in range(1, 13))
    await commit(store, TaskWrite(task=task, attempts=tuple(reversed(rows))))
    assert list(await store.load_attempts(task.task_id)) == list(rows)
    assert list(await store.load_attempts(task.task_id, 9, 2)) == list(rows[9:11])
    assert list(await store.load_attempts(task.task_id, 11, 2)) == list(rows[11:])


async def test_events_are_kept_in_order_of_their_commit(store: Store) -> None:
    task = build_task()
    lines = [
        TaskEvent(
            task_id=task.task_id,
            at=at(-number),  # commits, not clocks, say what came first
            type="note",
            actor="client",
            message=f"line {number}",
            attempt=number or None,
            details={"number": number, "nested": {"list": [1, None, "ü"]}},
        )
        for number in range(4)
    ]
    await commit(store, TaskWrite(task=task, events=tuple(lines[:2])))
    changed = replace(task, version=2)
    await commit(store, TaskWrite(task=changed, expected_version=1, events=(lines[2],)))
    finished = replace(changed, version=3, status=TaskStatus.CANCELLED)
    await commit(store, TaskWrite(task=finished, expected_version=2, events=(lines[3],)))
    assert list(await store.load_events(task.task_id)) == lines


async def test_a_refused_write_leaves_no_attempt_and_no_event(store: Store) -> None:
    task = build_task()
    await commit(store, insertion(task))
    line = TaskEvent(task_id=task.task_id, at=NOW, type="note", actor="client", message="no")
    write = replace(assignment(task), expected_version=7, events=(line,))
    assert await commit(store, write) == [CONFLICT]
    assert list(await store.load_attempts(task.task_id)) == []
    assert list(await store.load_events(task.task_id)) == []


# The end


async def test_an_ended_task_stays_visible_with_its_attempts(store: Store) -> None:
    task = build_task()
    assigned = assignment(task)
    running = happening(assigned.task, reported(assigned.task, ReportKind.RUNNING, started_at=at(1)))
    done = happening(running.task, ended(running.task, finished_at=at(2)))
    for write in (insertion(task), assigned, running, done):
        assert await commit(store, write) == [APPLIED]
    assert await stored(store, task) == done.task
    assert list(await store.load_attempts(task.task_id)) == list(done.attempts)


async def test_an_ended_task_never_comes_back_to_life(store: Store) -> None:
    task = build_task()
    await commit(store, insertion(task))
    gone = happening(task, Cancel())
    await commit(store, gone)
    revived = replace(task, version=gone.task.version + 1)
    write = TaskWrite(task=revived, expected_version=gone.task.version)
    assert await commit(store, write) == [CONFLICT]
    assert await commit(store, assignment(task)) == [CONFLICT]
    assert await stored(store, task) == gone.task


async def test_what_is_learned_later_may_be_added_to_an_ended_task(store: Store) -> None:
    task = build_task()
    await commit(store, insertion(task))
    gone = happening(task, Cancel())
    await commit(store, gone)
    noted = replace(gone.task, version=gone.task.version + 1, error="and this")
    stale = TaskWrite(task=noted, expected_version=gone.task.version - 1)
    assert await commit(store, stale) == [CONFLICT]
    assert await commit(store, TaskWrite(task=noted, expected_version=gone.task.version)) == [APPLIED]
    assert await stored(store, task) == noted


async def test_a_batch_under_the_present_epoch_is_written(store: Store) -> None:
    epoch = await store.take_leadership("m1", await store.leadership())
    task = build_task()
    assert await commit(store, insertion(task), epoch=epoch) == [APPLIED]
    assert await store.renew_leadership("m1", epoch or 0)
    assert await commit(store, assignment(task), epoch=epoch) == [APPLIED]


def given(task: Task) -> TaskWrite:
    """Return the write that makes the task and gives it its node."""
    return replace(assignment(task), expected_version=None)


async def test_a_new_task_may_have_its_node_in_the_commit_that_makes_it(store: Store) -> None:
    epoch = await store.take_leadership("m1", await store.leadership())
    first, third, fourth = build_task(), build_task(), build_task()
    keyed = build_task(idempotency_key="k")
    writes = (given(first), replace(given(keyed), body_hash="hash"), insertion(third))
    assert await commit(store, *writes, epoch=epoch) == [APPLIED] * 3
    assert await commit(store, given(fourth), insertion(build_task()), epoch=epoch) == [APPLIED] * 2
    for task in (first, keyed, fourth):
        assert await stored(store, task) == assignment(task).task
        assert [row.attempt for row in await store.load_attempts(task.task_id)] == [1]
    assert [task.task_id for task in await store.ready_page(10)][:1] == [third.task_id]
    assert {task.task_id for task in (await store.snapshot()).live_tasks} == {
        first.task_id,
        keyed.task_id,
        fourth.task_id,
    }


async def test_nothing_of_a_leader_that_was_replaced_is_made(store: Store) -> None:
    epoch = await store.take_leadership("m1", await store.leadership())
    await store.take_leadership("m2", await store.leadership())
    alone, keyed = build_task(), build_task(idempotency_key="k")
    for write in (given(alone), given(keyed), insertion(alone)):
        with pytest.raises(StaleEpoch):
            await commit(store, write, epoch=epoch)
    assert await stored(store, alone) is None and await stored(store, keyed) is None
    assert await store.load_attempts(alone.task_id) == []
    assert await commit(store, insertion(keyed, "hash")) == [APPLIED]


async def test_nothing_of_a_leader_that_has_resigned_is_made(store: Store) -> None:
    epoch = await store.take_leadership("m1", await store.leadership())
    assert epoch is not None
    await store.resign_leadership("m1", epoch)
    with pytest.raises(StaleEpoch):
        await commit(store, given(task := build_task()), epoch=epoch)
    assert await stored(store, task) is None


async def test_a_repeated_batch_of_given_tasks_gets_its_first_answer(store: Store) -> None:
    epoch = await store.take_leadership("m1", await store.leadership())
    batch = build_batch([given(task := build_task())], epoch=epoch)
    assert await store.commit(batch) == await store.commit(batch)
    await store.take_leadership("m2", await store.leadership())
    assert [result.status for result in await store.commit(batch)] == [APPLIED]
    assert await stored(store, task) == assignment(task).task


async def test_a_given_task_whose_id_is_taken_is_refused_alone(store: Store) -> None:
    epoch = await store.take_leadership("m1", await store.leadership())
    await commit(store, insertion(known := build_task()))
    assert await commit(store, given(known), given(task := build_task()), epoch=epoch) == [CONFLICT, APPLIED]
    assert await stored(store, known) == known
    assert await stored(store, task) == assignment(task).task
