from __future__ import annotations

import shlex
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import strategies

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
    labels,
)
from servo.types.partition_sets import PartitionSet, TimeRange
from servo.types.requests import (
    AllPartitions,
    DimensionSelection,
    PartitionProduct,
    PartitionRange,
    PeriodRange,
)


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


def test_a_range_and_everything_exclude_each_other() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="exclude each other"):
        parse(span="2025-01-05..2025-01-06", every=True, assets=[DAILY])


BOTH = definition(
    "mart.e",
    DailyPartition("date", start="2025-01-01"),
    StaticDimension("region", values=["north", "south", "a,b", "a..b"]),
)


def one(name: str, *values: str, spans: tuple[tuple[str, str], ...] = ()) -> DimensionSelection:
    ranges = tuple(PeriodRange(first=first, last=last) for first, last in spans)
    return DimensionSelection(dimension=name, values=values, ranges=ranges)


MARCH = ("2025-03-01", "2025-03-31")


def test_one_dimension_is_fixed_and_the_other_is_a_range() -> None:
    found = parse("region=north", span="2025-03-01..2025-03-31", assets=[BOTH])
    expected = (one("region", "north"), one("", spans=(MARCH,)))
    assert found == PartitionProduct(dimensions=expected, others=True)


def test_several_partitions_with_lists_and_ranges_make_every_combination() -> None:
    pairs = ("region=north,south", "date=2025-03-01..2025-03-31,2025-04-10")
    found = parse(*pairs, assets=[BOTH])
    expected = (one("date", "2025-04-10", spans=(MARCH,)), one("region", "north", "south"))
    assert found == PartitionProduct(dimensions=expected)


def test_with_all_partitions_the_other_dimensions_take_every_value() -> None:
    found = parse("region=north", every=True, assets=[BOTH])
    assert found == PartitionProduct(dimensions=(one("region", "north"),), others=True)


@pytest.mark.parametrize("pair", ['region="a,b",north', 'region=north,"a,b"'])
def test_a_value_with_a_comma_is_quoted_in_a_list(pair: str) -> None:
    found = parse(pair, every=True, assets=[BOTH])
    assert isinstance(found, PartitionProduct)
    assert set(found.dimensions[0].values) == {"a,b", "north"}


@pytest.mark.parametrize("value", ["a,b", "a..b"])
def test_a_declared_value_may_stand_unquoted_where_it_reads_one_way(value: str) -> None:
    found = parse(f"region={value}", "date=2025-01-05", assets=[BOTH])
    assert found == PartitionKey({"date": date(2025, 1, 5), "region": value})


@pytest.mark.parametrize(
    ("pairs", "more", "said"),
    [
        (("region=north,south",), {}, "'date' as well; add --partition date=VALUE, --partitions"),
        (("region=north", "region=south"), {}, "list the values in one: --partition region=VALUE"),
        (("date=2025-01-05",), {"span": "2025-01-01..2025-01-02"}, "by both --partition and"),
        (("date=2025-01-05..2025-01-x", "region=north"), {}, "--partition date=2025-01-x"),
        (("region=north",), {"span": "datte=2025-01-01..2025-01-02"}, "Did you mean 'date'"),
        (("region=north",), {"span": "2025-01-01"}, r"FIRST\.\.LAST"),
        (("regio=north,south",), {}, "Did you mean 'region'"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_what_does(
    pairs: tuple[str, ...], more: dict[str, object], said: str
) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=said):
        parse(*pairs, assets=[BOTH], **more)


def test_a_range_beside_assets_without_time_is_refused() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="the selected assets have none"):
        parse("region=north", span="2025-01-01..2025-01-02", assets=[REGION])


BERLIN = definition("mart.f", HourlyPartition("hour", "2025-01-01T00", timezone="Europe/Berlin"))


def test_an_hour_without_an_offset_is_local() -> None:
    expected = PartitionKey({"hour": datetime(2025, 3, 29, 6, tzinfo=UTC)})
    assert parse("hour=2025-03-29T07", assets=[BERLIN]) == expected
    assert parse("hour=2025-03-29T07:00+01:00", assets=[BERLIN]) == expected
    assert parse("hour=2025-03-29T06:00:00Z", assets=[BERLIN]) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2025-03-30T02", "does not exist.*2025-03-30T00:00:00Z or 2025-03-30T01:00:00Z"),
        ("2025-10-26T02", "comes twice.*2025-10-26T00:00:00Z or 2025-10-26T01:00:00Z"),
    ],
)
def test_an_hour_that_the_clocks_skip_or_repeat_is_refused_with_both(text: str, said: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=said):
        parse(f"hour={text}", assets=[BERLIN])
    with pytest.raises(errors.InvalidArgumentError, match=said):
        parse(f"hour={text}..2025-11-01T00", assets=[BERLIN])


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


