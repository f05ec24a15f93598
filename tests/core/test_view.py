from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.core.backoff import FIRST_SECONDS
from podling.core.node import Node, NodeStatus
from podling.core.spec import Port
from podling.core.task import Task, TaskStatus
from podling.core.view import View
from tests.core.clusters import clusters, ended, node, on, pages, sized, view_of, wanting


def test_a_live_task_occupies_its_node_until_it_ends() -> None:
    task = on(wanting({"cpu": 500}), "a")
    view = view_of(sized("a"), task)
    assert view.used("a") == {"slots": 1, "cpu": 500}
    assert view.running_tasks("a") == 1
    assert view.task(task.task_id) is task
    assert list(view.live_tasks_on("a")) == [task]
    view.put_task(ended(task))
    assert view.used("a") == {}
    assert view.task(task.task_id) is None
    assert view.totals() == {}


def test_an_older_version_of_a_live_task_is_ignored() -> None:
    task = on(wanting(), "a")
    newer = replace(task, version=9)
    view = view_of(sized("a"), newer, ended(replace(task, version=1)), task)
    assert view.task(task.task_id) is newer


def test_a_task_that_moves_leaves_its_old_node() -> None:
    task = on(wanting({"cpu": 500}), "a")
    view = view_of(sized("a"), sized("b"), task, on(task, "b"))
    assert view.totals() == {"b": 1}
    assert view.used("a") == {}


def test_a_node_may_come_after_its_tasks_and_go_before_them() -> None:
    task = on(wanting({"cpu": 3800}), "a")
    view = view_of(task, sized("a"))
    assert view.scheduling_error(wanting({"cpu": 500})) is not None
    view.remove_node("a")
    view.remove_node("a")
    assert view.node("a") is None
    view.put_task(ended(task))
    view.put_node(sized("a"))
    assert view.scheduling_error(wanting({"cpu": 500})) is None


def test_why_a_task_fits_nowhere_is_a_sentence_of_counts() -> None:
    view = view_of(sized("a", cpu=100), sized("b", cpu=100), sized("c", cordoned=True))
    assert view.scheduling_error(wanting({"cpu": 500})) == (
        "none of 3 nodes fits: 2 insufficient cpu, 1 cordoned"
    )


def test_why_a_task_fits_nowhere_is_known_anew_after_every_change() -> None:
    view, task = View(), wanting({"cpu": 9000})
    assert view.scheduling_error(task) == "no node is online"
    view.put_node(sized("node-1"))
    assert "insufficient cpu" in (view.scheduling_error(task) or "")
    view.put_node(sized("node-2", cpu=9000))
    assert view.scheduling_error(task) is None
    view.put_task(replace(wanting({"cpu": 9000}), status=TaskStatus.RUNNING, attempt=1, node_id="node-2"))
    assert "insufficient cpu" in (view.scheduling_error(task) or "")
    view.remove_node("node-1")
    assert "the only node" in (view.scheduling_error(task) or "")


def test_no_more_shapes_are_remembered_than_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podling.core.view._MOST_SHAPES", 3)
    view = view_of(sized("a", cpu=100))
    for cpu in range(500, 520):
        assert view.scheduling_error(wanting({"cpu": cpu})) is not None
    assert len(view._errors) <= 3
    assert len(view._requirements) <= 3


def test_without_a_node_online_that_is_the_reason() -> None:
    assert View().scheduling_error(wanting()) == "no node is online"
    view = view_of(sized("a", status=NodeStatus.OFFLINE))
    assert view.scheduling_error(wanting()) == "no node is online"


def test_the_room_for_a_shape_leaves_out_what_is_full_or_backs_off() -> None:
    view = view_of(sized("a", slots=3), sized("b", slots=1))
    task = wanting()
    assert view.room_for("never seen", 0.0, 10) == 10
    assert view.scheduling_error(task) is None
    assert view.room_for(task.shape, 0.0, 10) == 4
    assert view.room_for(task.shape, 0.0, 2) == 2
    view.put_task(on(wanting(), "b"))
    assert view.room_for(task.shape, 0.0, 10) == 3
    view.put_node(sized("c", slots=1))
    view.back_offs.failed("a", task.shape, 0.0)
    assert view.room_for(task.shape, FIRST_SECONDS - 1, 10) == 1
    assert view.room_for(task.shape, FIRST_SECONDS, 10) == 4
    for node_id in "aaac":
        view.put_task(on(wanting(), node_id))
    assert view.room_for(task.shape, 0.0, 10) == 0


def test_the_scarcest_resource_bounds_the_room_and_a_host_port_is_there_once() -> None:
    amounts = {"cpu": 4000, "slots": 9, "gpu": 2}
    view = view_of(node("a", capacity=amounts, allocatable=amounts), sized("b", slots=9))
    small, with_gpu = wanting({"cpu": 900}), wanting({"cpu": 100, "gpu": 1})
    assert view.scheduling_error(small) is view.scheduling_error(with_gpu) is None
    assert view.room_for(small.shape, 0.0, 100) == 8
    assert view.room_for(with_gpu.shape, 0.0, 100) == 2
    ported = wanting(ports=(Port(container_port=80, host_port=80),))
    assert view.scheduling_error(ported) is None
    assert view.room_for(ported.shape, 0.0, 100) == 2


histories = st.lists(
    st.tuples(st.sampled_from(["place", "end", "node", "gone"]), st.integers(0, 20), st.integers(0, 8)),
    max_size=40,
)


@given(clusters(), pages(), histories)
def test_a_view_fed_by_changes_equals_one_that_is_rebuilt(
    cluster: list[Node], page: list[Task], history: list[tuple[str, int, int]]
) -> None:
    view = View()
    nodes: dict[str, Node] = {}
    tasks: dict[str, Task] = {}
    for what, first, second in history:
        task = page[first % len(page)]
        _happen(view, nodes, tasks, what, tasks.get(task.task_id, task), f"node-{second}", cluster)
    rebuilt = view_of(*nodes.values(), *(task for task in tasks.values() if task.status.is_live))
    assert _picture(view, page) == _picture(rebuilt, page)


def _happen(
    view: View,
    nodes: dict[str, Node],
    tasks: dict[str, Task],
    what: str,
    task: Task,
    node_id: str,
    cluster: list[Node],
) -> None:
    match what:
        case "place":
            tasks[task.task_id] = on(task, node_id)
        case "end":
            tasks[task.task_id] = ended(task)
        case "gone":
            nodes.pop(node_id, None)
            view.remove_node(node_id)
        case "node":
            for node in cluster:
                if node.node_id == node_id:
                    nodes[node_id] = node
                    view.put_node(node)
    if task.task_id in tasks:
        view.put_task(tasks[task.task_id])
        view.put_task(tasks[task.task_id])


def _picture(view: View, page: list[Task]) -> dict[str, Any]:
    return {
        "nodes": {node.node_id: node for node in view.nodes()},
        "totals": dict(view.totals()),
        "used": {f"node-{number}": view.used(f"node-{number}") for number in range(9)},
        "rooms": {
            node_id: ({name: free for name, free in room.free.items() if free}, room.ports)
            for node_id, room in view.index.rooms.items()
        },
        "fits": {
            task.shape: {
                node.node_id: view.lacks(node.node_id, view.requirement(task)) for node in view.nodes()
            }
            for task in page
        },
        "errors": {task.shape: view.scheduling_error(task) for task in page},
    }
