"""The flags of `podling run` that say what a task is, for other commands that take one."""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import Any

from podling.cli.run import run
from podling.cli.specification import Wishes

_OF_ONE_TASK = frozenset({"name", "words", "run_at", "idempotency_key", "after"})


def takes_task_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give the command those flags, and `--spec`; it finds them in its arguments `wishes` and `spec`."""
    own = [given for name, given in signature(command).parameters.items() if name not in ("wishes", "spec")]
    names = Wishes.__dataclass_fields__.keys() - _OF_ONE_TASK
    shared = [given for name, given in signature(run).parameters.items() if name in names | {"spec"}]

    @wraps(command)
    def with_wishes(**given: Any) -> None:
        flags = {name: given.pop(name) for name in names}
        words = given.get("words")
        command(**given, wishes=Wishes(words=words, **flags))

    parameters: list[Parameter] = [*own, *shared]
    with_wishes.__signature__ = signature(command).replace(parameters=parameters)  # type: ignore[attr-defined]
    with_wishes.__annotations__ = {given.name: given.annotation for given in parameters}
    return with_wishes
