"""Dimensions and strategies."""

from __future__ import annotations

import dataclasses
import pickle
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given

import strategies
from servo.types import (
    DailyPartition,
    DimensionKind,
    HourlyPartition,
    MonthlyPartition,
    PartitionDimension,
    PartitionStrategy,
    StaticDimension,
    TenantDimension,
    TimeDimension,
    TimeGranularity,
    WeeklyPartition,
    YearlyPartition,
)

CLASSES = [HourlyPartition, DailyPartition, WeeklyPartition, MonthlyPartition, YearlyPartition]


@pytest.mark.parametrize(("cls", "granularity"), list(zip(CLASSES, TimeGranularity, strict=True)))
def test_each_class_is_the_time_dimension_of_its_granularity(
    cls: type[DailyPartition], granularity: TimeGranularity
) -> None:
    plain = TimeDimension("date", granularity)
    assert isinstance(cls(), TimeDimension)
    assert cls() == plain
    assert plain == cls()
    assert hash(cls()) == hash(plain)
    assert DailyPartition() != TimeDimension("date", TimeGranularity.HOUR)


@pytest.mark.parametrize(
    ("cls", "given", "stored"),
    [
        (DailyPartition, "2013-01-01", "2013-01-01"),
        (DailyPartition, date(2013, 1, 1), "2013-01-01"),
        (DailyPartition, datetime(2013, 1, 1), "2013-01-01"),
        (WeeklyPartition, "2013-01-07", "2013-01-07"),
        (MonthlyPartition, "2013-02", "2013-02-01"),
        (YearlyPartition, "2013", "2013-01-01"),
        (HourlyPartition, "2013-01-01T00", "2013-01-01T00:00:00Z"),
        (HourlyPartition, date(2013, 1, 1), "2013-01-01T00:00:00Z"),
        (
            HourlyPartition,
            datetime(2013, 1, 1, tzinfo=timezone(timedelta(hours=1))),
            "2012-12-31T23:00:00Z",
        ),
    ],
)
def test_bounds_are_stored_in_canonical_form(
    cls: type[DailyPartition], given: str | date, stored: str
) -> None:
    made = cls(start=given, end=given)
    assert (made.start, made.end) == (stored, stored)


@pytest.mark.parametrize(
    ("cls", "start"),
    [
        (WeeklyPartition, "2013-01-08"),
        (MonthlyPartition, "2013-01-02"),
        (YearlyPartition, "2013-02"),
        (HourlyPartition, "2013-01-01T00:30"),
        (DailyPartition, datetime(2013, 1, 1, 12, tzinfo=UTC)),
        (DailyPartition, "yesterday"),
    ],
)
def test_a_start_that_is_no_boundary_is_refused_with_the_dimension(
    cls: type[DailyPartition], start: str | date
) -> None:
    with pytest.raises(ValueError, match=r"dimension 'day': start .*expected"):
        cls("day", start=start)


def test_an_end_before_the_start_is_refused() -> None:
    with pytest.raises(ValueError, match="'2012-12-31' lies before start '2013-01-01'"):
        DailyPartition(start="2013-01-01", end="2012-12-31")


def test_a_bound_that_is_no_time_is_refused() -> None:
    with pytest.raises(TypeError, match="ISO text, a date or a datetime, got 2013"):
        DailyPartition(start=2013)  # type: ignore[arg-type]  # the point of the test


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="Mars/Olympus"):
        DailyPartition(timezone="Mars/Olympus")
    with pytest.raises(TypeError, match="IANA name"):
        DailyPartition(timezone=UTC)  # type: ignore[arg-type]  # the point of the test


def test_an_unknown_granularity_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match=r"'minute'.*'hour', 'day', 'week', 'month', 'year'"):
        TimeDimension("date", "minute")  # type: ignore[arg-type]  # the point of the test


def test_the_granularity_of_a_daily_dimension_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="DailyPartition has the granularity 'day', not 'hour'"):
        DailyPartition(granularity=TimeGranularity.HOUR)


@given(strategies.dimensions())
def test_a_dimension_survives_pickling_and_replacing(dimension: PartitionDimension) -> None:
    assert pickle.loads(pickle.dumps(dimension)) == dimension
    assert dataclasses.replace(dimension) == dimension


def test_a_daily_dimension_can_be_replaced() -> None:
    changed = dataclasses.replace(DailyPartition("day"), start="2013-01-01")
    assert changed == DailyPartition("day", start="2013-01-01")


@pytest.mark.parametrize("name", ["Date", "", "a-b", "a\n"])
def test_a_malformed_name_is_refused(name: str) -> None:
    for make in (DailyPartition, TenantDimension, lambda n: StaticDimension(n, ["a"])):
        with pytest.raises(ValueError, match="Invalid dimension name"):
            make(name)


