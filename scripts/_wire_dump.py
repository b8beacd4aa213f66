"""A message's bytes, one field a line, with what they mean beside them: for people to check."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

_COMMENT_COLUMN: Final = 58
_BYTES_IN_LINE: Final = 16
_VARINT, _FIXED64, _DELIMITED = 0, 1, 2


def dump(message: Message) -> str:
    """Print the deterministic encoding of a message: hexadecimal, ``#``, field number and name.

    Raises:
        ValueError: A field has a wire type that the contract does not use.
    """
    data = message.SerializeToString(deterministic=True)
    descriptor: Any = message.DESCRIPTOR
    head = f"# {descriptor.full_name}, {len(data)} bytes"
    return "\n".join([head, *_message_lines(descriptor, data, 0), ""])


def bytes_of(text: str) -> bytes:
    """Return the bytes that a dump shows."""
    return bytes.fromhex(" ".join(line.partition("#")[0] for line in text.splitlines()))


def _message_lines(descriptor: Descriptor, data: bytes, depth: int) -> Iterator[str]:
    position = 0
    while position < len(data):
        start = position
        tag, position = _varint(data, position)
        field = descriptor.fields_by_number[tag >> 3]
        label = f"{field.number} {field.name}"
        if tag & 7 == _VARINT:
            value, position = _varint(data, position)
            yield _line(data[start:position], depth, f"{label} = {_number(field, value)}")
        elif tag & 7 == _FIXED64:
            position += 8
            (double,) = struct.unpack("<d", data[position - 8 : position])
            yield _line(data[start:position], depth, f"{label} = {double!r}")
        elif tag & 7 == _DELIMITED:
            size, begin = _varint(data, position)
            position = begin + size
            if field.message_type is not None:
                yield _line(data[start:begin], depth, f"{label}, {size} bytes")
                yield from _message_lines(field.message_type, data[begin:position], depth + 1)
            else:
                shown = _delimited(field, data[begin:position])
                yield from _lines(data[start:position], depth, f"{label} = {shown}")
        else:
            raise ValueError(f"{field.full_name} has wire type {tag & 7}; say here what it means")


def _delimited(field: FieldDescriptor, data: bytes) -> str:
    if field.type == FieldDescriptor.TYPE_STRING:
        return repr(data.decode())
    if field.type == FieldDescriptor.TYPE_BYTES:
        return f"{len(data)} bytes"
    numbers = []
    position = 0
    while position < len(data):
        value, position = _varint(data, position)
        numbers.append(_number(field, value))
    return f"[{', '.join(numbers)}]"


def _number(field: FieldDescriptor, value: int) -> str:
    if field.enum_type is not None:
        return f"{value} {field.enum_type.values_by_number[value].name}"
    if field.type == FieldDescriptor.TYPE_BOOL:
        return "true" if value else "false"
    return str(value - 2**64 if value >= 2**63 else value)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def _lines(data: bytes, depth: int, comment: str) -> Iterator[str]:
    yield _line(data[:_BYTES_IN_LINE], depth, comment)
    for start in range(_BYTES_IN_LINE, len(data), _BYTES_IN_LINE):
        yield f"{'  ' * depth}{data[start : start + _BYTES_IN_LINE].hex(' ')}"


def _line(data: bytes, depth: int, comment: str) -> str:
    shown = f"{'  ' * depth}{data.hex(' ')}"
    return f"{shown.ljust(_COMMENT_COLUMN)} # {'  ' * depth}{comment}"
