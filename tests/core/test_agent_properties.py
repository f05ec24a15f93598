"""Laws I13 to I18 over random orders of events, with crashes and restarts at any point."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from podling.core.protocol import AttemptKey, ReportKind
from podling.core.spec import Delivery, OnDisconnect, OnLost, RestartPolicy
from podling.core.task import StopReason
from tests.core.agent_model import assignment
from tests.core.agent_world import World

TASKS = ("t1",)
SPECS: list[dict[str, Any]] = [
    {},
    {"delivery": Delivery.AT_MOST_ONCE},
    {"names": ("main", "side")},
    {"timeout_seconds": 5.0},
    {"restart_policy": RestartPolicy.ON_FAILURE},
    {"on_disconnect": OnDisconnect.KEEP, "on_lost": OnLost.FAIL},
]

index = st.integers(0, 7)


class Agent(RuleBasedStateMachine):
    """The world decides when what happens; the laws are checked on the way and at the end."""

    @initialize()
    def begin(self) -> None:
        self.world = World()
        self.world.renew()

    # The master

    @rule(task=st.sampled_from(TASKS), attempt=st.integers(1, 2), spec=st.integers(0, len(SPECS) - 1))
    def assign(self, task: str, attempt: int, spec: int) -> None:
        key = AttemptKey(task_id=task, attempt=attempt)
        given = self.world.assigned.get(key) or assignment(task, attempt, **SPECS[spec])
        if key not in self.world.ends:
            self.world.assign(given)

    @precondition(lambda self: self.world.assigned)
    @rule(which=index)
    def assign_again(self, which: int) -> None:
        given = list(self.world.assigned.values())[which % len(self.world.assigned)]
        self.world.assign(given)

    @rule(task=st.sampled_from(TASKS), attempt=st.integers(1, 2))
    def stop(self, task: str, attempt: int) -> None:
        self.world.order_stop(AttemptKey(task_id=task, attempt=attempt), StopReason.CANCEL)

    @rule()
    def take_reports(self) -> None:
        self.world.take_reports()

    @rule()
    def reconcile(self) -> None:
        self.world.reconcile()

    @rule()
    def renew(self) -> None:
        self.world.renew()

    # Journal and runtime

    @precondition(lambda self: self.world.writes)
    @rule()
    def write(self) -> None:
        self.world.write_one()

    @precondition(lambda self: self.world.calls)
    @rule(which=index)
    def answer(self, which: int) -> None:
        self.world.answer(self.world.calls[which % len(self.world.calls)])

    @precondition(lambda self: self.world.calls)
    @rule(which=index)
    def have_effect(self, which: int) -> None:
        call = self.world.calls[which % len(self.world.calls)]
        if not call.has_effect:
            self.world.have_effect(call)

    @precondition(lambda self: self.world.calls)
    @rule(which=index)
    def fail(self, which: int) -> None:
        self.world.fail(self.world.calls[which % len(self.world.calls)])

    @precondition(lambda self: self.world.running())
    @rule(which=index, code=st.sampled_from([0, 0, 1, 137]))
    def exit(self, which: int, code: int) -> None:
        running = self.world.running()
        self.world.exit(running[which % len(running)], code)

    @precondition(lambda self: self.world.containers)
    @rule(which=index)
    def remove_by_hand(self, which: int) -> None:
        containers = list(self.world.containers.values())
        self.world.remove_by_hand(containers[which % len(containers)])

    @precondition(lambda self: self.world.told)
    @rule(twice=st.booleans())
    def tell(self, twice: bool) -> None:
        self.world.tell_one(twice)

    @rule(seconds=st.sampled_from([0.5, 2.0, 9.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule()
    def sweep(self) -> None:
        self.world.sweep()

    @rule()
    def settle(self) -> None:
        """Everything on its way arrives."""
        self.world.settle()

    @precondition(lambda self: self.world.running())
    @rule(code=st.sampled_from([0, 1]))
    def finish(self, code: int) -> None:
        """Whatever runs ends, and the master learns of it."""
        for container in self.world.running():
            self.world.exit(container, code)
        self.world.settle()
        self.world.take_reports()
        self.world.settle()

    @rule(effects=st.lists(st.booleans(), max_size=8), written=st.integers(0, 3))
    def crash_and_restore(self, effects: list[bool], written: int) -> None:
        for call, happens in zip(list(self.world.calls), effects, strict=False):
            if happens and not call.has_effect:
                self.world.have_effect(call)
        for _ in range(min(written, len(self.world.writes))):
            self.world.write_one()
        self.world.crash()
        self.world.restore()

    # The laws

    @invariant()
    def starts_at_most_once(self) -> None:
        """I14: without a restart policy, a container of an attempt is started once."""
        for (key, name), count in self.world.starts.items():
            spec = self.world.assigned[key].spec
            if spec.restart_policy is not RestartPolicy.NEVER:
                continue
            by_hand = key in self.world.removed_by_hand and spec.delivery is Delivery.AT_LEAST_ONCE
            assert count <= 1 or by_hand, (key, name, count)

    @invariant()
    def exits_are_true(self) -> None:
        """I18: an exit code that is reported has happened; success means that every container ended well."""
        for key, report in self.world.ends.items():
            real = self.world.real_exits.get(key, set())
            if report.exit_code is not None:
                assert report.exit_code in real, (key, report)
            if report.kind is ReportKind.ENDED and report.error_code is None:
                assert 0 in real, (key, report)

    @invariant()
    def lapsed_leases_stop_containers(self) -> None:
        """I17: two thirds into a lease, every container that must not outlive it has its kill set."""
        lease = self.world.state.lease
        if lease is None or self.world.now < lease.stop_at or not self.world.state.is_lapsed:
            return
        for held in self.world.state.attempts.values():
            if held.assignment.spec.on_disconnect is OnDisconnect.KEEP or held.final is not None:
                continue
            assert held.order is not None or not held.is_journaled, "only what has come since may wait"
            for container in held.containers:
                runs = container.phase == "running" and not container.is_doubtful
                # One whose start was answered too late for that is killed at once.
                assert not runs or (
                    container.kill_by is not None
                    and container.kill_by <= max(lease.sent_at + 12.0, self.world.now)
                )

    def teardown(self) -> None:
        """Everything comes to its end: one end per attempt, and nothing is left behind."""
        if not hasattr(self, "world"):
            return
        self.world.run_out()
        assert set(self.world.ends) == set(self.world.assigned)
        assert not self.world.state.attempts
        assert not self.world.containers
        assert not self.world.state.outbox
        self.exits_are_true()
        self.starts_at_most_once()


Agent.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAgent = Agent.TestCase
