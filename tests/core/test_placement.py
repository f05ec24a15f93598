from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.core.node import Node, NodeStatus
from podling.core.nodeindex import NodeIndex
from podling.core.placement import (
    Requirement,
    affinity_of,
    lacks_of,
    mismatches,
    requirement_of,
    shape_of,
)
from podling.core.platforms import platform_labels
from podling.core.room import Room
from podling.core.spec import (
    Affinity,
    Constraint,
    ContainerSpec,
    Operator,
    Placement,
    Port,
    ResourceRequirements,
    Runtime,
    TaskKind,
)
from tests.builders import build_spec
from tests.core.clusters import clusters, few, node, pages, placements, sized


def asking(requests: dict[str, int], limits: dict[str, int]) -> ContainerSpec:
    return ContainerSpec(image="a", resources=ResourceRequirements(requests=requests, limits=limits))


def test_a_task_without_resources_takes_one_slot_only() -> None:
    assert requirement_of(build_spec()).requests == {"slots": 1}


def test_requests_default_to_limits_where_only_those_are_given() -> None:
    spec = build_spec(containers=(asking({"cpu": 100}, {"cpu": 200, "memory": 2**30}),))
    assert requirement_of(spec).requests == {"slots": 1, "cpu": 100, "memory": 2**30}


def test_the_containers_of_a_pod_add_up_and_take_one_slot() -> None:
    first, second = asking({"cpu": 100}, {}), replace(asking({"cpu": 50, "gpu": 1}, {}), name="b")
    spec = build_spec(kind=TaskKind.POD, containers=(first, second))
    assert requirement_of(spec).requests == {"slots": 1, "cpu": 150, "gpu": 1}


def test_only_host_ports_that_are_named_are_required() -> None:
    ports = (
        Port(container_port=1, host_port=80),
        Port(container_port=2, host_port=0),
        Port(container_port=3),
    )
    spec = build_spec(containers=(ContainerSpec(image="a", ports=ports),))
    assert requirement_of(spec).host_ports == ("80/TCP",)


def test_the_shape_is_stable_across_programs() -> None:
    assert shape_of(build_spec()) == shape_of(build_spec(name="other", priority=9, labels={"a": "b"}))
    assert shape_of(build_spec()) == "e270b8c57fcb4327"


@pytest.mark.parametrize(
    "other",
    [
        {"runtime": Runtime.PROCESS},
        {"containers": (asking({"cpu": 1}, {}),)},
        {"containers": (ContainerSpec(image="a", ports=(Port(container_port=1, host_port=1),)),)},
        {"placement": Placement(node_selector={"a": "b"})},
        {"placement": Placement(constraints=(Constraint(label="a", values=("b",)),))},
        {"placement": Placement(affinity=(Affinity(label="a", values=("b",)),))},
        {"placement": Placement(spread="zone")},
    ],
)
def test_the_shape_differs_by_all_that_placement_looks_at(other: dict[str, Any]) -> None:
    assert shape_of(build_spec(**other)) != shape_of(build_spec())


@given(clusters(), placements)
def test_the_shape_does_not_depend_on_order(cluster: list[Node], placement: Placement) -> None:
    turned = replace(
        placement,
        constraints=placement.constraints[::-1],
        affinity=placement.affinity[::-1],
        node_selector=dict(reversed(placement.node_selector.items())),
    )
    assert shape_of(build_spec(placement=turned)) == shape_of(build_spec(placement=placement))


@pytest.mark.parametrize(
    ("condition", "labels", "meets"),
    [
        (Constraint(label="zone", values=("eu", "us")), {"zone": "us"}, True),
        (Constraint(label="zone", values=("eu",)), {}, False),
        (Constraint(label="zone", operator=Operator.NOT_IN, values=("eu",)), {}, True),
        (Constraint(label="zone", operator=Operator.NOT_IN, values=("eu",)), {"zone": "eu"}, False),
        (Constraint(label="zone", operator=Operator.EXISTS), {"zone": ""}, True),
        (Constraint(label="zone", operator=Operator.EXISTS), {}, False),
        (Constraint(label="zone", operator=Operator.DOES_NOT_EXIST), {}, True),
        (Constraint(label="zone", operator=Operator.DOES_NOT_EXIST), {"zone": "eu"}, False),
    ],
)
def test_a_constraint_looks_at_the_nodes_labels(
    condition: Constraint, labels: dict[str, str], meets: bool
) -> None:
    placement = Placement(constraints=(condition,))
    assert (mismatches(node("n", labels=labels), Runtime.DOCKER, placement) == ()) is meets


