from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from project_files import WriteFiles
from servo import AssetContext, AssetIn, AssetKey, DailyPartition, asset, errors, row_count
from servo.manifest import AssetDiscovery, AssetManifest, Lockfile, ManifestBuilder
from servo.types import AssetDefinition

ONE = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def _build(root: Path, **options: object) -> AssetManifest:
    builder = ManifestBuilder(include_git=False, **options)  # type: ignore[arg-type]  # the test's
    return builder.build(AssetDiscovery(root).discover())


def _only(root: Path, **options: object) -> AssetDefinition:
    (definition,) = _build(root, **options).assets
    return definition


TWO = """
    from servo import AssetIn, asset

    @asset
    def two(ctx, one: AssetIn["a.one"]): return None

    @asset(
        owners=["me"],
    )
    def one(ctx): return None
"""


def test_assets_are_sorted_and_say_where_they_are_in_the_project(write: WriteFiles) -> None:
    one, two = _build(write({"assets/a.py": TWO})).assets
    assert (str(one.key), str(two.key)) == ("a.one", "a.two")
    assert (one.code.module, one.code.function) == ("assets.a", "one")
    assert (one.code.file_path, one.code.line_number) == ("assets/a.py", 10)
    assert two.code.line_number == 5


def test_a_source_directory_is_part_of_the_path(write: WriteFiles) -> None:
    root = write({"src/assets/a.py": TWO})
    assert {one.code.file_path for one in _build(root).assets} == {"src/assets/a.py"}


def test_every_asset_has_a_fingerprint(write: WriteFiles) -> None:
    found = [one.transform_fingerprint for one in _build(write({"assets/a.py": TWO})).assets]
    assert len(set(found)) == 2
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in found)


def test_without_a_lockfile_there_are_no_ids(write: WriteFiles) -> None:
    assert {one.id for one in _build(write({"assets/a.py": TWO})).assets} == {None}


def test_a_lockfile_gives_its_ids_and_gets_new_ones(write: WriteFiles) -> None:
    lockfile = Lockfile({"a.one": ONE})
    one, two = _build(write({"assets/a.py": TWO}), lockfile=lockfile).assets
    assert one.id == ONE
    assert two.id == lockfile.asset_ids["a.two"]


def test_without_minting_new_assets_have_no_id(write: WriteFiles) -> None:
    lockfile = Lockfile({"a.one": ONE})
    _, two = _build(write({"assets/a.py": TWO}), lockfile=lockfile, mint_ids=False).assets
    assert two.id is None
    assert not lockfile.changed


def test_a_frozen_lockfile_lists_all_new_assets(write: WriteFiles) -> None:
    with pytest.raises(errors.LockfileError, match=r"a\.one, a\.two"):
        _build(write({"assets/a.py": TWO}), lockfile=Lockfile(frozen=True))


RENAMED = """
    from servo import asset

    @asset(renamed_from="a.old")
    def new(ctx): return None
"""


def test_a_renamed_asset_keeps_its_id(write: WriteFiles) -> None:
    lockfile = Lockfile({"a.old": ONE})
    assert _only(write({"assets/a.py": RENAMED}), lockfile=lockfile).id == ONE
    assert dict(lockfile.asset_ids) == {"a.new": ONE}


def test_a_rename_that_was_done_before_changes_nothing(write: WriteFiles) -> None:
    lockfile = Lockfile({"a.new": ONE})
    assert _only(write({"assets/a.py": RENAMED}), lockfile=lockfile).id == ONE
    assert not lockfile.changed


def test_a_rename_works_with_a_frozen_lockfile(write: WriteFiles) -> None:
    lockfile = Lockfile({"a.old": ONE}, frozen=True)
    assert _only(write({"assets/a.py": RENAMED}), lockfile=lockfile).id == ONE


def test_wrong_annotations_are_all_listed(write: WriteFiles) -> None:
    root = write(
        {
            "assets/a.py": """
                from servo import asset

                @asset
                def one(ctx, up): return None

                @asset
                def two(ctx, up: "Missing"): return None
            """
        }
    )
    with pytest.raises(errors.DefinitionError, match="2 asset definitions are wrong") as caught:
        _build(root)
    assert "'a.one'" in str(caught.value)
    assert "'a.two'" in str(caught.value)


def test_the_content_fingerprint_ignores_provenance(write: WriteFiles) -> None:
    manifest = _build(write({"assets/a.py": TWO}))
    stamped = manifest.stamped(deployed_by="me", code_version_id="v1")
    assert stamped.deployed_at is not None
    assert stamped.fingerprint() == manifest.fingerprint()
    assert stamped.to_canonical_json() != manifest.to_canonical_json()


def test_the_content_fingerprint_ignores_lines_and_comments(write: WriteFiles) -> None:
    before = _build(write({"assets/a.py": TWO})).fingerprint()
    after = _build(write({"assets/a.py": "# A comment.\n\n" + TWO.replace("    ", "")}))
    edited = TWO.replace("def one(ctx): return None", "def one(ctx): return 1")
    assert after.fingerprint() == before
    assert _build(write({"assets/a.py": edited})).fingerprint() != before


def test_whoever_deploys_is_stamped_with_the_time(write: WriteFiles) -> None:
    manifest = _build(write({"assets/a.py": TWO}), deployed_by="me")
    assert manifest.deployed_by == "me"
    assert manifest.deployed_at is not None
    assert manifest.deployed_at.tzinfo is not None


def test_assets_of_a_plain_script_can_be_built() -> None:
    @asset(partitions=DailyPartition("date", start="2020-01-01"), checks=[row_count(min_rows=1)])
    def local(ctx: AssetContext, up: AssetIn[Literal["raw.events"]]) -> None: ...

    (found,) = ManifestBuilder(tenant_id="t", workspace_id="w").build([local]).assets
    assert found.dependencies[0].upstream_key == AssetKey("raw", "events")
    assert found.code.file_path.endswith("test_builder.py")
