"""Which master a worker tries next."""

from podling.worker.masters import MOST_REMEMBERED, Masters

ONE, TWO, THREE = "http://one:8070", "http://two:8070", "http://three:8070"


def _round(masters: Masters) -> list[str]:
    return [masters.take() for _ in masters.all]


def test_those_given_and_those_told_of_are_tried_in_turn() -> None:
    masters = Masters([ONE + "/"])
    masters.learn([TWO, ONE])
    assert _round(masters) == [ONE, TWO]
    assert _round(masters) == [ONE, TWO]


def test_one_that_was_told_of_before_is_still_tried_after_all_others() -> None:
    """It may have been restarting just when the one that tells died."""
    masters = Masters([ONE])
    masters.learn([ONE, TWO])
    masters.learn([ONE, THREE])
    assert _round(masters) == [ONE, THREE, TWO]
    assert masters.knows(TWO)
    masters.learn([ONE, TWO, THREE])
    assert masters.all == (ONE, TWO, THREE)


def test_the_oldest_are_forgotten() -> None:
    masters = Masters([ONE])
    for number in range(10):
        masters.learn([f"http://old-{number}:8070"])
    assert len(masters.all) == 1 + 1 + MOST_REMEMBERED
    assert not masters.knows("http://old-0:8070")
    assert masters.knows("http://old-8:8070")
