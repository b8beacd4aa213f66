"""What protobuf-es reads and writes, where JavaScript is different; and how it is prepared."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.message import Message

from contract import javascript
from contract.javascript import EsReader, PreparationError, ReaderError
from servo._gen.arco.v1 import common_pb2, run_pb2, worker_pb2
from servo._wire.canonical import print_message


@pytest.fixture(scope="module")
def reader() -> Iterator[EsReader]:
    with EsReader() as found:
        yield found


def agree(reader: EsReader, message: Message) -> None:
    """Assert that protobuf-es reads and writes a message as google.protobuf does."""
    name = message.DESCRIPTOR.full_name
    binary = message.SerializeToString(deterministic=True)
    text = print_message(message).encode()
    assert reader.json_of(name, binary) == text
    assert reader.binary_of(name, text) == binary


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(["10", "9", "-1", "a", "007"], id="numbers, which JavaScript puts first"),
        pytest.param(["abc", "ab", "a", "b", ""], id="one the beginning of another"),
        pytest.param(["\U0001f600", "\uffff", "é", "z"], id="code points beyond 16 bits"),
        pytest.param(["constructor", "toString", "length"], id="names that every object has"),
        pytest.param(["cost_center", "costCenter"], id="names that JSON would change in a field"),
    ],
)
def test_maps_have_the_same_order(reader: EsReader, keys: list[str]) -> None:
    agree(reader, common_pb2.PartitionKey(dimensions={key: f"s:{key}" for key in keys}))


@pytest.mark.parametrize("text", ["\ufeffmark", '\x00\x1f\x7f\u2028\\"/<>', "e\u0301 🎉 שלום", ""])
def test_texts_are_kept_as_they_are(reader: EsReader, text: str) -> None:
    agree(reader, common_pb2.AssetKey(namespace=text, name=text))


@pytest.mark.parametrize("bits", [-(2**63), -1, 0, 2**53 + 1, 2**63 - 1])
def test_integers_of_64_bits_are_exact(reader: EsReader, bits: int) -> None:
    agree(reader, run_pb2.Materialization(byte_size=bits, row_count=bits))


@pytest.mark.parametrize(
    "value",
    [
        *(0.0, -0.0, 1.0, -1.5, 0.1, 1e-4, 1e-5, 1e15, 1e16, 1e21, 5e-324, 1.7e308),
        *(float("inf"), float("-inf"), struct.unpack("d", bytes(range(8)))[0]),
    ],
)
def test_numbers_with_a_fraction_print_alike(reader: EsReader, value: float) -> None:
    agree(reader, worker_pb2.AttemptMetric(name="loss", value=value))


def test_a_field_that_is_not_known_is_left_out_of_the_json(reader: EsReader) -> None:
    unknown = b"\xfa\x3f\x03new"
    known = common_pb2.AssetKey(namespace="raw", name="events").SerializeToString()
    assert reader.json_of("arco.v1.AssetKey", known + unknown) == (
        b'{"name":"events","namespace":"raw"}'
    )


def test_the_map_key_proto_is_still_lost(reader: EsReader) -> None:
    """It is known and will not change: https://github.com/bufbuild/protobuf-es/pull/1451."""
    text = b'{"dimensions":{"__proto__":"s:lost","a":"s:kept"}}'
    kept = common_pb2.PartitionKey(dimensions={"a": "s:kept"})
    assert reader.binary_of("arco.v1.PartitionKey", text) == kept.SerializeToString()


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("arco.v1.Nothing", b"{}", "arco.v1.Nothing"),
        ("arco.v1.AssetKey", b'{"nmae":"events"}', "nmae"),
        ("arco.v1.AssetKey", b'{"name":', "JSON"),
        ("arco.v1.AssetKey", b'{"name":"\\ud800"}', "UTF8"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(
    reader: EsReader, name: str, text: bytes, says: str
) -> None:
    with pytest.raises(ReaderError, match=says):
        reader.binary_of(name, text)


def test_binary_that_is_cut_off_or_no_text_is_refused(reader: EsReader) -> None:
    for binary in (b"\x0a\x05a", b"\x0a\x01\xff"):
        with pytest.raises(ReaderError, match=r"arco\.v1\.AssetKey, to_json"):
            reader.json_of("arco.v1.AssetKey", binary)


def test_a_reader_that_ended_says_so() -> None:
    with EsReader() as reader:
        reader._process.kill()
        with pytest.raises(ReaderError, match="ended with -9"):
            reader.json_of("arco.v1.AssetKey", b"")


def test_the_lock_names_versions_and_hashes_and_no_address() -> None:
    text = (javascript.SOURCES / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]
    assert "://" not in text
    for path, package in packages.items():
        assert "resolved" not in package, path
        assert path == "" or package["integrity"].startswith("sha512-"), path


def test_the_packages_are_named_by_exact_versions() -> None:
    package = json.loads((javascript.SOURCES / "package.json").read_text(encoding="utf-8"))
    wanted = package["dependencies"] | package["devDependencies"]
    assert all(version.replace(".", "").isdigit() for version in wanted.values()), wanted


def test_without_node_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    javascript.node.cache_clear()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PreparationError, match="install Node"):
        javascript.node()


def test_an_attempt_that_failed_leaves_nothing_that_looks_done(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").touch()
        raise PreparationError("npm ended with 1")

    with pytest.raises(PreparationError):
        javascript._make(tmp_path / "npm-1", fill)
    assert list(tmp_path.iterdir()) == []


def test_what_nobody_used_for_a_day_is_removed(tmp_path: Path) -> None:
    for name, age in (("npm-old", 2 * javascript.KEEP_SECONDS), ("npm-new", 0.0)):
        (tmp_path / name).mkdir()
        then = (tmp_path / name).stat().st_mtime - age
        os.utime(tmp_path / name, (then, then))
    javascript._make(tmp_path / "npm-now", lambda folder: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["npm-new", "npm-now"]
