"""Partition keys."""

from __future__ import annotations

import copy
import pickle
from datetime import date
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies
from servo.types import PartitionKey


@given(strategies.partition_keys())
def test_a_key_is_read_back_from_its_canonical_form(key: PartitionKey) -> None:
    assert PartitionKey.from_canonical(key.to_canonical()) == key


@given(strategies.partition_keys())
def test_a_key_is_read_back_from_its_tagged_strings(key: PartitionKey) -> None:
    assert PartitionKey.from_proto_dict(key.to_proto_dict()) == key


@given(strategies.partition_keys())
def test_a_key_survives_pickling_and_copying(key: PartitionKey) -> None:
    copies = (pickle.loads(pickle.dumps(key)), copy.copy(key), copy.deepcopy(key))
    assert all(one == key and one.dimensions == key.dimensions for one in copies)


@given(strategies.partition_keys())
def test_the_order_of_dimensions_does_not_matter(key: PartitionKey) -> None:
    turned = PartitionKey(dict(reversed(list(key.dimensions.items()))))
    assert turned == key
    assert hash(turned) == hash(key)
    assert turned.to_path() == key.to_path()


@given(strategies.partition_keys(), strategies.partition_keys())
def test_keys_compare_like_their_canonical_forms(one: PartitionKey, other: PartitionKey) -> None:
    first, second = one.to_canonical(), other.to_canonical()
    assert (one == other) == (first == second)
    assert (one < other, one <= other) == (first < second, first <= second)
    assert (one > other, one >= other) == (first > second, first >= second)


@given(strategies.partition_keys())
def test_a_path_cannot_leave_its_directory(key: PartitionKey) -> None:
    path = key.to_path()
    parts = path.split("/") if path else []
    assert len(parts) == len(key.dimensions)
    assert path.isascii()
    assert all(part not in (".", "..") and 0 < len(part) <= 255 for part in parts)
    assert not PurePosixPath(path).is_absolute()


@given(st.text(max_size=400), st.text(max_size=400))
def test_different_values_never_share_a_path(one: str, other: str) -> None:
    paths = set()
    for text in (one, other):
        try:
            paths.add(PartitionKey({"d": text}).to_path())
        except ValueError:
            return
    assert (len(paths) == 1) == (one == other)


@pytest.mark.parametrize(
    ("dimensions", "path"),
    [
        ({}, ""),
        ({"tenant": "acme", "date": date(2025, 1, 15)}, "date=2025-01-15/tenant=acme"),
        ({"a": None}, "a=__null__"),
        ({"a": "__null__"}, "a=%5F_null__"),
        ({"a": ""}, "a="),
        ({"a": ".."}, "a=.."),
        ({"a": "../x"}, "a=..%2Fx"),
        ({"a": "é ~"}, "a=%C3%A9%20%7E"),
        ({"a": True, "b": -7}, "a=true/b=-7"),
    ],
)
def test_a_path_is_hive_style(dimensions: dict[str, object], path: str) -> None:
    assert PartitionKey(dimensions).to_path() == path


def test_a_path_follows_the_declared_order() -> None:
    key = PartitionKey({"date": date(2025, 1, 15), "tenant": "acme"})
    assert key.to_path(["tenant", "date"]) == "tenant=acme/date=2025-01-15"


@pytest.mark.parametrize("order", [[], ["date"], ["date", "other"], ["date", "date"]])
def test_an_order_that_does_not_name_the_dimensions_is_refused(order: list[str]) -> None:
    with pytest.raises(ValueError, match="exactly the key's dimensions"):
        PartitionKey({"date": "x", "tenant": "y"}).to_path(order)


def test_a_value_of_200_bytes_is_kept_and_a_longer_one_is_cut() -> None:
    assert PartitionKey({"a": "x" * 200}).to_path() == "a=" + "x" * 200
    cut = PartitionKey({"a": "x" * 201}).to_path()
    assert cut == "a=" + "x" * 150 + "~" + "96b1a6106258d057fa58e031d3a08d37"


def test_a_long_dimension_name_still_fits_a_directory_name() -> None:
    one, other = (PartitionKey({"n" * 300 + end: "x" * 200}).to_path() for end in "ab")
    assert len(one) == len(other) == 255
    assert one != other


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"a":1}',
        '{"a": "s:x"}',
        '{"b":"s:x","a":"s:y"}',
        '{"a":"s:\\u0078"}',
        '{"a":"s:x","a":"s:y"}',
        '{"a":"x"}',
        "[" * 100_000,
    ],
)
def test_text_that_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"[Pp]artition key|dimension"):
        PartitionKey.from_canonical(text)


def test_a_bad_tagged_string_is_refused_with_its_dimension() -> None:
    with pytest.raises(ValueError, match=r"'version'.*'i:007'"):
        PartitionKey.from_proto_dict({"version": "i:007"})


def test_a_float_is_refused_with_its_dimension() -> None:
    with pytest.raises(ValueError, match=r"'price'.*float"):
        PartitionKey({"price": 1.5})


def test_a_key_is_immutable() -> None:
    key = PartitionKey({"a": 1})
    with pytest.raises(AttributeError, match="immutable"):
        key.dimensions = {}  # type: ignore[misc]  # the point of the test
    with pytest.raises(AttributeError, match="immutable"):
        del key._canonical
    with pytest.raises(TypeError):
        key.dimensions["a"] = 2  # type: ignore[index]  # the point of the test


def test_a_key_is_not_made_from_pairs() -> None:
    with pytest.raises(TypeError, match="from a mapping"):
        PartitionKey([("a", 1)])  # type: ignore[arg-type]  # the point of the test


def test_keys_do_not_compare_with_other_things() -> None:
    assert PartitionKey() != "{}"
    with pytest.raises(TypeError):
        _ = PartitionKey() < "{}"  # type: ignore[operator]  # the point of the test
