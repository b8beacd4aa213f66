"""Manifests as text, fingerprints and chunks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from servo._gen.arco.v1 import deployment_pb2, manifest_pb2
from servo._wire import (
    canonical_value,
    chunks_fingerprint,
    decode_chunk,
    encode_chunk,
    from_json,
    manifest_canonical_json,
    manifest_fingerprint,
    to_canonical_json,
)
from servo._wire.canonical import print_message
from servo.errors import InvalidArgumentError
from servo.types.assets import AssetDefinition, CodeLocation
from servo.types.keys import AssetKey
from servo.types.manifests import GitContext, ManifestContents, Schedule

ASSET = AssetDefinition(AssetKey("raw", "events"), code=CodeLocation("assets.raw", "events"))
# Its line fits no field of the message.
TOO_LARGE = replace(ASSET, code=replace(ASSET.code, line_number=2**40))
CONTENTS = ManifestContents(
    tenant_id="t",
    workspace_id="w",
    code_version_id="v1",
    git=GitContext(commit_sha="0" * 40),
    assets=(ASSET,),
    schedules=(Schedule(name="nightly", cron="0 3 * * *"),),
    deployed_at=datetime(2025, 1, 15, tzinfo=UTC),
    deployed_by="ada",
    metadata={"cost_center": "a"},
)


@settings(max_examples=30)
@given(st.lists(strategies.asset_definitions(), max_size=4))
def test_printing_asset_by_asset_gives_the_text_of_the_whole_message(
    assets: list[AssetDefinition],
) -> None:
    contents = replace(CONTENTS, assets=tuple(assets))
    text = manifest_canonical_json(contents, provenance=True)
    assert text == to_canonical_json(contents)
    assert text == canonical_value(json.loads(text))


@pytest.mark.parametrize("count", [0, 1, 199, 200, 201, 400])
def test_any_number_of_assets_is_joined_well(count: int) -> None:
    contents = replace(CONTENTS, assets=(ASSET,) * count)
    found = json.loads(manifest_canonical_json(contents, provenance=True))
    assert len(found["assets"]) == count


def test_assets_are_the_first_field_of_a_manifest() -> None:
    names = [field.json_name for field in manifest_pb2.AssetManifest.DESCRIPTOR.fields]
    assert min(names) == "assets"


def test_without_provenance_nothing_says_who_deployed_what_from_where() -> None:
    found = json.loads(manifest_canonical_json(CONTENTS, provenance=False))
    assert "git" not in found
    assert "deployedAt" not in found
    assert found["deployedBy"] == found["codeVersionId"] == ""
    assert found["assets"][0]["code"]["lineNumber"] == 0


def test_the_fingerprint_is_the_digest_of_the_text_without_provenance() -> None:
    text = manifest_canonical_json(CONTENTS, provenance=False)
    assert manifest_fingerprint(CONTENTS) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"deployed_at": None},
        {"deployed_by": "grace"},
        {"code_version_id": "v2"},
        {"git": None},
        {"assets": (replace(ASSET, code=replace(ASSET.code, line_number=99)),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_provenance_does_not_change_the_fingerprint(change: dict[str, object]) -> None:
    assert manifest_fingerprint(replace(CONTENTS, **change)) == manifest_fingerprint(CONTENTS)


@pytest.mark.parametrize(
    "change",
    [
        {"tenant_id": "other"},
        {"metadata": {"cost_center": "b"}},
        {"schedules": ()},
        {"assets": (replace(ASSET, description="new"),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_content_changes_the_fingerprint(change: dict[str, object]) -> None:
    assert manifest_fingerprint(replace(CONTENTS, **change)) != manifest_fingerprint(CONTENTS)


def test_a_manifest_is_read_back_from_its_text() -> None:
    text = manifest_canonical_json(CONTENTS, provenance=True)
    assert from_json(ManifestContents, text) == CONTENTS


@pytest.mark.slow
@given(st.lists(strategies.asset_definitions(), max_size=3))
def test_a_chunk_is_read_back_as_the_same_assets(assets: list[AssetDefinition]) -> None:
    data = encode_chunk(assets)
    assert [asset.key for asset in decode_chunk(data)] == [asset.key for asset in assets]
    assert encode_chunk(decode_chunk(data)) == data


@pytest.mark.parametrize("data", [b"\xff", encode_chunk([ASSET])[:-1], b"\x0a\x00"])
def test_a_malformed_chunk_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match="manifest chunk"):
        decode_chunk(data)


@pytest.mark.parametrize(
    "write",
    [lambda contents: manifest_canonical_json(contents, provenance=True), manifest_fingerprint],
)
def test_an_asset_that_cannot_be_sent_is_named(write: object) -> None:
    contents = replace(CONTENTS, assets=(TOO_LARGE,))
    with pytest.raises(InvalidArgumentError, match=r"asset 'raw\.events' cannot be sent"):
        write(contents)


def test_a_chunk_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be sent"):
        encode_chunk([TOO_LARGE])


@pytest.mark.slow
@settings(max_examples=30)
@given(st.lists(strategies.asset_definitions(), max_size=5), st.integers(0, 5))
def test_the_chunks_of_a_manifest_have_its_fingerprint(
    assets: list[AssetDefinition], cut: int
) -> None:
    chunks = [encode_chunk(assets[:cut]), encode_chunk(assets[cut:])]
    contents = replace(CONTENTS, assets=tuple(assets))
    assert chunks_fingerprint(CONTENTS, chunks) == manifest_fingerprint(contents)


def test_a_chunk_of_an_older_client_has_the_fingerprint_of_its_own_text() -> None:
    message = deployment_pb2.ManifestChunk.FromString(encode_chunk([ASSET]))
    for part in ("io", "execution", "resources"):
        message.assets[0].ClearField(part)
    message.assets[0].code.line_number = 7
    found = chunks_fingerprint(CONTENTS, [message.SerializeToString()])
    whole = manifest_pb2.AssetManifest()
    json_format.Parse(manifest_canonical_json(CONTENTS, provenance=False), whole)
    del whole.assets[:]
    message.assets[0].code.line_number = 0
    whole.assets.extend(message.assets)
    assert found == hashlib.sha256(print_message(whole).encode()).hexdigest()
    assert found != manifest_fingerprint(CONTENTS)


def test_a_malformed_chunk_has_no_fingerprint() -> None:
    with pytest.raises(InvalidArgumentError, match="manifest chunk of 2 bytes"):
        chunks_fingerprint(CONTENTS, [b"\xff\xff"])
