"""From types of the façade to bytes and JSON, and back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast

from google.protobuf.message import DecodeError, Message

from servo._wire.canonical import print_message
from servo._wire.request_limits import (
    check_document,
    check_items,
    check_json_size,
    check_structure,
)
from servo._wire.table import row_of
from servo.errors import InvalidArgumentError, ServoError

T = TypeVar("T")


def to_message(value: object) -> Message:
    """Make the message of a value.

    Raises:
        TypeError: Its type is not part of the contract.
        InvalidArgumentError: A part of it cannot be sent: a number does not fit its field, or a
            text is not Unicode.
    """
    row = row_of(type(value))
    message = row.message()
    try:
        row.to_proto(value, message)
    except (ValueError, TypeError) as exc:
        raise InvalidArgumentError(
            f"the {type(value).__name__} cannot be sent: {exc}; every text must be Unicode and "
            f"every number fit its field"
        ) from exc
    return message


def from_message(cls: type[T], message: Message) -> T:
    """Read a value out of a message of its type.

    Raises:
        InvalidArgumentError: A part of it is missing, malformed or not known to this version.
    """
    try:
        return cast("T", row_of(cls).from_proto(message))
    except ServoError:
        raise
    except (ValueError, TypeError) as exc:
        raise InvalidArgumentError(f"a {_name(cls)} that was received is invalid: {exc}") from exc


def encode(value: object) -> bytes:
    """Encode a value; equal values give equal bytes in one version of Servo.

    Raises:
        TypeError: Its type is not part of the contract.
        InvalidArgumentError: A part of it cannot be sent.
    """
    return to_message(value).SerializeToString(deterministic=True)


def decode(cls: type[T], data: bytes) -> T:
    """Decode a value; fields that only a newer version knows are ignored.

    Raises:
        TypeError: The type is not part of the contract.
        InvalidArgumentError: The bytes are malformed, or the value in them is.
    """
    return from_message(cls, _parsed(cls, data))


def decode_untrusted(cls: type[T], data: bytes) -> T:
    """Decode a request, whatever it holds, in a time that is bounded by its size.

    Raises:
        TypeError: The type is not part of the contract.
        InvalidArgumentError: The bytes are malformed, or the value in them is, or there is more in
            it than `servo._wire.request_limits` allows.
    """
    check_structure(row_of(cls).message.DESCRIPTOR, data)
    message = _parsed(cls, data)
    check_items(message)
    return from_message(cls, message)


def _parsed(cls: Any, data: bytes) -> Message:
    message = row_of(cls).message()
    try:
        message.ParseFromString(data)
    except DecodeError as exc:
        raise InvalidArgumentError(
            f"{len(data)} bytes that were received are no {_name(cls)}: {exc}; they were cut off, "
            f"or are something else"
        ) from exc
    return message


def to_canonical_json(value: object) -> str:
    """Print a value as canonical JSON.

    Raises:
        TypeError: Its type is not part of the contract.
        InvalidArgumentError: A part of it cannot be sent.
    """
    return print_message(to_message(value))


def to_json_dict(value: object) -> dict[str, Any]:
    """Return the canonical JSON of a value as plain objects, keys sorted.

    Raises:
        TypeError: Its type is not part of the contract.
        InvalidArgumentError: A part of it cannot be sent.
    """
    found: dict[str, Any] = json.loads(to_canonical_json(value))
    return found


def from_json(cls: type[T], text: str | bytes, *, ignore_unknown_fields: bool = False) -> T:
    """Read a value from protobuf's JSON, canonical or not.

    Args:
        cls: Its type.
        text: The JSON.
        ignore_unknown_fields: Pass over names that only a newer version knows, as a server does.

    Raises:
        TypeError: The type is not part of the contract.
        InvalidArgumentError: The text is no JSON, has a field that the type does not have, or a
            part of it is malformed; the message says where.
    """
    from google.protobuf import json_format

    message = row_of(cls).message()
    try:
        json_format.Parse(text, message, ignore_unknown_fields=ignore_unknown_fields)
    except json_format.ParseError as exc:
        raise InvalidArgumentError(f"the JSON of a {_name(cls)} is invalid: {exc}") from exc
    except (ValueError, TypeError, RecursionError) as exc:
        raise InvalidArgumentError(
            f"the JSON of a {_name(cls)} cannot be read: {type(exc).__name__}: {exc}"
        ) from exc
    return from_message(cls, message)


def request_from_json(cls: type[T], data: bytes) -> T:
    """Read a request from JSON, whatever it holds, in a time that is bounded by its size.

    Fields that only a newer version knows are ignored, names of enum values that this one does not
    know are not: a filter that is dropped would match everything.

    Raises:
        TypeError: The type is not part of the contract.
        InvalidArgumentError: The text is not a JSON object in UTF-8, or a part of it is malformed,
            or there is more in it than `servo._wire.request_limits` allows.
    """
    from google.protobuf import json_format

    row = row_of(cls)
    check_json_size(data)
    message = row.message()
    try:
        document = json.loads(data.decode(), object_pairs_hook=_without_duplicates)
        if not isinstance(document, dict):
            raise InvalidArgumentError(
                f"a {_name(cls)} is a JSON object, {{...}}, and what was received is "
                f"{_KINDS.get(type(document), 'a number')}"
            )
        check_document(row.message.DESCRIPTOR, document)
        json_format.ParseDict(document, message, ignore_unknown_fields=True)
    except UnicodeDecodeError as exc:
        raise InvalidArgumentError(
            f"the JSON of a {_name(cls)} is not UTF-8: {exc.reason} at byte {exc.start}"
        ) from exc
    except json_format.ParseError as exc:
        raise InvalidArgumentError(f"the JSON of a {_name(cls)} is invalid: {exc}") from exc
    except (ValueError, TypeError, RecursionError) as exc:
        raise InvalidArgumentError(
            f"the JSON of a {_name(cls)} cannot be read: {type(exc).__name__}: {exc}"
        ) from exc
    return from_message(cls, message)


_KINDS: Final[Mapping[type, str]] = MappingProxyType(
    {list: "an array", str: "a string", bool: "true or false", type(None): "null"}
)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the name {twice[:100]!r} stands twice in one object")
    return found


def _name(cls: object) -> str:
    return cls.__name__ if isinstance(cls, type) else str(cls)
