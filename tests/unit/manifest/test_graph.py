from __future__ import annotations

import re
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo import errors
from servo.manifest import AssetManifest, check, validate
from servo.manifest._cycles import find_cycles
from servo.manifest.graph import Problem, ProblemKind
from servo.types import (
    AssetDefinition,
    AssetDependency,
    AssetId,
    AssetKey,
    CodeLocation,
    DailyPartition,
    HourlyPartition,
    MonthlyPartition,
    PartitionDimension,
    PartitionMapping,
    PartitionStrategy,
    StaticDimension,
    TenantDimension,
    all_partitions,
    latest,
    not_null,
    row_count,
    window,
)

DAY = DailyPartition("date", start="2020-01-01")
REGION = StaticDimension("region", ["eu", "us"])


def _asset(
    name: str,
    *upstreams: str | tuple[str, PartitionMapping],
    by: Sequence[PartitionDimension] = (),
    **fields: object,
) -> AssetDefinition:
    dependencies = []
    for place, upstream in enumerate(upstreams):
        key, mapping = (upstream, PartitionMapping()) if isinstance(upstream, str) else upstream
        dependencies.append(
            AssetDependency(
                AssetKey.parse(key),
                parameter_name=f"p{place}",
                mapping=mapping.kind,
                window_start=mapping.start,
                window_end=mapping.end,
                window_unit=mapping.unit,
            )
        )
    return AssetDefinition(
        AssetKey.parse(name),
        code=CodeLocation("assets.m", name, file_path="assets/m.py", line_number=7),
        dependencies=tuple(dependencies),
        partitioning=PartitionStrategy(by),
        **fields,  # type: ignore[arg-type]  # the test's own keywords
    )


def _only(*assets: AssetDefinition) -> Problem:
    (problem,) = validate(assets)
    return problem


def test_assets_that_fit_together_have_no_problem() -> None:
    assert validate([_asset("a.one"), _asset("a.two", "a.one")]) == ()


def test_a_manifest_is_validated_like_its_assets() -> None:
    manifest = AssetManifest(assets=(_asset("a.one", "a.one"),))
    assert [one.kind for one in validate(manifest)] == [ProblemKind.SELF_DEPENDENCY]


def test_an_unknown_upstream_is_named_with_the_one_that_was_meant() -> None:
    problem = _only(_asset("raw.events"), _asset("a.two", "raw.event"))
    assert problem.kind is ProblemKind.UNKNOWN_UPSTREAM
    assert "did you mean 'raw.events'" in problem.message
    assert str(problem).startswith("assets/m.py:7: 'a.two' depends on 'raw.event'")


def test_the_right_name_in_another_namespace_is_suggested() -> None:
    assert "'warehouse.events'" in str(_only(_asset("warehouse.events"), _asset("a.b", "events")))


def test_an_asset_that_reads_itself_is_refused() -> None:
    assert _only(_asset("a.one", "a.one")).kind is ProblemKind.SELF_DEPENDENCY


def test_a_cycle_names_its_path() -> None:
    problem = _only(_asset("a.x", "a.z"), _asset("a.y", "a.x"), _asset("a.z", "a.y"))
    assert problem.kind is ProblemKind.CYCLE
    assert "a.x → a.z → a.y → a.x" in problem.message


def test_every_separate_cycle_is_reported_though_one_reads_the_other() -> None:
    problems = validate(
        [
            _asset("a.a", "a.b"),
            _asset("a.b", "a.a"),
            _asset("a.c", "a.a", "a.d"),
            _asset("a.d", "a.c"),
            _asset("a.below", "a.c"),
        ]
    )
    assert [(one.kind, str(one.key)) for one in problems] == [
        (ProblemKind.CYCLE, "a.a"),
        (ProblemKind.CYCLE, "a.c"),
    ]


def test_a_key_that_occurs_twice_is_refused() -> None:
    assert _only(_asset("a.one"), _asset("a.one")).kind is ProblemKind.DUPLICATE_KEY


def test_an_id_that_occurs_twice_is_refused() -> None:
    one = AssetId.generate()
    problem = _only(_asset("a.one", id=one), _asset("a.two", id=one))
    assert problem.kind is ProblemKind.DUPLICATE_ID
    assert "a.one" in problem.message


def test_a_rename_from_an_asset_that_still_exists_is_refused() -> None:
    problem = _only(_asset("a.old"), _asset("a.new", renamed_from=AssetKey("a", "old")))
    assert problem.kind is ProblemKind.RENAMED_FROM_EXISTS


def test_two_renames_from_one_asset_are_refused() -> None:
    old = AssetKey("a", "old")
    problems = validate([_asset("a.x", renamed_from=old), _asset("a.y", renamed_from=old)])
    assert [one.kind for one in problems] == [ProblemKind.RENAMED_FROM_EXISTS] * 2


def test_all_problems_are_reported_at_once() -> None:
    problems = validate([_asset("a.x", "a.x", "b.no"), _asset("a.y", "b.nope")])
    assert len(problems) == 3


FITTING = [
    ("identity", (DAY,), (DAY,)),
    ("identity", (DAY, REGION), (DAY,)),
    ("identity", (DAY,), ()),
    ("identity", (DAY,), (HourlyPartition("date", start="2020-01-01T00"),)),
    ("identity", (DAY,), (MonthlyPartition("date", start="2020-01-01"),)),
    ("identity", (REGION,), (StaticDimension("region", ["us", "asia"]),)),
    (all_partitions(), (), (DAY, REGION)),
    (latest(), (), (DailyPartition("date"),)),
    (window(days=7), (DAY,), (DAY,)),
    (window(start=-2, end=1), (DAY, REGION), (REGION, DAY)),
]


