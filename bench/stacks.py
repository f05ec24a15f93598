"""What a sampling profiler saw, in its folded form: a stack and how often it was seen, line by line."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_FRAME = re.compile(r"(?P<name>.+) \((?P<file>[^()]+?)(?::\d+)?\)$")
_LIBRARY = re.compile(r".*/(?:site-packages|lib/python[\d.]+)/")


@dataclass
class Frame:
    """A place in the tree of calls: how many samples were in it, and whom it called."""

    samples: int = 0
    calls: "dict[str, Frame]" = field(default_factory=dict)


def parse(text: str) -> Mapping[tuple[str, ...], int]:
    """Return how often each stack was seen, outermost call first; frames as `name (module)`."""
    seen: Counter[tuple[str, ...]] = Counter()
    for line in text.splitlines():
        stack, _, number = line.rpartition(" ")
        frames = [named for frame in stack.split(";") if (named := _named(frame)) is not None]
        if frames:
            seen[tuple(frames)] += int(number)
    return seen


def _named(frame: str) -> str | None:
    """Return a frame by its function and module; None for what names a process or a thread."""
    if (found := _FRAME.match(frame)) is None:
        return None
    return f"{found['name']} ({_module(found['file'])})"


def _module(file: str) -> str:
    """Return a file as people speak of it: `podling.kit.loop`, `asyncio.tasks`, `asyncpg.pool`."""
    if file.startswith("<"):
        return file
    inside, parts = _LIBRARY.sub("", file), file.split("/")
    if inside == file:
        inside = "/".join(parts[parts.index("podling") :] if "podling" in parts else parts[-2:])
    return inside.removesuffix(".py").replace("/", ".")


def own(stacks: Mapping[tuple[str, ...], int]) -> list[tuple[str, float]]:
    """Return each function's share of the samples in which it was the innermost one, most first."""
    found: Counter[str] = Counter()
    for stack, number in stacks.items():
        found[stack[-1]] += number
    return _shares(found)


def by_part(stacks: Mapping[tuple[str, ...], int]) -> list[tuple[str, float]]:
    """Return the share of own time of each package; those of Podling's layers apart."""
    found: Counter[str] = Counter()
    for stack, number in stacks.items():
        found[_part(stack[-1])] += number
    return _shares(found)


def _part(frame: str) -> str:
    if frame.endswith(" (<string>)"):
        return "dataclasses"  # the methods that it makes have no file
    parts = frame.rpartition(" (")[2].rstrip(")").split(".")
    return ".".join(parts[: 2 if parts[0] == "podling" else 1])


def _shares(found: Counter[str]) -> list[tuple[str, float]]:
    total = sum(found.values()) or 1
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [(name, number / total) for name, number in ordered]


def tree(stacks: Mapping[tuple[str, ...], int]) -> Frame:
    """Return the calls as a tree, whose root is everything that was seen."""
    root = Frame(samples=sum(stacks.values()))
    for stack, number in stacks.items():
        frame = root
        for name in stack:
            frame = frame.calls.setdefault(name, Frame())
            frame.samples += number
    return root


def boxes(root: Frame, least: float) -> Iterator[tuple[int, float, float, str]]:
    """Yield depth, begin and width (as shares of all) and name of each frame that is at least so wide."""
    waiting: list[tuple[int, float, Sequence[tuple[str, Frame]]]] = [(0, 0.0, list(root.calls.items()))]
    while waiting:
        depth, begin, frames = waiting.pop()
        for name, frame in sorted(frames):
            width = frame.samples / root.samples
            if width >= least:
                yield depth, begin, width, name
                waiting.append((depth + 1, begin, list(frame.calls.items())))
            begin += width