def test_affinity_adds_up_the_wishes_that_are_met() -> None:
    wishes = (
        Affinity(label="disk", values=("ssd",), weight=30),
        Affinity(label="zone", values=("eu",), weight=-10),
        Affinity(label="gpu", operator=Operator.EXISTS, weight=5),
    )
    placement = Placement(affinity=wishes)
    assert affinity_of(node("n", labels={"disk": "ssd", "zone": "eu"}), placement) == 20


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": NodeStatus.OFFLINE}, "offline"),
        ({"session_no": 0}, "no session"),
        ({"cordoned": True}, "cordoned"),
        ({"unhealthy": "dockerd does not answer"}, "runtime unhealthy"),
        ({"runtimes": ("process",)}, "runtime docker missing"),
        ({"labels": {"zone": "us"}}, "label zone != eu"),
        ({"allocatable": {"cpu": 100, "slots": 1}}, "insufficient cpu"),
        ({"allocatable": {"cpu": 1000, "slots": 0}}, "insufficient slots"),
    ],
)
def test_a_node_says_what_it_lacks(fields: dict[str, Any], reason: str) -> None:
    lacking = node("n", **({"labels": {"zone": "eu"}} | fields))
    requirement = Requirement(
        runtime=Runtime.DOCKER,
        requests={"slots": 1, "cpu": 500},
        placement=Placement(node_selector={"zone": "eu"}),
    )
    lacks = lacks_of(lacking, Room.of(lacking.allocatable), requirement)
    assert [lack.reason for lack in lacks] == [reason]
    assert lacks[0].message


def test_a_shortage_is_told_with_its_amounts() -> None:
    small = sized("n", cpu=1000)
    room = Room.of(small.allocatable)
    requirement = Requirement(runtime=Runtime.DOCKER, requests={"cpu": 700})
    room.take(requirement)
    (lack,) = lacks_of(small, room, requirement)
    assert lack.message == "insufficient cpu: 700 wanted, 300 of 1000 free"


def test_a_host_port_is_given_once() -> None:
    room = Room.of({})
    requirement = Requirement(runtime=Runtime.DOCKER, requests={"slots": 1}, host_ports=("80/TCP",))
    room.take(requirement)
    lacks = lacks_of(node("n"), room, requirement)
    assert [lack.reason for lack in lacks] == ["host port 80/TCP in use"]
    room.give(requirement)
    assert room.fits(requirement)


@given(clusters(), pages(), few, st.randoms(use_true_random=False))
def test_the_index_finds_exactly_the_nodes_that_fit(
    cluster: list[Node], page: list[Any], few: int, random: Any
) -> None:
    index = NodeIndex(few)
    for member in cluster:
        index.put(member, Room.of(member.allocatable))
    for task in page:
        requirement = requirement_of(task.spec)
        fitting = {n.node_id for n in cluster if not lacks_of(n, index.rooms[n.node_id], requirement)}
        eligible = index.eligible(requirement)
        found = index.candidates(requirement, eligible, fullest_first=random.random() < 0.5)
        assert {node_id for node_id in found if index.rooms[node_id].fits(requirement)} == fitting
        assert set(eligible) == set(eligible.all())
        if fitting and random.random() < 0.5:
            index.take(min(fitting), requirement)


@given(clusters(), pages())
def test_the_counts_of_reasons_are_those_of_the_nodes(cluster: list[Node], page: list[Any]) -> None:
    index = NodeIndex()
    for member in cluster:
        index.put(member, Room.of(member.allocatable))
    requirement = requirement_of(page[0].spec)
    counts = index.count_lacks(requirement, index.eligible(requirement))
    expected: dict[str, int] = {}
    for member in cluster:
        for reason in _counted(member, index, requirement):
            expected[reason] = expected.get(reason, 0) + 1
    assert counts == expected


def _counted(member: Node, index: NodeIndex, requirement: Requirement) -> set[str]:
    """A node that takes no work counts for that alone; one that never can, not for what it has free."""
    if not member.is_schedulable:
        lacks = lacks_of(member, index.rooms[member.node_id], requirement)
        return {lacks[0].reason}
    never = mismatches(member, requirement.runtime, requirement.placement)
    lacks = never or lacks_of(member, index.rooms[member.node_id], requirement)
    return {lack.reason for lack in lacks}


@pytest.mark.parametrize(("machine", "fits"), [("aarch64", True), ("arm64", True), ("x86_64", False)])
def test_a_platform_is_a_demand_on_the_machine(machine: str, fits: bool) -> None:
    spec = build_spec(containers=(ContainerSpec(image="a", platform="linux/arm64/v8"),))
    requirement = requirement_of(spec)
    member = replace(node("n"), labels=platform_labels("Linux", machine))
    lacks = mismatches(member, requirement.runtime, requirement.placement)
    assert [lack.reason for lack in lacks] == ([] if fits else ["label kubernetes.io/arch != arm64"])
    assert shape_of(spec) != shape_of(build_spec(containers=(ContainerSpec(image="a"),)))
