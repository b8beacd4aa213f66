from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings

import strategies
from servo.manifest.diff import describe, diff, possible_renames
from servo.types import (
    AssetDefinition,
    AssetDependency,
    AssetId,
    AssetKey,
    CodeLocation,
    DependencyMapping,
    TimeGranularity,
)

ID = AssetId("01ARZ3NDEKTSV4RRFFQ69G5FAV")


def _asset(name: str = "one", **fields: object) -> AssetDefinition:
    code = CodeLocation("assets.m", name, file_path="assets/m.py", line_number=3)
    return AssetDefinition(AssetKey("a", name), code=code, **fields)  # type: ignore[arg-type]  # the test's


def _lines(old: list[AssetDefinition], new: list[AssetDefinition]) -> list[str]:
    return [describe(change) for change in diff(old, new)]


def test_added_and_removed_assets_are_listed_by_key() -> None:
    assert _lines([_asset("b")], [_asset("a")]) == ["+ a.a", "- a.b"]


def test_a_changed_asset_names_the_fields_as_json_does() -> None:
    new = _asset(transform_fingerprint="f" * 16, owners=("me",), code_version="2")
    assert _lines([_asset()], [new]) == ["~ a.one: codeVersion, owners, transformFingerprint"]


def test_the_same_id_under_another_key_is_a_rename() -> None:
    old, new = _asset("old", id=ID), _asset("new", id=ID, description="Better.")
    assert _lines([old], [new]) == ["> a.new (was a.old): code, description"]


def test_an_asset_that_moved_within_its_file_did_not_change() -> None:
    moved = dataclasses.replace(_asset().code, line_number=99)
    assert _lines([_asset()], [dataclasses.replace(_asset(), code=moved)]) == []


def test_an_id_that_one_side_does_not_know_is_no_change() -> None:
    assert _lines([_asset(id=ID)], [_asset()]) == []
    assert _lines([_asset(id=ID)], [_asset(id=AssetId.generate())]) == ["~ a.one: id"]


def test_the_unit_of_a_window_does_not_travel_and_is_no_change() -> None:
    there, here = (
        AssetDependency(
            AssetKey("a", "up"),
            mapping=DependencyMapping.WINDOW,
            window_start=-6,
            window_unit=unit,
        )
        for unit in (None, TimeGranularity.DAY)
    )
    assert _lines([_asset(dependencies=(there,))], [_asset(dependencies=(here,))]) == []


@given(strategies.asset_definitions())
@settings(max_examples=30)
def test_an_asset_does_not_differ_from_itself(asset: AssetDefinition) -> None:
    assert diff([asset], [asset]) == ()


def test_a_vanished_and_a_new_asset_with_the_same_code_may_be_a_rename() -> None:
    old, new = (_asset(name, transform_fingerprint="a" * 16) for name in ("old", "new"))
    assert possible_renames([old], [new]) == ((old.key, new.key),)


@pytest.mark.parametrize(
    "new",
    [
        [_asset("new", transform_fingerprint="b" * 16)],
        [_asset(name, transform_fingerprint="a" * 16) for name in ("new", "newer")],
        [_asset("new", transform_fingerprint="a" * 16, renamed_from=AssetKey("a", "old"))],
        [_asset("new"), _asset("old", transform_fingerprint="a" * 16)],
    ],
    ids=["other code", "two candidates", "said already", "still there"],
)
def test_a_rename_is_not_guessed(new: list[AssetDefinition]) -> None:
    assert possible_renames([_asset("old", transform_fingerprint="a" * 16)], new) == ()
