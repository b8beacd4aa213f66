"""Three implementations of Protobuf read and write the corpus, each to the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, Phase, assume, given, seed, settings

import facade_values
from contract.javascript import EsReader, ReaderError
from contract.readers import BetterprotoReader, GoogleReader, Reader
from servo._wire import encode, to_canonical_json
from servo.types.manifests import ManifestContents

CORPUS = Path(__file__).parent / "corpus"
INDEX: list[dict[str, Any]] = json.loads((CORPUS / "index.json").read_text(encoding="utf-8"))
NAMES = ("google.protobuf", "betterproto2", "protobuf-es")
MANIFEST = "arco.v1.AssetManifest"
# How the readers say no, in this order: google.protobuf twice, betterproto2 twice, protobuf-es.
ERRORS = (DecodeError, json_format.ParseError, ValueError, KeyError, ReaderError)


@pytest.fixture(scope="session")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Reader]]:
    with EsReader() as es:
        betterproto2 = BetterprotoReader(tmp_path_factory.mktemp("betterproto2"))
        yield {"google.protobuf": GoogleReader(), "betterproto2": betterproto2, "protobuf-es": es}


def read_both(reader: Reader, row: dict[str, Any]) -> tuple[bytes, bytes]:
    """Read a case's binary to JSON and its JSON to binary."""
    binary = (CORPUS / f"{row['case']}.binpb").read_bytes()
    text = (CORPUS / f"{row['case']}.json").read_bytes()
    return reader.json_of(row["type"], binary), reader.binary_of(row["type"], text)


def expected(row: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return the JSON of a case, and the binary that this JSON gives."""
    text = (CORPUS / f"{row['case']}.json").read_bytes()
    return text, (CORPUS / f"{row.get('jsonGives', row['case'])}.binpb").read_bytes()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "row", [row for row in INDEX if not row["cannot"]], ids=lambda row: row["case"]
)
def test_a_reader_prints_the_binary_and_encodes_the_json_to_the_same_bytes(
    readers: Mapping[str, Reader], name: str, row: dict[str, Any]
) -> None:
    assert read_both(readers[name], row) == expected(row)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "row", [row for row in INDEX if row["cannot"]], ids=lambda row: row["case"]
)
def test_a_reader_fails_only_where_the_row_says_that_it_cannot(
    readers: Mapping[str, Reader], name: str, row: dict[str, Any]
) -> None:
    try:
        agrees = read_both(readers[name], row) == expected(row)
    except ERRORS:
        agrees = False
    reason = row["cannot"].get(name)
    assert agrees is (reason is None), f"{name} was said to fail: {reason}; if it is fixed, say so"


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_a_thousand_random_manifests_are_the_same_bytes_to_every_reader(
    readers: Mapping[str, Reader], part: int
) -> None:
    @seed(part)
    @settings(
        max_examples=250,
        database=None,
        # Looking for a smaller example would take minutes.
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(facade_values.manifests())
    def every_reader_agrees(manifest: ManifestContents) -> None:
        binary, text = encode(manifest), to_canonical_json(manifest).encode()
        # A key that protobuf-es drops; the case `map-key-proto` of the corpus says so.
        assume(b'"__proto__":' not in text)
        for name in NAMES:
            assert readers[name].json_of(MANIFEST, binary) == text, name
            assert readers[name].binary_of(MANIFEST, text) == binary, name

    every_reader_agrees()


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_refuses_json_with_a_field_that_the_contract_does_not_have(
    readers: Mapping[str, Reader], name: str
) -> None:
    with pytest.raises(ERRORS, match="nmae"):
        readers[name].binary_of("arco.v1.AssetKey", b'{"namespace":"raw","nmae":"events"}')


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_refuses_text_that_is_not_utf_8(readers: Mapping[str, Reader], name: str) -> None:
    with pytest.raises(ERRORS):
        readers[name].json_of("arco.v1.AssetKey", b"\x0a\x01\xff")
