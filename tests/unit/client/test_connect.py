"""The Connect protocol, byte by byte."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo import _wire, errors
from servo._wire import methods
from servo.client import Call, Metadata
from servo.client import _connect as connect
from servo.client.transport import Address
from servo.types.records import Run
from servo.types.requests import GetServerInfoRequest, ListRunsResponse
from servo.types.runs import RunState

URL = "https://control.example.com"
ADDRESS = Address.parse(URL, http=True)


def call(*, timeout: float | None = None) -> Call:
    return Call(
        method=methods.LIST_RUNS,
        request=GetServerInfoRequest(),
        metadata=Metadata({"x-servo-source": "cli"}),
        address=ADDRESS,
        url=URL,
        timeout=timeout,
        ends_at=timeout,
        clock=lambda: 0.0,
    )


def envelope(flags: int, body: bytes) -> bytes:
    return struct.pack(">BI", flags, len(body)) + body


def page(name: str) -> ListRunsResponse:
    return ListRunsResponse(runs=(Run(run_id=name, state=RunState.RUNNING),))


@given(st.lists(st.text(max_size=40), max_size=5), st.data())
def test_a_stream_is_read_the_same_however_it_is_cut(names: list[str], data: Any) -> None:
    pages = [page(f"r{name}") for name in names]
    whole = b"".join(envelope(0, _wire.to_canonical_json(one).encode()) for one in pages)
    whole += envelope(2, b"{}")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    reader = connect.Envelopes(call(), 1_000_000)
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += list(reader.feed(whole[start:end]))
    reader.close()
    assert found == pages


@given(st.integers(0, 30))
def test_a_stream_without_its_end_is_cut_off(kept: int) -> None:
    whole = envelope(0, b'{"runs":[]}') + envelope(2, b"{}")
    reader = connect.Envelopes(call(), 1_000_000)
    list(reader.feed(whole[: min(kept, len(whole) - 1)]))
    with pytest.raises(errors.UnavailableError, match="cut off before its end") as caught:
        reader.close()
    assert caught.value.code == "STREAM_CUT_OFF"


@pytest.mark.parametrize("end", [b"[]", b'{"error":null}', b'{"metadata":{}}'], ids=repr)
def test_an_end_without_an_error_is_an_end(end: bytes) -> None:
    reader = connect.Envelopes(call(), 1_000_000)
    assert list(reader.feed(envelope(2, end))) == []
    reader.close()


@pytest.mark.parametrize("cut", range(8))
def test_nothing_comes_after_the_end(cut: int) -> None:
    whole = envelope(2, b"{}") + envelope(0, b'{"runs":[]}')
    split = len(envelope(2, b"{}")) + cut
    reader = connect.Envelopes(call(), 1_000_000)
    with pytest.raises(errors.ConfigurationError, match="more after the end"):
        list(reader.feed(whole[:split])), list(reader.feed(whole[split:]))


def test_a_message_is_refused_before_it_arrives() -> None:
    reader = connect.Envelopes(call(), 100)
    with pytest.raises(errors.InvalidArgumentError, match="the limit is 100"):
        list(reader.feed(struct.pack(">BI", 0, 101)))


def test_headers_say_what_is_sent_and_how_long_there_is() -> None:
    headers = connect.request_headers(call(timeout=2.5), stream=False)
    assert headers["content-type"] == "application/json"
    assert headers["connect-protocol-version"] == "1"
    assert headers["connect-timeout-ms"] == "2500"
    assert headers["x-servo-source"] == "cli"
    assert "connect-timeout-ms" not in connect.request_headers(call(), stream=True)
    far = connect.request_headers(call(timeout=1e12), stream=True)["connect-timeout-ms"]
    assert len(far) <= 10


@given(
    st.integers(100, 599),
    st.sampled_from(["application/json", "text/html", "application/json; charset=utf-8", ""]),
    st.one_of(
        st.binary(max_size=60),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(
            lambda value: json.dumps(value).encode()
        ),
        st.fixed_dictionaries({"code": st.text(), "message": st.integers()}).map(
            lambda value: json.dumps(value).encode()
        ),
    ),
)
def test_every_refusal_is_an_error_of_ours(status: int, kind: str, body: bytes) -> None:
    error = connect.refusal(call(), status, {"content-type": kind}, body)
    assert isinstance(error, errors.ServoError)
    assert error.message


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "soon"}, None),
        ({}, None),
        (
            {
                "date": "Wed, 15 Jan 2025 10:00:00 GMT",
                "retry-after": "Wed, 15 Jan 2025 10:00:09 GMT",
            },
            9,
        ),
        (
            {
                "date": "Wed, 15 Jan 2025 10:00:00 GMT",
                "retry-after": "Wed, 15 Jan 2025 09:00:00 GMT",
            },
            0,
        ),
    ],
)
def test_a_pause_is_read_from_the_header(headers: dict[str, str], pause: float | None) -> None:
    error = connect.refusal(call(), 503, headers, b"")
    assert isinstance(error, errors.UnavailableError)
    assert error.retry_after == pause


def test_an_error_with_details_is_the_servers_own() -> None:
    failure = _wire.connect_failure_for(
        errors.ConflictError("key 'k' is taken", code="RUN_KEY_CONFLICT", retry_after=3.0)
    )
    error = connect.refusal(
        call(),
        failure.http_status,
        {"content-type": "application/json"},
        json.dumps(failure.document).encode(),
    )
    assert isinstance(error, errors.ConflictError)
    assert (error.code, error.retry_after) == ("RUN_KEY_CONFLICT", 3.0)
