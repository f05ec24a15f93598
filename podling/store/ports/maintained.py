"""What a pass that removes what is old came to."""

from podling.core.value import value

FORGETTING_SECONDS = 5.0
"""For one pass over things of one kind."""


@value
class Maintained:
    """Not `is_complete`: there was more to do than there was time for."""

    is_complete: bool


@value
class Forgotten(Maintained):
    """A pass over things of one kind."""

    removed: int