def test_static_values_keep_their_order() -> None:
    assert StaticDimension("region", values=iter(["us", "eu"])).values == ("us", "eu")


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ([], ValueError, "has no values"),
        (["a", "b", "a"], ValueError, "'a' more than once"),
        (["\ud800"], ValueError, "surrogate"),
        ([1], TypeError, "strings only"),
        ("abc", TypeError, "write \\['abc'\\]"),
        (None, TypeError, "iterable"),
    ],
)
def test_static_values_that_cannot_be_are_refused(
    values: object, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        StaticDimension("region", values=values)  # type: ignore[arg-type]  # the point of the test


def test_every_dimension_knows_its_kind() -> None:
    dimensions = (DailyPartition(), StaticDimension("a", ["b"]), TenantDimension("tenant"))
    assert [dimension.kind for dimension in dimensions] == list(DimensionKind)
    assert all(isinstance(dimension, PartitionDimension) for dimension in dimensions)


def test_a_strategy_without_dimensions_is_not_partitioned() -> None:
    assert not PartitionStrategy().is_partitioned
    assert PartitionStrategy().dimension_names == ()


def test_a_strategy_lists_its_dimensions_in_declared_order() -> None:
    strategy = PartitionStrategy(dimensions=[TenantDimension("tenant"), DailyPartition("date")])
    assert strategy.is_partitioned
    assert strategy.dimension_names == ("tenant", "date")
    assert strategy.dimension("date") == DailyPartition("date")
    assert strategy.time_dimensions == (DailyPartition("date"),)


def test_an_unknown_dimension_is_refused_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"no dimension 'day'.*\['date'\]"):
        PartitionStrategy([DailyPartition("date")]).dimension("day")


def test_a_name_used_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'date' is used more than once"):
        PartitionStrategy([DailyPartition("date"), TenantDimension("date")])


@pytest.mark.parametrize("dimensions", [DailyPartition(), ["date"], None, 5])
def test_what_is_no_list_of_dimensions_is_refused(dimensions: object) -> None:
    with pytest.raises(TypeError, match="dimension"):
        PartitionStrategy(dimensions)  # type: ignore[arg-type]  # the point of the test


def test_hours_without_an_offset_are_local_and_kept_in_utc() -> None:
    text = HourlyPartition("h", "2025-03-29T07", "2025-10-26T07:00", timezone="Europe/Berlin")
    assert (text.start, text.end) == ("2025-03-29T06:00:00Z", "2025-10-26T06:00:00Z")
    values = HourlyPartition(
        "h", datetime(2025, 3, 29, 7), datetime(2025, 10, 26, 6, tzinfo=UTC), "Europe/Berlin"
    )
    assert values == text
    midnight = HourlyPartition("h", date(2025, 7, 1), timezone="Europe/Berlin")
    assert midnight.start == "2025-06-30T22:00:00Z"
    assert HourlyPartition("h", "2025-03-29T07").start == "2025-03-29T07:00:00Z"


@pytest.mark.parametrize("value", ["2025-03-30T02:00", datetime(2025, 3, 30, 2)])
def test_a_bound_that_the_clocks_skip_is_refused_with_both_instants(value: object) -> None:
    said = "does not exist in Europe/Berlin.*2025-03-30T00:00:00Z or 2025-03-30T01:00:00Z"
    with pytest.raises(ValueError, match=said):
        HourlyPartition("h", value, timezone="Europe/Berlin")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "alike"),
    [
        (["north", "south"], None),
        (["north", "South", "NORTH", "south"], ("north", "NORTH")),
        (["a", "A"], ("a", "A")),
    ],
)
def test_values_that_differ_in_case_only_are_found(
    values: list[str], alike: tuple[str, str] | None
) -> None:
    assert StaticDimension("region", values).alike() == alike


@pytest.mark.parametrize(
    ("values", "twice"),
    [(["a", "b", "b"], "b"), (["a", "a", "b"], "a"), (["c", "b", "a", "b", "a"], "b")],
)
def test_a_value_that_is_given_twice_is_the_one_that_is_named(
    values: list[str], twice: str
) -> None:
    with pytest.raises(ValueError, match=f"'region' has the value '{twice}' more than once"):
        StaticDimension("region", values)


@pytest.mark.parametrize("given", [1, 2, 3])
def test_bounds_and_zone_are_given_by_name(given: int) -> None:
    more = ["2025-01-01", "2025-01-31", "UTC"][:given]
    with pytest.raises(TypeError, match="positional"):
        TimeDimension("date", TimeGranularity.DAY, *more)  # type: ignore[misc]  # the point
