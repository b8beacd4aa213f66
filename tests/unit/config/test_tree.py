"""Merging layers is a monoid, errors included."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo import errors
from servo.config.tree import EMPTY, Candidate, Layer, Table, merge, single

CLASH = "clash"
Merged = Table | str


def candidate(value: object, place: str = "here", layer: Layer = Layer.ARGUMENTS) -> Candidate:
    return Candidate(value=value, layer=layer, source=place, place=place)


def merged(*trees: Merged) -> Merged:
    """Merge from left to right; a clash absorbs everything."""
    result: Merged = EMPTY
    for tree in trees:
        if isinstance(result, str) or isinstance(tree, str):
            return CLASH
        try:
            result = merge(result, tree)
        except errors.ConfigurationError:
            return CLASH
    return result


leaves = st.integers(0, 3).map(lambda value: (candidate(value),))
keys = st.sampled_from(["a", "b", "c"])
trees = st.recursive(
    st.dictionaries(keys, leaves, max_size=3).map(Table),
    lambda inner: st.dictionaries(keys, leaves | inner, max_size=3).map(
        lambda children: Table(children, ("there",))
    ),
    max_leaves=8,
)


@given(trees)
def test_the_empty_layer_changes_nothing_on_either_side(tree: Table) -> None:
    assert merge(EMPTY, tree) == tree
    assert merge(tree, EMPTY) == tree


@given(trees, trees, trees)
def test_merging_is_associative_errors_included(low: Table, middle: Table, high: Table) -> None:
    assert merged(merged(low, middle), high) == merged(low, merged(middle, high))


@given(st.lists(trees, max_size=5))
def test_every_value_that_was_said_is_kept_in_the_order_of_the_layers(layers: list[Table]) -> None:
    result = merged(*layers)
    if isinstance(result, str):
        return
    for path, leaf in result.leaves():
        said = [found for tree in layers for where, found in tree.leaves() if where == path]
        assert leaf == tuple(one for found in said for one in found)


@pytest.mark.parametrize("swap", [False, True])
def test_a_table_against_a_value_names_both_sources(swap: bool) -> None:
    table = single(("tls", "ca"), candidate("x", "'tls.ca' in servo.toml"))
    value = single(("tls",), candidate("off", "environment variable SERVO_TLS"))
    low, high = (value, table) if swap else (table, value)
    with pytest.raises(errors.ConfigurationError) as caught:
        merge(low, high)
    assert "'tls.ca' in servo.toml" in str(caught.value)
    assert "environment variable SERVO_TLS" in str(caught.value)


def test_without_the_error_the_order_of_merging_would_matter() -> None:
    value = single(("a",), candidate(1))
    first, second = (single(("a", key), candidate(2)) for key in "bc")
    assert merged(merged(value, first), second) == CLASH == merged(value, merged(first, second))


def test_a_value_is_never_part_of_a_representation() -> None:
    assert "hunter2" not in repr(single(("api_key",), candidate("hunter2")))


def test_the_last_layer_wins() -> None:
    layers = [single(("a",), candidate(number)) for number in range(3)]
    (found,) = [leaf for _, leaf in reduce(merge, layers, EMPTY).leaves()]
    assert [one.value for one in found] == [0, 1, 2]


def test_every_layer_is_above_the_one_that_is_listed_before_it() -> None:
    layers = list(Layer.__members__.values())
    assert layers == sorted(set(layers))
