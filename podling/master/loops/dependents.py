"""Lets tasks go whose parents have ended as they want, and ends those of which one has not."""

from collections.abc import Sequence

from podling.core.graph import decide
from podling.kit.wakeup import Wakeup
from podling.master.committer import Applied, Happening
from podling.master.context import MasterContext

PAGE = 500
MOST_LINKS = 5000  # noted at once
LOOK_SECONDS = 5.0


class Dependents:
    """Decides from the store alone: how a parent has ended is noted there before anything follows from it.

    The feed only says where to look. Whoever waits is looked at once when this master begins to lead, and
    page by page ever after, in case that something was not heard. While nobody waits, ends are not looked at.
    """

    def __init__(self, context: MasterContext) -> None:
        self._context = context
        self._ended: dict[str, None] = {}  # tasks that somebody may have waited for
        self._heard: dict[str, None] = {}  # tasks that wait, and were not looked at
        self._anybody_waits = True
        self._walk_found = False
        self._after: str | None = ""  # how far the walk has come; None: to its end
        self._first_walk = True
        self._looked_at = 0.0
        self._epoch: int | None = None
        self.wakeup = Wakeup()
        context.feed.listen(self._after_commit)

    def _after_commit(self, applied: Sequence[Applied]) -> None:
        if not self._context.leads:
            return
        for change in applied:
            after = change.after
            if after.spec.depends_on and after.waits_for_parents:
                self._heard[after.task_id] = None
                self._anybody_waits = self._walk_found = True
            elif self._anybody_waits and after.status.is_terminal:
                self._ended[after.task_id] = None
        if self._heard or self._ended:
            self.wakeup.set()

    async def run_once(self) -> float | None:
        epoch = self._context.epoch
        if epoch is None:
            return None
        if self._epoch != epoch:
            self._epoch = epoch
            self._start_over()
        try:
            await self._follow_ends(epoch)
            await self._look_at_heard(epoch)
            await self._walk(epoch)
        except BaseException:
            self._start_over()  # what was noted may not have been decided
            raise
        is_behind = self._ended or self._heard or (self._first_walk and self._after is not None)
        return 0.0 if is_behind else None

    def _start_over(self) -> None:
        """Look at everything."""
        self._after, self._first_walk = "", True
        self._anybody_waits, self._walk_found = True, False

    async def _follow_ends(self, epoch: int) -> None:
        parents = list(self._ended)[:PAGE]
        if not parents:
            return
        children = await self._context.store.dependencies.note_ends(parents, MOST_LINKS, epoch)
        await self._decide(list(dict.fromkeys(children)))
        if len(children) < MOST_LINKS:
            for parent in parents:
                self._ended.pop(parent, None)

    async def _look_at_heard(self, epoch: int) -> None:
        children = list(self._heard)[:PAGE]
        await self._look(children, epoch)
        for child in children:
            self._heard.pop(child, None)

    async def _walk(self, epoch: int) -> None:
        now = self._context.clock.monotonic()
        if not self._first_walk and now - self._looked_at < LOOK_SECONDS:
            return
        if self._after is None:
            if not self._anybody_waits:
                return
            self._after, self._walk_found = "", False
        page = await self._context.store.dependencies.waiting(self._after, PAGE)
        await self._look(page, epoch)
        self._walk_found |= bool(page)
        self._looked_at = now
        self._after = page[-1] if len(page) == PAGE else None
        if self._after is None:
            self._first_walk, self._anybody_waits = False, self._walk_found

    async def _look(self, children: Sequence[str], epoch: int) -> None:
        if not children:
            return
        dependencies = self._context.store.dependencies
        while await dependencies.note_ends_for(children, MOST_LINKS, epoch) == MOST_LINKS:
            pass
        await self._decide(children)

    async def _decide(self, children: Sequence[str]) -> None:
        """What was let go or has ended meanwhile is refused by itself, and that is that."""
        for first in range(0, len(children), PAGE):
            links = await self._context.store.dependencies.links(children[first : first + PAGE])
            events = ((child, decide(found)) for child, found in links.items())
            happenings = [Happening(child, event) for child, event in events if event is not None]
            if happenings:
                await self._context.committer.apply_as_leader(happenings)
