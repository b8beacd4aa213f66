"""Errors become answers of the Connect protocol and come back as the same errors."""

from __future__ import annotations

import base64
import inspect
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from google.rpc.error_details_pb2 import RetryInfo
from hypothesis import given
from hypothesis import strategies as st

from servo import errors
from servo._gen.arco.v1 import error_pb2
from servo._wire import connect_failure_for, error_from_connect, error_from_status, status_for
from servo._wire.connect_errors import GRPC_NAMES, parse_retry_after
from servo.errors import GRPC_CODES, ServoError

ERROR_TYPES = sorted(
    (
        found
        for _, found in inspect.getmembers(errors, inspect.isclass)
        if issubclass(found, ServoError)
    ),
    key=lambda found: found.__name__,
)


def over_http(error: BaseException) -> ServoError:
    failure = connect_failure_for(error)
    document = json.loads(json.dumps(failure.document))
    return error_from_connect(failure.http_status, document)


@pytest.mark.parametrize("error_type", ERROR_TYPES)
def test_every_error_comes_back_as_its_own_class(error_type: type[ServoError]) -> None:
    error = error_type("run 'r' is gone", context={"run": "r"})
    back = over_http(error)
    assert type(back) is error_type
    assert (str(back), back.code, back.context) == (str(error), error.code, error.context)


@pytest.mark.parametrize("error_type", ERROR_TYPES)
def test_every_error_has_the_code_and_the_status_of_the_protocol(
    error_type: type[ServoError],
) -> None:
    failure = connect_failure_for(error_type("x"))
    code = GRPC_CODES[error_type.rule.grpc_code]
    assert (failure.document["code"], failure.http_status) == (
        code.connect_name,
        code.connect_status,
    )


def test_a_detail_is_the_name_of_the_message_and_its_bytes_without_padding() -> None:
    entry = connect_failure_for(errors.NotFoundError("no run 'r'")).document["details"][0]
    assert entry["type"] == "arco.v1.ErrorDetail"
    assert "=" not in entry["value"]
    detail = error_pb2.ErrorDetail.FromString(base64.b64decode(entry["value"] + "==="))
    assert (detail.code, detail.message) == ("NOT_FOUND", "no run 'r'")


@pytest.mark.parametrize("seconds", [0.0, 0.25, 1.5, 3600.0])
def test_a_pause_that_the_server_wants_comes_back_over_both_transports(seconds: float) -> None:
    error = errors.RateLimitedError("too many calls", retry_after=seconds)
    assert over_http(error).retry_after == seconds
    assert error_from_status(*status_for(error)).retry_after == seconds


def test_a_pause_is_a_retry_info_and_a_header_of_whole_seconds() -> None:
    failure = connect_failure_for(errors.RateLimitedError("x", retry_after=1.2))
    assert failure.headers == {"retry-after": "2"}
    assert failure.document["details"][1]["type"] == "google.rpc.RetryInfo"


def test_an_error_without_a_pause_asks_for_none() -> None:
    failure = connect_failure_for(errors.UnavailableError("x"))
    assert failure.headers == {}
    assert over_http(errors.UnavailableError("x")).retry_after is None
    assert error_from_status(*status_for(errors.UnavailableError("x"))).retry_after is None


@pytest.mark.parametrize("seconds", [-5.0, 1e12, float("inf")])
def test_a_pause_that_makes_no_sense_is_brought_within_bounds(seconds: float) -> None:
    error = errors.UnavailableError("x", retry_after=seconds)
    for back in (over_http(error), error_from_status(*status_for(error))):
        assert back.retry_after is not None
        assert 0 <= back.retry_after <= 86_400


def test_a_hostile_pause_is_brought_within_bounds() -> None:
    info = RetryInfo()
    info.retry_delay.seconds = -(2**62)
    info.retry_delay.nanos = 2**31 - 1
    value = base64.b64encode(info.SerializeToString()).decode()
    error = error_from_connect(
        503,
        {"code": "unavailable", "details": [{"type": "google.rpc.RetryInfo", "value": value}]},
    )
    assert error.retry_after == 0.0


def test_the_header_counts_where_there_is_no_retry_info() -> None:
    assert error_from_connect(429, None, retry_after="7").retry_after == 7.0


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5", "٣", "Mon, 99 Nov 2020 00:00:00 GMT"])
def test_a_header_that_is_neither_seconds_nor_a_date_is_ignored(text: str) -> None:
    assert parse_retry_after(text) is None


def test_a_header_with_a_date_is_compared_with_the_clock() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    pause = parse_retry_after(soon)
    assert pause is not None
    assert 50 <= pause <= 60
    assert parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT") == 0.0


@pytest.mark.parametrize(
    ("status", "document", "expected"),
    [
        (502, "<html>Bad Gateway</html>", errors.UnavailableError),
        (404, {"detail": "Not Found"}, errors.ConfigurationError),
        (302, None, errors.ConfigurationError),
        (500, {"code": 13}, ServoError),
        (503, {"code": "no_such_code"}, errors.UnavailableError),
        (429, [], errors.RateLimitedError),
    ],
)
def test_an_answer_of_something_in_between_has_the_class_of_its_status(
    status: int, document: object, expected: type[ServoError]
) -> None:
    error = error_from_connect(status, document)
    assert type(error) is expected
    assert str(status) in str(error)


@pytest.mark.parametrize(
    "details",
    [
        None,
        3,
        [3],
        [{}],
        [{"type": "arco.v1.ErrorDetail", "value": 3}],
        [{"type": "arco.v1.ErrorDetail", "value": "*"}],
        [{"type": "arco.v1.ErrorDetail", "value": "é"}],
        [{"type": "arco.v1.ErrorDetail", "value": "____"}],
        [{"type": "arco.v1.ErrorDetail", "value": "////"}],
        [{"type": "arco.v1.ErrorDetail", "value": ""}],
        [{"type": "acme.Other", "value": ""}],
    ],
)
def test_details_that_cannot_be_read_are_treated_like_none(details: object) -> None:
    error = error_from_connect(
        404, {"code": "not_found", "message": "no run 'r'", "details": details}
    )
    assert type(error) is errors.NotFoundError
    assert str(error) == "no run 'r'"


def test_a_detail_with_characters_that_are_no_base64_is_not_guessed_at() -> None:
    failure = connect_failure_for(errors.ConflictError("taken", code="RUN_KEY_CONFLICT"))
    (entry,) = failure.document["details"]
    entry["value"] = f"*{entry['value']}"
    assert error_from_connect(409, failure.document).code == "ALREADY_EXISTS"


def test_the_code_in_the_body_wins_over_the_status() -> None:
    assert type(error_from_connect(200, {"code": "not_found"})) is errors.NotFoundError


def test_every_name_of_the_protocol_is_known_once() -> None:
    assert sorted(GRPC_NAMES.values()) == sorted(name for name in GRPC_CODES if name != "OK")


def test_an_unexpected_exception_says_nothing_but_where_to_look() -> None:
    failure = connect_failure_for(KeyError("password=hunter2"), incident="7f3a")
    assert "hunter2" not in json.dumps(failure.document)
    assert "7f3a" in failure.document["message"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    st.integers(min_value=100, max_value=599),
    st.fixed_dictionaries(
        {"code": st.sampled_from(sorted(GRPC_NAMES)) | json_values},
        optional={"message": json_values, "details": json_values},
    )
    | json_values,
    st.text(),
)
def test_no_answer_makes_reading_an_error_fail(
    status: int, document: object, retry_after: str
) -> None:
    assert isinstance(error_from_connect(status, document, retry_after=retry_after), ServoError)
