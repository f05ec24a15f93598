import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.core.quantity import MAX_AMOUNT, parse_count, parse_cpu, parse_memory, parse_resource


@pytest.mark.parametrize(
    ("text", "millicores"), [("500m", 500), ("2", 2000), ("2.5", 2500), ("0.001", 1), (1500, 1500), (2.0, 2)]
)
def test_cpu_is_read_as_millicores(text: str | float, millicores: int) -> None:
    assert parse_cpu(text) == millicores


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("256Mi", 256 * 2**20),
        ("1Gi", 2**30),
        ("512M", 512 * 10**6),
        ("1.5Ki", 1536),
        ("4Ti", 4 * 2**40),
        ("7", 7),
        (1024, 1024),
        ("1k", 1000),
    ],
)
def test_memory_is_read_as_bytes(text: str | float, count: int) -> None:
    assert parse_memory(text) == count


BAD = ["", " 1", "1 ", "-1", "+1", "1Xi", "1e3", "0x10", "١", "1..2", ".5", "1_000", "nan", "inf", "9" * 25]


@pytest.mark.parametrize("text", [*BAD, "1Mi", "0.0001"])
def test_what_is_no_amount_of_cpu_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="CPU"):
        parse_cpu(text)


@pytest.mark.parametrize("text", [*BAD, "1m", "0.3", str(2**63)])
def test_what_is_no_amount_of_memory_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="memory"):
        parse_memory(text)


@pytest.mark.parametrize(
    "text", ["", "1.5", "-1", "1Mi", 1.5, True, -1, 2**53 + 1, float("inf"), float("nan")]
)
def test_what_is_no_count_is_refused(text: str | float) -> None:
    with pytest.raises(ValueError, match=r"whole|negative|most"):
        parse_count(text)


@given(st.integers(0, MAX_AMOUNT))
def test_a_number_is_taken_as_it_is(amount: int) -> None:
    assert parse_memory(amount) == parse_memory(str(amount)) == amount
    assert parse_cpu(amount) == amount
    assert parse_resource("gpu", amount) == amount


@given(st.integers(0, 2**40))
def test_writing_in_millicores_or_cores_is_the_same(millicores: int) -> None:
    cores = f"{millicores // 1000}.{millicores % 1000:03}"
    assert parse_cpu(f"{millicores}m") == parse_cpu(cores) == millicores


@given(st.sampled_from(["cpu", "memory", "gpu"]), st.text(max_size=12) | st.floats() | st.integers())
def test_nothing_raises_but_value_errors_and_amounts_are_in_range(name: str, quantity: str | float) -> None:
    try:
        amount = parse_resource(name, quantity)
    except ValueError as error:
        assert str(error)
    else:
        assert 0 <= amount <= MAX_AMOUNT
