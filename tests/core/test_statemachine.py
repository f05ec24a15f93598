from pathlib import Path

from podling.core.lifecycle import TABLE
from podling.core.statemachine import render

PAGE = Path(__file__).parents[2] / "docs" / "state-machine.md"


def test_the_committed_page_is_the_one_that_the_table_makes() -> None:
    assert PAGE.read_text() == render()


def test_the_page_has_every_event_with_its_actor() -> None:
    page = render()
    for kind, move in TABLE.items():
        assert f"| `{kind}` | {move.actor} |" in page
        assert move.meaning in page