def read(label: str, *assets: AssetDefinition) -> tuple[AssetKey, PartitionKey]:
    known = {asset.key: asset for asset in assets}
    return _partitions.parse_label(label, known.__getitem__)


@given(strategies.partition_sets(), st.data())
def test_what_is_printed_of_a_declared_partition_is_read_back_by_every_command(
    partitions: PartitionSet, data: st.DataObject
) -> None:
    dimensions = [
        axis.dimension if isinstance(axis, TimeRange) else StaticDimension(axis.name, axis.values)
        for axis in partitions.axes
        if len(axis)
    ]
    if not partitions.size or not dimensions:
        return
    asset = definition("mart.a", *dimensions)
    key = partitions.key_at(data.draw(st.integers(0, partitions.size - 1)))
    words = shlex.split(labels.command("why", labels.label(asset.key, key)))
    assert read(words[2], asset) == (asset.key, key)
    words = shlex.split(labels.run_command(asset.key, key))
    found = parse(*words[4::2], assets=[asset])
    assert found == key
    assert list(found.dimensions) == list(asset.partitioning.dimension_names)


@pytest.mark.parametrize("value", ["a b", "a=b", "comma,val", "x]y", "a%20b", "", "2025-01-15"])
def test_odd_values_are_read_in_the_spellings_of_today_and_of_older_versions(value: str) -> None:
    asset = definition("mart.a", StaticDimension("k", values=[value, "plain"]))
    wanted = (asset.key, PartitionKey({"k": value}))
    assert read(labels.label(*wanted), asset) == wanted
    assert parse(f"k={value}", assets=[asset]) == wanted[1]
    if value:
        assert read(f"mart.a[k={value}]", asset) == wanted
        assert read(f"mart.a[{wanted[1].to_path()}]", asset) == wanted


def test_the_dimensions_of_a_label_come_in_declared_order() -> None:
    asset = definition("mart.a", StaticDimension("region", ["n"]), DailyPartition("date"))
    _, key = read("mart.a[date=2025-01-05,region=n]", asset)
    assert list(key.dimensions) == ["region", "date"]


@pytest.mark.parametrize("label", ["mart.a[k=a", "mart.a[]", "mart.a[date=2025-01-05,x]", "[k=a]"])
def test_what_is_no_label_is_refused(label: str) -> None:
    with pytest.raises(errors.InvalidArgumentError):
        read(label, DAILY)


@given(strategies.partition_sets(), st.data())
def test_a_label_in_place_of_a_selection_selects_its_partition(
    partitions: PartitionSet, data: st.DataObject
) -> None:
    dimensions = [
        axis.dimension if isinstance(axis, TimeRange) else StaticDimension(axis.name, axis.values)
        for axis in partitions.axes
        if len(axis)
    ]
    if not partitions.size or not dimensions:
        return
    asset = definition("mart.a", *dimensions)
    key = partitions.key_at(data.draw(st.integers(0, partitions.size - 1)))
    selection, pairs = _partitions.labelled([labels.label(asset.key, key)], [])
    assert selection == ("mart.a",)
    assert parse(*pairs, assets=[asset]) == key


@pytest.mark.parametrize(
    "selection", [["mart.[ab]"], ["mart.*", "raw.x"], ["mart.a[k"], ["+mart.a"]]
)
def test_what_is_no_label_stays_a_selection(selection: list[str]) -> None:
    assert _partitions.labelled(selection, ["k=a"]) == (tuple(selection), ("k=a",))


@pytest.mark.parametrize(
    ("selection", "pairs"), [(["mart.a[k=a]", "raw.x"], []), (["mart.a[k=a]"], ["k=b"])]
)
def test_a_label_stands_alone(selection: list[str], pairs: list[str]) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="give it alone"):
        _partitions.labelled(selection, pairs)
