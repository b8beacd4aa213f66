from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from servo import errors
from servo.manifest import AssetManifest
from servo.types import AssetDefinition, AssetKey, CodeLocation
from servo.types.manifests import GitContext, Schedule

CODE = CodeLocation("assets.m", "f")


def manifests() -> st.SearchStrategy[AssetManifest]:
    return st.builds(
        AssetManifest,
        tenant_id=strategies.texts(),
        workspace_id=strategies.texts(),
        assets=st.lists(
            strategies.asset_definitions(), max_size=3, unique_by=lambda one: one.key
        ).map(tuple),
        deployed_by=strategies.texts(),
    )


@given(manifests())
@settings(max_examples=50)
def test_reading_canonical_json_and_printing_it_again_gives_the_same_bytes(
    manifest: AssetManifest,
) -> None:
    text = manifest.to_canonical_json()
    assert AssetManifest.from_json(text).to_canonical_json() == text


def test_an_empty_manifest_prints() -> None:
    document = AssetManifest().to_dict()
    assert document["manifestVersion"] == "1.0"
    assert document["assets"] == []


def test_assets_and_schedules_are_sorted_whatever_order_is_given() -> None:
    one, two = (AssetDefinition(AssetKey("a", name), code=CODE) for name in ("one", "two"))
    jobs = tuple(Schedule(name=name, cron="* * * * *") for name in ("z", "a"))
    manifest = AssetManifest(assets=(two, one), schedules=jobs)
    assert manifest.assets == (one, two)
    assert [job.name for job in manifest.schedules] == ["a", "z"]


def test_a_fingerprint_is_sixty_four_hex_digits() -> None:
    assert re.fullmatch("[0-9a-f]{64}", AssetManifest().fingerprint())


def test_a_stamp_keeps_what_is_not_given() -> None:
    git = GitContext(branch="main")
    at = datetime(2025, 1, 2, tzinfo=UTC)
    stamped = AssetManifest(git=git).stamped(deployed_by="me", deployed_at=at)
    assert (stamped.git, stamped.deployed_at, stamped.deployed_by) == (git, at, "me")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "cannot be read as a manifest"),
        ("nonsense", "cannot be read as a manifest"),
        ("[]", "cannot be read as a manifest"),
        ('{"manifestVersion":"1.0","asset":[]}', "asset"),
        ('{"manifestVersion":"1.0","assets":[{"key":{"name":"A","namespace":"b"}}]}', "'A'"),
        ('{"manifestVersion":"1.0","assets":[{"id":7}]}', "assets"),
        ('{"manifestVersion":"2.0"}', "manifest version '2.0'"),
        (b"\xff\xfe", "UTF-8"),
        ("[" * 200_000, "cannot be read as a manifest"),
    ],
)
def test_a_manifest_edited_by_hand_is_refused_with_the_place(
    text: str | bytes, expected: str
) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=re.escape(expected)) as caught:
        AssetManifest.from_json(text, source="manifest.json")
    assert str(caught.value).startswith("manifest.json cannot be read")
    assert "servo-gen manifest" in str(caught.value)
    assert caught.value.exit_code == 2


def test_fifty_megabytes_of_something_else_are_refused() -> None:
    text = json.dumps({"manifestVersion": "1.0", "junk": "x" * 50_000_000})
    with pytest.raises(errors.InvalidArgumentError, match="junk") as caught:
        AssetManifest.from_json(text)
    assert len(str(caught.value)) < 1_000
