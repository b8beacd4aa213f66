"""What a request may hold: every repeated field has a limit, and structure is bounded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

from servo import _wire
from servo._wire import METHODS, methods, request_limits
from servo._wire.canonical import is_map
from servo._wire.table import row_of
from servo.errors import InvalidArgumentError
from servo.types.requests import CreateRunRequest, ListRunsRequest


def _requests() -> list[Any]:
    found = [row_of(method.request_type).message.DESCRIPTOR for method in METHODS.values()]
    chunk = found[0].file.message_types_by_name["ManifestChunk"]
    return [*found, chunk]


def _repeated(descriptor: Any, seen: set[str]) -> Iterator[FieldDescriptor]:
    if descriptor.full_name in seen:
        return
    seen.add(descriptor.full_name)
    for field in descriptor.fields:
        if field.is_repeated:
            yield field
        if field.message_type is not None and not _is_map(field):
            yield from _repeated(field.message_type, seen)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and is_map(field, field.message_type)


FIELDS = {
    field.full_name: field
    for seen in [set[str]()]
    for request in _requests()
    for field in _repeated(request, seen)
}
by_field = pytest.mark.parametrize("name", sorted(FIELDS))


def _fill(message: Any, field: FieldDescriptor, count: int) -> None:
    value = getattr(message, field.name)
    if _is_map(field):
        assert field.message_type is not None
        empty = field.message_type.fields_by_name["value"].default_value
        for number in range(count):
            value[str(number)] = empty
    elif field.message_type is not None:
        for _ in range(count):
            value.add()
    elif field.type == FieldDescriptor.TYPE_STRING:
        value.extend([""] * count)
    elif field.type == FieldDescriptor.TYPE_BYTES:
        value.extend([b""] * count)
    else:
        value.extend([1] * count)


def test_every_repeated_field_of_every_request_has_a_limit_and_no_limit_is_left_over() -> None:
    assert set(request_limits.MOST_ITEMS) == set(FIELDS)


def test_maps_of_requests_hold_no_messages_and_no_enums() -> None:
    maps = [field for field in FIELDS.values() if _is_map(field)]
    assert maps
    for field in maps:
        assert field.message_type is not None
        value = field.message_type.fields_by_name["value"]
        assert (value.message_type, value.enum_type) == (None, None)


@by_field
def test_a_field_may_be_full_and_one_item_more_is_refused_by_name(name: str) -> None:
    field, most = FIELDS[name], request_limits.MOST_ITEMS[name]
    message = message_factory.GetMessageClass(field.containing_type)()
    _fill(message, field, most)
    request_limits.check_items(message)
    _fill(message, field, most + 1 if _is_map(field) else 1)
    with pytest.raises(InvalidArgumentError, match=f"takes at most {most:,}") as caught:
        request_limits.check_items(message)
    assert caught.value.context["field"] == name


@by_field
def test_the_same_limit_holds_for_json_before_it_becomes_a_message(name: str) -> None:
    field, most = FIELDS[name], request_limits.MOST_ITEMS[name]
    value: Any = {str(n): "" for n in range(most + 1)} if _is_map(field) else [None] * (most + 1)
    descriptor = field.containing_type
    with pytest.raises(InvalidArgumentError, match=f"takes at most {most:,}"):
        request_limits.check_document(descriptor, {field.json_name: value})
    with pytest.raises(InvalidArgumentError, match=f"takes at most {most:,}"):
        request_limits.check_document(descriptor, {field.name: value})


def test_a_limit_deep_inside_a_request_holds_in_both_forms() -> None:
    selection = ["a"] * 1_001
    document = {"header": {"schedules": [{"selection": selection}]}}
    data = json.dumps(document).encode()
    with pytest.raises(InvalidArgumentError, match=r"Schedule\.selection has 1,001 items"):
        methods.DEPLOY.decode_json_request(data)
    message = row_of(methods.DEPLOY.request_type).message()
    schedule = message.header.schedules.add()  # type: ignore[attr-defined]
    schedule.selection.extend(selection)
    with pytest.raises(InvalidArgumentError, match=r"Schedule\.selection has 1,001 items"):
        methods.DEPLOY.decode_request(message.SerializeToString())


@pytest.mark.parametrize("field", [1, 2])
def test_a_megabyte_of_empty_messages_is_refused_before_it_is_parsed(field: int) -> None:
    data = bytes([field << 3 | 2, 0]) * 500_000
    descriptor: Descriptor = row_of(methods.OPEN_SESSION.request_type).message.DESCRIPTOR
    with pytest.raises(InvalidArgumentError, match=r"more than 50,000 messages or 250,000 fields"):
        request_limits.check_structure(descriptor, data)


def test_messages_inside_messages_count_as_well() -> None:
    # One asset of a chunk, all of whose dependencies are empty.
    length = 120_000
    prefix = b"\x0a" + bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14])
    chunk = _requests()[-1]
    number = chunk.fields_by_name["assets"].message_type.fields_by_name["dependencies"].number
    inside = bytes([number << 3 | 2, 0]) * 60_000
    with pytest.raises(InvalidArgumentError, match="more than 50,000 messages"):
        _wire.decode_chunk(prefix + inside)


@given(st.binary(max_size=200), st.integers(0, 2))
def test_no_bytes_make_the_scan_fail_in_another_way(data: bytes, index: int) -> None:
    method = (methods.OPEN_SESSION, methods.CREATE_RUN, methods.DEPLOY)[index]
    many = (data or b"\0") * (request_limits.SCANNED_BYTES // max(len(data), 1) + 1)
    descriptor: Descriptor = row_of(method.request_type).message.DESCRIPTOR
    try:
        request_limits.check_structure(descriptor, many)
    except InvalidArgumentError as exc:
        assert exc.code == "TOO_MANY_ITEMS"


@given(st.lists(st.text(max_size=20), max_size=30), st.dictionaries(st.text(), st.text()))
def test_what_an_honest_client_sends_passes(selection: list[str], config: dict[str, str]) -> None:
    request = CreateRunRequest(selection=tuple(selection) * 100, config=config)
    assert methods.CREATE_RUN.decode_request(_wire.encode(request)) == request
    text = _wire.to_canonical_json(request).encode()
    assert methods.CREATE_RUN.decode_json_request(text) == request


def test_json_of_very_many_values_is_refused_before_it_is_parsed() -> None:
    body = b'{"unknown":[' + b"[]," * 300_000 + b"[]]}"
    with pytest.raises(InvalidArgumentError, match="more than 50,000 commas and brackets"):
        methods.LIST_RUNS.decode_json_request(body)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[]", "an array"),
        ('"x"', "a string"),
        ("null", "null"),
        ("3", "a number"),
        ("true", "true"),
    ],
)
def test_a_document_that_is_not_an_object_is_refused(text: str, shown: str) -> None:
    for method in METHODS.values():
        with pytest.raises(InvalidArgumentError, match=shown):
            method.decode_json_request(text.encode())


@pytest.mark.parametrize("text", ["", "{", '{"a":1,"a":2}', "\\ud800", '{"states":{}}', "[" * 5000])
def test_malformed_json_is_an_invalid_argument(text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        methods.LIST_RUNS.decode_json_request(text.encode())


def test_bytes_that_are_not_utf_8_are_refused_with_their_place() -> None:
    with pytest.raises(InvalidArgumentError, match="not UTF-8: invalid start byte at byte 2"):
        methods.LIST_RUNS.decode_json_request(b'{"\xff":1}')


def test_an_unknown_enum_name_is_refused_and_an_unknown_field_is_not() -> None:
    with pytest.raises(InvalidArgumentError, match="'RUN_STATE_FAILD' is not a value of states"):
        methods.LIST_RUNS.decode_json_request(b'{"states":["RUN_STATE_FAILD"]}')
    with pytest.raises(InvalidArgumentError, match=r"not a value of rerun\.scope"):
        methods.CREATE_RUN.decode_json_request(b'{"rerun":{"scope":"ALL"}}')
    found = methods.LIST_RUNS.decode_json_request(b'{"newer":{"states":["X"]},"pageSize":3}')
    assert found == ListRunsRequest(page_size=3)


def test_enum_values_may_be_written_as_protobuf_allows() -> None:
    wanted = methods.LIST_RUNS.decode_json_request(b'{"states":["RUN_STATE_FAILED"]}')
    number = (
        row_of(ListRunsRequest)
        .message.DESCRIPTOR.fields_by_name["states"]
        .enum_type.values_by_name["RUN_STATE_FAILED"]
        .number
    )
    for value in (number, f'"{number}"'):
        assert methods.LIST_RUNS.decode_json_request(f'{{"states":[{value}]}}'.encode()) == wanted
