"""Type-tagged scalars."""

from __future__ import annotations

import enum
import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import numpy
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies
from servo.types import ScalarKind, ScalarValue


class Colour(str, enum.Enum):  # noqa: UP042  # str() of this one is not its value
    RED = "red"


class Seven:
    def __index__(self) -> int:
        return 7


class Array:
    def __index__(self) -> int:
        raise TypeError("only integer scalar arrays")


class float32(float):  # noqa: N801  # named like the type it stands for
    pass


@given(strategies.scalars())
def test_a_scalar_is_read_back_from_its_text(value: ScalarValue) -> None:
    assert ScalarValue.from_tagged_string(value.to_tagged_string()) == value


@given(st.from_regex(r"[sibdtnx]:.{0,30}", fullmatch=True) | st.text(max_size=12))
def test_whatever_is_read_prints_as_the_same_text(text: str) -> None:
    try:
        value = ScalarValue.from_tagged_string(text)
    except ValueError:
        return
    assert value.to_tagged_string() == text


@given(st.integers())
def test_integers_are_accepted_exactly_within_64_bits(number: int) -> None:
    if -(2**63) <= number < 2**63:
        assert ScalarValue.from_value(number).value == number
    else:
        with pytest.raises(ValueError, match="64-bit"):
            ScalarValue.from_value(number)


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (True, ScalarKind.BOOL, "b:true"),
        (1, ScalarKind.INT64, "i:1"),
        (Seven(), ScalarKind.INT64, "i:7"),
        (Colour.RED, ScalarKind.STRING, "s:red"),
        ("2025-01-15", ScalarKind.STRING, "s:2025-01-15"),
        (date(1, 1, 1), ScalarKind.DATE, "d:0001-01-01"),
        (datetime(2025, 1, 15), ScalarKind.TIMESTAMP, "t:2025-01-15T00:00:00.000000Z"),
        (
            datetime(2025, 1, 15, tzinfo=timezone(timedelta(hours=2))),
            ScalarKind.TIMESTAMP,
            "t:2025-01-14T22:00:00.000000Z",
        ),
        (None, ScalarKind.NULL, "n:"),
    ],
)
def test_values_are_tagged_by_their_type(value: object, kind: ScalarKind, text: str) -> None:
    scalar = ScalarValue.from_value(value)
    assert (scalar.kind, scalar.to_tagged_string()) == (kind, text)


def test_one_is_not_true_and_not_its_text() -> None:
    assert len({ScalarValue.from_value(value) for value in (1, True, "1", "true")}) == 4


@pytest.mark.parametrize("value", [1.0, math.nan, math.inf, Decimal("1.5"), float32(1.5)], ids=repr)
def test_a_float_is_refused_with_the_dimension(value: object) -> None:
    with pytest.raises(ValueError, match="float") as caught:
        ScalarValue.from_value(value, dimension="price")
    assert "'price'" in str(caught.value)


def test_numpy_scalars_are_told_apart() -> None:
    assert ScalarValue.from_value(numpy.int64(5)).to_tagged_string() == "i:5"
    for value in (numpy.float32(1), numpy.float64(1), numpy.float16(1)):
        with pytest.raises(ValueError, match="float"):
            ScalarValue.from_value(value)


@pytest.mark.parametrize(
    "value",
    [[], {}, b"x", object(), 1j, Fraction(1, 2), Array()],
    ids=lambda value: type(value).__name__,
)
def test_another_type_is_refused_by_name(value: object) -> None:
    with pytest.raises(TypeError, match=type(value).__name__):
        ScalarValue.from_value(value, dimension="d")


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_a_lone_surrogate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="surrogate"):
        ScalarValue.from_value(text)
    with pytest.raises(ValueError, match="surrogate"):
        ScalarValue.from_tagged_string(f"s:{text}")


def test_a_timestamp_that_leaves_the_calendar_in_utc_is_refused() -> None:
    with pytest.raises(ValueError, match="years 1 to 9999"):
        ScalarValue.from_value(datetime.min.replace(tzinfo=timezone(timedelta(hours=1))))


def test_a_pandas_timestamp_with_nanoseconds_is_refused() -> None:
    with pytest.raises(ValueError, match="nanoseconds"):
        ScalarValue.from_value(pandas.Timestamp(1, unit="ns"))
    plain = ScalarValue.from_value(pandas.Timestamp("2025-01-15T10:30:00Z")).value
    assert type(plain) is datetime
    assert plain == datetime(2025, 1, 15, 10, 30, tzinfo=UTC)


def test_not_a_time_is_refused() -> None:
    with pytest.raises(ValueError, match="no point in time"):
        ScalarValue.from_value(pandas.NaT)


def test_a_value_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="is a string value, not date"):
        ScalarValue(ScalarKind.DATE, "2025-01-15")


def test_tagged_text_must_be_a_string() -> None:
    with pytest.raises(TypeError, match="read from a string"):
        ScalarValue.from_tagged_string(b"i:1")  # type: ignore[arg-type]  # the point of the test
