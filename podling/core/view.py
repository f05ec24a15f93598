"""The leader's picture of the cluster, and the planner that reads it. Both pure."""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field

from podling.core.backoff import BackOffs
from podling.core.node import Node
from podling.core.nodeindex import Eligible, NodeIndex
from podling.core.placement import Lack, Requirement, lacks_of, requirement_of
from podling.core.room import Room
from podling.core.search import Ledger, ShapeSearch
from podling.core.task import Task, TaskStatus
from podling.core.traffic import Delay, Flight, Gate
from podling.core.value import value

NO_NODE = "no node online"
BACKING_OFF = "backing off after a failure"
MOST_CHECKS = 20_000  # of nodes, in one plan; what is left then belongs to the next
_MOST_SHAPES = 10_000


@value
class WhyNot:
    """Why a shape fits nowhere: of how many of the `nodes` each reason is true.

    At `until` (by the planner's clock) a node ends its backing off, if that is among the reasons.
    """

    requirement: Requirement
    nodes: int
    reasons: Mapping[str, int]
    until: float | None = None

    def sentence(self) -> str:
        """Return the reasons as a clause without a full stop."""
        if NO_NODE in self.reasons:
            return "no node is online"
        counts = sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))
        listed = ", ".join(f"{count} {reason}" for reason, count in counts)
        one = "the only node does not fit" if self.nodes == 1 else f"none of {self.nodes} nodes fits"
        return f"{one}: {listed}" if listed else one


@value
class PlannedPlacement:
    task_id: str
    node_id: str


@value
class Plan:
    """`blocked` are the shapes of the page that fit nowhere (any more), `delayed` tasks that the gate
    holds back. Not `complete`: the plan
    stopped for time; tasks neither placed nor blocked are to be planned again at once. `checks` is
    the work it took, in looks at a node.
    """

    placements: tuple[PlannedPlacement, ...] = ()
    blocked: Mapping[str, WhyNot] = field(default_factory=dict)
    delayed: Mapping[str, Delay] = field(default_factory=dict)
    complete: bool = True
    checks: int = 0


