"""A project that uses every feature, and the manifest that it must have, byte for byte.

A difference here is a difference in every user's committed manifest. If it is meant, write the
file again: ``servo-gen manifest tests/golden/manifest --frozen -o tests/golden/manifest.json``.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from servo.manifest import AssetManifest, Project, build_project

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


def _built() -> AssetManifest:
    return build_project(Project.load(GOLDEN / "manifest", environ={}), frozen=True)


def test_the_manifest_is_the_committed_one() -> None:
    assert _built().to_canonical_json() == (GOLDEN / "manifest.json").read_text(encoding="utf-8")


def test_the_committed_manifest_reads_back_as_the_same_assets() -> None:
    text = (GOLDEN / "manifest.json").read_text(encoding="utf-8")
    read = AssetManifest.from_json(text)
    assert read.fingerprint() == _built().fingerprint()
    assert read.to_canonical_json() == text


def test_the_fingerprint_is_the_digest_of_the_text_without_provenance() -> None:
    manifest = AssetManifest(tenant_id="t")
    # Nothing in it is provenance: no assets, so no lines.
    assert manifest.fingerprint() == sha256(manifest.to_canonical_json().encode()).hexdigest()
