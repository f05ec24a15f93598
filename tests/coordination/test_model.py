"""Both stores are driven with the same operations, and have to answer the same."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from podling.coordination import Coordination
from podling.core.coordination import BreakerState
from podling.core.errors import PodlingError
from tests.conftest import ServerOf
from tests.coordination.ground import GoingClock, Ground, memory_ground, postgres_ground
from tests.postgres_servers import PostgresServer, chosen_servers
from tests.support import IN_SOAK

KEYS = st.sampled_from(["a", "b", "a_", "a%"])
OWNERS = st.sampled_from(["me", "you"])
TTLS = st.sampled_from([10.0, 100.0])
VALUES = st.sampled_from([None, 1, {"a": ["ü"]}])
PATTERNS = st.sampled_from(["*", "a%", "a_", "a\\_", "a*", "b", ""])
MANY = 60 if IN_SOAK else 12

Question = Callable[[Coordination], Awaitable[Any]]


class CoordinationMachine(RuleBasedStateMachine):
    """Tokens are compared by the order in which they were given, and times not at all."""

    server: PostgresServer

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        on_postgres = self.run(self.stack.enter_async_context(postgres_ground(self.server)))
        self.grounds: tuple[Ground, Ground] = (memory_ground(GoingClock()), on_postgres)
        self.prefixed = [
            {prefix: ground.over(prefix) for prefix in ("", "p_", "px")} for ground in self.grounds
        ]
        self.tokens: tuple[list[int], list[int]] = ([], [])
        self.claims: list[tuple[int, int]] = []
        self.lock_tokens: list[tuple[str, int]] = []  # the key, and the place among all that were given

    def run(self, awaitable: Any) -> Any:
        async def wait() -> Any:
            return await awaitable

        return self.runner.run(wait())

    def teardown(self) -> None:
        try:
            self.run(self.stack.aclose())
        finally:
            self.runner.close()

    def both(self, prefix: str, ask: Callable[[Coordination, list[int]], Awaitable[Any]]) -> Any:
        """Return what both answer; a refusal is answered by its code."""
        answers = [
            self.run(_answer(ask(coordinations[prefix], tokens)))
            for coordinations, tokens in zip(self.prefixed, self.tokens, strict=True)
        ]
        plain = [_comparable(answer) for answer in answers]
        assert plain[0] == plain[1]
        given = [getattr(answer, "token", None) for answer in answers]
        if given[0] is not None:
            for tokens, token in zip(self.tokens, given, strict=True):
                assert not tokens or token not in tokens
                tokens.append(token)
        return answers[0]

    prefixes = st.sampled_from(["", "p_", "px"])

    @rule(seconds=st.sampled_from([1.0, 9.5, 50.0, 90.0, 2 * 86400.0]))
    def pass_time(self, seconds: float) -> None:
        for ground in self.grounds:
            self.run(ground.pass_time(seconds))

    @rule(prefix=prefixes, key=KEYS, owner=OWNERS, ttl=TTLS)
    def acquire(self, prefix: str, key: str, owner: str, ttl: float) -> None:
        lock = self.both(prefix, lambda on, _: on.locks.acquire(key, ttl, owner))
        if lock is not None:
            self.lock_tokens.append((key, len(self.tokens[0]) - 1))
            for tokens in self.tokens:
                mine = [tokens[place] for known, place in self.lock_tokens if known == key]
                assert mine == sorted({*mine}), "tokens of a key only grow"

    @rule(prefix=prefixes, key=KEYS, data=st.data())
    def use_a_token(self, prefix: str, key: str, data: st.DataObject) -> None:
        if not self.lock_tokens:
            return
        _, place = data.draw(st.sampled_from(self.lock_tokens[-4:]))
        if data.draw(st.booleans()):
            self.both(prefix, lambda on, tokens: on.locks.release(key, tokens[place]))
        else:
            self.both(prefix, lambda on, tokens: _bool(on.locks.extend_by_token(key, tokens[place], 20)))

    @rule(prefix=prefixes, key=KEYS, owner=OWNERS, what=st.sampled_from(["extend", "force", "forget"]))
    def use_an_owner(self, prefix: str, key: str, owner: str, what: str) -> None:
        match what:
            case "extend":
                self.both(prefix, lambda on, _: on.locks.extend(key, 30, owner))
            case "force":
                self.both(prefix, lambda on, _: on.locks.force_release(key))
            case _:
                for coordinations in self.prefixed:
                    self.run(coordinations[prefix].forget())

    @rule(prefix=prefixes, key=KEYS, most=st.integers(1, 3), cool_down=TTLS)
    def fail(self, prefix: str, key: str, most: int, cool_down: float) -> None:
        self.both(prefix, lambda on, _: on.breakers.record_failure(key, most, cool_down))

    @rule(prefix=prefixes, key=KEYS, what=st.sampled_from(["success", "allow", "allow", *BreakerState]))
    def use_a_breaker(self, prefix: str, key: str, what: str) -> None:
        match what:
            case "success":
                self.both(prefix, lambda on, _: on.breakers.record_success(key))
            case "allow":
                self.both(prefix, lambda on, _: on.breakers.allow(key))
            case state:
                self.both(prefix, lambda on, _: on.breakers.set_state(key, state, 10))

    @rule(prefix=prefixes, key=KEYS, value=VALUES, ttl=st.none() | TTLS)
    def cache(self, prefix: str, key: str, value: Any, ttl: float | None) -> None:
        self.both(prefix, lambda on, _: on.cache.set(key, value, ttl))

    @rule(
        prefix=prefixes,
        key=KEYS,
        pattern=PATTERNS,
        what=st.sampled_from(["delete", "clear", "prune", "keys"]),
    )
    def use_the_cache(self, prefix: str, key: str, pattern: str, what: str) -> None:
        match what:
            case "delete":
                self.both(prefix, lambda on, _: on.cache.delete(key))
            case "clear":
                self.both(prefix, lambda on, _: on.cache.clear())
            case "prune":
                self.both(prefix, lambda on, _: on.cache.prune())
            case _:
                self.both(prefix, lambda on, _: on.cache.keys(pattern, limit=3))

    @rule(
        prefix=prefixes, key=KEYS, value=VALUES, attempt=st.integers(1, 3), progress=st.none() | st.just(50.0)
    )
    def save(self, prefix: str, key: str, value: Any, attempt: int, progress: float | None) -> None:
        self.both(prefix, lambda on, _: on.checkpoints.save(key, value, attempt=attempt, progress=progress))

    @rule(prefix=prefixes, key=KEYS, keep=st.integers(0, 2), all_of_them=st.booleans())
    def clean_up(self, prefix: str, key: str, keep: int, all_of_them: bool) -> None:
        if all_of_them:
            self.both(prefix, lambda on, _: on.checkpoints.delete_all(key))
        else:
            self.both(prefix, lambda on, _: on.checkpoints.cleanup(key, keep))

    @rule(prefix=prefixes, key=KEYS, ttl=TTLS)
    def claim(self, prefix: str, key: str, ttl: float) -> None:
        first, second = (
            self.run(coordinations[prefix].idempotency.claim(key, ttl)) for coordinations in self.prefixed
        )
        assert (first.status, first.value) == (second.status, second.value)
        if first.token is not None:
            assert second.token is not None
            self.claims.append((first.token, second.token))

    @rule(prefix=prefixes, key=KEYS, value=VALUES, ttl=st.none() | TTLS, data=st.data())
    def store_an_outcome(
        self, prefix: str, key: str, value: Any, ttl: float | None, data: st.DataObject
    ) -> None:
        drawn = data.draw(st.sampled_from([(None, None), *self.claims[-3:]]))
        answers = [
            self.run(_answer(coordinations[prefix].idempotency.set(key, value, ttl, token=token)))
            for coordinations, token in zip(self.prefixed, drawn, strict=True)
        ]
        assert answers[0] == answers[1]

    @rule(prefix=prefixes, key=KEYS)
    def forget_an_outcome(self, prefix: str, key: str) -> None:
        self.both(prefix, lambda on, _: on.idempotency.delete(key))

    @invariant()
    def both_show_the_same(self) -> None:
        for prefix in ("", "p_"):
            self.both(prefix, _observe)


async def _observe(on: Coordination, _: list[int]) -> list[Any]:
    locks = [(lock.key, lock.owner) for lock in await on.locks.holders()]
    breakers = [_comparable(breaker) for breaker in await on.breakers.list()]
    keys = [(key, await on.cache.get(key)) for key in await on.cache.keys()]
    saved = [_comparable(found) for key in ("a", "a_") for found in await on.checkpoints.list(key)]
    outcomes = [_comparable(await on.idempotency.get(key)) for key in ("a", "b")]
    return [locks, breakers, keys, saved, outcomes, (await on.cache.statistics()).size]


async def _bool(awaitable: Awaitable[object]) -> bool:
    return await awaitable is not None


async def _answer(awaitable: Awaitable[Any]) -> Any:
    try:
        return await awaitable
    except PodlingError as error:
        return error.code


def _comparable(item: Any) -> Any:
    """Return what has to be the same at both: of times only whether there is one."""
    if isinstance(item, datetime):
        return "some time"
    if is_dataclass(item):
        left_out = {"token", "checkpoint_id", "retry_after_seconds"}
        names = [field.name for field in fields(item) if field.name not in left_out]
        return {name: _comparable(getattr(item, name)) for name in names}
    if hasattr(item, "lock"):
        return _comparable(item.lock)
    return list(item) if isinstance(item, tuple) else item


@pytest.mark.timeout(300)
def test_both_stores_answer_the_same(server_of: ServerOf) -> None:
    CoordinationMachine.server = server_of(chosen_servers()[0])
    run_state_machine_as_test(
        CoordinationMachine,
        settings=settings(
            max_examples=MANY,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
