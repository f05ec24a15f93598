"""Registries that keep failing: what would have to be pulled from one waits, and one task tries it again.

Each has a breaker, `registry/HOST` (the rules: `podling.core.breaker`). The leader counts pulls that failed
though nobody said no, and remembers of which images: an image that no pull has failed for may be on its
node already, so a task is held back only if its image has failed, or is pulled at every start.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping

from podling.core.coordination import Breaker, BreakerState
from podling.core.image_names import image_name
from podling.core.retry import ErrorCode
from podling.core.spec import PullPolicy, Runtime
from podling.core.task import Task
from podling.core.traffic import REGISTRY, Delay, key_line

PREFIX = "registry/"
"""Of the keys of breakers that Podling itself uses."""

MAX_FAILURES = 5
COOL_DOWN_SECONDS = 30.0
NEXT_TRY = "next try in"
"""In what a worker says that has not asked again: one failure told twice."""

_LINE = "~" + PREFIX  # in place of a concurrency key
_MOST_IMAGES = 10_000
_ANSWERS = (
    "not found",
    "manifest unknown",
    "unauthorized",
    "denied",
    "authentication required",
    "invalid",
    "no matching manifest",
    "does not match",
)


def is_answer(message: str) -> bool:
    """Whether the registry itself said no: it works, and would say the same again."""
    words = message.lower()
    return any(word in words for word in _ANSWERS)


def key_of(registry: str) -> str:
    """Return what tasks that wait for the registry have in place of a concurrency key."""
    return _LINE + registry


def registry_of(key: str) -> str | None:
    """Return the registry of such a key; None for one of a task's own."""
    return key.removeprefix(_LINE) if key.startswith(_LINE) else None


class Registries:
    """What a leader knows of them. All of it may be forgotten but the breakers, which the store has."""

    def __init__(self) -> None:
        self._breakers: dict[str, Breaker] = {}  # those that failed since they last gave something
        self._failed: OrderedDict[str, None] = OrderedDict()  # images
        self._probes: dict[str, str] = {}  # tasks that try
        self._failures: Counter[str] = Counter()
        self._answered: set[str] = set()
        self._is_counting = False  # what was told is not in the breakers yet

    @property
    def hold(self) -> bool:
        """Whether any task may have to wait."""
        return any(breaker.state is not BreakerState.CLOSED for breaker in self._breakers.values())

    @property
    def all_work(self) -> bool:
        """Whether none has failed since it last gave something, counted or not."""
        return not (self._breakers or self._failures or self._answered or self._is_counting)

    @property
    def is_open(self) -> bool:
        """Whether time alone will change something."""
        return any(breaker.state is BreakerState.OPEN for breaker in self._breakers.values())

    def learn(self, breakers: Iterable[Breaker]) -> frozenset[str]:
        """Take over what the store says; return the registries of which more may start now."""
        self._is_counting = False
        held = [key for key, breaker in self._breakers.items() if breaker.state is not BreakerState.CLOSED]
        self._breakers = {
            breaker.key: breaker
            for breaker in breakers
            if breaker.failure_count or breaker.state is not BreakerState.CLOSED
        }
        return frozenset(registry for registry in held if self.room(registry, 1))

    def told(self) -> tuple[Mapping[str, int], frozenset[str]]:
        """Return, once, how many pulls have failed at which registries, and which have answered."""
        failures, answered = self._failures, frozenset(self._answered)
        self._failures, self._answered = Counter(), set()
        self._is_counting |= bool(failures or answered)
        return failures, answered

    # What happens

    def failed(self, task: Task) -> None:
        """A container of the task could not be made, perhaps because its image could not be pulled."""
        if task.error_code not in (ErrorCode.IMAGE_PULL, ErrorCode.IMAGE_AUTH):
            return
        error = task.error or ""
        for image in _images_named(task, error):
            registry = image_name(image).registry
            if is_answer(error.replace(image, "")):
                self._answered_by(registry)
            elif task.error_code == ErrorCode.IMAGE_PULL:
                self._failed[image] = None
                self._failures[registry] += NEXT_TRY not in error
        while len(self._failed) > _MOST_IMAGES:
            self._failed.popitem(last=False)

    def started(self, task: Task) -> None:
        """The task's containers were made; an image that is on every node says nothing of its registry."""
        if not self._breakers and not self._failed:
            return
        for image, at_every_start in _pulling(task):
            if image in self._failed or at_every_start:
                self._failed.pop(image, None)
                self._answered_by(image_name(image).registry)

    def _answered_by(self, registry: str) -> None:
        if registry in self._breakers or registry in self._failures:
            self._answered.add(registry)

    def suppose(self, task: Task) -> None:
        """Take the images of a task that waits for a registry for ones that have failed."""
        self._failed |= dict.fromkeys(image for image, _ in _pulling(task))

    # What follows

    def settle(self, is_live: Callable[[str], bool]) -> None:
        """Forget who tried and has ended, or was never given to a node."""
        self._probes = {registry: task for registry, task in self._probes.items() if is_live(task)}

    def room(self, registry: str, most: int) -> int:
        """Return how many tasks of the registry may start now, up to `most`."""
        match self._state(registry):
            case BreakerState.CLOSED:
                return most
            case BreakerState.HALF_OPEN if registry not in self._probes:
                return min(1, most)
            case _:
                return 0

    def delay(self, task: Task) -> Delay | None:
        """Return why the task does not start now; None if it may."""
        for registry in self._needed_by(task):
            if not self.room(registry, 1):
                return self._delay(registry, task.spec.queue)
        return None

    def take(self, task: Task) -> None:
        """The task starts: it tries the registries that are half open."""
        for registry in self._needed_by(task):
            if self._state(registry) is BreakerState.HALF_OPEN:
                self._probes[registry] = task.task_id

    def _needed_by(self, task: Task) -> Iterator[str]:
        for image, at_every_start in _pulling(task):
            registry = image_name(image).registry
            if self._state(registry) is not BreakerState.CLOSED and (at_every_start or image in self._failed):
                yield registry

    def _state(self, registry: str) -> BreakerState:
        breaker = self._breakers.get(registry)
        return BreakerState.CLOSED if breaker is None else breaker.state

    def _delay(self, registry: str, queue: str) -> Delay:
        breaker = self._breakers[registry]
        goes_on = f"is open after {breaker.failure_count} pulls that failed"
        if breaker.state is BreakerState.HALF_OPEN:
            goes_on = f"is half open, and task {self._probes[registry]} tries"
        return Delay(
            code=REGISTRY,
            message=f"the registry {registry} keeps failing: its breaker {PREFIX}{registry} {goes_on}",
            queue=queue,
            details={
                "registry": registry,
                "breaker": PREFIX + registry,
                "state": breaker.state.value,
                "failureCount": breaker.failure_count,
            },
            line=key_line(key_of(registry)),
        )


def _pulling(task: Task) -> Iterator[tuple[str, bool]]:
    """Yield the images that may have to be pulled, each with whether it is at every start."""
    if task.spec.runtime is Runtime.DOCKER:
        for container in task.spec.containers:
            if container.image is not None and container.pull_policy is not PullPolicy.NEVER:
                yield container.image, container.pull_policy is PullPolicy.ALWAYS


def _images_named(task: Task, error: str) -> Iterable[str]:
    """Return the images that the error tells of, or all of them."""
    images = {image for image, _ in _pulling(task)}
    return {image for image in images if image in error} or images
