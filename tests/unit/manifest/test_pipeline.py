from __future__ import annotations

from pathlib import Path

import pytest

from project_files import WriteFiles
from servo import errors
from servo.manifest import Lockfile, Project, build_project
from servo.manifest.pipeline import is_frozen_by_default
from servo.manifest.verify import differences, verify

ONE = """
    from servo import asset

    @asset
    def one(ctx): return None
"""
UNSTABLE = """
    from servo import asset

    @asset(tags={"letters": "".join({"alpha", "beta", "gamma", "delta", "epsilon"})})
    def one(ctx): return None
"""
ZONED = """
    import time
    from servo import asset

    @asset(metadata={"zone": time.tzname[0]})
    def one(ctx): return None
"""
ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def _project(root: Path) -> Project:
    return Project.load(root, environ={})


def test_new_assets_get_ids_that_are_saved(write: WriteFiles) -> None:
    project = _project(write({"assets/a.py": ONE}))
    (found,) = build_project(project, frozen=False).assets
    assert Lockfile.load(project.lockfile_path).asset_ids == {"a.one": found.id}


def test_a_second_build_is_the_same(write: WriteFiles) -> None:
    project = _project(write({"assets/a.py": ONE}))
    first, second = (build_project(project, frozen=False).to_canonical_json() for _ in range(2))
    assert first == second


def test_a_build_that_writes_nothing_leaves_new_assets_without_id(write: WriteFiles) -> None:
    project = _project(write({"assets/a.py": ONE}))
    (found,) = build_project(project, frozen=False, write_lockfile=False).assets
    assert found.id is None
    assert not project.state_dir.exists()


def test_a_frozen_build_refuses_new_assets_and_writes_nothing(write: WriteFiles) -> None:
    project = _project(write({"assets/a.py": ONE}))
    with pytest.raises(errors.LockfileError, match=r"a\.one"):
        build_project(project, frozen=True)
    assert not project.state_dir.exists()


def test_an_invalid_manifest_writes_nothing(write: WriteFiles) -> None:
    body = """
        from servo import AssetIn, asset

        @asset
        def one(ctx, up: AssetIn["a.missing"]): return None
    """
    project = _project(write({"assets/a.py": body}))
    with pytest.raises(errors.DefinitionError, match=r"a\.missing"):
        build_project(project, frozen=False)
    assert not project.state_dir.exists()


def test_confirmed_renames_keep_their_ids(write: WriteFiles) -> None:
    project = _project(write({"assets/a.py": ONE}))
    Lockfile({"a.old": ULID}).save(project.lockfile_path)
    asked: list[list[str]] = []

    def renames(found):  # type: ignore[no-untyped-def]  # the type is what is tested elsewhere
        asked.append([str(one.key) for one in found])
        return {"a.old": "a.one"}

    (found,) = build_project(project, frozen=False, renames=renames).assets
    assert found.id == ULID
    assert asked == [["a.one"]]


def test_nobody_is_asked_about_renames_when_nothing_is_new(write: WriteFiles) -> None:
    project = _project(write({"assets/a.py": ONE}))
    Lockfile({"a.one": ULID}).save(project.lockfile_path)
    build_project(project, frozen=False, renames=lambda _: 1 / 0)  # type: ignore[return-value, arg-type]  # never called


def test_a_manifest_that_is_a_function_of_the_source_passes(write: WriteFiles) -> None:
    project = _project(write({"assets/a.py": ONE}))
    (found,) = build_project(project, frozen=False, verify=True).assets
    assert found.id is not None


@pytest.mark.parametrize(("body", "field"), [(UNSTABLE, "tags.letters"), (ZONED, "metadata.zone")])
def test_a_manifest_that_depends_on_chance_is_refused_naming_asset_and_field(
    write: WriteFiles, body: str, field: str
) -> None:
    project = _project(write({"assets/a.py": body}))
    with pytest.raises(errors.DefinitionError, match=f"'a.one', field {field}") as caught:
        verify(project)
    assert caught.value.code == "MANIFEST_NOT_REPRODUCIBLE"
    assert not project.state_dir.exists()


def test_a_module_that_fails_in_the_second_process_only_is_reported(write: WriteFiles) -> None:
    body = "import os\nassert 'PYTEST_CURRENT_TEST' not in os.environ or os.getenv('TZ') is None\n"
    project = _project(write({"assets/a.py": body}))
    with pytest.raises(errors.DefinitionError, match=r"a second time.*\n.*\n.*assets/a\.py:2"):
        verify(project)


def test_differences_name_lengths_and_absent_assets() -> None:
    def document(*names: str, owners: list[str]) -> dict[str, object]:
        assets = [{"key": {"namespace": "a", "name": name}, "owners": owners} for name in names]
        return {"assets": assets, "tenantId": "t"}

    first = document("one", owners=["x"])
    second = document("one", "two", owners=["x", "y"]) | {"tenantId": "u"}
    assert [str(one) for one in differences(first, second)] == [
        '\'a.one\', field owners: ["x"] and ["x", "y"]',
        "'a.two', field key: absent and present",
        'field tenantId: "t" and "u"',
    ]


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("true", True), ("", False), ("0", False), ("no", False)]
)
def test_continuous_integration_freezes_the_lockfile(value: str, expected: bool) -> None:
    assert is_frozen_by_default({"CI": value}) is expected
    assert is_frozen_by_default({}) is False
