"""The contract for other programs: a JSON Schema of a message, and every file's descriptor.

Both are made from the descriptors of the generated code and the comments generated beside it, so
neither can say anything else than the protos do.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from servo import _gen
from servo._gen.arco import v1 as generated
from servo._gen.arco.v1 import manifest_pb2

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_NOTE: Final = (
    "Unknown names are refused, as Servo's own tools refuse them: nobody's typing error goes "
    "unnoticed, and a manifest of a newer version needs the schema of that version. No name is "
    "required, so a manifest of an older version stays valid: what is absent has its default."
)
_PATTERN: Final = re.compile(r"matching `(\^[^`]+\$)`")

Schema = dict[str, Any]

_INT32: Final[Schema] = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
_UINT32: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
_INT64: Final[Schema] = {"type": "string", "pattern": "^(0|-?[1-9][0-9]{0,18})$"}
_UINT64: Final[Schema] = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,19})$"}
_FLOAT: Final[Schema] = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
_SCALARS: Final[dict[int, Schema]] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_SINT32: _INT32,
    FieldDescriptor.TYPE_SFIXED32: _INT32,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_FIXED32: _UINT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_SINT64: _INT64,
    FieldDescriptor.TYPE_SFIXED64: _INT64,
    FieldDescriptor.TYPE_UINT64: _UINT64,
    FieldDescriptor.TYPE_FIXED64: _UINT64,
    FieldDescriptor.TYPE_DOUBLE: _FLOAT,
    FieldDescriptor.TYPE_FLOAT: _FLOAT,
}
# Messages that JSON shows in a form of their own; the contract uses no other of them.
_OWN_FORM: Final[dict[str, Schema]] = {
    "google.protobuf.Timestamp": {
        "type": "string",
        "format": "date-time",
        "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.([0-9]{3}){1,3})?Z$",
    },
    "google.protobuf.Duration": {
        "type": "string",
        "pattern": r"^-?[0-9]+(\.([0-9]{3}){1,3})?s$",
    },
}


def manifest_json_schema() -> str:
    """Return the JSON Schema (draft 2020-12) of a manifest, indented, with a newline at the end."""
    return json.dumps(json_schema(manifest_pb2.AssetManifest.DESCRIPTOR), indent=2) + "\n"


def json_schema(message: Any) -> Schema:
    """Return the JSON Schema of a message as canonical JSON has it.

    Args:
        message: Descriptor of the message.
    """
    comments = _comments()
    found: dict[str, Schema] = {}
    waiting: list[Any] = [message]
    while waiting:
        one = waiting.pop(0)
        if one.name in found or one.full_name in _OWN_FORM:
            continue
        if isinstance(one, EnumDescriptor):
            found[one.name] = _enum(one, comments)
            continue
        found[one.name] = _message(one, comments)
        waiting += [type_ for field in one.fields if (type_ := _type_of(field)) is not None]
    return {
        "$schema": DIALECT,
        "$id": f"urn:servo:{message.full_name}",
        "title": message.name,
        "$comment": _NOTE,
        "$ref": f"#/$defs/{message.name}",
        "$defs": {name: found[name] for name in sorted(found)},
    }


def _message(message: Descriptor, comments: dict[str, str]) -> Schema:
    schema: Schema = {
        "description": comments[message.full_name],
        "type": "object",
        "properties": {
            field.json_name: _field(field, comments[field.full_name]) for field in message.fields
        },
        "additionalProperties": False,
    }
    # What `optional` makes is a oneof of a single field, which cannot contradict itself.
    choices = [oneof.fields for oneof in message.oneofs if len(oneof.fields) > 1]
    if choices:
        schema["allOf"] = [
            {"oneOf": [{"required": [field.json_name]} for field in fields]} for fields in choices
        ]
    return schema


def _field(field: FieldDescriptor, comment: str) -> Schema:
    pattern = _PATTERN.search(comment)
    entry = _map_entry(field)
    if entry is not None:
        value = _single(entry.fields_by_name["value"])
        return {"description": comment, "type": "object", "additionalProperties": value}
    single = _single(field)
    if pattern is not None:
        single = single | {"pattern": pattern[1]}
    if field.is_repeated:
        return {"description": comment, "type": "array", "items": single}
    return {"description": comment} | single


def _single(field: FieldDescriptor) -> Schema:
    type_ = _type_of(field)
    if type_ is None:
        return _SCALARS[field.type]
    return _OWN_FORM.get(type_.full_name) or {"$ref": f"#/$defs/{type_.name}"}


def _enum(enum: EnumDescriptor, comments: dict[str, str]) -> Schema:
    # The value 0 stands for "not set" in every enum, and nobody sends it.
    values = [value.name for value in enum.values if value.number != 0]
    return {
        "description": comments[enum.full_name],
        "oneOf": [
            {"const": name, "description": comments[f"{enum.full_name}.{name}"]} for name in values
        ],
    }


def _type_of(field: FieldDescriptor) -> Any:
    """Return the message or enum that the values of a field are of, if any."""
    entry = _map_entry(field)
    if entry is not None:
        return _type_of(entry.fields_by_name["value"])
    return field.message_type or field.enum_type


def _map_entry(field: FieldDescriptor) -> Descriptor | None:
    type_ = field.message_type
    return type_ if type_ is not None and type_.GetOptions().map_entry else None


def _comments() -> dict[str, str]:
    path = Path(_gen.__path__[0]) / "comments.json"
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return found


def descriptor_set() -> bytes:
    """Return a ``FileDescriptorSet`` of the contract and all it imports, imported files first."""
    files: dict[str, FileDescriptor] = {}
    for module in pkgutil.iter_modules(generated.__path__):
        found = importlib.import_module(f"{generated.__name__}.{module.name}")
        for file in _with_imports(found.DESCRIPTOR):
            files.setdefault(file.name, file)
    protos = [FileDescriptorProto.FromString(file.serialized_pb) for file in files.values()]
    image = FileDescriptorSet(file=protos)
    return image.SerializeToString(deterministic=True)


def _with_imports(file: FileDescriptor) -> Iterator[FileDescriptor]:
    for dependency in file.dependencies:
        yield from _with_imports(dependency)
    yield file