class View:
    """Nodes and live tasks, fed by changes. Nothing here depends on the order in which it was fed.

    The versions of one task have to come in their order, or again; the rest does not matter.
    """

    def __init__(self, index: NodeIndex | None = None) -> None:
        self.index = index or NodeIndex()
        self._live: dict[str, tuple[Task, Requirement]] = {}
        self._on_node: dict[str, dict[str, None]] = {}
        self._by_shape: dict[str, dict[str, int]] = {}
        self.flight = Flight()
        self.back_offs = BackOffs()
        self._requirements: OrderedDict[str, Requirement] = OrderedDict()
        self._errors: dict[str, str | None] = {}  # by shape, until anything changes

    # Feeding

    def put_node(self, node: Node) -> None:
        """Insert or replace a node; what comes from an older session than is known changes nothing."""
        known = self.index.nodes.get(node.node_id)
        if known is not None and known.session_no > node.session_no:
            return
        room = Room.of(node.allocatable)
        for task_id in self._on_node.get(node.node_id, ()):
            room.take(self._live[task_id][1])
        self._errors.clear()
        self.index.put(node, room)

    def remove_node(self, node_id: str) -> None:
        """Forget a node; live tasks on it stay known. Nothing happens if it is not known."""
        self._errors.clear()
        self.index.remove(node_id)

    def clear(self) -> None:
        """Forget every node and task, to be fed anew."""
        for known in list(self._live.values()):
            self._release(*known)
        for node_id in list(self.index.nodes):
            self.remove_node(node_id)
        self.back_offs = BackOffs()

    def put_task(self, task: Task) -> None:
        """Take in what a task is now: a live one occupies its node, any other releases it."""
        known = self._live.get(task.task_id)
        if known is not None and known[0].version > task.version:
            return
        if known is not None and task.status.is_live and known[0].node_id == task.node_id:
            self._live[task.task_id] = (task, known[1])
            return
        if known is not None:
            self._release(*known)
        if task.status.is_live and task.node_id is not None:
            self._occupy(task, task.node_id)

    def _occupy(self, task: Task, node_id: str) -> None:
        requirement = self.requirement(task)
        self._live[task.task_id] = (task, requirement)
        self.flight.take(task.spec)
        self._on_node.setdefault(node_id, {})[task.task_id] = None
        nodes = self._by_shape.setdefault(task.shape, {})
        nodes[node_id] = nodes.get(node_id, 0) + 1
        self._errors.clear()
        self.index.take(node_id, requirement)

    def _release(self, task: Task, requirement: Requirement) -> None:
        node_id = task.node_id
        assert node_id is not None
        del self._live[task.task_id]
        self.flight.give(task.spec)
        del self._on_node[node_id][task.task_id]
        if not self._on_node[node_id]:
            del self._on_node[node_id]
        nodes = self._by_shape[task.shape]
        nodes[node_id] -= 1
        if not nodes[node_id]:
            del nodes[node_id]
        if not nodes:
            del self._by_shape[task.shape]
        self._errors.clear()
        self.index.give(node_id, requirement)

    # Reading

    def node(self, node_id: str) -> Node | None:
        return self.index.nodes.get(node_id)

    def nodes(self) -> Sequence[Node]:
        return tuple(self.index.nodes.values())

    def task(self, task_id: str) -> Task | None:
        """Return a live task."""
        known = self._live.get(task_id)
        return None if known is None else known[0]

    def progressing(self) -> Iterator[Task]:
        """Yield live tasks that say how far they are."""
        return (task for task, _ in self._live.values() if task.progress is not None)

    def live_statuses(self) -> Mapping[TaskStatus, int]:
        """Return how many live tasks are in each state."""
        return Counter(task.status for task, _ in self._live.values())

    def live_task_ids(self) -> Sequence[str]:
        return tuple(self._live)

    def live_tasks_on(self, node_id: str) -> Sequence[Task]:
        return tuple(self._live[task_id][0] for task_id in self._on_node.get(node_id, ()))

    def running_tasks(self, node_id: str) -> int:
        """Return how many live tasks the node has."""
        return len(self._on_node.get(node_id, ()))

    def totals(self) -> Mapping[str, int]:
        """Return the number of live tasks of every node that has any."""
        return {node_id: len(tasks) for node_id, tasks in self._on_node.items()}

    def used(self, node_id: str) -> Mapping[str, int]:
        """Return what the node's live tasks requested, by resource."""
        used: dict[str, int] = {}
        for task_id in self._on_node.get(node_id, ()):
            for resource, amount in self._live[task_id][1].requests.items():
                used[resource] = used.get(resource, 0) + amount
        return used

    def requirement(self, task: Task) -> Requirement:
        """Return what the task asks of a node; remembered by its shape."""
        known = self._requirements.get(task.shape)
        if known is None:
            known = self._requirements[task.shape] = requirement_of(task.spec)
            if len(self._requirements) > _MOST_SHAPES:
                self._requirements.popitem(last=False)
        else:
            self._requirements.move_to_end(task.shape)
        return known

    def holders_of(self, key: str) -> Sequence[str]:
        """Return the live tasks with this concurrency key."""
        return tuple(task.task_id for task, _ in self._live.values() if task.spec.concurrency_key == key)

    def neighbours(self, shape: str) -> Mapping[str, int]:
        """Return the number of the shape's live tasks by node."""
        return self._by_shape.get(shape, {})

    # Does it fit

    def lacks(self, node_id: str, requirement: Requirement) -> tuple[Lack, ...]:
        """Return everything that keeps the requirement off a known node; empty if it fits."""
        return lacks_of(self.index.nodes[node_id], self.index.rooms[node_id], requirement)

    def room_for(self, shape: str, now: float, most: int) -> int:
        """Return how many tasks of the shape could be placed, up to `most`; `most` if it is not known."""
        requirement = self._requirements.get(shape)
        if requirement is None:
            return most
        eligible = self.index.eligible(requirement)
        eligible = eligible.but(self.backing_off(shape, eligible, now).keys())
        room = 0
        for node_id in self.index.candidates(requirement, eligible, fullest_first=False):
            room += self.index.rooms[node_id].times(requirement)
            if room >= most:
                return most
        return room

    def scheduling_error(self, task: Task) -> str | None:
        """Return why the task fits on no node at the moment; None if it fits."""
        if task.shape not in self._errors:
            if len(self._errors) >= _MOST_SHAPES:
                self._errors.clear()
            why = self.why_blocked(task)
            self._errors[task.shape] = None if why is None else why.sentence()
        return self._errors[task.shape]

    def why_blocked(self, task: Task, now: float | None = None) -> WhyNot | None:
        """Return why no node takes the task at the moment; None if one does.

        Without `now` no node backs off.
        """
        requirement = self.requirement(task)
        eligible = self.index.eligible(requirement)
        backing_off = {} if now is None else self.backing_off(task.shape, eligible, now)
        if self._fits(requirement, eligible.but(backing_off.keys())):
            return None
        return self.why_not(requirement, eligible, backing_off)

    def _fits(self, requirement: Requirement, eligible: Eligible) -> bool:
        rooms = self.index.rooms
        candidates = self.index.candidates(requirement, eligible, fullest_first=False)
        return any(rooms[node_id].fits(requirement) for node_id in candidates)

    def backing_off(self, shape: str, eligible: Eligible, now: float) -> Mapping[str, float]:
        """Return the eligible nodes that back off for the shape, and until when.

        None does where every eligible node would: a bad node is better than none at all.
        """
        current = self.back_offs.current(shape, now)
        if not current:
            return {}
        found = {node_id: until for node_id, until in current.items() if node_id in eligible}
        return found if any(node_id not in found for node_id in eligible) else {}

    def seconds_to_back_off(self, task: Task, now: float | None) -> Mapping[str, float]:
        """Return for how long each node backs off for the task's shape, if it does."""
        if now is None:
            return {}
        eligible = self.index.eligible(self.requirement(task))
        backing_off = self.backing_off(task.shape, eligible, now)
        return {node_id: until - now for node_id, until in backing_off.items()}

    def why_not(
        self, requirement: Requirement, eligible: Eligible, backing_off: Mapping[str, float]
    ) -> WhyNot:
        """Count what keeps the requirement off the nodes."""
        reasons = dict(self.index.count_lacks(requirement, eligible))
        if reasons.keys() <= {"offline"} and not eligible.bound:
            reasons = {NO_NODE: len(self.index.nodes)}
        if backing_off:
            reasons[BACKING_OFF] = len(backing_off)
        until = min(backing_off.values(), default=None)
        return WhyNot(requirement=requirement, nodes=len(self.index.nodes), reasons=reasons, until=until)


