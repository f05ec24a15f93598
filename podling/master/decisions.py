"""Writes refusals down, apart from the requests that were refused, and in bounds.

However many are refused, one pass writes so many records at most, in one statement; what is beyond
is counted, and the count is kept as a record of its own.
"""

import asyncio
import logging

from podling.core.decision import Decision, by_rule, joined, not_kept
from podling.kit.clock import Clock
from podling.store.base import Store

MOST_RECORDS = 100
"""Of one pass, and waiting for it while the store is away."""

MOST_WORDS = 20
"""Records of one actor and rule within an hour that differ in their words; the rest is counted in one."""

_MOST_KNOWN = 10_000

_log = logging.getLogger(__name__)


class DecisionLog:
    """`note` costs no write; `run_once` is called once a second, and before somebody reads."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[str, Decision] = {}
        self._not_kept = 0
        self._words: dict[str, set[str]] = {}
        self._writing = asyncio.Lock()

    def note(self, decision: Decision) -> None:
        """Have it written down soon."""
        self._add(self._bounded(decision))

    async def run_once(self) -> float | None:
        """Write what is waiting. Raises StoreUnavailable; then it waits on."""
        async with self._writing:
            waiting, self._waiting = self._waiting, {}
            lost, self._not_kept = self._not_kept, 0
            if not waiting and not lost:
                return None
            records = [*waiting.values()]
            if lost:
                _log.warning("%d refusals came too fast to be kept one by one", lost)
                records.append(not_kept(lost, self._clock.now()))
            try:
                await self._store.decisions.record(records)
            except BaseException:
                self._not_kept += lost
                for decision in waiting.values():
                    self._add(decision)
                raise
        return None

    def _add(self, decision: Decision) -> None:
        known = self._waiting.get(decision.decision_id)
        if known is not None:
            self._waiting[decision.decision_id] = joined(known, decision)
        elif len(self._waiting) < MOST_RECORDS:
            self._waiting[decision.decision_id] = decision
        else:
            self._not_kept += decision.count

    def _bounded(self, decision: Decision) -> Decision:
        """Nobody can push others' records out of the store by asking for ever new things."""
        rule = by_rule(decision)
        if len(self._words) >= _MOST_KNOWN:
            self._words.clear()
        words = self._words.setdefault(rule.decision_id, set())
        if decision.decision_id not in words:
            if len(words) >= MOST_WORDS:
                return rule
            words.add(decision.decision_id)
        return decision
