"""How much a request may hold: items of each repeated field, and parts of a whole message.

Decoding costs time for each item, not for each byte: a megabyte of empty messages takes a hundred
times as long as a megabyte of text. A server checks three things, each before the step that it
bounds: the structure of the bytes before protobuf parses them, the items of each field before they
are converted, and the items of a JSON document before it becomes a message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from servo._wire.canonical import is_map
from servo.errors import InvalidArgumentError

MOST_ITEMS: Final[Mapping[str, int]] = MappingProxyType(
    {
        f"arco.v1.{field}": most
        for field, most in {
            "AssetDefinition.checks": 1_000,
            "AssetDefinition.dependencies": 10_000,
            "AssetDefinition.metadata": 1_000,
            "AssetDefinition.owners": 1_000,
            "AssetDefinition.tags": 1_000,
            "AssetManifest.assets": 5_000,
            "AssetManifest.metadata": 1_000,
            "AssetManifest.schedules": 10_000,
            "AttemptFinished.checks": 10_000,
            "AttemptFinished.spent": 10_000,
            "AttemptSpent.spent": 10_000,
            "CheckResult.observed": 10_000,
            "CreateRunRequest.budget": 100,
            "CreateRunRequest.config": 1_000,
            "CreateRunRequest.selection": 10_000,
            "DeployRequest.chunk_digests": 20_000,
            "DimensionSelection.ranges": 1_000,
            "DimensionSelection.values": 10_000,
            "FindMissingChunksRequest.chunk_digests": 20_000,
            "Heartbeat.leases": 10_000,
            "IoConfig.partition_by": 1_000,
            "ListAssetsRequest.selection": 10_000,
            "ListRunsRequest.states": 100,
            "LogBatch.lines": 20_000,
            "ManifestChunk.assets": 5_000,
            "Materialization.columns": 20_000,
            "Materialization.metadata": 10_000,
            "NotNullParameters.columns": 10_000,
            "OpenSessionRequest.messages": 10_000,
            "PartitionKey.dimensions": 100,
            "PartitionProduct.dimensions": 100,
            "PartitionStrategy.dimensions": 100,
            "ReadChunksRequest.chunk_digests": 20_000,
            "RetryPolicy.retry_on": 100,
            "Schedule.selection": 1_000,
            "Scheduling.budget": 100,
            "Scheduling.pools": 100,
            "StaticDimension.values": 100_000,
            "UniqueParameters.columns": 10_000,
            "UploadChunksRequest.chunks": 1_000,
            "WorkerHello.capabilities": 100,
            "WorkerHello.leases": 10_000,
        }.items()
    }
)
"""The greatest number of items of every repeated field that a request can hold.

