"""Sets of partitions."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import strategies
from servo.types import (
    DailyPartition,
    HourlyPartition,
    PartitionKey,
    PartitionSet,
    PartitionStrategy,
    StaticDimension,
    StaticSet,
    TenantDimension,
    TimeRange,
    WeeklyPartition,
    validate_key,
)

NOW = datetime(2013, 1, 4, 12, tzinfo=UTC)
DAYS = DailyPartition("date", start="2013-01-01", end="2013-01-03")
REGIONS = StaticDimension("region", ["us", "eu"])


def days(*dimensions: DailyPartition | StaticDimension | TenantDimension) -> PartitionStrategy:
    return PartitionStrategy(dimensions)


@given(strategies.partition_sets())
def test_keys_are_numbered_in_iteration_order(partitions: PartitionSet) -> None:
    keys = list(partitions)
    assert len(keys) == len(partitions)
    assert [partitions.key_at(index) for index in range(len(partitions))] == keys
    assert [partitions.index_of(key) for key in keys] == list(range(len(keys)))
    assert all(key in partitions for key in keys)


@given(strategies.partition_sets())
def test_keys_of_a_set_are_like_keys_made_by_hand(partitions: PartitionSet) -> None:
    for key in partitions:
        assert PartitionKey(key.dimensions).to_canonical() == key.to_canonical()


@given(strategies.partition_sets(), strategies.partition_keys())
def test_a_set_contains_what_it_lists(partitions: PartitionSet, key: PartitionKey) -> None:
    assert (key in partitions) == (key in set(partitions))


@given(strategies.partition_strategies(bounded=True))
def test_every_declared_key_is_valid(strategy: PartitionStrategy) -> None:
    declared = PartitionSet.declared(strategy, now=NOW, tenant_id="acme")
    assume(declared)
    for key in itertools.islice(declared, 5):
        validate_key(strategy, key, now=NOW, tenant_id="acme")


@given(strategies.partition_strategies(bounded=True), strategies.partition_keys())
def test_a_key_is_valid_exactly_when_it_is_declared(
    strategy: PartitionStrategy, key: PartitionKey
) -> None:
    declared = PartitionSet.declared(strategy, now=NOW, tenant_id="acme")
    try:
        validate_key(strategy, key, now=NOW, tenant_id="acme")
    except ValueError:
        assert key not in declared
    else:
        assert key in declared


def test_keys_come_in_declared_order_with_the_last_dimension_fastest() -> None:
    declared = PartitionSet.declared(days(DAYS, REGIONS), now=NOW)
    assert [key.to_path(["date", "region"]) for key in declared] == [
        "date=2013-01-01/region=us",
        "date=2013-01-01/region=eu",
        "date=2013-01-02/region=us",
        "date=2013-01-02/region=eu",
        "date=2013-01-03/region=us",
        "date=2013-01-03/region=eu",
    ]


def test_an_asset_without_dimensions_has_one_partition() -> None:
    declared = PartitionSet.declared(PartitionStrategy(), now=NOW)
    assert list(declared) == [PartitionKey()] == [declared.key_at(0)]
    assert declared.index_of(PartitionKey()) == 0


def test_a_huge_set_is_not_enumerated() -> None:
    hours = HourlyPartition("hour", start="0001-01-01T00", end="9999-12-31T23")
    axes = PartitionSet.declared(
        PartitionStrategy([hours, HourlyPartition("other", start=hours.start, end=hours.end)]),
        now=NOW,
    )
    hours_of_all_years = 24 * (date.max.toordinal() - date.min.toordinal() + 1)
    assert axes.size == hours_of_all_years**2
    last = axes.key_at(axes.size - 1)
    assert axes.index_of(last) == axes.size - 1


def test_an_open_end_is_the_last_complete_day() -> None:
    declared = PartitionSet.declared(days(DailyPartition("date", start="2013-01-01")), now=NOW)
    assert [key.dimensions["date"] for key in declared] == [date(2013, 1, day) for day in (1, 2, 3)]


def test_an_open_end_before_the_start_is_an_empty_set() -> None:
    declared = PartitionSet.declared(days(DailyPartition("date", start="2030-01-01")), now=NOW)
    assert (len(declared), list(declared), bool(declared)) == (0, [], False)


def test_an_open_start_cannot_be_listed() -> None:
    with pytest.raises(ValueError, match=r"'date' cannot be listed.*start="):
        PartitionSet.declared(days(DailyPartition("date")), now=NOW)


def test_a_tenant_dimension_holds_the_tenant() -> None:
    strategy = days(TenantDimension("tenant"))
    declared = PartitionSet.declared(strategy, now=NOW, tenant_id="acme")
    assert list(declared) == [PartitionKey({"tenant": "acme"})]
    with pytest.raises(ValueError, match="needs a tenant"):
        PartitionSet.declared(strategy, now=NOW)


@pytest.mark.parametrize("index", [-1, 6])
def test_a_number_outside_the_set_is_refused(index: int) -> None:
    with pytest.raises(IndexError, match="of a set of 6"):
        PartitionSet.declared(days(DAYS, REGIONS), now=NOW).key_at(index)


def test_a_key_outside_the_set_has_no_number() -> None:
    with pytest.raises(ValueError, match="not in the partition set"):
        PartitionSet().index_of(PartitionKey({"a": 1}))


def test_a_set_is_narrowed_by_one_dimension() -> None:
    declared = PartitionSet.declared(days(DAYS, REGIONS), now=NOW)
    narrow = declared.narrow(TimeRange.between(DAYS, "2013-01-02", date(2013, 1, 2)))
    assert [key.dimensions["region"] for key in narrow] == ["us", "eu"]
    with pytest.raises(ValueError, match=r"unknown dimension 'day'.*\['date', 'region'\]"):
        declared.narrow(StaticSet("day", ["x"]))


def test_a_range_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2013-01-02..2013-01-01 ends before it starts"):
        TimeRange.between(DAYS, "2013-01-02", "2013-01-01")
    with pytest.raises(ValueError, match="dimension 'date'"):
        TimeRange.between(DAYS, "2013-01", "2013-02")


def test_axes_describe_themselves() -> None:
    assert TimeRange.between(DAYS, "2013-01-01", "2013-01-02").describe() == (
        "2013-01-01..2013-01-02"
    )
    assert TimeRange(DAYS, 5, 1).describe() == "no period"
    many = StaticSet("n", [str(number) for number in range(11)]).describe()
    assert many.endswith("'9', …")


@pytest.mark.parametrize(
    ("dimensions", "words"),
    [
        (
            {"date": date(2013, 1, 1), "region": "us", "x": 1},
            r"unknown .*'x'.*\['date', 'region'\]",
        ),
        ({"date": date(2013, 1, 1)}, r"missing .*'region'.*\['date', 'region'\]"),
        ({"date": "2013-01-01", "region": "us"}, "'date' holds date values, got the string"),
        ({"date": datetime(2013, 1, 1), "region": "us"}, "got the timestamp"),
        ({"date": date(2013, 1, 1), "region": 1}, "'region' holds string values"),
        ({"date": date(2013, 1, 1), "region": "uk"}, "'uk' is no value .* 'us', 'eu'"),
        (
            {"date": date(2012, 12, 31), "region": "us"},
            "2012-12-31 lies outside the declared range 2013-01-01..2013-01-03",
        ),
    ],
)
def test_a_key_that_does_not_belong_is_refused_with_what_is_allowed(
    dimensions: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        validate_key(days(DAYS, REGIONS), PartitionKey(dimensions))


def test_a_date_inside_a_week_is_refused() -> None:
    strategy = PartitionStrategy([WeeklyPartition("week")])
    with pytest.raises(ValueError, match=r"'week'.*a Monday"):
        validate_key(strategy, PartitionKey({"week": date(2013, 1, 8)}))
    validate_key(strategy, PartitionKey({"week": date(2013, 1, 7)}))


def test_a_day_that_is_not_over_is_refused_when_the_time_is_known() -> None:
    strategy = days(DailyPartition("date"))
    today = PartitionKey({"date": NOW.date()})
    validate_key(strategy, today)
    with pytest.raises(ValueError, match=r"outside the declared range ..2013-01-03"):
        validate_key(strategy, today, now=NOW)


def test_another_tenant_is_refused() -> None:
    strategy = days(TenantDimension("tenant"))
    with pytest.raises(ValueError, match="belongs to the tenant 'acme', got 'evil'"):
        validate_key(strategy, PartitionKey({"tenant": "evil"}), tenant_id="acme")


def test_an_asset_without_dimensions_takes_only_the_empty_key() -> None:
    validate_key(PartitionStrategy(), PartitionKey())
    with pytest.raises(ValueError, match="is not partitioned"):
        validate_key(PartitionStrategy(), PartitionKey({"date": date(2013, 1, 1)}))


@given(st.integers(-5, 5), st.integers(-5, 5))
def test_the_length_of_a_range_is_never_negative(first: int, last: int) -> None:
    assert len(TimeRange(DAYS, first, last)) == max(0, last - first + 1)
