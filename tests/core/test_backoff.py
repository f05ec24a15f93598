"""Nodes that could not make a container keep away from its shape, longer each time."""

from podling.core.backoff import FIRST_SECONDS, LONGEST_SECONDS, BackOffs
from podling.core.explain import explain
from podling.core.view import plan
from tests.builders import NOW
from tests.core.clusters import on, sized, view_of, wanting


def test_the_time_doubles_with_every_failure_in_a_row_up_to_a_bound() -> None:
    back_offs, now, waits = BackOffs(), 0.0, []
    for _ in range(6):
        back_offs.failed("bad", "shape", now)
        until = back_offs.current("shape", now)["bad"]
        waits.append(until - now)
        now = until
        assert back_offs.current("shape", now) == {}
    assert waits == [FIRST_SECONDS, 60.0, 120.0, 240.0, LONGEST_SECONDS, LONGEST_SECONDS]


def test_failures_of_attempts_under_way_together_count_once() -> None:
    back_offs = BackOffs()
    for now in (0.0, 1.0, FIRST_SECONDS - 1):
        back_offs.failed("bad", "shape", now)
    assert back_offs.current("shape", 1.0) == {"bad": FIRST_SECONDS}


def test_a_start_or_a_long_quiet_begins_anew() -> None:
    back_offs = BackOffs()
    back_offs.failed("bad", "shape", 0.0)
    back_offs.failed("bad", "shape", FIRST_SECONDS)
    back_offs.started("bad", "shape")
    assert back_offs.current("shape", FIRST_SECONDS) == {}
    back_offs.failed("bad", "shape", 100.0)
    assert back_offs.current("shape", 100.0) == {"bad": 100.0 + FIRST_SECONDS}
    later = 100.0 + FIRST_SECONDS + LONGEST_SECONDS + 1
    back_offs.failed("bad", "shape", later)
    assert back_offs.current("shape", later) == {"bad": later + FIRST_SECONDS}


def test_other_shapes_and_nodes_are_left_alone() -> None:
    back_offs = BackOffs()
    back_offs.failed("bad", "shape", 0.0)
    back_offs.started("good", "shape")
    back_offs.started("bad", "other")
    assert back_offs.current("other", 0.0) == {}
    assert set(back_offs.current("shape", 0.0)) == {"bad"}


def test_a_bad_node_does_not_eat_the_retries_and_explain_names_it() -> None:
    task = wanting({"cpu": 100})
    view = view_of(sized("bad"), sized("good", slots=1))
    view.back_offs.failed("bad", task.shape, 0.0)
    (placement,) = plan(view, [task], now=1.0).placements
    assert placement.node_id == "good"
    view.put_task(on(wanting(), "good"))
    explanation = explain(task, [], view, 0, NOW, 10.0)
    assert "backing_off_after_a_failure" in [reason.code for reason in explanation.reasons]
    lacks = {fit.node_id: fit.lacks for fit in explanation.nodes}
    assert lacks["bad"] == ("for 20 s it backs off, because it could not make such a container",)
    assert explanation.advice is not None
    view.back_offs.started("bad", task.shape)
    assert [item.node_id for item in plan(view, [task], now=10.0).placements] == ["bad"]
