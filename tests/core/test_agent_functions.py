"""What the agent does with a function: made and started in one go, and nothing to be removed after it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from podling.core.agent import AgentState, step
from podling.core.agent_events import (
    Acknowledged,
    Assigned,
    Condition,
    Event,
    Exited,
    ExitWritten,
    IntentWritten,
    JournalRow,
    LogsSaved,
    Moment,
    Prepared,
    Restored,
    Seen,
    Started,
)
from podling.core.agent_instructions import (
    Forget,
    Instruction,
    Prepare,
    Remove,
    SaveLogs,
    Send,
    WriteExit,
    WriteIntent,
    WriteNotes,
)
from podling.core.protocol import Assignment, AttemptKey, ReportKind, ReportOutcome
from podling.core.spec import ContainerSpec, Delivery, Runtime
from tests.builders import NOW, build_spec
from tests.core.agent_model import assignment

KEYS = tuple(AttemptKey(task_id=f"t{number}", attempt=1) for number in range(3))
MOMENT = Moment(monotonic=10.0, wall=NOW)


class Agent:
    """Takes events; `told` is what followed from the last of them."""

    def __init__(self) -> None:
        self.state = AgentState(runtimes=frozenset({"python"}))
        self.told: tuple[Instruction, ...] = ()

    def take(self, *events: Event) -> list[type[Instruction]]:
        self.state, self.told = step(self.state, events, MOMENT)
        return [type(one) for one in self.told]


def given(key: AttemptKey, **fields: Any) -> Assignment:
    spec = build_spec(runtime=Runtime.PYTHON, handler="a", containers=(ContainerSpec(),), **fields)
    return replace(assignment(), task_id=key.task_id, attempt=key.attempt, spec=spec)


def seen(key: AttemptKey, condition: Condition, **fields: Any) -> Seen:
    name = ContainerSpec().name
    return Seen(
        task_id=key.task_id,
        attempt=1,
        container_name=name,
        container_id=f"c-{key.task_id}",
        condition=condition,
        **fields,
    )


def exited(key: AttemptKey, is_silent: bool) -> Exited:
    times = {"started_at": NOW, "finished_at": NOW + timedelta(milliseconds=2)}
    return Exited(seen=seen(key, Condition.EXITED, exit_code=0, is_silent=is_silent, **times))


def acknowledged(agent: Agent) -> Acknowledged:
    return Acknowledged(outcomes=dict.fromkeys(agent.state.outbox, ReportOutcome.APPLIED))


def test_many_go_through_their_lives_in_five_steps_without_a_note_or_a_removal() -> None:
    agent = Agent()
    assert agent.take(Assigned(items=tuple(map(given, KEYS)))) == [WriteIntent] * 3
    assert agent.take(*(IntentWritten(key=key) for key in KEYS)) == [Prepare] * 3
    assert all(one.starts for one in agent.told if isinstance(one, Prepare))
    assert agent.take(*(exited(key, is_silent=True) for key in KEYS)) == [WriteExit] * 3
    assert not agent.state.outbox, "reported before the end is on disk"
    assert agent.take(*(ExitWritten(key=key) for key in KEYS)) == [Send] * 3
    reports = agent.state.outbox.values()
    assert {(report.kind, report.exit_code, report.started_at) for report in reports} == {
        (ReportKind.ENDED, 0, NOW)
    }
    assert agent.take(acknowledged(agent)) == [Forget] * 3
    assert not agent.state.attempts
    assert set(agent.state.done) == set(KEYS)


def test_one_that_has_written_something_is_saved_and_removed() -> None:
    agent, key = Agent(), KEYS[0]
    agent.take(Assigned(items=(given(key),)))
    agent.take(IntentWritten(key=key))
    assert set(agent.take(exited(key, is_silent=False))) == {SaveLogs, WriteExit}
    agent.take(ExitWritten(key=key))
    assert agent.take(acknowledged(agent)) == []
    assert agent.take(LogsSaved(key=key)) == [Remove]


def test_a_start_that_is_told_after_the_end_is_no_news() -> None:
    agent, key = Agent(), KEYS[0]
    agent.take(Assigned(items=(given(key),)))
    agent.take(IntentWritten(key=key))
    agent.take(exited(key, is_silent=True))
    before = agent.state
    late = Started(key=key, container=ContainerSpec().name, seen=seen(key, Condition.RUNNING))
    assert agent.take(late) == []
    assert agent.state == before


def test_what_must_start_once_has_its_note_on_disk_before_it_starts() -> None:
    agent, key = Agent(), KEYS[0]
    agent.take(Assigned(items=(given(key, delivery=Delivery.AT_MOST_ONCE),)))
    assert agent.take(IntentWritten(key=key)) == [Prepare]
    (prepare,) = agent.told
    assert isinstance(prepare, Prepare)
    assert not prepare.starts
    made = seen(key, Condition.CREATED)
    assert agent.take(Prepared(key=key, container=prepare.container, seen=made)) == [WriteNotes]


@pytest.mark.parametrize("has_log", [True, False])
def test_after_a_restart_only_a_log_that_is_there_is_saved(has_log: bool) -> None:
    agent, key = Agent(), KEYS[0]
    agent.take(Assigned(items=(given(key),)))
    agent.take(IntentWritten(key=key))
    agent.take(exited(key, is_silent=not has_log))
    (final,) = [one.final for one in agent.told if isinstance(one, WriteExit)]
    row = JournalRow(key=key, assignment=given(key), final=final)
    found = (seen(key, Condition.EXITED),) if has_log else ()
    assert (SaveLogs in Agent().take(Restored(rows=(row,), seen=found))) == has_log


def test_a_later_attempt_waits_for_the_earlier_one_and_then_starts() -> None:
    agent, first = Agent(), KEYS[0]
    second = AttemptKey(task_id=first.task_id, attempt=2)
    agent.take(Assigned(items=(given(first),)))
    agent.take(IntentWritten(key=first))
    agent.take(Assigned(items=(given(second),)))
    assert agent.take(IntentWritten(key=second)) == []
    assert agent.state.behind == {second}
    assert agent.take(exited(first, is_silent=True)) == [WriteExit, Prepare]
    assert not agent.state.behind
