"""Declaring assets: what ``@asset`` takes, captures and refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import pytest

from servo import (
    AssetContext,
    AssetIn,
    AssetKey,
    DailyPartition,
    DependencyMapping,
    RunId,
    StaticDimension,
    asset,
    get_registry,
    not_null,
    row_count,
    window,
)
from servo.testing import make_context


@pytest.fixture(autouse=True)
def empty_registry() -> Iterator[None]:
    get_registry().clear()
    yield
    get_registry().clear()


def test_a_bare_decorator_captures_the_function_and_leaves_it_callable() -> None:
    @asset
    def events(ctx: AssetContext) -> int:
        """What happened."""
        return 3

    assert events.key == AssetKey("default", "events")
    assert events.definition.description == "What happened."
    assert events(make_context()) == 3
    assert get_registry().get("default.events") is events


def test_arguments_end_up_in_the_definition() -> None:
    @asset(
        namespace="raw",
        partitions=[DailyPartition("date", start="2025-01-01"), StaticDimension("region", ["eu"])],
        owners=["data@example.com"],
        tags={"cost_center": "a"},
        checks=[row_count(min_rows=1), not_null("id")],
        max_retries=1,
        timeout_seconds=60,
        cpu_millicores=500,
    )
    def orders(ctx: AssetContext) -> None:
        """Orders."""

    found = orders.definition
    assert found.partitioning.dimension_names == ("date", "region")
    assert (found.owners, dict(found.tags)) == (("data@example.com",), {"cost_center": "a"})
    assert [check.name for check in found.checks] == ["row_count", "not_null_id"]
    assert found.execution is not None
    assert (found.execution.max_retries, found.execution.timeout_seconds) == (1, 60)
    assert found.resources is not None
    assert found.resources.cpu_millicores == 500


def test_annotations_are_dependencies_with_their_mappings() -> None:
    @asset
    def weekly(
        ctx: AssetContext,
        lazy: AssetIn[Literal["raw.orders"]],
        week: Annotated[list[dict[str, object]], AssetIn["raw.daily"], window(days=7)],
    ) -> None:
        """A rolling week."""

    found = [
        (str(one.upstream_key), one.parameter_name, one.mapping)
        for one in weekly.definition.dependencies
    ]
    assert found == [
        ("raw.orders", "lazy", DependencyMapping.IDENTITY),
        ("raw.daily", "week", DependencyMapping.WINDOW),
    ]


def test_a_function_without_a_context_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="lonely"):

        @asset
        def lonely() -> None:
            """Nothing."""


def test_a_project_gives_a_key_once() -> None:
    with get_registry().collecting():

        @asset(name="twice")
        def first(ctx: AssetContext) -> None:
            """First."""

        with pytest.raises(ValueError, match="Duplicate asset key"):

            @asset(name="twice")
            def second(ctx: AssetContext) -> None:
                """Second."""


def test_an_annotation_with_a_key_is_a_type() -> None:
    assert isinstance(AssetIn["raw.orders"], type)
    assert AssetIn["raw.orders"] is AssetIn["raw.orders"]


def test_ids_are_text_that_sorts_by_time() -> None:
    first, second = RunId.generate(), RunId.generate()
    assert isinstance(first, str)
    assert first < second
    assert RunId.validate(first.lower()) == first
