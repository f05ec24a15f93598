"""Leases kept in the background, by asyncio and by a thread: renewed in time, lost in time."""

import asyncio
import threading

import pytest

from podling.core.errors import Unavailable
from podling.kit.asynchronous_renewal import AsyncRenewal
from podling.kit.blocking_renewal import Renewal
from podling.kit.lease import monotonic

PATIENCE = 20.0


async def test_it_is_renewed_and_then_lost_when_the_other_side_says_no() -> None:
    answers = [True, True, False]

    async def renew() -> bool:
        return answers.pop(0)

    renewal = AsyncRenewal(renew, 0.3, monotonic())
    async with asyncio.timeout(PATIENCE):
        await renewal.lost.wait()
    assert answers == []
    await renewal.stop()


@pytest.mark.parametrize("error", [Unavailable("away"), TimeoutError(), ZeroDivisionError()])
async def test_it_is_lost_in_time_when_nobody_answers(error: Exception) -> None:
    async def renew() -> bool:
        raise error

    began = monotonic()
    renewal = AsyncRenewal(renew, 0.2, began)
    async with asyncio.timeout(PATIENCE):
        await renewal.lost.wait()
    await renewal.stop()


async def test_a_renewal_that_hangs_is_given_up_in_time() -> None:
    renewal = AsyncRenewal(asyncio.Event().wait, 0.2, monotonic())  # type: ignore[arg-type]
    async with asyncio.timeout(PATIENCE):
        await renewal.lost.wait()
    await renewal.stop()


async def test_who_stops_has_lost_nothing() -> None:
    async def renew() -> bool:
        return True

    renewal = AsyncRenewal(renew, 60, monotonic())
    await renewal.stop()
    assert not renewal.lost.is_set()


def test_a_thread_does_the_same() -> None:
    answers: list[bool | Exception] = [True, Unavailable("away"), False]

    def renew() -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    renewal = Renewal(renew, 0.3, monotonic())
    assert renewal.lost.wait(PATIENCE)
    assert answers == []
    renewal.stop()


def test_a_thread_is_not_held_up_by_a_renewal_that_hangs() -> None:
    over = threading.Event()
    renewal = Renewal(over.wait, 0.2, monotonic())
    assert renewal.lost.wait(PATIENCE)
    over.set()
    renewal.stop()


def test_a_thread_that_is_stopped_has_lost_nothing() -> None:
    renewal = Renewal(lambda: True, 60, monotonic())
    renewal.stop()
    assert not renewal.lost.is_set()
