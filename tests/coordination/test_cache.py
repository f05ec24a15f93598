"""The cache: JSON values, times to live, patterns, its own prefix alone."""

from typing import Any

import pytest

from podling.core.errors import InvalidInput, TooLarge
from podling.core.pattern import EVERYTHING
from podling.store.memory.coordination.cache import CacheTable
from tests.coordination.ground import Ground, MovedClock


@pytest.mark.parametrize(
    "value", [None, 0, "", "ü\0\u2028", 1.5, 10**30, True, [], {}, {"b": [1, {"a": None}], "a": "x"}]
)
async def test_a_value_comes_back_as_it_was(ground: Ground, value: Any) -> None:
    cache = ground.coordination.cache
    assert await cache.set("k", value) is True
    assert await cache.get("k", default="nothing") == value
    assert await cache.set("k", 1) is False


async def test_a_value_lives_as_long_as_it_should(ground: Ground) -> None:
    cache = ground.coordination.cache
    await cache.set("short", 1, ttl=10)
    await cache.set("ever", 1)
    await ground.pass_time(11)
    assert (await cache.get("short"), await cache.has("short")) == (None, False)
    assert await cache.get("ever") == 1 and await cache.has("ever")
    assert await cache.set("short", 2, ttl=10) is True, "what ran out is new again"


async def test_what_is_deleted_is_gone(ground: Ground) -> None:
    cache = ground.coordination.cache
    await cache.set("k", 1)
    assert await cache.delete("k") is True and await cache.delete("k") is False
    await cache.set("k", 1, ttl=1)
    await ground.pass_time(2)
    assert await cache.delete("k") is False


async def test_clear_keeps_to_its_prefix(ground: Ground) -> None:
    """`%` and `_` in a prefix stand for themselves."""
    ours, others = ground.over("a_%"), [ground.over(prefix) for prefix in ("abc", "a_", "A_%", "")]
    for coordination in (ours, *others):
        await coordination.cache.set("k", 1)
    await ours.cache.set("l", 1)
    assert await ours.cache.clear() == 2
    assert await ours.cache.keys() == []
    for coordination in others:
        assert await coordination.cache.has("k")
    assert await ours.cache.clear() == 0


PATTERNS = [
    ("*", ["100%", "a*b", "a_b", "abc", "axb", "user:1", "user:2"]),
    ("%", ["100%", "a*b", "a_b", "abc", "axb", "user:1", "user:2"]),
    ("user:*", ["user:1", "user:2"]),
    ("user:%", ["user:1", "user:2"]),
    ("user:_", ["user:1", "user:2"]),
    ("a_b", ["a*b", "a_b", "axb"]),
    ("a\\_b", ["a_b"]),
    ("a_*", ["a_b"]),
    ("a*b", ["a*b", "a_b", "axb"]),
    ("a\\*b", ["a*b"]),
    ("100%*", ["100%"]),
    ("*%*", ["100%"]),
    ("abc", ["abc"]),
    ("", []),
    ("a\\", []),
    ("ABC", []),
    ("'; DROP TABLE podling_cache; --", []),
]


@pytest.mark.parametrize(("pattern", "found"), PATTERNS)
async def test_patterns(ground: Ground, pattern: str, found: list[str]) -> None:
    mine = ground.over("p_")
    for key in ("user:1", "user:2", "a_b", "axb", "abc", "a*b", "100%"):
        await mine.cache.set(key, 1)
    await ground.over("px").cache.set("user:3", 1)
    assert await mine.cache.keys(pattern) == found


async def test_a_pattern_made_to_take_for_ever_does_not(ground: Ground) -> None:
    await ground.coordination.cache.set("a" * 500, 1)
    assert await ground.coordination.cache.keys("*a" * 200 + "*b") == []


async def test_keys_are_paged_and_leave_out_what_ran_out(ground: Ground) -> None:
    cache = ground.coordination.cache
    for key in ("c", "a", "b"):
        await cache.set(key, 1)
    await cache.set("0", 1, ttl=1)
    await ground.pass_time(2)
    assert await cache.keys(limit=2) == ["a", "b"]
    assert await cache.keys(limit=2, after="b") == ["c"]


async def test_prune_counts_what_has_run_out(ground: Ground) -> None:
    ours, other = ground.over("o:"), ground.over("x:")
    for number in range(3):
        await ours.cache.set(f"k{number}", 1, ttl=1)
    await ours.cache.set("ever", 1)
    await other.cache.set("k", 1, ttl=1)
    await ground.pass_time(2)
    assert await ours.cache.prune() == 3 and await ours.cache.prune() == 0
    assert await ours.cache.keys() == ["ever"]
    assert await other.cache.prune() == 1


async def test_statistics(ground: Ground) -> None:
    cache = ground.coordination.cache
    assert (await cache.statistics()).ratio == 0
    await cache.set("k", None)
    for key in ("k", "k", "k", "nothing"):
        await cache.get(key)
    seen = await cache.statistics()
    assert (seen.hits, seen.misses, seen.size, seen.ratio) == (3, 1, 1, 0.75)


async def test_a_value_may_have_one_mebibyte(ground: Ground) -> None:
    cache = ground.coordination.cache
    await cache.set("k", "x" * (1024**2 - 2))
    for value in ("x" * (1024**2 - 1), "ü" * 600_000):
        with pytest.raises(TooLarge) as refused:
            await cache.set("k", value)
        assert refused.value.code == "value_too_large"
    assert len(await cache.get("k")) == 1024**2 - 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"x", "\ud800", {1, 2}])
async def test_what_json_cannot_say_is_refused(ground: Ground, value: Any) -> None:
    with pytest.raises(InvalidInput):
        await ground.coordination.cache.set("k", value)
    assert not await ground.coordination.cache.has("k")


@pytest.mark.parametrize("ttl", [0, -1, 10 * 366 * 86400])
async def test_a_time_to_live_that_cannot_be_is_refused(ground: Ground, ttl: float) -> None:
    with pytest.raises(InvalidInput):
        await ground.coordination.cache.set("k", 1, ttl)
    assert not await ground.coordination.cache.has("k")


async def test_in_memory_what_was_read_longest_ago_makes_room() -> None:
    table = CacheTable(MovedClock(), most_bytes=10_000)
    for key in ("read", "not read"):
        await table.put(key, "x" * 4000, None)
    assert await table.get("read") is not None
    for _ in range(5):
        await table.put("new", "x" * 4000, None)  # in place of itself
    assert await table.keys(EVERYTHING, 10) == ["new", "read"]
    assert await table.delete("read") and await table.delete("new")
    for key in ("one", "other"):
        await table.put(key, "x" * 4000, None)
    assert await table.size("") == 2, "what is removed takes no room"
