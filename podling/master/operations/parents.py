"""What a task waited for, and what came of that: a dependent reads its parents' results here."""

from collections.abc import Sequence

from podling.core.spec import Dependency
from podling.core.task import Task
from podling.master.context import MasterContext
from podling.master.operations import tasks


async def parents_of(
    context: MasterContext, task_id: str, after: int, limit: int
) -> Sequence[tuple[Dependency, Task | None]]:
    """Return the task's parents in the order of its `dependsOn`, from after so many of them.

    One that history has forgotten is None. Raises NotFound.
    """
    task = await tasks.get(context, task_id)
    chosen = task.spec.depends_on[after : after + limit]
    found = await context.store.load_tasks([each.task_id for each in chosen])
    return [(each, found.get(each.task_id)) for each in chosen]
