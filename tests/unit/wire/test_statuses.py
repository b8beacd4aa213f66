"""Errors become gRPC statuses and come back as the same errors."""

from __future__ import annotations

import inspect

import grpc
import pytest
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from servo import errors
from servo._wire import error_from_status, status_for
from servo._wire.error_details import MAX_FACTS
from servo._wire.statuses import CODE_NUMBERS, MAX_DETAILS_BYTES
from servo.errors import (
    ConflictError,
    DeadlineError,
    FilesystemError,
    InvalidArgumentError,
    LockfileError,
    NotFoundError,
    ServoError,
    UnavailableError,
)

ERROR_TYPES = sorted(
    (
        found
        for _, found in inspect.getmembers(errors, inspect.isclass)
        if issubclass(found, ServoError)
    ),
    key=lambda found: found.__name__,
)


def over_the_wire(error: BaseException) -> ServoError:
    return error_from_status(*status_for(error))


@pytest.mark.parametrize("error_type", ERROR_TYPES)
def test_every_error_comes_back_as_its_own_class(error_type: type[ServoError]) -> None:
    error = error_type("run 'r' is gone; list the runs", context={"run": "r"})
    back = over_the_wire(error)
    assert type(back) is error_type
    assert (str(back), back.code, back.context) == (str(error), error.code, error.context)


@pytest.mark.parametrize("error_type", ERROR_TYPES)
def test_every_error_has_the_status_that_its_category_says(error_type: type[ServoError]) -> None:
    error = error_type("what happened")
    status = status_for(error)
    assert status.code == error.grpc_code
    assert Status.FromString(status.details).code == CODE_NUMBERS[status.code]


def test_a_code_of_a_newer_server_comes_back_as_its_category() -> None:
    back = over_the_wire(ConflictError("key 'k' is taken", code="RUN_KEY_CONFLICT"))
    assert type(back) is ConflictError
    assert back.code == "RUN_KEY_CONFLICT"


def test_the_hint_is_part_of_the_message() -> None:
    back = over_the_wire(NotFoundError("no run 'r'.", hint="List them with `servo status`."))
    assert str(back) == "no run 'r'. List them with `servo status`."


def test_the_chain_of_causes_comes_back_nearest_first() -> None:
    error = InvalidArgumentError("outer")
    error.__cause__ = NotFoundError("inner")
    error.__cause__.__cause__ = LockfileError("innermost")
    back = over_the_wire(error)
    assert str(back.__cause__) == "inner"
    assert back.__cause__.code == "NOT_FOUND"
    assert str(back.__cause__.__cause__) == "innermost"


def test_a_foreign_cause_is_named_by_its_class_only() -> None:
    error = FilesystemError("the store cannot be written; free some space")
    error.__cause__ = OSError(28, "No space left on device", "/var/lib/secret/servo.db")
    status = status_for(error)
    assert b"secret" not in status.details
    assert str(error_from_status(*status).__cause__) == "OSError"


def test_the_directories_of_the_servers_disk_do_not_cross_the_wire() -> None:
    error = FilesystemError(
        "cannot write '/home/ada/shop/.servo/servo.db': disk full",
        context={"path": "/home/ada/shop/.servo/servo.db"},
    )
    back = over_the_wire(error)
    assert str(back) == "cannot write 'servo.db': disk full"
    assert back.context == {"path": "servo.db"}


def test_an_unexpected_exception_says_nothing_but_where_to_look() -> None:
    status = status_for(KeyError("password=hunter2"), incident="7f3a")
    assert status.code == "UNKNOWN"
    assert status.message == "internal error, see the server's log (id 7f3a)"
    assert b"hunter2" not in status.details
    assert b"KeyError" not in status.details


def test_an_unexpected_exception_gets_an_id_of_its_own() -> None:
    assert status_for(KeyError()).message != status_for(KeyError()).message


def test_a_very_long_error_is_cut_to_what_headers_hold_and_says_so() -> None:
    error = InvalidArgumentError(
        "problem " * 100_000, context={f"key{number}": "x" * 5_000 for number in range(100)}
    )
    error.__cause__ = NotFoundError("y" * 100_000)
    status = status_for(error)
    assert len(status.details) <= MAX_DETAILS_BYTES
    assert len(status.message) < 300
    back = error_from_status(*status)
    assert "more characters" in str(back)
    assert 0 < len(back.context) <= MAX_FACTS


@given(st.text(), st.dictionaries(st.text(), st.text()), st.text())
def test_no_text_keeps_an_error_from_being_sent(
    message: str, context: dict[str, str], surrogate: str
) -> None:
    error = NotFoundError(message + "\ud800", context=context | {"x": surrogate + "\udfff"})
    status = status_for(error)
    assert len(status.details) <= MAX_DETAILS_BYTES
    assert type(error_from_status(*status)) is NotFoundError


@pytest.mark.parametrize("code", [code.name for code in grpc.StatusCode])
def test_every_status_without_details_has_an_error(code: str) -> None:
    error = error_from_status(code, "")
    assert isinstance(error, ServoError)
    assert code in str(error)
    assert code in CODE_NUMBERS


def test_the_numbers_of_the_codes_are_those_of_grpc() -> None:
    assert {code.name: code.value[0] for code in grpc.StatusCode} == dict(CODE_NUMBERS)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("UNAVAILABLE", UnavailableError),
        ("DEADLINE_EXCEEDED", DeadlineError),
        ("NOT_FOUND", NotFoundError),
    ],
)
def test_a_status_made_by_grpc_itself_has_the_class_of_its_code(
    code: str, expected: type[ServoError]
) -> None:
    assert type(error_from_status(code, "connection refused")) is expected


@pytest.mark.parametrize("details", [b"", b"\xff\xff\xff", Status(code=5).SerializeToString()])
def test_details_that_cannot_be_read_are_treated_like_none(details: bytes) -> None:
    error = error_from_status("NOT_FOUND", "no run 'r'", details)
    assert type(error) is NotFoundError
    assert str(error) == "no run 'r'"


@given(st.binary(max_size=60))
def test_no_details_make_reading_a_status_fail(details: bytes) -> None:
    assert isinstance(error_from_status("ABORTED", "m", details), ServoError)
