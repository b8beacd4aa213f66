"""Shapes that the contract may have one day, and values that are rare in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import Struct

from servo._wire import to_canonical_json
from servo._wire.canonical import print_message
from servo.types.sessions import AttemptMetric, Lease

FIELD = descriptor_pb2.FieldDescriptorProto
LEASE = Lease(task_id="t", attempt=1, token=7)


def message_of(name: str, *fields: tuple[str, int, bool, str], maps: tuple[int, ...] = ()) -> Any:
    """Declare a message of its own file: fields are (name, type, repeated, type name)."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", syntax="proto3", package=name)
    declared = file.message_type.add(name="Node")
    for number, (field, kind, repeated, type_name) in enumerate(fields, start=1):
        label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
        declared.field.add(
            name=field, number=number, type=kind, label=label, type_name=type_name or None
        )
    for number, key_type in enumerate(maps, start=50):
        entry = declared.nested_type.add(name=f"By{number}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=key_type, label=FIELD.LABEL_OPTIONAL)
        entry.field.add(name="value", number=2, type=FIELD.TYPE_STRING, label=FIELD.LABEL_OPTIONAL)
        declared.field.add(
            name=f"by_{number}",
            number=number,
            type=FIELD.TYPE_MESSAGE,
            label=FIELD.LABEL_REPEATED,
            type_name=f".{name}.Node.By{number}Entry",
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(f"{name}.Node"))


def reference(message: Message) -> str:
    plain = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def test_a_type_that_contains_itself_is_printed() -> None:
    node = message_of(
        "recursive",
        ("name", FIELD.TYPE_STRING, False, ""),
        ("children", FIELD.TYPE_MESSAGE, True, ".recursive.Node"),
    )(name="root")
    node.children.add(name="leaf")
    assert print_message(node) == reference(node)


def test_map_keys_of_any_type_are_printed_as_sorted_text() -> None:
    node = message_of("maps", maps=(FIELD.TYPE_INT32, FIELD.TYPE_BOOL))()
    node.by_50.update({10: "a", 9: "b", -1: "c"})
    node.by_51.update({True: "t", False: "f"})
    assert print_message(node) == reference(node)


def test_a_field_type_without_one_text_is_refused_when_it_is_first_printed() -> None:
    node = message_of("floats", ("ratio", FIELD.TYPE_FLOAT, False, ""))()
    with pytest.raises(TypeError, match=r"floats\.Node\.ratio"):
        print_message(node)


def test_a_well_known_type_that_is_not_known_here_is_refused() -> None:
    with pytest.raises(TypeError, match=r"google\.protobuf\.Struct has a JSON form of its own"):
        print_message(Struct())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), '"NaN"'),
        (float("inf"), '"Infinity"'),
        (float("-inf"), '"-Infinity"'),
        (1e300, "1e+300"),
        (3.0, "3.0"),
        (0.1, "0.1"),
    ],
)
def test_a_metric_is_printed_as_protobuf_prints_doubles(value: float, text: str) -> None:
    metric = AttemptMetric(lease=LEASE, name="loss", value=value)
    assert f'"value":{text}}}' in to_canonical_json(metric)
