"""The load: which task is submitted when, drawn from the seed alone."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.docker_engine import IMAGE

SHARES = {"docker": 0.065, "process": 0.335, "simulated": 0.6}
GENEROUS = {"maxAttempts": 10, "maxLosses": 50, "retry": {"baseSeconds": 0.2, "maxSeconds": 2}}
LONG_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What a task does and how it has to end.

    `seconds` is the range it takes. `first_codes` are the exit codes of its first attempts, the
    last of them that of all further ones. `wanted` are the ends that are right; a task with
    `may_be_lost` may also fail by a loss, which its own policy forbids to repair.
    """

    name: str
    share: float
    seconds: tuple[float, float]
    wanted: tuple[str, ...]
    first_codes: tuple[int, ...] = (0,)
    may_be_lost: bool = False
    cancel_after: tuple[float, float] | None = None
    policy: dict[str, Any] = field(default_factory=dict)

    @property
    def at_most_once(self) -> bool:
        return self.policy.get("delivery") == "at_most_once"


BEHAVIOURS = (
    Behaviour(name="short", share=40, seconds=(0.0, 1.5), wanted=("completed",), policy=GENEROUS),
    Behaviour(name="long", share=14, seconds=(4.0, 15.0), wanted=("completed",), policy=GENEROUS),
    Behaviour(
        name="second try", share=8, seconds=(0.0, 0.5), wanted=("completed",), first_codes=(1, 0),
        policy=GENEROUS,
    ),
    Behaviour(
        name="broken", share=6, seconds=(0.0, 0.5), wanted=("failed",), first_codes=(1,),
        policy=GENEROUS | {"maxAttempts": 2},
    ),
    Behaviour(
        name="too slow", share=4, seconds=(LONG_SECONDS, LONG_SECONDS), wanted=("failed",),
        policy=GENEROUS | {"maxAttempts": 1, "timeoutSeconds": 1},
    ),
    Behaviour(
        name="cancelled", share=7, seconds=(LONG_SECONDS, LONG_SECONDS), wanted=("cancelled",),
        cancel_after=(0.2, 4.0), policy=GENEROUS,
    ),
    Behaviour(
        name="once", share=9, seconds=(0.2, 6.0), wanted=("completed",), may_be_lost=True,
        policy={"delivery": "at_most_once", "onLost": "fail", "maxAttempts": 3},
    ),
    Behaviour(
        name="once, held", share=4, seconds=(0.2, 6.0), wanted=("completed",), may_be_lost=True,
        policy={"delivery": "at_most_once", "onLost": "hold", "onDisconnect": "keep"},
    ),
    Behaviour(
        name="fails when lost", share=4, seconds=(1.0, 8.0), wanted=("completed",), may_be_lost=True,
        policy={"onLost": "fail", "onDisconnect": "keep"},
    ),
    Behaviour(
        name="held when lost", share=4, seconds=(1.0, 8.0), wanted=("completed",), may_be_lost=True,
        policy={"onLost": "hold", "maxLosses": 50},
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One task to be submitted; `name` is its own alone, and its idempotency key."""

    name: str
    runtime: str
    behaviour: Behaviour
    seconds: float
    cancel_after: float | None
    loses_reply: bool


def draw(seed: int, number: int, runtimes: Sequence[str]) -> Work:
    """Return the work with this number, the same for the same seed."""
    dice = random.Random(f"{seed}-{number}")
    [runtime] = dice.choices(runtimes, [SHARES[name] for name in runtimes])
    [behaviour] = dice.choices(BEHAVIOURS, [one.share for one in BEHAVIOURS])
    return Work(
        name=f"soak-{seed}-{number}",
        runtime=runtime,
        behaviour=behaviour,
        seconds=dice.uniform(*behaviour.seconds),
        cancel_after=dice.uniform(*behaviour.cancel_after) if behaviour.cancel_after else None,
        loses_reply=dice.random() < 0.05,
    )


def spec_of(work: Work, ledger: str, volume: str, mark: tuple[str, str]) -> dict[str, Any]:
    """Return what to submit. `mark` is a variable by which what is left of it can be found."""
    env = {mark[0]: mark[1]}
    spec = {"name": work.name, "runtime": work.runtime, "stopGraceSeconds": 1, **work.behaviour.policy}
    match work.runtime:
        case "simulated":
            env |= _simulation(work)
        case "process":
            spec["command"] = ["/bin/busybox", "sh", "-c", _script(work, ledger)]
        case "docker":
            spec |= {
                "image": IMAGE,
                "network": "none",
                "command": ["sh", "-c", _script(work, "/ledger/ledger")],
            }
            spec["mounts"] = [{"type": "volume", "source": volume, "target": "/ledger"}]
    return spec | {"env": env}


def _simulation(work: Work) -> dict[str, str]:
    # It cannot do another thing in its second attempt, so what should fail once fails for good.
    return {
        "PODLING_SIMULATE_SECONDS": f"{work.seconds:.3f}",
        "PODLING_SIMULATE_EXIT_CODE": str(work.behaviour.first_codes[0]),
    }


def _script(work: Work, ledger: str) -> str:
    line = 'echo "{word} $PODLING_TASK_ID $PODLING_ATTEMPT $EPOCHREALTIME" >>' + ledger
    *first, last = work.behaviour.first_codes
    exits = "".join(f'[ "$PODLING_ATTEMPT" = {n} ] && exit {code}; ' for n, code in enumerate(first, 1))
    start, end = (line.format(word=word) for word in ("start", "end"))
    return f"{start}; sleep {work.seconds:.3f}; {end}; {exits}exit {last}"


def wanted_end(work: Work) -> tuple[str, ...]:
    """Return the statuses in which the work may end when nothing was lost for good."""
    if work.runtime == "simulated" and work.behaviour.first_codes[0] != 0:
        return ("failed",)
    return work.behaviour.wanted
