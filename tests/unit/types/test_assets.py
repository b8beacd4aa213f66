"""Asset definitions."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest
from hypothesis import given

import strategies
from servo.types import (
    AssetDefinition,
    AssetId,
    AssetKey,
    CodeLocation,
    Compression,
    ExecutionPolicy,
    IoConfig,
    ResourceRequirements,
    row_count,
)

KEY = AssetKey("raw", "events")
CODE = CodeLocation("m", "f")


@given(strategies.asset_definitions())
def test_a_definition_survives_pickling_and_replacing(definition: AssetDefinition) -> None:
    assert pickle.loads(pickle.dumps(definition)) == definition
    assert dataclasses.replace(definition) == definition
    assert hash(dataclasses.replace(definition)) == hash(definition)


def test_a_definition_is_frozen_all_the_way_down() -> None:
    tags = {"team": "a"}
    definition = AssetDefinition(KEY, code=CODE, tags=tags, owners=["me"])  # type: ignore[arg-type]  # any iterable is accepted
    tags["team"] = "b"
    assert definition.tags == {"team": "a"}
    assert definition.owners == ("me",)
    with pytest.raises(dataclasses.FrozenInstanceError):
        definition.description = "x"  # type: ignore[misc]  # the point of the test
    with pytest.raises(TypeError):
        definition.tags["team"] = "c"  # type: ignore[index]  # the point of the test
    with pytest.raises(AttributeError, match="read-only"):
        definition.tags._data = {}  # type: ignore[attr-defined]  # the point of the test
    with pytest.raises(AttributeError, match="read-only"):
        del definition.tags._data  # type: ignore[attr-defined]  # the point of the test


def test_text_ids_are_validated() -> None:
    text: Any = "01arz3ndektsv4rrffq69g5fav"
    wrong: Any = "x"
    definition = AssetDefinition(KEY, code=CODE, id=text)
    assert definition.id == AssetId(text)
    with pytest.raises(ValueError, match="Invalid ULID"):
        dataclasses.replace(definition, id=wrong)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("code", "m.f", TypeError),
        ("id", 5, TypeError),
        ("owners", "me", TypeError),
        ("owners", [1], TypeError),
        ("tags", {"a": 1}, TypeError),
        ("tags", [("a", "b")], TypeError),
        ("metadata", {1: "a"}, TypeError),
        ("partitioning", [], TypeError),
        ("dependencies", ["raw.events"], TypeError),
        ("dependencies", None, TypeError),
        ("io", {}, TypeError),
        ("checks", ["row_count"], TypeError),
        ("checks", [row_count(1), row_count(2)], ValueError),
        ("execution", 3, TypeError),
        ("resources", 3, TypeError),
    ],
)
def test_a_field_of_the_wrong_type_is_refused(
    field: str, value: object, error: type[Exception]
) -> None:
    arguments: dict[str, Any] = {"code": CODE, field: value}
    with pytest.raises(error):
        AssetDefinition(KEY, **arguments)


def test_two_checks_of_one_name_are_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"two checks are called 'row_count'.*name="):
        AssetDefinition(KEY, code=CODE, checks=(row_count(1), row_count(2)))


def test_formats_are_taken_as_text() -> None:
    text: Any = "gzip"
    assert IoConfig(compression=text).compression is Compression.GZIP


@pytest.mark.parametrize(
    "make",
    [
        lambda: IoConfig(compression="rar"),  # type: ignore[arg-type]  # the point of the test
        lambda: IoConfig(format="xls"),  # type: ignore[arg-type]  # the point of the test
        lambda: IoConfig(row_group_rows=0),
        lambda: IoConfig(target_file_bytes=0),
        lambda: ExecutionPolicy(max_retries=-1),
        lambda: ExecutionPolicy(timeout_seconds=0),
        lambda: ResourceRequirements(memory_mib=-1),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"rar|xls|at least"):
        make()
