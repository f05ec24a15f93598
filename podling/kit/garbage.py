"""Collections of garbage that look at everything hold up everybody: as few of them as memory allows."""

import gc

YOUNG, MIDDLE = 10_000, 10
FULL = 20
"""A full one after about two million new objects (YOUNG * MIDDLE * FULL) that have not gone by themselves."""


def collect_seldom() -> None:
    """Have what is there by now never looked at again, and what comes only after much has come.

    By the interpreter's own measure a master that is flooded would stand still every second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, FULL)
