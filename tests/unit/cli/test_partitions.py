from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from servo import errors
from servo.cli import _partitions
from servo.types import (
    AssetDefinition,
    AssetKey,
    CodeLocation,
    DailyPartition,
    HourlyPartition,
    MonthlyPartition,
    PartitionKey,
    PartitionStrategy,
    StaticDimension,
)
from servo.types.requests import AllPartitions, PartitionRange


def definition(key: str, *dimensions: object) -> AssetDefinition:
    return AssetDefinition(
        AssetKey.parse(key),
        code=CodeLocation("assets.x", "f"),
        partitioning=PartitionStrategy(dimensions=dimensions),
    )


def parse(*pairs: str, assets: list[AssetDefinition] | None = None, **more: object) -> object:
    arguments = {"span": None, "every": False, "definitions": assets or []} | more
    return _partitions.parse_selection(pairs=pairs, **arguments)


DAILY = definition("mart.a", DailyPartition("date", start="2025-01-01"))
HOURLY = definition("mart.b", HourlyPartition("hour", start="2025-01-01T00"))
MONTHLY = definition("mart.c", MonthlyPartition("date", start="2025-01-01"))
REGION = definition("mart.d", StaticDimension("region", values=["2025-01-01", "north"]))


def test_nothing_given_selects_nothing() -> None:
    assert parse(assets=[DAILY]) is None


def test_a_day_becomes_a_date() -> None:
    assert parse("date=2025-01-05", assets=[DAILY]) == PartitionKey({"date": date(2025, 1, 5)})


def test_an_hour_becomes_an_instant() -> None:
    found = parse("hour=2025-01-05T07", assets=[HOURLY])
    assert found == PartitionKey({"hour": datetime(2025, 1, 5, 7, tzinfo=UTC)})


def test_a_month_may_be_written_short() -> None:
    assert parse("date=2025-02", assets=[MONTHLY]) == PartitionKey({"date": date(2025, 2, 1)})


def test_a_static_value_that_looks_like_a_date_stays_text() -> None:
    assert parse("region=2025-01-01", assets=[REGION]) == PartitionKey({"region": "2025-01-01"})


def test_a_day_is_found_beside_assets_cut_by_month() -> None:
    found = parse("date=2025-01-05", assets=[MONTHLY, DAILY])
    assert found == PartitionKey({"date": date(2025, 1, 5)})


def test_a_value_may_hold_an_equals_sign() -> None:
    assert parse("region=a=b", assets=[REGION]) == PartitionKey({"region": "a=b"})


def test_several_dimensions_make_one_key() -> None:
    found = parse("date=2025-01-05", "region=north", assets=[DAILY, REGION])
    assert found == PartitionKey({"date": date(2025, 1, 5), "region": "north"})


def test_unknown_dimension_is_refused_with_the_known_ones() -> None:
    with pytest.raises(errors.InvalidArgumentError, match=r"no dimension 'dat'.*'date'.*Did you"):
        parse("dat=2025-01-05", assets=[DAILY])


def test_a_dimension_of_nothing_partitioned_is_refused() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="none of them is partitioned"):
        parse("date=2025-01-05", assets=[definition("raw.a")])


@pytest.mark.parametrize("text", ["2025-13-01", "yesterday", ""])
def test_a_value_that_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="--partition date="):
        parse(f"date={text}", assets=[DAILY])


@pytest.mark.parametrize("text", ["date", "=2025-01-05", ""])
def test_a_pair_without_both_sides_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="dimension=value"):
        parse(text, assets=[DAILY])


def test_a_dimension_given_twice_is_refused() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="more than once"):
        parse("date=2025-01-05", "date=2025-01-06", assets=[DAILY])


def test_a_range_has_two_ends() -> None:
    found = parse(span="2025-01-01..2025-01-31")
    assert found == PartitionRange(first="2025-01-01", last="2025-01-31")


def test_a_range_may_name_its_dimension() -> None:
    found = parse(span="date=2025-01..2025-03")
    assert found == PartitionRange(dimension="date", first="2025-01", last="2025-03")


@pytest.mark.parametrize("text", ["2025-01-01", "..2025-01-01", "2025-01-01..", "=a..b", ".."])
def test_a_range_without_both_ends_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=r"FIRST\.\.LAST"):
        parse(span=text)


def test_all_partitions_is_a_selection_of_its_own() -> None:
    assert parse(every=True) == AllPartitions()


def test_two_ways_to_select_exclude_each_other() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="exclude each other"):
        parse("date=2025-01-05", every=True, assets=[DAILY])


def selected(*selection: str) -> list[str]:
    assets = [DAILY, definition("raw.events"), definition("default.users")]
    return [str(found.key) for found in _partitions.selected(selection, assets)]


def test_globs_keys_and_expressions_select_assets() -> None:
    assert selected("*") == ["default.users", "mart.a", "raw.events"]
    assert selected("mart.*", "raw.events") == ["mart.a", "raw.events"]
    assert selected("users") == ["default.users"]
    assert selected("not mart.* and not users") == ["raw.events"]


def test_a_selection_of_nothing_is_refused_like_by_a_control_plane() -> None:
    with pytest.raises(errors.NotFoundError, match=r"did you mean raw\.events"):
        selected("raw.evnts")


def test_a_task_is_named_the_way_it_is_typed() -> None:
    key = PartitionKey({"date": date(2025, 1, 5), "hour": datetime(2025, 1, 5, 7, tzinfo=UTC)})
    assert (
        _partitions.label(AssetKey.parse("mart.a"), key)
        == "mart.a[date=2025-01-05,hour=2025-01-05T07:00:00Z]"
    )
    assert _partitions.label(AssetKey.parse("raw.a"), PartitionKey()) == "raw.a"


@pytest.mark.parametrize(
    ("value", "text"), [(None, "null"), (True, "true"), (False, "false"), (7, "7"), ("x", "x")]
)
def test_values_are_printed_as_typed(value: object, text: str) -> None:
    assert _partitions.key_text(PartitionKey({"a": value})) == f"a={text}"
