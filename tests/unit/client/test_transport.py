"""Addresses and metadata."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest

from servo.client.transport import Address, call_metadata, dial
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