A test walks the requests of all RPCs, so that a new field needs a line here.
"""

SCANNED_BYTES: Final = 64 * 1024
"""Larger messages are scanned before they are parsed; parsing others takes milliseconds at most."""

_MOST_MESSAGES: Final = 50_000
_MOST_FIELDS: Final = 250_000
_MOST_JSON_VALUES: Final = 50_000

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5

_Check = Callable[[Any], None]
_Submessages = dict[int, "_Submessages"]


def check_structure(descriptor: Any, data: bytes) -> None:
    """Refuse bytes that are made of more parts than any honest message.

    Protobuf's parser cannot be interrupted and holds the interpreter; this scan can be.

    Args:
        descriptor: Describes the message.
        data: Its bytes. Malformed ones pass: what is wrong with them the parser says.

    Raises:
        InvalidArgumentError: There are too many parts.
    """
    if len(data) <= SCANNED_BYTES:
        return
    messages = fields = 0
    waiting: list[tuple[int, int, _Submessages]] = [(0, len(data), _submessages(descriptor))]
    while waiting:
        at, end, known = waiting.pop()
        while at < end:
            fields += 1
            if fields > _MOST_FIELDS or messages > _MOST_MESSAGES:
                raise InvalidArgumentError(
                    f"a message of {len(data):,} bytes has more than {_MOST_MESSAGES:,} messages "
                    f"or {_MOST_FIELDS:,} fields in it; send less at once",
                    code="TOO_MANY_ITEMS",
                )
            try:
                tag, at = _varint(data, at)
                kind = tag & 7
                if kind == _VARINT:
                    _, at = _varint(data, at)
                elif kind == _LENGTH:
                    length, at = _varint(data, at)
                    if (inner := known.get(tag >> 3)) is not None:
                        messages += 1
                        if inner:
                            waiting.append((at, min(at + length, end), inner))
                    at += length
                elif kind == _FIXED64:
                    at += 8
                elif kind == _FIXED32:
                    at += 4
                else:
                    return
            except IndexError:
                return


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    if value < 0x80:
        return value, at + 1
    value &= 0x7F
    for shift in range(7, 70, 7):
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
    raise IndexError


_submessages_of: Final[dict[str, _Submessages]] = {}


def _submessages(descriptor: Descriptor) -> _Submessages:
    """Return the fields of a message that hold messages, with the same of those."""
    found = _submessages_of.get(descriptor.full_name)
    if found is None:
        found = _submessages_of[descriptor.full_name] = {}
        for field in descriptor.fields:
            if field.message_type is not None:
                found[field.number] = _submessages(field.message_type)
    return found


def check_items(message: Message) -> None:
    """Refuse a message in which a field has more items than it may.

    Raises:
        InvalidArgumentError: One has; it is named.
    """
    if (check := _checker(message.DESCRIPTOR)) is not None:
        check(message)


_checkers: Final[dict[str, _Check | None]] = {}


def _checker(descriptor: Any) -> _Check | None:
    """Return what checks messages of one type; `None` where there is nothing to check."""
    full_name: str = descriptor.full_name
    if full_name in _checkers:
        return _checkers[full_name]
    # A type that contains itself finds this; none of the contract's requests does.
    _checkers[full_name] = None
    limits: list[tuple[str, int, FieldDescriptor]] = []
    inside: list[tuple[str, bool, _Check]] = []
    for field in descriptor.fields:
        if field.is_repeated and (most := MOST_ITEMS.get(field.full_name)) is not None:
            limits.append((field.name, most, field))
        if field.message_type is not None and not _is_map(field):
            check = _checker(field.message_type)
            if check is not None:
                inside.append((field.name, field.is_repeated, check))

    def check_message(message: Any) -> None:
        for name, most, field in limits:
            if (count := len(getattr(message, name))) > most:
                raise _too_many(field, count)
        for name, is_repeated, check in inside:
            if is_repeated:
                for one in getattr(message, name):
                    check(one)
            elif message.HasField(name):
                check(getattr(message, name))

    found = check_message if limits or inside else None
    _checkers[full_name] = found
    return found


def check_json_size(data: bytes) -> None:
    """Refuse JSON of more values than any honest request, before it is parsed.

    Commas and opening brackets are counted wherever they stand, which takes microseconds; text
    with very many commas is refused too.

    Raises:
        InvalidArgumentError: There are too many.
    """
    if len(data) <= SCANNED_BYTES:
        return
    if sum(map(data.count, (b",", b"[", b"{"))) > _MOST_JSON_VALUES:
        raise InvalidArgumentError(
            f"a JSON document of {len(data):,} bytes has more than {_MOST_JSON_VALUES:,} commas "
            "and brackets; send less at once, or send protobuf",
            code="TOO_MANY_ITEMS",
        )


def check_document(descriptor: Any, document: object, place: str = "") -> None:
    """Refuse the JSON of a request that has too many items in a field, or an unknown enum name.

    Unknown fields are left to the parser: a server passes over what only a newer client knows. An
    unknown value of an enum that is known cannot be passed over: a filter for a state that this
    server does not know must not match everything.

    Args:
        descriptor: Describes the message.
        document: Its JSON, parsed. What has another type than it should passes: the parser says so.
        place: The field that holds it, for errors.

    Raises:
        InvalidArgumentError: It has.
    """
    if not isinstance(document, dict):
        return
    for name, value in document.items():
        field = _json_fields(descriptor).get(name)
        if field is None or value is None:
            continue
        where = f"{place}{name}"
        if _is_map(field) and isinstance(value, dict):
            # The maps of the contract hold texts and numbers only, as a test knows.
            _check_count(field, len(value))
        elif field.is_repeated and isinstance(value, list):
            _check_count(field, len(value))
            _check_values(field, value, where)
        else:
            _check_values(field, (value,), where)


def _check_values(field: FieldDescriptor, values: Any, where: str) -> None:
    if field.message_type is not None:
        for value in values:
            check_document(field.message_type, value, f"{where}.")
    elif field.enum_type is not None:
        for value in values:
            if isinstance(value, str) and not _is_value(field.enum_type, value):
                known = ", ".join(one.name for one in field.enum_type.values)
                raise InvalidArgumentError(
                    f"{value[:100]!r} is not a value of {where}; it is one of: {known}",
                    code="UNKNOWN_ENUM_VALUE",
                )


def _is_value(enum: EnumDescriptor, text: str) -> bool:
    if text in enum.values_by_name:
        return True
    # protobuf reads the number of a value in quotes as well.
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 11


def _check_count(field: FieldDescriptor, count: int) -> None:
    if count > MOST_ITEMS.get(field.full_name, count):
        raise _too_many(field, count)


def _too_many(field: FieldDescriptor, count: int) -> InvalidArgumentError:
    most = MOST_ITEMS[field.full_name]
    return InvalidArgumentError(
        f"{field.full_name.removeprefix('arco.v1.')} has {count:,} items; it takes at most "
        f"{most:,} in one request",
        code="TOO_MANY_ITEMS",
        context={"field": field.full_name, "items": str(count), "most": str(most)},
    )


_json_fields_of: Final[dict[str, dict[str, FieldDescriptor]]] = {}


def _json_fields(descriptor: Descriptor) -> dict[str, FieldDescriptor]:
    found = _json_fields_of.get(descriptor.full_name)
    if found is None:
        found = {field.name: field for field in descriptor.fields}
        found |= {field.json_name: field for field in descriptor.fields}
        _json_fields_of[descriptor.full_name] = found
    return found


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and is_map(field, field.message_type)
