"""Messages of the contract made from their descriptors: what the wire's tests are driven by."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

import servo._gen.arco.v1 as generated

FILES: tuple[FileDescriptor, ...] = tuple(
    importlib.import_module(f"{generated.__name__}.{module.name}").DESCRIPTOR
    for module in pkgutil.iter_modules(generated.__path__)
)
MESSAGES: tuple[Descriptor, ...] = tuple(
    descriptor for file in FILES for descriptor in file.message_types_by_name.values()
)
SOME_ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"

# What a field must hold for its message to make sense; anything will do for the others.
VALUES: dict[str, Any] = {
    "arco.v1.AssetKey.namespace": "raw",
    "arco.v1.AssetKey.name": "events",
    "arco.v1.PartitionKey.dimensions": {"date": "d:2025-01-15", "tenant": "s:acme"},
    "arco.v1.PartitionKey.order": "tenant,date",
    "arco.v1.PartitionDimension.name": "date",
    "arco.v1.TimeDimension.granularity": 4,
    "arco.v1.TimeDimension.start": "2013-01-01",
    "arco.v1.TimeDimension.end": "2013-12-01",
    "arco.v1.TimeDimension.timezone": "Europe/Berlin",
    "arco.v1.AssetDependency.window_start": -6,
    "arco.v1.AssetDependency.window_end": -1,
    "arco.v1.AssetDependency.require_quality": False,
    "arco.v1.NotNullParameters.min_ratio_ppm": 900_000,
    "arco.v1.AssetDefinition.id": SOME_ULID,
    "arco.v1.RetryPolicy.jitter_percent": 30,
    "arco.v1.Scheduling.pools": {"warehouse": 2},
    "arco.v1.SetPoolRequest.name": "warehouse",
}
AMOUNTS = {
    "budget": {"usd": "1.50"},
    "spent": {"usd": "0.25", "tokens": "12"},
    "spent_before": {"usd": "0.20"},
}
"""What fields of these names hold, whatever message they are part of."""
CHECK_TYPES = {"row_count": 1, "not_null": 2, "unique": 3, "freshness": 4, "custom_sql": 5}


def message_class(descriptor: Descriptor) -> type[Message]:
    """Return the generated class of a message."""
    return GetMessageClass(descriptor)


def is_map(field: FieldDescriptor) -> bool:
    """Tell a map from any other field."""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def set_value(message: Message, field: FieldDescriptor, value: Any) -> None:
    """Assign a field of any shape."""
    if is_map(field):
        getattr(message, field.name).update(value)
    elif field.is_repeated:
        getattr(message, field.name).extend(value)
    elif field.message_type is not None:
        getattr(message, field.name).SetInParent()
        getattr(message, field.name).MergeFrom(value)
    else:
        setattr(message, field.name, value)


def filled(descriptor: Descriptor, **variants: str) -> Message:
    """Make a message in which every field is set to something that is not its default.

    Args:
        descriptor: The message.
        variants: Field to set, by the name of its oneof; the first one where none is given.
    """
    message = message_class(descriptor)()
    for field in descriptor.fields:
        oneof = real_oneof(field)
        if oneof is not None and variants.get(oneof, first_variant(field)) != field.name:
            continue
        set_value(message, field, _filled_value(field))
        if descriptor.name == "Check" and oneof is not None:
            set_value(message, descriptor.fields_by_name["type"], CHECK_TYPES[field.name])
    return message


def variants_of(descriptor: Descriptor) -> Iterator[Message]:
    """Make filled messages that together set every field of a message."""
    oneofs = [oneof for oneof in descriptor.oneofs if not is_synthetic(oneof.fields)]
    if not oneofs:
        yield filled(descriptor)
    for oneof in oneofs:
        for field in oneof.fields:
            yield filled(descriptor, **{oneof.name: field.name})


def real_oneof(field: FieldDescriptor) -> str | None:
    """Return the name of the oneof that a field is part of; `optional` fields are in none."""
    oneof = field.containing_oneof
    return None if oneof is None or is_synthetic(oneof.fields) else oneof.name


def is_synthetic(fields: list[FieldDescriptor]) -> bool:
    """Tell the oneof that `optional` makes from one that was written."""
    return len(fields) == 1 and fields[0].containing_oneof.name == f"_{fields[0].name}"


def first_variant(field: FieldDescriptor) -> str:
    """Return the first field of a oneof."""
    name: str = field.containing_oneof.fields[0].name
    return name


def _filled_value(field: FieldDescriptor) -> Any:
    if field.full_name in VALUES:
        return VALUES[field.full_name]
    if is_map(field):
        return AMOUNTS.get(field.name) or {f"{field.name}_key": f"{field.name} value"}
    value = _single_value(field)
    return [value] if field.is_repeated else value


def _single_value(field: FieldDescriptor) -> Any:
    kind = field.cpp_type
    if field.message_type is not None:
        if field.message_type.full_name.startswith("google.protobuf."):
            return message_class(field.message_type)(
                seconds=1_763_688_000 + field.number, nanos=field.number * 1_000
            )
        return filled(field.message_type)
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return f"{field.name}é" if field.type == FieldDescriptor.TYPE_STRING else b"\xff\x00"
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return True
    if kind == FieldDescriptor.CPPTYPE_DOUBLE:
        return 2.5
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return field.enum_type.values[-1].number
    return 100 + field.number


_TEXT = st.text(max_size=8)
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
}


@st.composite
def any_message(draw: st.DrawFn, descriptor: Descriptor, depth: int = 3) -> Message:
    """Draw any message of a type, whether it makes sense or not."""
    message = message_class(descriptor)()
    if descriptor.full_name.startswith("google.protobuf."):
        message.seconds = draw(st.integers(-60_000_000_000, 200_000_000_000))
        message.nanos = draw(st.sampled_from([0, 1, 1_000, 500_000_000, 999_999_999]))
        if descriptor.name == "Duration" and message.seconds < 0:
            message.nanos = -message.nanos
        return message
    for field in descriptor.fields:
        if draw(st.booleans()) and (depth > 0 or field.message_type is None):
            set_value(message, field, draw(_any_value(field, depth - 1)))
    return message


def _any_value(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if is_map(field):
        value = _any_single(field.message_type.fields_by_name["value"], depth)
        return st.dictionaries(_TEXT, value, max_size=3)
    single = _any_single(field, depth)
    return st.lists(single, max_size=2) if field.is_repeated else single


def _any_single(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return any_message(field.message_type, depth)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=8)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _TEXT
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return st.floats()
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        numbers = [value.number for value in field.enum_type.values]
        return st.sampled_from([*numbers, 4_711])
    return _INTEGERS[field.cpp_type]
