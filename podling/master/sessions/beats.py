"""Beats are written in bulk and acknowledged only after that commit."""

import asyncio
from dataclasses import dataclass

from podling.master.context import MasterContext
from podling.master.sessions.registry import Sessions
from podling.master.sessions.session import Session
from podling.wire.session import BeatAcknowledged


@dataclass(slots=True)
class _Waiting:
    session: Session
    counter: int


class Beats:
    """Collects what sessions received since the last write."""

    def __init__(self, context: MasterContext, sessions: Sessions) -> None:
        self._context = context
        self._sessions = sessions
        self._waiting: dict[str, _Waiting] = {}
        self._some = asyncio.Event()

    def note(self, session: Session, counter: int) -> None:
        session.has_beaten = True
        self._waiting[session.node_id] = _Waiting(session, counter)
        self._some.set()

    async def run_once(self) -> float | None:
        """Write the beats that wait; a node that was marked lost has to connect anew.

        Beats of one interval are written together: the first waits for the others.
        """
        await self._some.wait()
        await asyncio.sleep(self.interval_seconds)
        self._some.clear()
        batch, self._waiting = self._waiting, {}
        numbers = {node_id: item.session.session_no for node_id, item in batch.items()}
        counted = await self._context.store.beat(numbers, self._context.clock.now())
        self._context.measures.beats.add(by=len(counted))
        for node_id, item in batch.items():
            if node_id in counted:
                item.session.send(BeatAcknowledged(counter=item.counter))
            else:
                item.session.close("the node was declared lost")
        return 0.0

    @property
    def interval_seconds(self) -> float:
        """Four times a second, so that answers take well below one; more often with a short lease."""
        return min(0.25, self._context.options.lease_seconds / 24)
