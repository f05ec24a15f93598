"""Random clusters and tasks that want a place in them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from podling.core.node import Node, NodeStatus
from podling.core.nodeindex import FEW, NodeIndex
from podling.core.placement import shape_of
from podling.core.spec import (
    Affinity,
    Constraint,
    ContainerSpec,
    Operator,
    Placement,
    Port,
    ResourceRequirements,
    Strategy,
)
from podling.core.task import Task, TaskStatus
from podling.core.view import View
from tests.builders import NOW, build_node, build_spec, build_task

MIB = 2**20


def node(node_id: str, **fields: Any) -> Node:
    """Return a node that work may be planned on."""
    return build_node(node_id, **({"session_no": 1} | fields))


def sized(node_id: str, *, cpu: int = 4000, slots: int = 10, **fields: Any) -> Node:
    amounts = {"cpu": cpu, "memory": 8192 * MIB, "slots": slots}
    return node(node_id, capacity=amounts, allocatable=amounts, **fields)


def wanting(
    requests: Mapping[str, int] | None = None,
    ports: tuple[Port, ...] = (),
    task_id: str | None = None,
    **placement: Any,
) -> Task:
    """Return a pending task with these requests and this placement."""
    container = ContainerSpec(
        image="busybox:local",
        resources=ResourceRequirements(requests=dict(requests or {})),
        ports=ports,
    )
    spec = build_spec(containers=(container,), placement=Placement(**placement))
    named = {} if task_id is None else {"task_id": task_id}
    return build_task(spec=spec, shape=shape_of(spec), **named)


def on(task: Task, node_id: str) -> Task:
    """Return the task with a live attempt on the node."""
    return replace(
        task,
        status=TaskStatus.SCHEDULED,
        attempt=task.attempt + 1,
        node_id=node_id,
        scheduled_at=NOW,
        version=task.version + 1,
    )


def ended(task: Task) -> Task:
    return replace(task, status=TaskStatus.COMPLETED, finished_at=NOW, version=task.version + 1)


def view_of(*parts: Node | Task, few: int = FEW) -> View:
    view = View(NodeIndex(few))
    for part in parts:
        if isinstance(part, Node):
            view.put_node(part)
        else:
            view.put_task(part)
    return view


labels = st.fixed_dictionaries(
    {}, optional={"zone": st.sampled_from(["eu", "us"]), "disk": st.sampled_from(["ssd", "hdd"])}
)
amounts = st.fixed_dictionaries(
    {"cpu": st.integers(0, 4000), "memory": st.sampled_from([0, 64 * MIB, 512 * MIB])},
    optional={"slots": st.integers(0, 4), "gpu": st.integers(0, 2)},
)


@st.composite
def nodes(draw: st.DrawFn, node_id: str) -> Node:
    has = draw(amounts)
    return node(
        node_id,
        capacity=has,
        allocatable=has,
        labels=draw(labels),
        status=draw(st.sampled_from([NodeStatus.ONLINE] * 4 + [NodeStatus.OFFLINE])),
        cordoned=draw(st.sampled_from([False] * 4 + [True])),
        unhealthy=draw(st.sampled_from([None, None, None, "no answer"])),
        session_no=draw(st.sampled_from([1, 1, 1, 0])),
        runtimes=draw(st.sampled_from([("docker",), ("docker", "process"), ("process",)])),
    )


conditions = {
    "label": st.sampled_from(["zone", "disk"]),
    "operator": st.sampled_from(Operator),
    "values": st.sampled_from([("eu",), ("ssd", "eu"), ("none",)]),
}
placements = st.builds(
    Placement,
    node_selector=st.sampled_from([{}, {}, {"zone": "eu"}]),
    constraints=st.lists(st.builds(Constraint, **conditions), max_size=2).map(tuple),
    affinity=st.lists(st.builds(Affinity, weight=st.sampled_from([-50, 50]), **conditions), max_size=2).map(
        tuple
    ),
    spread=st.sampled_from([None, None, "zone"]),
    strategy=st.sampled_from(Strategy),
)


@st.composite
def tasks(draw: st.DrawFn, task_id: str) -> Task:
    requests = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "cpu": st.sampled_from([1, 500, 1000, 1100, 3000]),
                "memory": st.sampled_from([6 * MIB, 64 * MIB, 500 * MIB]),
                "gpu": st.just(1),
            },
        )
    )
    ports = draw(st.sampled_from([(), (), (Port(container_port=80, host_port=80),)]))
    placement = draw(placements)
    container = ContainerSpec(
        image="busybox:local", resources=ResourceRequirements(requests=requests), ports=ports
    )
    spec = build_spec(containers=(container,), placement=placement)
    return build_task(spec=spec, shape=shape_of(spec), task_id=task_id)


few = st.sampled_from([0, FEW])  # 0: small clusters are searched like large ones


@st.composite
def clusters(draw: st.DrawFn) -> list[Node]:
    return [draw(nodes(f"node-{number}")) for number in range(draw(st.integers(0, 8)))]


@st.composite
def pages(draw: st.DrawFn) -> list[Task]:
    kinds = [draw(tasks(f"kind-{number}")) for number in range(draw(st.integers(1, 4)))]
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=20))
    return [replace(task, task_id=f"task-{number}") for number, task in enumerate(chosen)]