def plan(
    view: View,
    page: Iterable[Task],
    now: float,
    most_checks: int = MOST_CHECKS,
    gate: Gate | None = None,
) -> Plan:
    """Give as many tasks of the page to nodes as fit and the gate lets through, in the order of the page.

    `now` is the clock that `View.back_offs` were told of. The same view and page make the same plan.
    """
    draft = _Draft(view, now, most_checks, gate)
    for task in page:
        draft.place(task)
    return draft.result()


class _Draft:
    """A plan in the making: one search per shape."""

    def __init__(self, view: View, now: float, most_checks: int, gate: Gate | None) -> None:
        self._view = view
        self._gate = gate
        self._now = now
        self._most_checks = most_checks
        self._ledger = Ledger(view.index)
        self._searches: dict[str, ShapeSearch] = {}
        self.placements: list[PlannedPlacement] = []
        self.blocked: dict[str, WhyNot] = {}
        self.delayed: dict[str, Delay] = {}
        self.deferred = False

    def result(self) -> Plan:
        return Plan(
            placements=tuple(self.placements),
            blocked=self.blocked,
            delayed=self.delayed,
            complete=not self.deferred,
            checks=self._ledger.checks,
        )

    def place(self, task: Task) -> None:
        if task.shape in self.blocked or self._view.task(task.task_id) is not None:
            return
        if self._gate is not None and (delay := self._gate.delay(task)) is not None:
            self.delayed[task.task_id] = delay
            return
        search = self._searches.get(task.shape) or self._begin(task)
        if search is None:
            return
        node_id = search.pick()
        if node_id is None:
            self.blocked[task.shape] = self._why_not(task)
        else:
            self.placements.append(PlannedPlacement(task_id=task.task_id, node_id=node_id))
            if self._gate is not None:
                self._gate.take(task)

    def _begin(self, task: Task) -> ShapeSearch | None:
        """Start the search of a further shape, while there is time; the first always gets it."""
        if self._searches and self._ledger.checks > self._most_checks:
            self.deferred = True
            return None
        requirement = self._view.requirement(task)
        eligible, backing_off = self._eligible(task, requirement)
        search = ShapeSearch(
            self._view.index,
            self._ledger,
            requirement,
            eligible.but(backing_off.keys()),
            self._view.neighbours(task.shape),
            turn=len(self._searches),
        )
        self._searches[task.shape] = search
        return search

    def _eligible(self, task: Task, requirement: Requirement) -> tuple[Eligible, Mapping[str, float]]:
        eligible = self._view.index.eligible(requirement)
        return eligible, self._view.backing_off(task.shape, eligible, self._now)

    def _why_not(self, task: Task) -> WhyNot:
        requirement = self._view.requirement(task)
        eligible, backing_off = self._eligible(task, requirement)
        self._ledger.charge_scan(self._view.index.looks_at_lacks(requirement, eligible))
        counted = self._view.why_not(requirement, eligible, backing_off)
        reasons = dict(counted.reasons)
        for reason, count in self._ledger.count_used_up(requirement, eligible).items():
            reasons[reason] = reasons.get(reason, 0) + count
        return WhyNot(requirement=requirement, nodes=counted.nodes, reasons=reasons, until=counted.until)
