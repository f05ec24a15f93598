import pytest

from podling.boot.assignments import read_assignments


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("A=1", {"A": "1"}),
        ("export A = 1 # why", {"A": "1"}),
        ("A='b # c'", {"A": "b # c"}),
        ('A="b=c"  # d', {"A": "b=c"}),
        ("A=", {"A": ""}),
        ("A=postgres://u:p#w@h/d", {"A": "postgres://u:p#w@h/d"}),
        ("# A=1", {}),
        ("A=1\nA=2", {"A": "2"}),
    ],
)
def test_lines_are_read(line: str, expected: dict[str, str]) -> None:
    assert read_assignments(line) == expected


@pytest.mark.parametrize("line", ["A", "=1", "A='open", "A='x' y"])
def test_a_line_that_is_neither_is_named_by_its_number(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 "):
        read_assignments("X=1\n" + line)
