"""Recorded refusals, by id."""

from collections.abc import Sequence
from datetime import datetime

from podling.core.decision import Decision, joined
from podling.store.ports.decisions import DecisionQuery, Decisions
from podling.store.ports.maintained import FORGETTING_SECONDS, Forgotten


class DecisionTable(Decisions):
    def __init__(self) -> None:
        self._by_id: dict[str, Decision] = {}

    async def record(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            known = self._by_id.get(decision.decision_id)
            self._by_id[decision.decision_id] = joined(known, decision) if known else decision

    async def find(self, query: DecisionQuery) -> Sequence[Decision]:
        return [decision for decision in self._newest() if _fits(decision, query)][: query.limit]

    async def prune(self, before: datetime, most: int, seconds: float = FORGETTING_SECONDS) -> Forgotten:
        gone = [
            decision for index, decision in enumerate(self._newest()) if index >= most or decision.at < before
        ]
        for decision in gone:
            del self._by_id[decision.decision_id]
        return Forgotten(removed=len(gone), is_complete=True)

    def _newest(self) -> list[Decision]:
        return sorted(self._by_id.values(), key=_place, reverse=True)


def _place(decision: Decision) -> tuple[datetime, str]:
    return decision.at, decision.decision_id


def _fits(decision: Decision, query: DecisionQuery) -> bool:
    return (
        (query.task_id is None or decision.task_id == query.task_id)
        and (query.code is None or decision.code == query.code)
        and (not query.at_door or decision.door is not None)
        and (query.after is None or _place(decision) < query.after)
    )
