"""The ``@asset`` decorator."""

from __future__ import annotations

import ast
import asyncio
import functools
import inspect
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from servo import (
    Asset,
    AssetContext,
    AssetIn,
    DailyPartition,
    ExecutionPolicy,
    IoConfig,
    PartitionStrategy,
    ResourceRequirements,
    StaticDimension,
    asset,
    get_registry,
    not_null,
    row_count,
)
from servo._fingerprint import fingerprint_all
from servo.types import AssetKey, RetryPolicy


@pytest.fixture(autouse=True)
def empty_registry() -> Iterator[None]:
    get_registry().clear()
    yield
    get_registry().clear()


@asset
def at_module_level(ctx: AssetContext) -> int:
    return 1


def plain(ctx: AssetContext) -> None: ...


def in_module(module: str) -> Callable[[AssetContext], None]:
    def function(ctx: AssetContext) -> None: ...

    function.__module__ = module
    return function


def test_a_bare_decorator_makes_an_asset_of_the_function_s_name() -> None:
    @asset
    def events(ctx: AssetContext) -> int:
        """The events.

        More about them.
        """
        return 7

    assert isinstance(events, Asset)
    assert events.key == AssetKey("default", "events")
    assert events.definition.description == "The events."
    assert get_registry().all() == [events]


def test_a_value_that_was_given_is_told_from_a_default_that_it_equals() -> None:
    default = asset(name="default")(plain)
    explicit = asset(name="explicit", max_retries=3)(plain)
    assert default.definition.execution == explicit.definition.execution
    assert "max_retries" not in default.given
    assert explicit.given == {"name", "max_retries"}


def test_a_bare_decorator_was_given_nothing() -> None:
    @asset
    def events(ctx: AssetContext) -> None: ...

    assert events.given == frozenset()


def test_empty_values_count_as_given() -> None:
    declare = asset(owners=(), checks=[], pools=[], tags={}, code_version="", max_parallelism=0)
    made = declare(plain)
    assert made.given == {"owners", "checks", "pools", "tags", "code_version", "max_parallelism"}
    get_registry().clear()
    assert made.definition == asset(plain).definition


def test_a_whole_policy_is_given_with_each_of_its_fields() -> None:
    made = asset(execution=ExecutionPolicy(), resources=ResourceRequirements())(plain)
    assert {"execution", "max_retries", "priority", "budget"} <= made.given
    assert {"resources", "memory_mib", "ephemeral_storage_mib"} <= made.given


def test_a_policy_and_one_of_its_fields_are_refused_even_where_the_field_has_its_default() -> None:
    with pytest.raises(TypeError, match="either execution= or max_retries="):
        asset(execution=ExecutionPolicy(max_retries=5), max_retries=3)
    with pytest.raises(TypeError, match="either resources= or memory_mib="):
        asset(resources=ResourceRequirements(), memory_mib=1024)


def test_an_asset_stays_callable() -> None:
    @asset()
    def events(ctx: AssetContext, factor: int = 2) -> int:
        return 3 * factor

    assert events(AssetContext()) == 6
    assert events(AssetContext(), factor=5) == 15


def test_an_async_function_stays_async() -> None:
    @asset
    async def events(ctx: AssetContext) -> int:
        return 7

    assert asyncio.run(events(AssetContext())) == 7


def test_an_asset_looks_like_its_function() -> None:
    @asset
    def events(ctx: AssetContext, limit: int = 5) -> int:
        """The events."""
        return limit

    assert (events.__name__, events.__doc__) == ("events", "The events.")
    assert str(inspect.signature(events)) == "(ctx: 'AssetContext', limit: 'int' = 5) -> 'int'"
    assert "default.events" in repr(events)


def test_an_asset_is_pickled_by_reference() -> None:
    assert pickle.loads(pickle.dumps(at_module_level)) is at_module_level


