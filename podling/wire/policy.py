"""The operator's policy as a YAML file, and as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
import yaml
from pydantic import ValidationError

from podling.core.errors import ConfigurationError
from podling.core.permission_faults import MOST_ENTRIES, faults_of
from podling.core.permissions import Policy
from podling.core.quantity import parse_cpu, parse_memory
from podling.core.value import value
from podling.wire.codec import adapter, to_plain

MOST_CHARACTERS = 256 * 1024
_MOST_LEVELS = 8
_TEXT_LISTS = (("users", "allow"), ("users", "groups"), ("hostPorts", "allow"))
_LATER = frozenset({"hostPid", "hostIpc"})

_Path = tuple[str | int, ...]


@value
class PolicyFault:
    """`path` is of the key, with dots; `line` counts from 1."""

    path: str
    line: int
    problem: str

    def sentence(self) -> str:
        return f"line {self.line}: {self.path}: {self.problem}" if self.path else self.problem


def read_policy(text: str) -> Policy:
    """Return the policy. Raises ConfigurationError with a sentence for every fault, in order of lines."""
    policy, faults = examine_policy(text)
    if policy is None:
        sentences = [fault.sentence() for fault in faults]
        message = sentences[0] if len(sentences) == 1 else "".join(f"\n  - {line}" for line in sentences)
        raise ConfigurationError(message, code="invalid_policy", details={"faults": sentences})
    return policy


def examine_policy(text: str) -> tuple[Policy | None, list[PolicyFault]]:
    """Return the policy, or None and what is wrong with it."""
    reader = _Reader()
    plain = reader.read(text)
    policy: Policy | None = None
    if not reader.faults:
        plain = _in_numbers(plain, reader)
        try:
            policy = adapter(Policy).validate_json(orjson.dumps(plain))
        except ValidationError as error:
            for path, problem in _problems(error):
                reader.add(path, problem)
        else:
            for dotted, problem in faults_of(policy):
                reader.add(
                    tuple(int(part) if part.isdigit() else part for part in dotted.split(".")), problem
                )
    faults = sorted(reader.faults, key=lambda fault: fault.line)
    return (None if faults else policy), faults


def policy_view(policy: Policy) -> dict[str, Any]:
    """Return what can be written into a file again; CPU is told as `500m`, since there 500 are cores."""
    plain: dict[str, Any] = to_plain(policy)
    for limits in plain["limits"].values():
        if limits["cpu"] is not None:
            limits["cpu"] = f"{limits['cpu']}m"
    return plain


class _Reader:
    """Reads the plain data, and remembers the line of every key."""

    def __init__(self) -> None:
        self.faults: list[PolicyFault] = []
        self._lines: dict[_Path, int] = {(): 1}
        self._constructor = yaml.constructor.SafeConstructor()

    def add(self, path: _Path, problem: str) -> None:
        known = path
        while known not in self._lines:
            known = known[:-1]
        dotted = ".".join(map(str, path))
        self.faults.append(PolicyFault(path=dotted, line=self._lines[known], problem=problem))

    def read(self, text: str) -> Any:
        if len(text) > MOST_CHARACTERS:
            self.add((), f"it is longer than {MOST_CHARACTERS} characters")
            return {}
        try:
            _refuse_depths(text)
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            self._add_broken(error)
            return {}
        if node is None:  # an empty file: the default
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.add((), "it must be a mapping of rules, such as `images:`")
            return {}
        return self._plain(node, ())

    def _add_broken(self, error: yaml.YAMLError) -> None:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        self.faults.append(PolicyFault(path="", line=line, problem=f"line {line}: it is no YAML: {problem}"))

    def _plain(self, node: yaml.Node, path: _Path) -> Any:
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, path))
        if isinstance(node, yaml.SequenceNode):
            if len(node.value) > MOST_ENTRIES:
                self.add(path, f"must have at most {MOST_ENTRIES} entries")
            return [self._plain(inner, (*path, index)) for index, inner in enumerate(node.value)]
        return self._scalar(node, path)

    def _pairs(self, node: yaml.MappingNode, path: _Path) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key, inner in node.value:
            name = str(key.value)[:80] if isinstance(key, yaml.ScalarNode) else "a key that is no text"
            place = (*path, name)
            self._lines[place] = key.start_mark.line + 1
            if name in seen:
                self.add(place, "is given twice")
            if not path and name in _LATER:
                self.add(place, "no task can ask for that in this version, so there is nothing to allow")
                continue
            seen.add(name)
            yield name, self._plain(inner, place)

    def _scalar(self, node: yaml.Node, path: _Path) -> Any:
        try:
            plain = self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError):
            plain = None
            self.add(path, f"{str(node.value)[:40]!r} cannot be read")
        if plain is not None and not isinstance(plain, str | int | float | bool):
            self.add(path, f"{str(node.value)[:40]!r} is neither text nor a number; put it in quotes")
            return None
        if isinstance(plain, int) and not -(2**53) <= plain <= 2**53:
            self.add(path, "is larger than any number here can be")
            return None
        return plain


def _refuse_depths(text: str) -> None:
    """A few references to references are a file of any size, and what is nested without end a full stack."""
    level = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if level > _MOST_LEVELS:
            raise _broken("it is nested too deeply", event.start_mark)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            problem = (
                "anchors and references (& and *) are not taken; put a pattern that begins with * in quotes"
            )
            raise _broken(problem, event.start_mark)


def _broken(problem: str, mark: Any) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _in_numbers(plain: Any, reader: _Reader) -> Any:
    """Numbers as text where either may stand, quantities as numbers."""
    for section, name in _TEXT_LISTS:
        rules = plain.get(section)
        if isinstance(rules, dict) and isinstance(rules.get(name), list):
            rules[name] = [_as_text(entry) for entry in rules[name]]
    limits = plain.get("limits")
    for role, amounts in limits.items() if isinstance(limits, dict) else ():
        if isinstance(amounts, dict):
            _parse_amounts(amounts, ("limits", role), reader)
    return plain


def _as_text(entry: Any) -> Any:
    return str(entry) if isinstance(entry, int) and not isinstance(entry, bool) else entry


def _parse_amounts(amounts: dict[str, Any], path: Sequence[str], reader: _Reader) -> None:
    for name, parse in (("cpu", parse_cpu), ("memory", parse_memory)):
        given = amounts.get(name)
        if given is None or isinstance(given, bool) or not isinstance(given, str | int | float):
            continue
        try:
            # In a file people write cores, as `cpu: 4` or `cpu: 0.5`.
            amounts[name] = parse(str(given))
        except ValueError as error:
            amounts[name] = 1 if name == "cpu" else 2**30
            reader.add((*path, name), str(error))


def _problems(error: ValidationError) -> Iterator[tuple[_Path, str]]:
    for fault in error.errors(include_url=False, include_context=False):
        if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            yield fault["loc"], f"there is no such rule{_known(fault['loc'])}"
        elif fault["type"] in ("missing", "missing_keyword_only_argument"):
            yield fault["loc"], "is required"
        else:
            yield fault["loc"], _WORDS.get(fault["type"], fault["msg"].replace("Input", "it"))


def _known(path: _Path) -> str:
    """Return what could stand in its place."""
    node: Any = policy_view(_EVERYTHING)
    for part in path[:-1]:
        node = node[0] if isinstance(part, int) else node.get(part) or node.get("default") or {}
    return f"; known are {', '.join(node)}" if isinstance(node, dict) and node else ""


_WORDS: Mapping[str, str] = {
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "dataclass_type": "must be a mapping",
}
_EVERYTHING: Policy = adapter(Policy).validate_json(
    '{"hostPaths": [{"path": "/x"}], "limits": {"default": {}}}'
)
