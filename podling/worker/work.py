"""From an assignment to the piece of work that a runtime is given."""

from podling.core.protocol import Assignment
from podling.worker.runtime.base import ContainerWork


def work_of(cluster_id: str, assignment: Assignment, name: str) -> ContainerWork:
    """Return the work of the assignment's container of that name."""
    spec = assignment.spec
    container = next(one for one in spec.containers if one.name == name)
    suffix = f"-{name}" if len(spec.containers) > 1 else ""
    return ContainerWork(
        engine_name=f"podling-{cluster_id}-{assignment.task_id}-{assignment.attempt}{suffix}",
        task_id=assignment.task_id,
        attempt=assignment.attempt,
        container=container,
        network=spec.network,
        labels=spec.labels,
        environment=assignment.environment,
        handler=spec.handler,
        payload=spec.payload,
        statement=spec.statement,
        parameters=spec.parameters,
        database=spec.database,
        timeout_seconds=spec.timeout_seconds,
    )
