"""Who the masters are, and who leads."""

from dataclasses import replace

from podling.core.errors import StaleEpoch
from podling.store.base import Leadership, Master


class MasterTable:
    def __init__(self) -> None:
        self._masters: dict[str, Master] = {}
        self.leadership = Leadership(epoch=0, holder=None, counter=0)

    def register(self, master: Master) -> None:
        self._masters[master.master_id] = master

    def beat(self, master_id: str) -> list[Master]:
        master = self._masters.get(master_id)
        if master is not None:
            self._masters[master_id] = replace(master, counter=master.counter + 1)
        return self.all()

    def all(self) -> list[Master]:
        return list(self._masters.values())

    def remove(self, master_id: str) -> None:
        self._masters.pop(master_id, None)

    def take_leadership(self, master_id: str, seen: Leadership) -> int | None:
        if self.leadership != seen:
            return None
        self.leadership = Leadership(epoch=seen.epoch + 1, holder=master_id, counter=0)
        return self.leadership.epoch

    def renew_leadership(self, master_id: str, epoch: int) -> bool:
        if not self._leads(master_id, epoch):
            return False
        self.leadership = replace(self.leadership, counter=self.leadership.counter + 1)
        return True

    def resign_leadership(self, master_id: str, epoch: int) -> None:
        if self._leads(master_id, epoch):
            self.leadership = replace(self.leadership, holder=None)

    def check_epoch(self, epoch: int) -> None:
        """Raise StaleEpoch unless this epoch leads."""
        if self.leadership.epoch != epoch or self.leadership.holder is None:
            raise StaleEpoch(f"epoch {epoch} does not lead any more", details={"epoch": epoch})

    def _leads(self, master_id: str, epoch: int) -> bool:
        return (self.leadership.holder, self.leadership.epoch) == (master_id, epoch)
