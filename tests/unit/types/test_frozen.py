"""What the value types share: the read-only mapping inside them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo.types._frozen import FrozenMap, text_map, text_tuple

mappings = st.dictionaries(st.text(max_size=5), st.integers(), max_size=5)


@given(mappings)
def test_it_reads_like_the_mapping_it_was_made_from(given: dict[str, int]) -> None:
    frozen = FrozenMap(given)
    assert dict(frozen) == given
    assert (list(frozen), len(frozen)) == (list(given), len(given))
    assert list(frozen.keys()) == list(given.keys())
    assert list(frozen.values()) == list(given.values())
    assert repr(frozen) == repr(given)
    assert all(key in frozen for key in given)


@given(mappings, mappings)
def test_it_equals_any_mapping_with_the_same_items(
    one: dict[str, int], two: dict[str, int]
) -> None:
    assert (FrozenMap(one) == FrozenMap(two)) == (one == two)
    assert (FrozenMap(one) == two) == (one == two)
    assert (FrozenMap(one) == MappingProxyType(two)) == (one == two)
    if one == two:
        assert hash(FrozenMap(one)) == hash(FrozenMap(two))


@given(mappings)
def test_its_copies_are_equal(given: dict[str, int]) -> None:
    frozen = FrozenMap(given)
    assert copy.copy(frozen) is frozen
    assert copy.deepcopy(frozen) is frozen
    assert pickle.loads(pickle.dumps(frozen)) == frozen


def test_it_equals_nothing_but_mappings() -> None:
    assert FrozenMap({}) != []


def test_it_does_not_follow_the_mapping_it_was_made_from() -> None:
    given = {"a": 1}
    frozen = FrozenMap(given)
    given["a"] = 2
    assert frozen["a"] == 1


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda text: text_map({"k": text}, "metadata"), r"metadata\['k'\]"),
        (lambda text: text_map({text: "v"}, "tags"), "a key of tags"),
        (lambda text: text_tuple([text], "owners"), "owners"),
    ],
)
def test_text_that_cannot_be_sent_is_named(make: Callable[[str], object], name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is no Unicode text: '.*' has the lone surrog"):
        make("a\udce9")
    make("ä\u2028\U0001f40d")
