"""What may be in hand shrinks while the event loop is slow, and only then."""

from podling.master.api.pace import LEAST_IN_HAND, SLOW_SECONDS, Pace

MOST = 1000


class Rounds:
    def __init__(self) -> None:
        self.at = 0.0
        self.pace = Pace(MOST, lambda: self.at)

    def take(self, *seconds: float, in_hand: int = 400) -> None:
        for one in seconds:
            self.pace.begin()
            self.at += one
            self.pace.end(in_hand)


def test_quick_rounds_and_a_single_slow_one_refuse_nobody() -> None:
    rounds = Rounds()
    rounds.take(*[SLOW_SECONDS / 2] * 100, SLOW_SECONDS * 10, SLOW_SECONDS / 2, SLOW_SECONDS * 10)
    assert rounds.pace.room == MOST


def test_slow_rounds_halve_what_is_in_hand_down_to_the_least() -> None:
    rounds = Rounds()
    rounds.take(SLOW_SECONDS * 2, SLOW_SECONDS * 2)
    assert rounds.pace.room == 200
    rounds.take(*[SLOW_SECONDS * 2] * 20, in_hand=5)
    assert rounds.pace.room == LEAST_IN_HAND


def test_it_grows_again_by_itself() -> None:
    rounds = Rounds()
    rounds.take(SLOW_SECONDS * 2, SLOW_SECONDS * 2)
    rounds.at += 1.0
    assert 399 <= rounds.pace.room <= 400
    rounds.at += 1e6
    assert rounds.pace.room == MOST
