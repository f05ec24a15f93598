"""Who keeps a place when more come than there are."""

from dataclasses import dataclass

from podling.kit.places import Places


@dataclass(eq=False)
class Someone:
    is_cut: bool = False

    def cut(self) -> None:
        self.is_cut = True


def test_a_newcomer_takes_the_place_of_who_has_been_waited_for_longest() -> None:
    places = Places(2)
    first, second, third = Someone(), Someone(), Someone()
    assert places.enter(first) and places.enter(second)
    places.serve(first)
    places.wait_for(first)  # it has asked and was answered
    assert places.enter(third)
    assert (first.is_cut, second.is_cut) == (False, True)
    assert len(places) == 2


def test_who_is_served_keeps_its_place() -> None:
    places = Places(1)
    served, late = Someone(), Someone()
    assert places.enter(served)
    places.serve(served)
    assert not places.enter(late)
    assert not served.is_cut
    places.leave(served)
    assert places.enter(late)


def test_who_stays_beside_the_count_is_never_cut() -> None:
    places = Places(1)
    worker = Someone()
    assert places.enter(worker)
    places.leave(worker)
    places.wait_for(worker)  # says nothing about one that is not counted
    for _ in range(5):
        assert places.enter(Someone())
    assert not worker.is_cut
