"""The file of `podling workflow run`: YAML, with a few short ways to write what the API takes."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podling.core.errors import InvalidInput

if TYPE_CHECKING:
    from yaml import MappingNode, SafeLoader

_TAG = "tag:yaml.org,2002:"
_BOOLEAN = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_NOT_IN_JSON = ("binary", "set", "omap", "pairs")


def read_workflow(path: str) -> dict[str, Any]:
    """Return what is posted; `-` is standard input. Raises InvalidInput.

    `tasks` may be a mapping from keys to tasks; a parent may be written as `KEY` or `KEY:WHEN`, and one
    parent alone without a list.
    """
    plain = _load(path)
    if not isinstance(plain, dict) or not isinstance(plain.get("tasks"), dict | list):
        raise InvalidInput(f"{path}: must hold a name, and tasks with a key each")
    tasks = plain["tasks"]
    listed = tasks if isinstance(tasks, list) else [_keyed(path, *item) for item in tasks.items()]
    name = plain.get("name") or Path(path).stem
    return plain | {"name": name, "tasks": [_task(item) for item in listed]}


def _load(path: str) -> Any:
    import yaml

    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        return yaml.load(text, _loader())
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not YAML: {error}") from None


def _loader() -> "type[SafeLoader]":
    """Return one that takes times, and words as `no` and `on`, for text, and refuses doubled keys."""
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_constructors = {
            **yaml.SafeLoader.yaml_constructors,
            f"{_TAG}timestamp": yaml.SafeLoader.construct_yaml_str,
            **{f"{_TAG}{kind}": yaml.SafeLoader.construct_undefined for kind in _NOT_IN_JSON},
        }
        yaml_implicit_resolvers = {
            first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_TAG}bool"]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def flatten_mapping(self, node: "MappingNode") -> None:
            seen = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in seen:
                    problem = f"{key.value[:80]} stands there twice"
                    raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
            super().flatten_mapping(node)

    Loader.add_implicit_resolver(f"{_TAG}bool", _BOOLEAN, list("tTfF"))
    return Loader


def _keyed(path: str, key: Any, task: Any) -> dict[str, Any]:
    if not isinstance(task, dict):
        raise InvalidInput(f"{path}: the task {key} must be a mapping, with the fields of a task")
    return {"key": str(key)} | task


def _task(task: Any) -> Any:
    if not isinstance(task, dict) or task.get("dependsOn") is None:
        return task
    parents = task["dependsOn"]
    listed = parents if isinstance(parents, list) else [parents]
    return task | {"dependsOn": [_parent(parent) for parent in listed]}


def _parent(parent: Any) -> Any:
    if not isinstance(parent, str):
        return parent
    key, colon, when = parent.rpartition(":")
    return {"key": key, "when": when} if colon else {"key": when}
