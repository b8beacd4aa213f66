"""How heavy a value is: what is inside it counts, at every depth."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facade_values import of
from servo import _wire
from servo._wire import METHODS, Method
from servo._wire.codec import to_message
from servo.types.requests import ListAssetsResponse


def items_in(message: Any) -> int:
    """Count the items of the repeated fields of a message, but for what is small everywhere."""
    # The dimensions of a partition are few, and errors are cut to some thousand bytes.
    if message.DESCRIPTOR.name in ("PartitionKey", "ErrorDetail"):
        return 0
    found = 0
    for field, value in message.ListFields():
        if not field.is_repeated:
            found += items_in(value) if field.message_type is not None else 0
            continue
        found += len(value)
        if field.message_type is not None and not hasattr(value, "items"):
            found += sum(map(items_in, value))
    return found


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
@settings(max_examples=15)
@given(st.data(), st.integers(0, 50))
def test_every_item_of_a_response_has_its_weight_and_counting_ends_early(
    method: Method[Any, Any], data: st.DataObject, most: int
) -> None:
    value = data.draw(of(method.response_type))
    whole = _wire.parts_of(value, 10**9)
    assert whole >= items_in(to_message(value))
    found = _wire.parts_of(value, most)
    assert found == whole if whole <= most else found > most
    assert _wire.is_heavier_than(value, most) == (whole > most)


def test_what_is_light_weighs_nothing() -> None:
    for value in ("x" * 1_000_000, b"", 3, None, ListAssetsResponse(), ()):
        assert _wire.parts_of(value, 10) == 0
