"""New tasks that get their node in the commit that stores them, so that they need no second one."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from podling.master.inserts import Insert

Choose = Callable[[Sequence[Insert]], Mapping[str, str]]
"""Returns the nodes of those that may begin at once, by task."""


class Giving:
    """`turn` is held from a plan until the view knows what came of it: two plans that both trust the
    same view would give the same room away twice. The leader's scheduler says who may begin at once.
    """

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.may_begin: Callable[[], bool] = lambda: False
        self.choose: Choose = lambda inserts: {}
