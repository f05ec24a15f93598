"""What is submitted: tasks of every kind of loss, delivery, budget and end."""

import random
from dataclasses import replace

from podling.core.spec import (
    ContainerSpec,
    Delivery,
    OnDisconnect,
    OnLost,
    ResourceRequirements,
    RestartPolicy,
    RetryPolicy,
    Runtime,
    TaskKind,
    TaskSpec,
)

FOR_EVER = 100_000.0

_LOSSES = (
    (OnLost.RETRY, OnDisconnect.STOP),
    (OnLost.RETRY, OnDisconnect.STOP),
    (OnLost.FAIL, OnDisconnect.STOP),
    (OnLost.FAIL, OnDisconnect.KEEP),
    (OnLost.HOLD, OnDisconnect.STOP),
    (OnLost.HOLD, OnDisconnect.KEEP),
)


SMALLEST_MACHINE_CPU = 2000


def random_spec(chance: random.Random) -> TaskSpec:
    runtime = chance.choice((Runtime.DOCKER, Runtime.PROCESS))
    on_lost, on_disconnect = chance.choice(_LOSSES)
    delivery = Delivery.AT_MOST_ONCE if chance.random() < 0.25 else Delivery.AT_LEAST_ONCE
    restart = RestartPolicy.NEVER
    if delivery is Delivery.AT_LEAST_ONCE and chance.random() < 0.15:
        restart = chance.choice((RestartPolicy.ON_FAILURE, RestartPolicy.ALWAYS))
    names = ("main", "side") if runtime is Runtime.DOCKER and chance.random() < 0.15 else ("main",)
    return TaskSpec(
        name="job",
        containers=tuple(_random_container(chance, runtime, name) for name in names),
        kind=TaskKind.POD if len(names) > 1 else TaskKind.TASK,
        runtime=runtime,
        restart_policy=restart,
        priority=chance.choice((0, 0, 0, 5)),
        max_attempts=chance.choice((1, 2, 3)),
        max_losses=chance.choice((0, 2, 5)),
        retry=RetryPolicy(base_seconds=chance.choice((0.2, 1.0, 3.0))),
        timeout_seconds=chance.choice((None, None, None, 4.0)),
        queue_timeout_seconds=chance.choice((None, None, None, 20.0)),
        deadline_seconds=chance.choice((None, None, None, 30.0)),
        delivery=delivery,
        on_lost=on_lost,
        on_disconnect=on_disconnect,
    )


def _random_container(chance: random.Random, runtime: Runtime, name: str) -> ContainerSpec:
    seconds = FOR_EVER if chance.random() < 0.05 else chance.expovariate(1 / 4.0)
    env = {
        "SIM_SECONDS": f"{seconds:.3f}",
        "SIM_EXITS": chance.choice(("0", "0", "0", "1,0", "1,1,0", "3")),
    }
    if chance.random() < 0.1:
        env["SIM_STUBBORN"] = "yes"
    return ContainerSpec(
        name=name,
        image="busybox:local" if runtime is Runtime.DOCKER else None,
        command=("work",),
        env=env,
        resources=ResourceRequirements(requests={"cpu": chance.choice((100, 500, 1000))}),
        stop_grace_seconds=chance.choice((0.5, 2.0, 10.0)),
    )


def filling(spec: TaskSpec) -> TaskSpec:
    """Return the same work needing a whole machine, so that its shape often fits nowhere."""
    if len(spec.containers) > 1:
        return spec
    resources = ResourceRequirements(requests={"cpu": SMALLEST_MACHINE_CPU})
    return replace(spec, containers=(replace(spec.containers[0], resources=resources),))


def short_spec() -> TaskSpec:
    """Return work of half a second that ends well."""
    container = ContainerSpec(
        name="main",
        command=("work",),
        env={"SIM_SECONDS": "0.5", "SIM_EXITS": "0"},
        resources=ResourceRequirements(requests={"cpu": 100}),
    )
    return TaskSpec(name="short", containers=(container,), runtime=Runtime.PROCESS)


def is_endless(spec: TaskSpec) -> bool:
    """Whether it ends only when it is told to."""
    if spec.restart_policy is not RestartPolicy.NEVER:
        return True
    return any(float(one.env["SIM_SECONDS"]) >= FOR_EVER for one in spec.containers)
