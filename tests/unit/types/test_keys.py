"""Asset keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies
from servo.types import AssetKey


@given(strategies.asset_keys())
def test_a_key_is_read_back_from_its_text(key: AssetKey) -> None:
    assert AssetKey.parse(str(key)) == key


@given(st.lists(strategies.asset_keys()))
def test_keys_sort_like_their_text(keys: list[AssetKey]) -> None:
    assert [str(key) for key in sorted(keys)] == sorted(str(key) for key in keys)


def test_a_key_without_namespace_is_in_default() -> None:
    assert AssetKey.parse("events") == AssetKey("default", "events")


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a.b.c", " a.b", "a.b ", "a.b\n", "A.b", "1a.b", "a-b.c", "é.a"]
)
def test_text_that_is_no_key_is_refused_with_the_input_and_the_pattern(text: str) -> None:
    with pytest.raises(ValueError, match=r"\^\[a-z\]\[a-z0-9_\]\*\$") as caught:
        AssetKey.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("part", ["", "raw\n", "Raw", "a.b", "_a", "9"])
def test_a_malformed_part_is_refused(part: str) -> None:
    with pytest.raises(ValueError, match="namespace"):
        AssetKey(part, "events")
    with pytest.raises(ValueError, match="name"):
        AssetKey("raw", part)


def test_a_part_that_is_no_string_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a string"):
        AssetKey("raw", 1)  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(TypeError, match="read from a string"):
        AssetKey.parse(None)  # type: ignore[arg-type]  # the point of the test
