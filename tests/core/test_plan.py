"""Laws of the planner, and what it prefers."""

from collections import Counter

import pytest
from hypothesis import given

from podling.core.backoff import FIRST_SECONDS
from podling.core.node import Node
from podling.core.placement import lacks_of
from podling.core.spec import Affinity, Port, Strategy
from podling.core.task import Task
from podling.core.view import BACKING_OFF, MOST_CHECKS, Plan, View, plan
from tests.core.clusters import clusters, few, on, pages, sized, view_of, wanting


def placed_on(result: Plan) -> Counter[str]:
    return Counter(placement.node_id for placement in result.placements)


@given(clusters(), pages(), few)
def test_a_plan_never_oversubscribes_and_places_only_where_it_fits(
    cluster: list[Node], page: list[Task], few: int
) -> None:
    view = view_of(*cluster, few=few)
    tasks = {task.task_id: task for task in page}
    for placement in plan(view, page, now=0.0).placements:
        task = tasks[placement.task_id]
        assert view.lacks(placement.node_id, view.requirement(task)) == ()
        view.put_task(on(task, placement.node_id))


@given(clusters(), pages(), few)
def test_every_task_is_placed_once_or_its_shape_is_blocked_with_a_reason(
    cluster: list[Node], page: list[Task], few: int
) -> None:
    view = view_of(*cluster, few=few)
    result = plan(view, page, now=0.0)
    placed = [placement.task_id for placement in result.placements]
    assert len(placed) == len(set(placed))
    assert result.complete
    for task in page:
        assert (task.task_id in placed) or (task.shape in result.blocked)
    for why in result.blocked.values():
        assert why.sentence()
        assert why.reasons


@given(clusters(), pages(), few)
def test_a_blocked_shape_fits_nowhere_once_the_plan_is_carried_out(
    cluster: list[Node], page: list[Task], few: int
) -> None:
    view = view_of(*cluster, few=few)
    result = plan(view, page, now=0.0)
    tasks = {task.task_id: task for task in page}
    for placement in result.placements:
        view.put_task(on(tasks[placement.task_id], placement.node_id))
    for why in result.blocked.values():
        for node in view.nodes():
            assert lacks_of(node, view.index.rooms[node.node_id], why.requirement)
    again = plan(view, [task for task in page if task.shape in result.blocked], now=0.0)
    assert again.placements == ()


@given(clusters(), pages(), few)
def test_the_same_view_and_page_make_the_same_plan_and_change_nothing(
    cluster: list[Node], page: list[Task], few: int
) -> None:
    view = view_of(*cluster, few=few)
    free = {node_id: dict(room.free) for node_id, room in view.index.rooms.items()}
    first = plan(view, page, now=0.0)
    assert plan(view, page, now=0.0) == first
    assert plan(view_of(*cluster, few=few), page, now=0.0) == first
    assert {node_id: dict(room.free) for node_id, room in view.index.rooms.items()} == free


def test_the_order_of_the_page_decides_who_gets_the_last_room() -> None:
    first, second = wanting({"cpu": 3000}), wanting({"cpu": 2000})
    result = plan(view_of(sized("a")), [first, second], now=0.0)
    assert [placement.task_id for placement in result.placements] == [first.task_id]
    assert result.blocked[second.shape].reasons == {"insufficient cpu": 1}


def test_a_shape_that_fits_nowhere_holds_up_nobody() -> None:
    huge = [wanting({"cpu": 10**6}) for _ in range(50)]
    small = wanting({"cpu": 10})
    result = plan(view_of(sized("a")), [*huge, small], now=0.0)
    assert [placement.task_id for placement in result.placements] == [small.task_id]
    assert set(result.blocked) == {huge[0].shape}


def test_a_task_that_is_live_already_is_left_alone() -> None:
    task = wanting()
    assert plan(view_of(sized("a"), on(task, "a")), [task], now=0.0) == Plan()


def test_tasks_are_spread_over_nodes_that_are_alike() -> None:
    view = view_of(*(sized(f"n{number}") for number in range(5)))
    result = plan(view, [wanting() for _ in range(20)], now=0.0)
    assert set(placed_on(result).values()) == {4}


def test_tasks_are_spread_over_many_nodes_from_one_page_to_the_next() -> None:
    view = view_of(*(sized(f"n{number}") for number in range(300)))
    for _ in range(3):
        page = [wanting({"cpu": 10 + number % 5}) for number in range(100)]
        tasks = {task.task_id: task for task in page}
        for placement in plan(view, page, now=0.0).placements:
            view.put_task(on(tasks[placement.task_id], placement.node_id))
    assert max(view.totals().values()) <= 4


def test_binpack_fills_one_node_before_the_next() -> None:
    view = view_of(*(sized(f"n{number}") for number in range(5)))
    page = [wanting({"cpu": 100}, strategy=Strategy.BINPACK) for _ in range(20)]
    assert sorted(placed_on(plan(view, page, now=0.0)).values()) == [10, 10]


def test_wishes_are_followed_where_there_is_room_and_dropped_where_not() -> None:
    view = view_of(sized("a", slots=2, labels={"disk": "ssd"}), sized("b"))
    wish = Affinity(label="disk", values=("ssd",))
    result = plan(view, [wanting(affinity=(wish,)) for _ in range(3)], now=0.0)
    assert placed_on(result) == {"a": 2, "b": 1}


def test_a_rare_wished_node_is_found_among_many() -> None:
    view = view_of(*(sized(f"n{number}") for number in range(500)))
    view.put_node(sized("rare", labels={"disk": "ssd"}))
    wish = Affinity(label="disk", values=("ssd",))
    assert placed_on(plan(view, [wanting(affinity=(wish,))], now=0.0)) == {"rare": 1}


