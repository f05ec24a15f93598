"""What a pass of `Store.maintain` came to."""

from podling.core.value import value


@value
class Maintained:
    """Not `is_complete`: there was more to do than there was time for."""

    is_complete: bool
