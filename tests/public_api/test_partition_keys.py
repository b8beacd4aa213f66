"""Partition keys print, read and hash as the contract's vectors say."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from servo.types import PartitionKey, ScalarValue

VECTORS = json.loads(
    (Path(__file__).parents[1] / "contract/vectors/partition_keys.json").read_text(encoding="utf-8")
)
READ: dict[str, Callable[[Any], Any]] = {
    "date": date.fromisoformat,
    "timestamp": datetime.fromisoformat,
}


def value(kind: str, given: object) -> object:
    return None if kind == "null" else READ.get(kind, lambda same: same)(given)


@pytest.mark.parametrize("vector", VECTORS["accept"], ids=lambda vector: vector["name"])
def test_a_key_has_the_forms_of_its_vector(vector: dict[str, Any]) -> None:
    key = PartitionKey(
        {
            name: value(kind, given)
            for name, typed in vector["dimensions"].items()
            for kind, given in typed.items()
        }
    )
    assert key.to_proto_dict() == vector["tagged"]
    assert key.to_canonical() == vector["canonical"]
    assert key.fingerprint() == vector["fingerprint"]
    assert PartitionKey.from_canonical(vector["canonical"]) == key


@pytest.mark.parametrize("text", VECTORS["reject_tagged"])
def test_text_that_tags_no_value_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid tagged scalar"):
        ScalarValue.from_tagged_string(text)