def test_spread_evens_out_the_values_of_its_label_live_tasks_included() -> None:
    zones = {"a": "eu", "b": "eu", "c": "eu", "d": "us"}
    view = view_of(*(sized(node_id, labels={"zone": zone}) for node_id, zone in zones.items()))
    view.put_task(on(wanting(spread="zone"), "a"))
    result = plan(view, [wanting(spread="zone") for _ in range(5)], now=0.0)
    by_zone = Counter(zones[placement.node_id] for placement in result.placements)
    assert by_zone == {"us": 3, "eu": 2}


def test_a_host_port_is_planned_once_per_node() -> None:
    view = view_of(sized("a"), sized("b"))
    port = (Port(container_port=80, host_port=80),)
    tasks = [wanting(ports=port) for _ in range(3)]
    result = plan(view, tasks, now=0.0)
    assert placed_on(result) == {"a": 1, "b": 1}
    assert result.blocked[tasks[0].shape].reasons == {"host port 80/TCP in use": 2}


def test_a_node_that_just_failed_backs_off_for_that_shape_only() -> None:
    failing, other = wanting({"cpu": 100}), wanting({"cpu": 200})
    view = view_of(sized("bad"), sized("full", slots=1), on(wanting(), "full"))
    view.back_offs.failed("bad", failing.shape, 0.0)
    result = plan(view, [failing, other], now=0.0)
    assert [placement.task_id for placement in result.placements] == [other.task_id]
    why = result.blocked[failing.shape]
    assert why.reasons == {BACKING_OFF: 1, "insufficient slots": 1}
    assert why.until == FIRST_SECONDS
    assert placed_on(plan(view, [failing], now=FIRST_SECONDS)) == {"bad": 1}


def test_the_only_node_is_tried_again_though_it_failed() -> None:
    task = wanting()
    view = view_of(sized("only"))
    view.back_offs.failed("only", task.shape, 0.0)
    assert placed_on(plan(view, [task], now=0.0)) == {"only": 1}


def test_a_plan_that_ran_out_of_time_says_so_and_did_the_first_shapes() -> None:
    view = view_of(*(sized(f"n{number}") for number in range(100)))
    page = [wanting({"cpu": 10 + number}) for number in range(20)]
    result = plan(view, page, now=0.0, most_checks=50)
    assert not result.complete
    assert 0 < len(result.placements) < 20
    assert result.placements[0].task_id == page[0].task_id


@pytest.fixture(scope="module")
def ten_thousand() -> View:
    zones = "abc"
    return view_of(
        *(
            sized(f"n{number}", cpu=4000, labels={"zone": zones[number % 3], "host": f"h{number}"})
            for number in range(10_000)
        )
    )


@pytest.mark.parametrize("cpu", [100, 3900, 4001, 9000])
def test_a_plan_ends_soon_after_its_time_is_spent(ten_thousand: View, cpu: int) -> None:
    """The shape that is being looked at is finished: at most one look at every node."""
    page = [wanting({"cpu": cpu + number % 50}) for number in range(500)]
    result = plan(ten_thousand, page, now=0.0)
    assert result.placements or result.blocked
    assert result.checks <= MOST_CHECKS + 10_000


@pytest.mark.parametrize("cpu", [100, 3900])
def test_what_fits_on_ten_thousand_nodes_is_found_with_few_looks(ten_thousand: View, cpu: int) -> None:
    page = [wanting({"cpu": cpu + number % 50}) for number in range(500)]
    result = plan(ten_thousand, page, now=0.0, most_checks=10_000_000)
    assert len(result.placements) == 500
    assert result.checks <= 50 * 500


@pytest.mark.parametrize("free", [250, 500, 900])
def test_shapes_that_share_what_is_left_do_not_look_for_it_at_each_others_nodes(free: int) -> None:
    """With room for one task each: what a plan has filled is not looked at again by its other shapes."""
    view = view_of(*(sized(f"n{number}", slots=1) for number in range(free)))
    page = [wanting({"cpu": 1 + number % 50}) for number in range(500)]
    result = plan(view, page, now=0.0, most_checks=10_000_000)
    assert len(result.placements) == min(free, 500)
    scans = len(result.blocked) * 2 * free  # what is charged for saying why: see `charge_scan`
    assert result.checks - scans <= 12 * 500
    for why in result.blocked.values():
        assert why.reasons == {"insufficient slots": free}


def test_a_blocked_shape_counts_what_the_plan_itself_has_used_up() -> None:
    view = view_of(*(sized(f"n{number}", cpu=1000, labels={"zone": "ab"[number % 2]}) for number in range(6)))
    many = [wanting({"cpu": 900}) for _ in range(6)]
    here = wanting({"cpu": 200}, node_selector={"zone": "a"})
    small = wanting({"cpu": 100})
    result = plan(view, [*many, here, small], now=0.0)
    assert len(result.placements) == 7 and small.shape not in result.blocked
    assert result.blocked[here.shape].reasons == {"label zone != a": 3, "insufficient cpu": 3}


def test_a_full_cluster_is_known_to_be_full_for_all_shapes_in_one_plan(ten_thousand: View) -> None:
    page = [wanting({"cpu": 9000 + number % 50}) for number in range(500)]
    result = plan(ten_thousand, page, now=0.0)
    assert result.complete and len(result.blocked) == 50
    assert result.checks == 0  # the sizes of buckets say it, without a look at any node
