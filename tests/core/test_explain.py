"""One sentence for every state that a task can reach."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.core.backoff import FIRST_SECONDS
from podling.core.explain import MOST_NODES, explain
from podling.core.lifecycle import EventKind
from podling.core.node import Drain, Node, NodeStatus
from podling.core.spec import OnLost
from podling.core.task import HealthStatus, Task, TaskStatus
from podling.core.view import View
from tests.builders import NOW, at, build_task
from tests.core.clusters import clusters, on, sized, view_of, wanting
from tests.core.histories import History, Step, histories

OFFLINE = NodeStatus.OFFLINE


def lived(task: Task, *steps: Step) -> History:
    history = History(task=task)
    for step in steps:
        history.take(step)
    assert not history.refusals
    return history


def summary(history: History, view: View | None = None, ahead: int = 0) -> str:
    view = view or view_of(sized("node-1"))
    return explain(history.task, history.rows(), view, ahead, history.now).summary


@given(histories, clusters(), st.integers(0, 10_000))
def test_every_reachable_state_is_explained_in_one_sentence(
    history: History, cluster: list[Node], ahead: int
) -> None:
    explanation = explain(history.task, history.rows(), view_of(*cluster), ahead, history.now, 0.0)
    text = explanation.summary
    assert text.endswith(".")
    assert text[0].isupper()
    assert "\n" not in text
    assert ". " not in text
    assert text.isprintable()
    assert len(text) < 1200
    assert explanation.reasons
    assert all(
        reason.code == reason.code.strip().lower() and reason.message for reason in explanation.reasons
    )
    assert explanation.next_event_at is None or explanation.next_event_at > history.now


def test_a_task_that_is_not_due_says_when_it_is() -> None:
    task = build_task(run_at=at(60))
    explanation = explain(task, [], View(), 0, NOW)
    assert explanation.summary == "It waits for its time, 2026-03-01T12:01:00Z, before which it must not run."
    assert explanation.next_event_at == at(60)
    assert [reason.code for reason in explanation.reasons] == ["not_due"]
    assert explanation.queue_position is None


def test_a_task_that_waits_for_its_retry_says_what_happened_and_what_to_do() -> None:
    history = lived(
        build_task(max_attempts=3),
        Step(kind=EventKind.ASSIGN),
        Step(kind=EventKind.STARTED),
        Step(kind=EventKind.ENDED, error_code="OOM", error="used 64 MiB", exit_code=137),
    )
    explanation = explain(history.task, history.rows(), View(), 0, history.now)
    assert explanation.summary == (
        "It waits until 2026-03-01T12:00:05Z for attempt 2, because attempt 1 failed on node node-1"
        " with OOM (used 64 MiB)."
    )
    assert explanation.advice is not None
    assert "memory" in explanation.advice
    assert explanation.next_event_at == history.task.run_at


def test_a_task_in_line_says_its_position() -> None:
    history = History(task=build_task())
    assert summary(history, ahead=4) == "It waits for its turn: 4 tasks are before it."
    assert summary(history, ahead=1) == "It waits for its turn: 1 task is before it."
    assert "next in line" in summary(history)
    explanation = explain(history.task, [], view_of(sized("node-1")), 4, NOW)
    assert explanation.queue_position == 5
    assert [fit.fits for fit in explanation.nodes] == [True]


def test_a_task_that_fits_nowhere_counts_why_and_details_the_nodes() -> None:
    task = wanting({"cpu": 500}, node_selector={"zone": "eu"})
    view = view_of(
        sized("a", labels={"zone": "us"}),
        sized("b", cpu=100, labels={"zone": "eu"}),
        sized("c", cordoned=True, labels={"zone": "eu"}),
        sized("d", cpu=100, labels={"zone": "eu"}),
    )
    explanation = explain(task, [], view, 0, NOW)
    assert explanation.summary == (
        "It waits because none of 4 nodes fits: 2 insufficient cpu, 1 cordoned, 1 label zone != eu."
    )
    codes = [reason.code for reason in explanation.reasons]
    assert codes == ["insufficient_cpu", "cordoned", "label_mismatch"]
    lacks = {fit.node_id: fit.lacks for fit in explanation.nodes}
    assert lacks["a"] == ("label zone != eu: it is us",)
    assert lacks["b"] == ("insufficient cpu: 500 wanted, 100 of 100 free",)
    assert lacks["c"] == ("it is cordoned",)


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (View(), "Start a worker"),
        (view_of(sized("a", cpu=400)), "No node has 500 millicores of cpu, the largest has 400"),
        (view_of(sized("a"), on(wanting({"cpu": 3900}), "a")), "Wait until tasks end"),
        (view_of(sized("a", slots=0)), "--capacity"),
        (view_of(sized("a", cordoned=True)), "Uncordon"),
        (view_of(sized("a", runtimes=("process",))), "--runtime"),
        (view_of(sized("a", unhealthy="no answer")), "container engine"),
        (view_of(sized("a", cordoned=True), *(sized(f"off-{n}", status=OFFLINE) for n in "12")), "Uncordon"),
    ],
)
def test_the_advice_follows_what_the_nodes_lack(view: View, words: str) -> None:
    explanation = explain(wanting({"cpu": 500}), [], view, 0, NOW)
    assert explanation.advice is not None
    assert words in explanation.advice


def test_who_waits_for_a_node_that_backs_off_is_told_until_when() -> None:
    task, other = wanting({"cpu": 500}), wanting({"cpu": 4000})
    view = view_of(sized("bad"), sized("full"), on(other, "full"))
    view.back_offs.failed("bad", task.shape, 100.0)
    explanation = explain(task, [], view, 0, NOW, 110.0)
    assert explanation.next_event_at == at(FIRST_SECONDS - 10)


def test_the_nodes_are_listed_up_to_a_number_the_nearest_first() -> None:
    view = view_of(*(sized(f"full-{number}", slots=0) for number in range(MOST_NODES)))
    view.put_node(sized("zz-fits"))
    explanation = explain(wanting(), [], view, 3, NOW)
    assert len(explanation.nodes) == MOST_NODES
    assert explanation.nodes[0].node_id == "zz-fits"


def test_a_scheduled_task_waits_for_its_worker() -> None:
    history = lived(build_task(), Step(kind=EventKind.ASSIGN))
    assert summary(history) == (
        "Attempt 1 was given to node node-1 at 2026-03-01T12:00:01Z, whose worker is making its containers."
    )
    offline = view_of(sized("node-1", status=NodeStatus.OFFLINE))
    assert "whose worker is not connected" in summary(history, offline)


def test_a_running_task_says_since_when_and_when_it_must_end() -> None:
    task = build_task(timeout_seconds=60.0, deadline_seconds=3600.0)
    history = lived(
        task, Step(kind=EventKind.ASSIGN), Step(kind=EventKind.STARTED, health=HealthStatus.UNHEALTHY)
    )
    explanation = explain(history.task, history.rows(), View(), 0, history.now)
    assert explanation.summary == "Attempt 1 runs on node node-1 since 2026-03-01T12:00:02Z."
    assert explanation.next_event_at == at(62)
    assert [reason.code for reason in explanation.reasons] == ["running", "unhealthy", "attempts"]


def test_a_live_task_says_what_its_nodes_state_means_for_it() -> None:
    history = lived(build_task(), Step(kind=EventKind.ASSIGN), Step(kind=EventKind.STARTED))

    def told(**node: Any) -> dict[str, str]:
        explanation = explain(history.task, history.rows(), view_of(sized("node-1", **node)), 0, history.now)
        return {reason.code: reason.message for reason in explanation.reasons}

    assert set(told()) == {"running", "attempts"}
    draining = told(cordoned=True, drain=Drain(since=NOW, deadline_seconds=600.0))
    assert draining["node_draining"] == (
        "its node is drained: it may end there, or is moved elsewhere 600 s after the drain began"
    )
    stopped = told(status=NodeStatus.OFFLINE, lost_reason="its worker was stopped: it got SIGTERM")
    assert stopped["node_offline"] == (
        "its node is offline (its worker was stopped: it got SIGTERM);"
        " after a lease of silence onLost decides"
    )


def test_attempts_and_failures_are_counted_wherever_the_task_is() -> None:
    failing = (
        Step(kind=EventKind.ASSIGN, seconds=10),
        Step(kind=EventKind.STARTED),
        Step(kind=EventKind.ENDED, error_code="RATE_LIMIT", error="slow down"),
    )
    losing = (Step(kind=EventKind.ASSIGN, seconds=60), Step(kind=EventKind.LOSE))
    again = (Step(kind=EventKind.ASSIGN, seconds=600), Step(kind=EventKind.STARTED))
    task = build_task(max_attempts=3)
    for steps, attempts, failures, losses in (
        (failing, 1, 1, 0),
        ((*failing, *losing), 2, 1, 1),
        ((*failing, *again), 2, 1, 0),
        ((*failing, *again, Step(kind=EventKind.ENDED)), 2, 1, 0),
        ((*failing, *failing, *failing), 3, 3, 0),
    ):
        history = lived(task, *steps)
        explanation = explain(history.task, history.rows(), View(), 0, history.now)
        [counted] = [reason for reason in explanation.reasons if reason.code == "attempts"]
        assert counted.details == {
            "attempts": attempts,
            "failures": failures,
            "maxAttempts": 3,
            "losses": losses,
            "maxLosses": 5,
        }
        assert f"{failures} of 3 failed, {losses} lost of 5" in counted.message


def test_a_running_task_tells_how_its_last_try_ended() -> None:
    history = lived(
        build_task(max_attempts=3),
        Step(kind=EventKind.ASSIGN),
        Step(kind=EventKind.ENDED, error_code="OOM", error="used 64 MiB", exit_code=137),
        Step(kind=EventKind.ASSIGN, seconds=30),
        Step(kind=EventKind.STARTED),
    )
    explanation = explain(history.task, history.rows(), View(), 0, history.now)
    reasons = {reason.code: reason for reason in explanation.reasons}
    assert reasons["last_attempt"].message == "attempt 1 failed on node node-1 with OOM (used 64 MiB)"
    assert explanation.advice is None, "it runs: there is nothing to do"


def test_a_held_task_asks_for_an_operator() -> None:
    history = lived(build_task(on_lost=OnLost.HOLD), Step(kind=EventKind.ASSIGN), Step(kind=EventKind.LOSE))
    assert summary(history) == (
        "Attempt 1 on node node-1 is held until the node returns or an operator decides,"
        " because no beat for 12 s."
    )
    explanation = explain(history.task, history.rows(), View(), 0, history.now)
    assert explanation.advice is not None
    assert "resolve" in explanation.advice
    assert "retry, which starts it once more whether it has run or not" in explanation.advice


def test_a_task_that_is_being_stopped_says_why() -> None:
    history = lived(build_task(), Step(kind=EventKind.ASSIGN), Step(kind=EventKind.CANCEL))
    assert summary(history).endswith(
        "is being stopped on node node-1 since 2026-03-01T12:00:02Z, because it was cancelled."
    )


@pytest.mark.parametrize(
    ("steps", "words", "status"),
    [
        ([Step(kind=EventKind.ENDED)], "It completed at", TaskStatus.COMPLETED),
        (
            [Step(kind=EventKind.ENDED, error_code="EXIT_CODE", error="exit code 3", exit_code=3)],
            "It failed at 2026-03-01T12:00:02Z on node node-1 with EXIT_CODE: exit code 3.",
            TaskStatus.FAILED,
        ),
        (
            [Step(kind=EventKind.CANCEL), Step(kind=EventKind.ENDED, error_code="SIGNAL")],
            "It was cancelled at 2026-03-01T12:00:03Z on node node-1: cancelled on request.",
            TaskStatus.CANCELLED,
        ),
    ],
)
def test_an_ended_task_says_how(steps: list[Step], words: str, status: TaskStatus) -> None:
    history = lived(build_task(), Step(kind=EventKind.ASSIGN), *steps)
    explanation = explain(history.task, history.rows(), View(), 0, history.now)
    assert explanation.status is status
    assert explanation.summary.startswith(words)
    assert (explanation.advice is None) is (status is not TaskStatus.FAILED)
    assert (explanation.nodes, explanation.next_event_at) == ((), None)
