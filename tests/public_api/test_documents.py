"""The files that people commit: the manifest in canonical JSON, and the lockfile."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import servo
from servo import AssetId, get_registry
from servo.errors import ServoError
from servo.manifest import AssetDiscovery, AssetManifest, Lockfile, ManifestBuilder

GOLDEN = Path(__file__).parents[1] / "golden"
PACKAGE = Path(servo.__file__).resolve().parent


def manifest_of(
    root: Path, lockfile: Lockfile | None = None, *, tenant: str = "acme", workspace: str = "prod"
) -> AssetManifest:
    get_registry().clear()
    builder = ManifestBuilder(
        tenant_id=tenant, workspace_id=workspace, include_git=False, lockfile=lockfile
    )
    return builder.build(AssetDiscovery(root).discover())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(GOLDEN / "manifest", tmp_path / "shop")
    return tmp_path / "shop"


def test_a_project_that_uses_everything_has_its_golden_manifest(project: Path) -> None:
    built = manifest_of(project, Lockfile.load(project / ".servo/state.json"))
    assert built.to_canonical_json() == (GOLDEN / "manifest.json").read_text(encoding="utf-8")


def test_the_example_has_its_golden_manifest(tmp_path: Path) -> None:
    shipped = PACKAGE / "_examples/nycflights"
    source = shipped if shipped.is_dir() else PACKAGE.parents[1] / "examples/nycflights"
    # The ids belong to a checkout; what a wheel ships has none.
    shutil.copytree(source, tmp_path / "demo", ignore=shutil.ignore_patterns(".servo"))
    manifest = manifest_of(tmp_path / "demo", tenant="default", workspace="default")
    assert manifest.to_canonical_json() == (GOLDEN / "nycflights.json").read_text(encoding="utf-8")


def test_canonical_json_is_sorted_dense_and_raw(project: Path) -> None:
    text = manifest_of(project).to_canonical_json()
    again = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert text == again


def test_a_manifest_reads_back_as_itself(project: Path) -> None:
    manifest = manifest_of(project)
    again = AssetManifest.from_json(manifest.to_canonical_json())
    assert again.to_canonical_json() == manifest.to_canonical_json()
    assert again.fingerprint() == manifest.fingerprint()
    assert len(manifest.fingerprint()) == 64


def test_a_lockfile_keeps_the_ids_that_it_gave(tmp_path: Path) -> None:
    path = tmp_path / ".servo/state.json"
    lockfile = Lockfile.load(path)
    minted, created = lockfile.get_or_create("raw.events")
    lockfile.save(path)
    assert created
    assert Lockfile.load(path).get_or_create("raw.events") == (minted, False)
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "assetIds": {"raw.events": minted},
        "version": "1.0",
    }


def test_the_servers_id_wins(tmp_path: Path) -> None:
    lockfile = Lockfile.load(tmp_path / "state.json")
    lockfile.get_or_create("raw.events")
    theirs = AssetId.generate()
    lockfile.update_from_server({"raw.events": theirs})
    assert lockfile.get_or_create("raw.events") == (theirs, False)


def test_a_corrupt_lockfile_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ServoError, match=r"state\.json"):
        Lockfile.load(path)
