"""Queues, and what operators say about them."""

import asyncio

from podling.core.queue import UNLIMITED, Queue, QueuePolicy, with_pause
from podling.store.base import Store

CALL_SECONDS = 10

FULL = QueuePolicy(
    max_in_flight=1,
    max_per_minute=2,
    max_per_key=3,
    throttle_delay_seconds=0.5,
    weight=4,
    ageing_seconds=5,
    max_payload_bytes=6,
    max_submits_per_minute=7,
)


async def test_at_first_there_is_none(store: Store) -> None:
    assert list(await store.queues.find()) == []
    assert await store.queues.policies() == {}


async def test_a_policy_is_read_as_it_was_saved(store: Store) -> None:
    assert await store.queues.save("etl", FULL) is True
    assert await store.queues.save("etl", FULL) is False
    assert await store.queues.get("etl") == Queue(name="etl", policy=FULL)
    assert await store.queues.policies() == {"etl": FULL}
    assert await store.queues.save("etl", UNLIMITED) is False
    assert await store.queues.get("etl") == Queue(name="etl")
    assert await store.queues.policies() == {}
    assert await store.queues.get("nowhere") is None


async def test_to_declare_a_queue_changes_nothing_about_one_that_is_there(store: Store) -> None:
    await store.queues.save("etl", FULL)
    await store.queues.declare(["etl", "mail", "mail"])
    await store.queues.declare(["mail"])
    assert await store.queues.get("etl") == Queue(name="etl", policy=FULL)
    assert await store.queues.get("mail") == Queue(name="mail")
    assert await store.queues.policies() == {"etl": FULL}


async def test_a_pause_outlives_a_new_policy(store: Store) -> None:
    assert await store.queues.pause("etl", True) is False
    await store.queues.declare(["etl"])
    assert await store.queues.pause("etl", True) is True
    assert await store.queues.policies() == {"etl": with_pause(UNLIMITED, True)}
    await store.queues.save("etl", FULL)
    assert await store.queues.policies() == {"etl": with_pause(FULL, True)}
    assert await store.queues.pause("etl", False) is True
    assert await store.queues.policies() == {"etl": FULL}


async def test_a_word_on_the_pause_comes_with_the_policy(store: Store) -> None:
    await store.queues.save("etl", FULL, True)
    assert await store.queues.get("etl") == Queue(name="etl", policy=with_pause(FULL, True))
    await store.queues.save("etl", UNLIMITED, None)
    assert await store.queues.policies() == {"etl": with_pause(UNLIMITED, True)}
    await store.queues.save("etl", with_pause(FULL, True), False)
    assert await store.queues.policies() == {"etl": FULL}


async def test_a_removed_queue_is_as_if_it_had_never_been(store: Store) -> None:
    await store.queues.save("etl", FULL)
    await store.queues.declare(["mail"])
    assert await store.queues.known(["etl", "mail", "nowhere"]) == {"etl", "mail"}
    assert await store.queues.remove("etl") is True
    assert await store.queues.remove("etl") is False
    assert await store.queues.known(["etl", "mail"]) == {"mail"}
    assert await store.queues.get("etl") is None
    assert await store.queues.policies() == {}
    assert await store.queues.save("etl", UNLIMITED) is True


async def test_queues_are_listed_by_name_in_pages(store: Store) -> None:
    await store.queues.declare(["b", "c", "*", "B"])
    assert [queue.name for queue in await store.queues.find(limit=3)] == ["*", "B", "b"]
    assert [queue.name for queue in await store.queues.find("b", 3)] == ["c"]


async def test_masters_are_told_of_a_word_on_a_queue(store: Store) -> None:
    calls: asyncio.Queue[None] = asyncio.Queue()
    listening = asyncio.create_task(store.listen(lambda: None, lambda: calls.put_nowait(None)))
    try:
        async with asyncio.timeout(CALL_SECONDS):
            await calls.get()  # it listens
            await store.queues.save("etl", FULL)
            await calls.get()
            await store.queues.pause("etl", True)
            await calls.get()
            await store.queues.remove("etl")
            await calls.get()
    finally:
        listening.cancel()
