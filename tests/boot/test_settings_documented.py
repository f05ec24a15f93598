"""docs/operations.md has every setting."""

import re
from pathlib import Path

import pytest

from podling.boot.options import Option, Program
from podling.boot.settings import MASTER, WORKER

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def section(program: Program) -> str:
    text = OPERATIONS.read_text(encoding="utf-8")
    return re.split(r"^#+ ", text.partition(f"### {program.name}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize(
    ("program", "option"),
    [(program, option) for program in (MASTER, WORKER) for option in program.options],
    ids=lambda item: item.name if isinstance(item, Program) else item.flag,
)
def test_a_setting_is_in_the_table(program: Program, option: Option) -> None:
    (row,) = [line for line in section(program).splitlines() if f"`{option.flag}`" in line]
    assert f"`{option.names[0]}`" in row


@pytest.mark.parametrize("program", [MASTER, WORKER], ids=lambda program: program.name)
def test_every_setting_of_the_table_is_there(program: Program) -> None:
    told = set(re.findall(r"`(--[a-z-]+)`", section(program)))
    assert told == {option.flag for option in program.options}
