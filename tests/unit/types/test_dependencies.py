"""Partition mappings and dependencies."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given

import strategies
from servo.types import (
    AssetDependency,
    AssetKey,
    DependencyMapping,
    PartitionMapping,
    TimeGranularity,
    all_partitions,
    latest,
    window,
)


def test_a_window_of_seven_days_ends_with_one_s_own() -> None:
    assert window(days=7) == PartitionMapping(
        DependencyMapping.WINDOW, start=-6, end=0, unit=TimeGranularity.DAY
    )


@pytest.mark.parametrize("granularity", list(TimeGranularity))
def test_a_length_remembers_its_unit(granularity: TimeGranularity) -> None:
    lengths: dict[str, Any] = {f"{granularity}s": 2}
    assert window(**lengths) == PartitionMapping(
        DependencyMapping.WINDOW, start=-1, unit=granularity
    )


def test_a_window_by_offsets_fits_any_granularity() -> None:
    assert window(start=-6) == PartitionMapping(DependencyMapping.WINDOW, start=-6)
    assert window(-1, 1) == PartitionMapping(DependencyMapping.WINDOW, start=-1, end=1)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, TypeError),
        ({"end": 3}, TypeError),
        ({"days": 1, "hours": 1}, TypeError),
        ({"days": 1, "start": -1}, TypeError),
        ({"days": 1.5}, TypeError),
        ({"days": True}, TypeError),
        ({"start": "a"}, TypeError),
        ({"days": 0}, ValueError),
        ({"days": -1}, ValueError),
        ({"start": 1, "end": 0}, ValueError),
        ({"start": 1}, ValueError),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(
    arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match="window"):
        window(**arguments)


def test_latest_and_all_partitions_name_their_mapping() -> None:
    assert latest().kind is DependencyMapping.LATEST
    assert all_partitions().kind is DependencyMapping.ALL


def test_only_a_window_has_offsets() -> None:
    with pytest.raises(ValueError, match="not to the mapping 'latest'"):
        PartitionMapping(DependencyMapping.LATEST, start=-1)


@given(strategies.asset_dependencies())
def test_a_dependency_keeps_its_mapping(dependency: AssetDependency) -> None:
    mapping = dependency.partition_mapping
    assert (mapping.kind, mapping.start, mapping.end, mapping.unit) == (
        dependency.mapping,
        dependency.window_start,
        dependency.window_end,
        dependency.window_unit,
    )
    again = pickle.loads(pickle.dumps(dependency))
    assert (again, again.window_unit) == (dependency, dependency.window_unit)


def test_the_unit_of_a_window_makes_no_difference_between_dependencies() -> None:
    key = AssetKey("raw", "events")
    weekly, counted = (
        AssetDependency(key, mapping=DependencyMapping.WINDOW, window_start=-6, window_unit=unit)
        for unit in (TimeGranularity.DAY, None)
    )
    assert weekly == counted
    assert hash(weekly) == hash(counted)


def test_a_dependency_is_identity_and_requires_quality_unless_told_otherwise() -> None:
    dependency = AssetDependency(AssetKey("raw", "events"))
    assert dependency.mapping is DependencyMapping.IDENTITY
    assert dependency.require_quality


def test_an_upstream_that_is_no_key_is_refused() -> None:
    with pytest.raises(TypeError, match="upstream_key must be AssetKey"):
        AssetDependency("raw.events")  # type: ignore[arg-type]  # the point of the test
