"""Masters on record, the one that leads, and what they leave for each other."""

from collections.abc import Sequence

from podling.store.base import Leadership, Master, PeerMessage
from podling.store.postgres.hints import Notifier
from podling.store.postgres.pool import Pool
from podling.store.postgres.queries import load

_SQL = load("masters")


class Masters:
    """The part of the store about masters; see `Store` for what each method means."""

    _pool: Pool
    _notifier: Notifier

    async def cluster_id(self) -> str:
        row = await self._pool.fetch_row(_SQL.cluster_id)
        assert row is not None
        return str(row["cluster_id"])

    async def register_master(self, master: Master) -> None:
        await self._pool.fetch(
            _SQL.register,
            master.master_id,
            master.advertise_url,
            master.version,
            master.counter,
            master.identity,
            master.lease_seconds,
        )

    async def beat_master(self, master_id: str) -> Sequence[Master]:
        await self._pool.fetch(_SQL.beat, master_id, urgent=True)
        return await self.load_masters()

    async def load_masters(self) -> Sequence[Master]:
        return [Master(**row) for row in await self._pool.fetch(_SQL.list)]

    async def remove_master(self, master_id: str) -> None:
        await self._pool.fetch(_SQL.remove, master_id)

    async def post(self, messages: Sequence[PeerMessage]) -> None:
        recipients = [message.recipient for message in messages]
        await self._pool.fetch(_SQL.post, recipients, [message.body for message in messages])
        self._notifier.call()

    async def take_messages(self, master_id: str) -> Sequence[str]:
        return [row["body"] for row in await self._pool.fetch(_SQL.take_messages, master_id)]

    async def leadership(self) -> Leadership:
        row = await self._pool.fetch_row(_SQL.leadership)
        assert row is not None
        return Leadership(**row)

    async def take_leadership(self, master_id: str, seen: Leadership) -> int | None:
        row = await self._pool.fetch_row(_SQL.take, master_id, seen.epoch, seen.counter, seen.holder)
        return None if row is None else int(row["epoch"])

    async def renew_leadership(self, master_id: str, epoch: int) -> bool:
        return await self._pool.fetch_row(_SQL.renew, master_id, epoch, urgent=True) is not None

    async def resign_leadership(self, master_id: str, epoch: int) -> None:
        await self._pool.fetch(_SQL.resign, master_id, epoch)
        self._notifier.call()