def test_every_argument_reaches_the_definition() -> None:
    checks = (row_count(min_rows=1), not_null("id"))
    definition = asset(
        name="clean_events",
        namespace="staging",
        description="Clean.",
        partitions=DailyPartition("date", start="2013-01-01"),
        owners=["me"],
        tags={"team": "a"},
        checks=iter(checks),
        io=IoConfig(row_group_rows=5),
        max_retries=1,
        retry_delay_seconds=2,
        timeout_seconds=3,
        cpu_millicores=4,
        memory_mib=5,
        code_version="v1",
        renamed_from="staging.events",
        metadata={"k": "v"},
    )(plain).definition
    assert definition.key == AssetKey("staging", "clean_events")
    assert definition.description == "Clean."
    assert definition.partitioning.dimension_names == ("date",)
    assert definition.owners == ("me",)
    assert definition.tags == {"team": "a"}
    assert definition.checks == checks
    assert definition.io == IoConfig(row_group_rows=5)
    assert definition.execution == ExecutionPolicy(
        max_retries=1, retry_delay_seconds=2, timeout_seconds=3
    )
    assert definition.resources == ResourceRequirements(cpu_millicores=4, memory_mib=5)
    assert definition.code_version == "v1"
    assert definition.renamed_from == AssetKey("staging", "events")
    assert definition.metadata == {"k": "v"}


def test_whole_policies_reach_the_definition() -> None:
    execution = ExecutionPolicy(max_parallelism=3)
    resources = ResourceRequirements(ephemeral_storage_mib=9)
    definition = asset(execution=execution, resources=resources)(plain).definition
    assert (definition.execution, definition.resources) == (execution, resources)


def test_pools_retries_and_limits_have_arguments_of_their_own() -> None:
    retry = RetryPolicy(backoff="constant", retry_on=["timeout"])  # type: ignore[arg-type]  # text is accepted
    declare = asset(pools=["warehouse"], retry=retry, max_parallelism=2)
    assert declare(plain).definition.execution == ExecutionPolicy(
        pools={"warehouse": 1}, retry=retry, max_parallelism=2
    )


def test_what_says_the_default_is_the_default() -> None:
    declare = asset(pools={}, retry=RetryPolicy(), max_parallelism=0, max_retries=3)
    assert declare(plain).definition.execution == ExecutionPolicy()


def test_a_definition_has_its_fingerprint_at_first_use_and_no_id() -> None:
    made = asset(plain)
    assert made.definition.transform_fingerprint == fingerprint_all([plain])[0].digest != ""
    assert made.definition.id is None
    assert made.definition.code.fingerprint == "", "what it runs with depends on the project"


def test_a_thousand_definitions_parse_their_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "many.py"
    lines = [f"def f{number}(ctx):\n    return {number}\n" for number in range(1000)]
    path.write_text("".join(lines))
    names: dict[str, Any] = {"__name__": "many"}
    exec(compile(path.read_text(), str(path), "exec"), names)
    parsed: list[object] = []
    parse = ast.parse
    monkeypatch.setattr(ast, "parse", lambda *given: parsed.append(given) or parse(*given))
    found = {asset(names[f"f{n}"]).definition.transform_fingerprint for n in range(1000)}
    assert len(found) == 1000
    assert len(parsed) == 1


def test_the_definition_is_made_once() -> None:
    made = asset(plain)
    assert made.definition is made.definition


def test_the_code_location_is_that_of_the_function() -> None:
    code = asset(plain).definition.code
    assert (code.module, code.function) == (__name__, "plain")
    assert Path(code.file_path) == Path(__file__).resolve()
    assert code.line_number == inspect.getsourcelines(plain)[1]


def test_dependencies_come_from_the_annotations() -> None:
    @asset
    def clean(ctx: AssetContext, events: AssetIn[Literal["raw.events"]]) -> None: ...

    assert [str(found.upstream_key) for found in clean.definition.dependencies] == ["raw.events"]
    assert [found.name for found in clean.inputs] == ["events"]


def test_annotations_are_not_resolved_before_they_are_needed() -> None:
    @asset
    def broken(ctx: AssetContext, events: Nowhere) -> None: ...  # type: ignore[name-defined]  # the point of the test  # noqa: F821  # likewise

    with pytest.raises(TypeError, match="'Nowhere'"):
        _ = broken.definition


