"""Metadata, and where keys come from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo import errors
from servo.client import Metadata, TokenFile
from servo.client._auth import Credentials
from servo.client._metadata import metadata_of
from servo.client.transport import Address

HERE = Address("127.0.0.1", 1, False)
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))


@given(st.text(), st.text())
def test_whatever_is_accepted_is_one_line_of_printable_ascii(name: str, value: str) -> None:
    found = Metadata()
    try:
        found[name] = value
    except errors.ConfigurationError:
        return
    ((lowered, kept),) = found.items()
    assert lowered == name.lower()
    assert kept == value
    assert all(0x20 <= ord(c) <= 0x7E for c in lowered + kept)


@given(printable)
def test_every_printable_value_is_accepted(value: str) -> None:
    assert metadata_of({"X-Team": value}) == {"x-team": value}


@pytest.mark.parametrize("value", ["a\r\nb", "a\n", "\r", "a\x00", "a\x7f", "bü", "\t"], ids=repr)
def test_no_way_in_lets_a_line_break_through(value: str) -> None:
    found = Metadata()
    with pytest.raises(errors.ConfigurationError, match="cannot be sent"):
        found["x"] = value
    with pytest.raises(errors.ConfigurationError, match="cannot be sent"):
        found.update({"x": value})
    with pytest.raises(errors.ConfigurationError, match="cannot be sent"):
        found.update(x=value)
    with pytest.raises(errors.ConfigurationError, match="cannot be sent"):
        found.setdefault("x", value)
    with pytest.raises(errors.ConfigurationError, match="cannot be sent"):
        found |= {"x": value}
    assert found == {}


@pytest.mark.parametrize(
    "name",
    ["Content-Type", "host", "grpc-timeout", "Connect-Timeout-Ms", "te", "x-bin", ":path",
     "proxy-authorization", "", "a b", "a:b"],
)  # fmt: skip
def test_names_of_the_transport_are_refused(name: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="cannot be sent"):
        metadata_of({name: "x"})


def test_a_key_does_not_show_in_metadata() -> None:
    found = metadata_of({"Authorization": "Bearer s3cret", "x-team": "data"})
    assert "s3cret" not in f"{found!r} {found}"
    assert "data" in repr(found)
    with pytest.raises(errors.ConfigurationError) as caught:
        found["authorization"] = "s3cret\n"
    assert "s3cret" not in str(caught.value)


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("  first\n")
    token = TokenFile(path)
    assert token() == "first"
    assert token() is token()
    # A mounted secret is replaced as a whole; its size and time may be the same.
    other = tmp_path / "new"
    other.write_text("  other\n")
    facts = path.stat()
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    other.rename(path)
    assert token() == "other"


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"], ids=repr)
def test_a_file_without_a_key_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(errors.ConfigurationError, match=r"API key file '.*key'"):
        TokenFile(path)()


def test_a_file_shows_its_name_and_not_its_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("s3cret")
    token = TokenFile(path)
    token()
    assert repr(token) == f"TokenFile({str(path)!r})"


def test_the_same_key_is_checked_once() -> None:
    key = "k" * 40
    credentials = Credentials(lambda: key, HERE)
    first = credentials.authorization(credentials.ask())
    assert first == f"Bearer {key}"
    assert credentials.authorization(credentials.ask()) is first


@pytest.mark.parametrize("key", [None, 7, b"bytes"], ids=repr)
def test_what_is_no_text_is_no_key(key: object) -> None:
    with pytest.raises(errors.ConfigurationError, match="not a text"):
        Credentials(lambda: "x", HERE).authorization(key)


def test_a_provider_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(errors.ConfigurationError, match="a function that returns one"):
        Credentials(7, HERE)  # type: ignore[arg-type]  # that is the point


def test_an_error_of_a_providers_own_is_kept() -> None:
    def vault() -> str:
        raise errors.UnavailableError("the vault is sealed")

    with pytest.raises(errors.UnavailableError, match="sealed"):
        Credentials(vault, HERE).ask()


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("grpc://127.0.0.1:1", True),
        ("grpc://127.8.8.8:1", True),
        ("http://localhost:1", True),
        ("grpc://[::1]:1", True),
        ("grpcs://control.example.com:1", True),
        ("https://control.example.com", True),
        ("grpc://control.example.com:1", False),
        ("http://10.0.0.1:1", False),
        ("http://127.0.0.1.example.com:1", False),
        ("http://localhost.example.com:1", False),
        ("grpc://[::]:1", False),
        ("grpc://0.0.0.0:1", False),
    ],
)
def test_only_this_machine_and_tls_get_a_key(url: str, allowed: bool) -> None:
    address = Address.parse(url, http=True)
    if allowed:
        Credentials("k", address)
        return
    with pytest.raises(errors.ConfigurationError, match=r"plain text.*use (grpcs|https)://"):
        Credentials("k", address)
