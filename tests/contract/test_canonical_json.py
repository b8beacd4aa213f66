"""Canonical JSON is protobuf's own JSON, sorted; and plain values follow the shared vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from messages import MESSAGES, any_message, message_class, variants_of
from servo._wire import canonical_value
from servo._wire.canonical import print_message
from servo._wire.canonical_value import MAX_DEPTH

VECTORS = json.loads(
    (Path(__file__).parent / "vectors" / "canonical_json.json").read_text(encoding="utf-8")
)
FINGERPRINTED = ("AssetManifest", "PartitionKey", "Plan")


def reference(message: Message) -> str:
    plain = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize("descriptor", MESSAGES, ids=lambda found: found.name)
def test_every_message_prints_as_protobuf_prints_it(descriptor: Descriptor) -> None:
    empty = message_class(descriptor)()
    for message in (empty, *variants_of(descriptor)):
        assert print_message(message) == reference(message)


@given(st.sampled_from(MESSAGES).flatmap(any_message))
def test_any_message_prints_as_protobuf_prints_it(message: Message) -> None:
    assert print_message(message) == reference(message)


@given(st.sampled_from(MESSAGES).flatmap(any_message))
def test_reading_canonical_json_and_printing_it_again_gives_the_same_text(
    message: Message,
) -> None:
    text = print_message(message)
    again = json_format.Parse(text, message_class(message.DESCRIPTOR)())
    assert print_message(again) == text


def test_no_floating_point_number_can_be_reached_from_what_is_fingerprinted() -> None:
    by_name = {descriptor.name: descriptor for descriptor in MESSAGES}
    waiting = [by_name[name] for name in FINGERPRINTED]
    seen: set[str] = set()
    while waiting:
        descriptor = waiting.pop()
        if descriptor.full_name in seen:
            continue
        seen.add(descriptor.full_name)
        for field in descriptor.fields:
            assert field.cpp_type not in (
                FieldDescriptor.CPPTYPE_DOUBLE,
                FieldDescriptor.CPPTYPE_FLOAT,
            ), f"{field.full_name} would be fingerprinted; use an integer or a string"
            if field.message_type is not None:
                waiting.append(field.message_type)


@pytest.mark.parametrize("vector", VECTORS["accept"], ids=lambda vector: vector["name"])
def test_plain_values_print_as_the_vectors_say(vector: dict[str, Any]) -> None:
    text = canonical_value(vector["input"])
    assert text == vector["canonical"]
    assert hashlib.sha256(text.encode()).hexdigest() == vector["sha256"]


@pytest.mark.parametrize("source", VECTORS["reject_python"])
def test_what_has_no_canonical_form_is_refused(source: str) -> None:
    # The vectors are Python expressions of literals and float('nan').
    value = eval(source, {"__builtins__": {}, "float": float})
    with pytest.raises((ValueError, TypeError), match="value"):
        canonical_value(value)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(PLAIN)
def test_reading_a_plain_value_back_gives_the_same_value(value: object) -> None:
    text = canonical_value(value)
    assert json.loads(text) == value
    assert canonical_value(json.loads(text)) == text


def test_a_value_that_holds_itself_is_refused_instead_of_followed_for_ever() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(ValueError, match=f"deeper than {MAX_DEPTH}"):
        canonical_value(value)


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, ["a\ud800"]])
def test_a_lone_surrogate_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="lone surrogate"):
        canonical_value(value)


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_values_are_nested_as_deep_as_is_promised_and_no_deeper(
    wrap: Callable[[object], object],
) -> None:
    value: object = 1
    for _ in range(MAX_DEPTH):
        value = wrap(value)
    assert canonical_value(value).count("1") == 1
    with pytest.raises(ValueError, match=f"deeper than {MAX_DEPTH}"):
        canonical_value(wrap(value))
