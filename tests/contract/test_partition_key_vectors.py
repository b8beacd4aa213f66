"""Partition keys and tagged scalars against the contract's vectors, in both directions."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from servo.types import PartitionKey, ScalarKind, ScalarValue

VECTORS = json.loads(
    (Path(__file__).parent / "vectors" / "partition_keys.json").read_text(encoding="utf-8")
)
ACCEPTED = [pytest.param(vector, id=vector["name"]) for vector in VECTORS["accept"]]

_READERS: dict[str, Callable[[Any], Any]] = {
    "date": date.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "string": str,
    "int64": int,
    "bool": bool,
    "null": lambda _: None,
}


def values(vector: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _READERS[kind](value)
        for name, typed in vector["dimensions"].items()
        for kind, value in typed.items()
    }


@pytest.mark.parametrize("vector", ACCEPTED)
def test_values_print_as_the_tagged_strings_of_the_vector(vector: dict[str, Any]) -> None:
    assert PartitionKey(values(vector)).to_proto_dict() == vector["tagged"]


@pytest.mark.parametrize("vector", ACCEPTED)
def test_values_print_as_the_canonical_form_of_the_vector(vector: dict[str, Any]) -> None:
    assert PartitionKey(values(vector)).to_canonical() == vector["canonical"]


@pytest.mark.parametrize("vector", ACCEPTED)
def test_the_fingerprint_is_that_of_the_vector(vector: dict[str, Any]) -> None:
    assert PartitionKey(values(vector)).fingerprint() == vector["fingerprint"]


@pytest.mark.parametrize("vector", ACCEPTED)
def test_tagged_strings_are_read_as_the_values_of_the_vector(vector: dict[str, Any]) -> None:
    assert PartitionKey.from_proto_dict(vector["tagged"]) == PartitionKey(values(vector))


@pytest.mark.parametrize("vector", ACCEPTED)
def test_the_canonical_form_is_read_as_the_values_of_the_vector(vector: dict[str, Any]) -> None:
    assert PartitionKey.from_canonical(vector["canonical"]) == PartitionKey(values(vector))


@pytest.mark.parametrize("vector", ACCEPTED)
def test_each_dimension_has_the_kind_of_the_vector(vector: dict[str, Any]) -> None:
    kinds = {
        name: ScalarValue.from_tagged_string(text).kind for name, text in vector["tagged"].items()
    }
    assert kinds == {
        name: ScalarKind(next(iter(typed))) for name, typed in vector["dimensions"].items()
    }


@pytest.mark.parametrize("text", VECTORS["reject_tagged"])
def test_tagged_strings_of_no_value_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid tagged scalar"):
        ScalarValue.from_tagged_string(text)


@pytest.mark.parametrize("name", VECTORS["reject_dimension_names"])
def test_malformed_dimension_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="Invalid dimension name"):
        PartitionKey({name: "x"})
    with pytest.raises(ValueError, match="Invalid dimension name"):
        PartitionKey.from_proto_dict({name: "s:x"})
