"""From a request to a plan: selection, partitions, mappings, order."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo import errors
from servo.controlplane import planner
from servo.controlplane.catalog import Catalog
from servo.controlplane.mapping import Scope
from servo.types import (
    AssetDefinition,
    AssetDependency,
    AssetKey,
    CodeLocation,
    DailyPartition,
    DependencyMapping,
    HourlyPartition,
    MonthlyPartition,
    PartitionDimension,
    PartitionKey,
    PartitionMapping,
    PartitionStrategy,
    StaticDimension,
    TenantDimension,
    all_partitions,
    latest,
    window,
)
from servo.types.labels import label
from servo.types.plans import Plan
from servo.types.requests import (
    AllPartitions,
    CreateRunRequest,
    DimensionSelection,
    PartitionProduct,
    PartitionRange,
    PartitionSelection,
    PeriodRange,
)

SCOPE = Scope(datetime(2013, 2, 1, 12, tzinfo=UTC), "acme")
DAYS = DailyPartition("date", start="2013-01-01", end="2013-01-31")
IDENTITY = PartitionMapping(DependencyMapping.IDENTITY)


def asset(
    name: str, *dimensions: PartitionDimension, reads: dict[str, PartitionMapping] | None = None
) -> AssetDefinition:
    dependencies = [
        AssetDependency(
            AssetKey.parse(upstream),
            parameter_name=f"p{number}",
            mapping=mapping.kind,
            window_start=mapping.start,
            window_end=mapping.end,
        )
        for number, (upstream, mapping) in enumerate((reads or {}).items())
    ]
    return AssetDefinition(
        AssetKey.parse(name),
        partitioning=PartitionStrategy(dimensions),
        dependencies=dependencies,
        code=CodeLocation("assets", name),
    )


FLIGHTS = (
    asset("raw.file"),
    asset("staging.flights", DAYS, reads={"raw.file": IDENTITY}),
    asset("mart.rolling", DAYS, reads={"staging.flights": window(days=7)}),
    asset("mart.carriers", reads={"staging.flights": all_partitions()}),
    asset("mart.newest", reads={"staging.flights": latest()}),
)


def make(
    assets: Collection[AssetDefinition],
    *selection: str,
    partitions: PartitionSelection | None = None,
    exists: dict[str, Collection[PartitionKey]] | None = None,
    upstream: bool = False,
    downstream: bool = False,
) -> Plan:
    request = CreateRunRequest(
        selection=selection, partitions=partitions, upstream=upstream, downstream=downstream
    )
    known = {AssetKey.parse(name): frozenset(keys) for name, keys in (exists or {}).items()}
    return planner.plan(
        request, Catalog("d", assets, {}), lambda key: known.get(key, frozenset()), SCOPE
    )


def tasks(plan: Plan) -> dict[str, list[str]]:
    """Return what each task waits for, gates included, in plan order."""
    names = [label(plan.assets[task.asset], task.partition_key) for task in plan.tasks]
    return {
        names[index]: [
            *(names[upstream] for upstream in task.upstream),
            *(names[waited] for gate in task.gates for waited in plan.gates[gate].tasks),
        ]
        for index, task in enumerate(plan.tasks)
    }


def day(text: str) -> PartitionKey:
    return PartitionKey({"date": datetime.fromisoformat(text).date()})


def test_everything_with_all_partitions_waits_for_what_it_reads() -> None:
    plan = make(FLIGHTS, "*", partitions=AllPartitions())
    found = tasks(plan)
    assert len(found) == 1 + 31 + 31 + 1 + 1
    assert found["staging.flights[date=2013-01-05]"] == ["raw.file"]
    assert found["mart.rolling[date=2013-01-03]"] == [
        f"staging.flights[date=2013-01-0{day}]" for day in (1, 2, 3)
    ]
    assert len(found["mart.rolling[date=2013-01-20]"]) == 7
    assert len(found["mart.carriers"]) == 31
    assert found["mart.newest"] == ["staging.flights[date=2013-01-31]"]


def test_the_same_request_gives_the_same_plan_whatever_the_order_of_assets() -> None:
    first = make(FLIGHTS, "*", partitions=AllPartitions())
    second = make(FLIGHTS[::-1], "mart.*", "raw.file", "staging.*", partitions=AllPartitions())
    assert first == second


def test_tasks_are_in_topological_order_with_ties_by_key_and_partition() -> None:
    plan = make(FLIGHTS, "*", partitions=AllPartitions())
    for index, task in enumerate(plan.tasks):
        assert all(upstream < index for upstream in task.upstream)
        assert all(waited < index for gate in task.gates for waited in plan.gates[gate].tasks)
    order = list(dict.fromkeys(str(plan.assets[task.asset]) for task in plan.tasks))
    assert order == ["raw.file", "staging.flights", "mart.carriers", "mart.newest", "mart.rolling"]
    flights = [str(t.partition_key.to_path()) for t in plan.tasks if t.asset == 4]
    assert flights == sorted(flights)


def test_many_tasks_behind_one_set_share_a_gate() -> None:
    assets = (*FLIGHTS, asset("mart.each", DAYS, reads={"staging.flights": all_partitions()}))
    plan = make(assets, "mart.each", "staging.flights", "raw.file", partitions=AllPartitions())
    assert len(plan.gates) == 1
    assert sum(len(task.upstream) for task in plan.tasks) == 31


def test_upstream_adds_exactly_the_partitions_that_are_needed() -> None:
    found = tasks(make(FLIGHTS, "mart.rolling", partitions=day("2013-01-10"), upstream=True))
    assert len(found) == 1 + 7 + 1
    assert found["mart.rolling[date=2013-01-10]"][0] == "staging.flights[date=2013-01-04]"


def test_downstream_adds_what_reads_the_partition() -> None:
    exists = {
        "raw.file": [PartitionKey()],
        "staging.flights": [day(f"2013-01-{n:02}") for n in range(1, 32)],
    }
    found = tasks(
        make(
            FLIGHTS,
            "staging.flights",
            partitions=day("2013-01-28"),
            exists=exists,
            downstream=True,
        )
    )
    rolling = [name for name in found if name.startswith("mart.rolling")]
    assert rolling == [f"mart.rolling[date=2013-01-{n}]" for n in (28, 29, 30, 31)]
    assert found["mart.carriers"] == ["staging.flights[date=2013-01-28]"]


def test_a_missing_upstream_partition_is_refused_and_named() -> None:
    with pytest.raises(errors.InvalidArgumentError) as info:
        make(FLIGHTS, "mart.rolling", partitions=day("2013-01-02"))
    assert info.value.code == "UPSTREAM_MISSING"
    assert "staging.flights[date=2013-01-01]" in str(info.value)
    assert "have the run include what is upstream" in str(info.value)


def test_a_materialised_upstream_is_enough() -> None:
    exists = {"staging.flights": [day("2013-01-01"), day("2013-01-02")]}
    found = tasks(make(FLIGHTS, "mart.rolling", partitions=day("2013-01-02"), exists=exists))
    assert found == {"mart.rolling[date=2013-01-02]": []}


def test_latest_takes_the_greatest_materialised_partition() -> None:
    exists = {"staging.flights": [day("2013-01-09"), day("2013-01-02")]}
    assert tasks(make(FLIGHTS, "mart.newest", exists=exists)) == {"mart.newest": []}
    with pytest.raises(errors.InvalidArgumentError, match="neither materialised"):
        make(FLIGHTS, "mart.newest")


def test_coarser_upstreams_are_covered_and_finer_ones_covering() -> None:
    hours = HourlyPartition("date", start="2013-01-01T00", end="2013-01-31T23")
    months = MonthlyPartition("date", start="2013-01", end="2013-01")
    assets = (
        asset("raw.hourly", hours),
        asset("raw.monthly", months),
        asset("mart.daily", DAYS, reads={"raw.hourly": IDENTITY, "raw.monthly": IDENTITY}),
    )
    found = tasks(make(assets, "mart.daily", partitions=day("2013-01-02"), upstream=True))
    assert len(found["mart.daily[date=2013-01-02]"]) == 25
    assert "raw.monthly[date=2013-01-01]" in found["mart.daily[date=2013-01-02]"]


def test_static_and_tenant_dimensions_take_part() -> None:
    regions = StaticDimension("region", values=["us", "eu"])
    tenant = TenantDimension("tenant")
    assets = (
        asset("raw.events", DAYS, regions, tenant),
        asset("mart.events", regions, DAYS, tenant, reads={"raw.events": IDENTITY}),
    )
    key = PartitionKey(
        {"date": day("2013-01-05").dimensions["date"], "region": "eu", "tenant": "acme"}
    )
    found = tasks(make(assets, "mart.events", partitions=key, upstream=True))
    assert list(found.values()) == [[], ["raw.events[date=2013-01-05,region=eu,tenant=acme]"]]
    everything = make(assets, "raw.events", partitions=AllPartitions())
    assert len(everything.tasks) == 62
    assert everything.tasks[0].partition_key.dimensions["region"] == "us"


@pytest.mark.parametrize(
    ("partitions", "message"),
    [
        (None, "partitioned by date; say which partitions"),
        (PartitionKey({"day": 1}), "none of the selected assets has the partition dimension 'day'"),
        (PartitionKey({"date": "2013-01-01"}), "holds date values"),
        (day("2014-01-01"), "outside the declared range 2013-01-01..2013-01-31"),
        (PartitionRange(first="2013-01-30", last="2013-02-02"), "outside the declared range"),
        (PartitionRange(first="2013-01-30", last="2013-01-02"), "ends before it starts"),
        (PartitionRange(first="yesterday", last="2013-01-02"), "yesterday"),
    ],
)
def test_wrong_partitions_are_refused_with_what_is_allowed(
    partitions: PartitionSelection | None, message: str
) -> None:
    with pytest.raises(errors.InvalidArgumentError) as info:
        make(FLIGHTS, "staging.flights", partitions=partitions, upstream=True)
    assert message in str(info.value)


def test_a_missing_dimension_is_named() -> None:
    assets = (asset("raw.events", DAYS, StaticDimension("region", values=["us"])),)
    with pytest.raises(errors.InvalidArgumentError, match="missing partition dimension 'region'"):
        make(assets, "raw.events", partitions=day("2013-01-05"))


def test_an_unknown_asset_is_refused_with_a_suggestion() -> None:
    with pytest.raises(errors.NotFoundError, match=r"did you mean staging\.flights"):
        make(FLIGHTS, "staging.flihgts")
    with pytest.raises(errors.NotFoundError, match=r"no asset matches 'x\.\*'"):
        make(FLIGHTS, "x.*")


@pytest.mark.slow
def test_a_chain_of_100_000_assets_is_planned_without_recursion() -> None:
    assets = [asset("chain.a0")]
    assets += [asset(f"chain.a{n}", reads={f"chain.a{n - 1}": IDENTITY}) for n in range(1, 100_000)]
    plan = make(assets, "chain.a99999", upstream=True)
    assert len(plan.tasks) == 100_000
    assert plan.tasks[-1].upstream == (99_998,)


REGION = StaticDimension("region", values=["north", "south", "east"])
SALES = (asset("mart.sales", DAYS, REGION), asset("mart.regions", REGION), asset("mart.days", DAYS))
FIRST_TWO = ("2013-01-01", "2013-01-02")


def product(*dimensions: DimensionSelection, others: bool = False) -> PartitionProduct:
    return PartitionProduct(dimensions=dimensions, others=others)


def of(name: str, *values: str, spans: tuple[tuple[str, str], ...] = ()) -> DimensionSelection:
    ranges = tuple(PeriodRange(first=first, last=last) for first, last in spans)
    return DimensionSelection(dimension=name, values=values, ranges=ranges)


def test_a_product_is_every_combination_in_declared_order() -> None:
    chosen = product(
        of("region", "east", "north"), of("date", spans=(("2013-01-01", "2013-01-02"),))
    )
    found = make(SALES, "mart.sales", partitions=chosen)
    assert list(tasks(found)) == [
        "mart.sales[date=2013-01-01,region=north]",
        "mart.sales[date=2013-01-01,region=east]",
        "mart.sales[date=2013-01-02,region=north]",
        "mart.sales[date=2013-01-02,region=east]",
    ]


def test_values_and_ranges_that_overlap_are_counted_once() -> None:
    spans = (("2013-01-03", "2013-01-05"), ("2013-01-01", "2013-01-03"))
    found = make(
        SALES, "mart.days", partitions=product(of("date", "2013-01-10", "2013-01-04", spans=spans))
    )
    assert [task.partition_key for task in found.tasks] == [
        day(f"2013-01-{number:02}") for number in (1, 2, 3, 4, 5, 10)
    ]


def test_others_take_every_value_and_each_asset_uses_what_it_has() -> None:
    chosen = product(
        of("region", "north"), of("", spans=(("2013-01-01", "2013-01-02"),)), others=True
    )
    found = make(SALES, "*", partitions=chosen)
    assert len(found.tasks) == 2 + 1 + 2
    everything = make(SALES, "mart.sales", partitions=product(of("region", "south"), others=True))
    assert len(everything.tasks) == 31


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (product(of("region", "north")), "missing partition dimension 'date'"),
        (product(of("region", "west"), others=True), "'west' is no value of dimension 'region'"),
        (product(of("region"), others=True), "no value of the dimension 'region'"),
        (product(of("date"), others=True), "no period of the dimension 'date'"),
        (product(of("date", "2014-01-01"), others=True), "lies outside the declared range"),
        (product(of("date", "soon"), others=True), "Invalid day 'soon'"),
        (product(of("region", spans=(("a", "b"),)), others=True), "there is no range of it"),
        (
            product(of("date", "2013-01-01"), of("", "2013-01-02"), others=True),
            "'date' is selected twice",
        ),
        (product(of("city", "x"), others=True), "dimension 'city'"),
        (
            product(of("date", spans=(("2013-01-02", "2013-01-01"),)), others=True),
            "ends before it starts",
        ),
    ],
)
def test_a_product_that_cannot_be_is_refused(chosen: PartitionProduct, said: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=said):
        make(SALES, "mart.sales", partitions=chosen)


def test_a_product_that_is_too_large_is_refused_before_it_is_counted_out() -> None:
    numbers = [StaticDimension(f"d{n}", values=[str(v) for v in range(2000)]) for n in range(3)]
    wide = (asset("mart.wide", *numbers),)
    with pytest.raises(errors.InvalidArgumentError, match="8000000000 tasks"):
        make(wide, "*", partitions=product(others=True))


@given(
    st.lists(st.tuples(st.integers(1, 31), st.integers(1, 31)), max_size=5),
    st.lists(st.integers(1, 31), max_size=5),
    st.sets(st.sampled_from(REGION.values), min_size=1),
)
def test_a_product_is_the_union_of_what_is_listed(
    spans: list[tuple[int, int]], days: list[int], regions: set[str]
) -> None:
    spans = [(min(span), max(span)) for span in spans]
    wanted = set(days) | {n for low, high in spans for n in range(low, high + 1)}
    if not wanted:
        return
    dates = of(
        "date",
        *(f"2013-01-{n:02}" for n in days),
        spans=tuple((f"2013-01-{low:02}", f"2013-01-{high:02}") for low, high in spans),
    )
    found = make(SALES, "mart.sales", partitions=product(of("region", *regions), dates))
    keys = [(k["date"].day, k["region"]) for t in found.tasks for k in [t.partition_key.dimensions]]
    assert len(keys) == len(set(keys))
    assert set(keys) == {(n, region) for n in wanted for region in regions}


def test_of_a_key_each_asset_takes_the_dimensions_that_it_has() -> None:
    key = PartitionKey({"date": date(2013, 1, 2), "region": "north"})
    found = make(SALES, "*", partitions=key)
    assert [dict(task.partition_key.dimensions) for task in found.tasks] == [
        {"date": date(2013, 1, 2)},
        {"region": "north"},
        {"date": date(2013, 1, 2), "region": "north"},
    ]