@pytest.mark.parametrize(
    ("module", "namespace"),
    [
        ("my.assets.staging", "staging"),
        ("assets.staging", "staging"),
        ("assets.staging.flights", "flights"),
        ("assets", "default"),
        ("my.assets", "default"),
        ("my.staging", "default"),
        ("__main__", "default"),
    ],
)
def test_the_namespace_is_the_last_part_below_assets(module: str, namespace: str) -> None:
    assert asset(in_module(module)).key.namespace == namespace


@pytest.mark.parametrize(
    ("partitions", "names"),
    [
        (DailyPartition("date"), ("date",)),
        ([DailyPartition("date"), StaticDimension("region", ["us"])], ("date", "region")),
        (PartitionStrategy([DailyPartition("date")]), ("date",)),
        ([], ()),
    ],
)
def test_partitions_are_a_dimension_or_several_or_a_strategy(
    partitions: Any, names: tuple[str, ...]
) -> None:
    definition = asset(partitions=partitions)(plain).definition
    assert definition.partitioning.dimension_names == names


def test_the_first_parameter_must_be_ctx() -> None:
    with pytest.raises(TypeError, match=r"wrong'.*must be 'ctx'.*ctx: AssetContext, x"):

        @asset(name="events")
        def wrong(x: int) -> None: ...


def test_a_function_without_parameters_is_refused() -> None:
    with pytest.raises(TypeError, match=r"write def events\(ctx: AssetContext\)"):

        @asset
        def events() -> None: ...


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"name": "Events"}, ValueError, "name 'Events'"),
        ({"namespace": "a.b"}, ValueError, "namespace 'a.b'"),
        ({"description": 5}, TypeError, "description"),
        ({"partitions": "daily"}, TypeError, "no partition dimension"),
        ({"partitions": 5}, TypeError, "iterable of dimensions"),
        ({"owners": "me"}, TypeError, "owners"),
        ({"tags": {"a": 1}}, TypeError, "tags"),
        ({"checks": [row_count(1), row_count(2)]}, ValueError, "two checks"),
        ({"checks": [5]}, TypeError, "checks"),
        ({"io": {}}, TypeError, "io"),
        ({"execution": ExecutionPolicy(), "max_retries": 1}, TypeError, "either execution="),
        ({"execution": ExecutionPolicy(), "pools": ["a"]}, TypeError, "either execution="),
        ({"execution": 5}, TypeError, "execution"),
        ({"pools": "warehouse"}, TypeError, "pools must be names"),
        ({"pools": ["Warehouse"]}, ValueError, "name of a pool 'Warehouse'"),
        ({"pools": {"warehouse": 0}}, ValueError, "slots of warehouse"),
        ({"retry": "always"}, TypeError, "retry"),
        ({"retry": 0}, TypeError, "retry"),
        ({"max_retries": -1}, ValueError, "max_retries"),
        ({"resources": ResourceRequirements(), "memory_mib": 1}, TypeError, "either resources="),
        ({"resources": 5}, TypeError, "resources"),
        ({"memory_mib": -1}, ValueError, "memory_mib"),
        ({"renamed_from": "a.b.c"}, ValueError, "a.b.c"),
        ({"code_version": 1}, TypeError, "code_version"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(
    arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        asset(**arguments)(plain)
    assert get_registry().all() == []


def test_decorating_twice_is_refused() -> None:
    made = asset(plain)
    with pytest.raises(TypeError, match="an asset already"):
        asset(made)


def test_a_class_is_no_asset() -> None:
    with pytest.raises(TypeError, match="def or async def"):
        asset(int)


def test_another_decorator_may_come_first() -> None:
    def twice(function: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> int:
            return 2 * function(*args, **kwargs)

        return wrapper

    @asset
    @twice
    def events(ctx: AssetContext, more: AssetIn[Literal["raw.events"]]) -> int:
        return 4

    assert events(AssetContext(), None) == 8
    assert events.key.name == "events"
    assert [found.name for found in events.inputs] == ["more"]
