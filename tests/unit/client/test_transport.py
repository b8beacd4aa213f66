"""Addresses and metadata."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from servo.client import Client, Tls
from servo.client.transport import Address, call_metadata, dial, trace_metadata
from servo.config import load
from servo.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "target", "secure", "loopback"),
    [
        ("grpc://127.0.0.1:7433", "127.0.0.1:7433", False, True),
        ("grpc://localhost:1/", "localhost:1", False, True),
        ("grpc://[::1]:7433", "[::1]:7433", False, True),
        ("grpcs://servo.example.com:443", "servo.example.com:443", True, False),
    ],
)
def test_an_address_is_read(url: str, target: str, secure: bool, loopback: bool) -> None:
    address = Address.parse(url)
    assert (address.target, address.secure, address.is_loopback) == (target, secure, loopback)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:7433",
        "http://127.0.0.1:7433",
        "grpc://127.0.0.1",
        "grpc://:7433",
        "grpc://host:port",
        "grpc://host:99999",
        "grpc://host:1/path",
        "grpc://user@host:1",
        "grpc://[::1",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"write it like grpc://127\.0\.0\.1:7433"):
        Address.parse(url)


def test_a_channel_is_of_the_kind_that_was_asked_for() -> None:
    async def open_aio() -> None:
        channel = dial("grpc://127.0.0.1:1", aio=True)
        assert isinstance(channel, grpc.aio.Channel)
        await channel.close()
        secure = dial("grpcs://127.0.0.1:1", aio=True)
        await secure.close()

    asyncio.run(open_aio())
    for url in ("grpc://127.0.0.1:1", "grpcs://127.0.0.1:1"):
        with dial(url) as channel:
            assert isinstance(channel, grpc.Channel)


def test_no_key_sends_no_authorization() -> None:
    assert dict(call_metadata()) == {
        "x-servo-tenant-id": "default",
        "x-servo-workspace-id": "default",
        "x-servo-source": "sdk",
    }


@pytest.mark.parametrize("value", ["", "büro", "a\nb"])
def test_an_identity_that_headers_cannot_carry_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="tenant-id"):
        call_metadata(tenant_id=value)


def test_a_key_that_headers_cannot_carry_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigurationError, match="SERVO_API_KEY") as caught:
        call_metadata(api_key="s3cret\n")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "target", "prefix"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", ""),
        ("https://servo.example.com", "https://servo.example.com:443", ""),
        ("http://[::1]", "http://[::1]:80", ""),
        ("https://example.com/servo/", "https://example.com:443", "/servo"),
    ],
)
def test_an_address_over_http_is_read(url: str, target: str, prefix: str) -> None:
    address = Address.parse(url, http=True)
    assert address.is_http
    assert (address.origin, address.prefix) == (target, prefix)


def test_a_channel_is_never_over_http() -> None:
    with pytest.raises(ConfigurationError, match="a session of a worker needs gRPC"):
        dial("http://127.0.0.1:1")


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, {}),
        ({"TRACEPARENT": PARENT}, {"traceparent": PARENT}),
        (
            {"TRACEPARENT": PARENT, "TRACESTATE": "a=b"},
            {"traceparent": PARENT, "tracestate": "a=b"},
        ),
        ({"TRACEPARENT": PARENT, "TRACESTATE": "a\nb"}, {"traceparent": PARENT}),
        ({"TRACEPARENT": f"{PARENT}\r\nx: y"}, {}),
        ({"TRACESTATE": "a=b"}, {}),
    ],
)
def test_the_trace_of_the_environment_is_carried_on(
    environ: dict[str, str], expected: dict[str, str]
) -> None:
    assert trace_metadata(environ) == expected


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ConfigurationError, match="SERVO_TLS_CERT and SERVO_TLS_KEY"):
        Tls(cert="client.pem")


@pytest.mark.parametrize("url", ["grpcs://127.0.0.1:1", "https://127.0.0.1:1"])
def test_a_tls_file_that_is_missing_is_named(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"TLS file '.*ca\.pem' cannot be read"):
        Client(url, tls=Tls(ca=tmp_path / "ca.pem"), retries=0).server.info()


def test_a_tls_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    with pytest.raises(ConfigurationError, match=r"TLS files cannot be used.*ca\.pem"):
        Client("https://127.0.0.1:1", tls=Tls(ca=path))


def test_a_client_is_made_from_settings(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("from the file\n")
    settings = load(
        None,
        {
            "SERVO_API_URL": "grpc://127.0.0.1:1",
            "SERVO_API_KEY_FILE": str(key),
            "SERVO_TENANT_ID": "acme",
            "SERVO_TIMEOUT": "7",
            "SERVO_RETRIES": "0",
        },
    )
    with Client.from_settings(settings, source="cli") as client:
        seen: list[Any] = []
        other = Client.from_settings(
            settings, interceptors=[lambda call, proceed: seen.append(call)]
        )
        other.server.info()
        (call,) = seen
        assert call.metadata["authorization"] == "Bearer from the file"
        assert call.metadata["x-servo-tenant-id"] == "acme"
        assert call.timeout == 7
        assert repr(client) == "Client('grpc://127.0.0.1:1')"
        other.close()


def test_settings_without_an_address_make_no_client() -> None:
    with pytest.raises(ConfigurationError, match="set SERVO_API_URL"):
        Client.from_settings(load(None, {}))


def test_options_for_some_calls_share_the_connection() -> None:
    seen: list[Any] = []
    with Client(
        "grpc://127.0.0.1:1",
        metadata={"x-team": "data"},
        interceptors=[lambda call, proceed: seen.append(call)],
    ) as client:
        some = client.with_options(timeout=3, metadata={"X-Job": "nightly"})
        assert some._transport is client._transport
        client.server.info()
        some.server.info()
    ours, theirs = seen
    assert (ours.timeout, theirs.timeout) == (30, 3)
    assert "x-job" not in ours.metadata
    assert (theirs.metadata["x-job"], theirs.metadata["x-team"]) == ("nightly", "data")