@pytest.mark.parametrize(("mapping", "own", "upstream"), FITTING)
def test_a_possible_mapping_is_no_problem(
    mapping: PartitionMapping | str,
    own: tuple[PartitionDimension, ...],
    upstream: tuple[PartitionDimension, ...],
) -> None:
    given = PartitionMapping() if isinstance(mapping, str) else mapping
    assert validate([_asset("a.up", by=upstream), _asset("a.down", ("a.up", given), by=own)]) == ()


IMPOSSIBLE = [
    (PartitionMapping(), (), (DAY,), "all_partitions.*latest"),
    (PartitionMapping(), (REGION,), (DAY, REGION), "has only 'region'"),
    (PartitionMapping(), (StaticDimension("date", ["x"]),), (DAY,), "is time there and static"),
    (PartitionMapping(), (REGION,), (StaticDimension("region", ["asia"]),), "no value that both"),
    (PartitionMapping(), (TenantDimension("region"),), (REGION,), "is static there and tenant"),
    (all_partitions(), (), (DailyPartition("date"),), "start="),
    (window(days=7), (DAY,), (), "exactly one time dimension.*none"),
    (window(days=7), (DAY,), (DAY, DailyPartition("other")), "exactly one time dimension.*2"),
    (window(days=7), (REGION,), (DAY,), "no time dimension of that name"),
    (window(start=-1), (DAY,), (MonthlyPartition("date"),), "by month there and by day here"),
    (window(hours=7), (DAY,), (DAY,), r"window\(hours=...\) does not fit"),
    (window(days=7), (DAY,), (DAY, REGION), "'region'"),
]


@pytest.mark.parametrize(("mapping", "own", "upstream", "expected"), IMPOSSIBLE)
def test_an_impossible_mapping_is_refused_and_says_what_to_do(
    mapping: PartitionMapping,
    own: tuple[PartitionDimension, ...],
    upstream: tuple[PartitionDimension, ...],
    expected: str,
) -> None:
    problem = _only(_asset("a.up", by=upstream), _asset("a.down", ("a.up", mapping), by=own))
    assert problem.kind is ProblemKind.IMPOSSIBLE_MAPPING
    assert str(problem.key) == "a.down"
    assert re.search(expected, problem.message)


def test_check_raises_one_error_that_lists_every_problem() -> None:
    with pytest.raises(errors.DefinitionError, match="2 problems") as caught:
        check([_asset("a.x", "b.no", "b.nope")])
    assert "'b.no'" in str(caught.value)
    assert "'b.nope'" in str(caught.value)
    assert caught.value.exit_code == 2


def test_thousands_of_problems_are_counted_and_not_all_printed() -> None:
    with pytest.raises(errors.DefinitionError, match="3000 problems") as caught:
        check([_asset(f"a.x{i}", "b.no") for i in range(3000)])
    assert "and 2950 more" in str(caught.value)


@pytest.mark.slow
def test_a_chain_of_a_hundred_thousand_assets_is_validated_in_seconds() -> None:
    chain = [_asset("a.x0"), *(_asset(f"a.x{i}", f"a.x{i - 1}") for i in range(1, 100_000))]
    began = time.perf_counter()
    assert validate(chain) == ()
    assert time.perf_counter() - began < 20


def test_a_cycle_of_many_thousand_assets_is_found_and_shortened() -> None:
    ring = [_asset(f"a.x{i}", f"a.x{(i + 1) % 20_000}") for i in range(20_000)]
    assert "… 19989 more …" in _only(*ring).message


@given(
    st.integers(1, 12).flatmap(
        lambda size: st.lists(
            st.lists(st.integers(0, size - 1), max_size=4), min_size=size, max_size=size
        )
    )
)
def test_cycles_are_found_exactly_where_walking_can_go_on_for_ever(graph: list[list[int]]) -> None:
    successors = dict(enumerate(graph))
    cycles = list(find_cycles(successors))
    for cycle in cycles:
        following = [*cycle[1:], cycle[0]]
        assert all(after in successors[node] for node, after in zip(cycle, following, strict=True))

    def reachable(start: int) -> set[int]:
        seen: set[int] = set()
        waiting = list(successors[start])
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                waiting.extend(successors[node])
        return seen

    onward = {node: reachable(node) for node in successors}
    knots = {
        frozenset(other for other in onward[node] if node in onward[other]) for node in successors
    }
    expected = {knot for knot in knots if knot}
    assert len(cycles) == len(expected)
    assert all(any(set(cycle) <= knot for knot in expected) for cycle in cycles)


def test_a_check_of_what_is_read_needs_an_input() -> None:
    checks = (not_null("id", phase="pre"), row_count(1))
    problem = _only(_asset("raw.events", checks=checks))
    assert problem.kind is ProblemKind.CHECK_WITHOUT_INPUT
    assert str(problem).startswith("assets/m.py:7: 'raw.events' has the check 'not_null_id'")
    assert "leave out phase='pre'" in problem.message
    reader = _asset("a.two", "raw.events", checks=checks)
    assert validate([_asset("raw.events"), reader]) == ()
