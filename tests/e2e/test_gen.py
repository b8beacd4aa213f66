from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest

from servo.manifest import AssetManifest

ULID_LENGTH = 26

STAGING = """
    from __future__ import annotations

    import os, sys
    from servo import AssetContext, AssetIn, DailyPartition, asset, not_null, row_count, window
    from typing import Annotated

    print("printed by a module")
    os.write(1, b"written to the descriptor")
    os.system("echo printed by a program")

    @asset(
        owners=["data@example.com"],
        tags={name: name.upper() for name in {"zeta", "alpha", "mid"}},
        partitions=DailyPartition("date", start="2013-01-01", end="2013-12-31"),
        checks=[row_count(min_rows=1), not_null("carrier", "flight")],
    )
    def flights(ctx: AssetContext) -> list:
        '''Flights that left, one a row.'''
        return [{"carrier": "UA", "flight": 1}]

    @asset(namespace="mart", partitions=DailyPartition("date", start="2013-01-07"))
    def delays(
        ctx: AssetContext, flights: Annotated[list, AssetIn["staging.flights"], window(days=7)]
    ) -> list:
        '''Delays over seven days — rolling.'''
        return flights
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    (path / "assets").mkdir(parents=True)
    (path / "pyproject.toml").write_text('[tool.servo]\nworkspace_id = "prod"\n')
    (path / "assets" / "staging.py").write_text(dedent(STAGING))
    return path


def _gen(
    *arguments: str | Path, cwd: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[bytes]:
    base = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SERVO_") and name not in ("CI", "PYTHONHASHSEED", "TZ")
    }
    base["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, "-P", "-m", "servo.cli.gen", *map(str, arguments)],
        check=False,
        capture_output=True,
        cwd=cwd,
        env=base | environ,
        timeout=60,
    )


def test_standard_output_is_the_canonical_manifest_and_nothing_else(root: Path) -> None:
    done = _gen("manifest", root)
    assert done.returncode == 0, done.stderr.decode()
    manifest = AssetManifest.from_json(done.stdout)
    assert manifest.to_canonical_json().encode() == done.stdout
    assert [str(one.key) for one in manifest.assets] == ["mart.delays", "staging.flights"]
    assert manifest.workspace_id == "prod"
    assert b"printed by a module" in done.stderr
    assert b"written to the descriptor" in done.stderr
    assert b"printed by a program" in done.stderr


def test_the_bytes_depend_on_the_source_and_the_lockfile_only(root: Path, tmp_path: Path) -> None:
    first = _gen("manifest", root).stdout
    variants = [
        {"PYTHONHASHSEED": "1", "TZ": "Pacific/Chatham"},
        {"PYTHONHASHSEED": "2", "TZ": "America/St_Johns", "LC_ALL": "C"},
        {"PYTHONHASHSEED": "3", "TZ": "UTC", "PYTHONUTF8": "1", "USER": "somebody"},
    ]
    places = [tmp_path, root, root / "assets"]
    arguments = [("manifest", root), ("manifest", "."), ("manifest",)]
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(
            lambda one: _gen(*one[0], cwd=one[1], **one[2]),
            zip(arguments, places, variants, strict=True),
        )
        assert {done.stdout for done in found} == {first}
    assert first.startswith(b'{"assets":[')


def test_a_copy_of_the_project_elsewhere_has_the_same_bytes(root: Path, tmp_path: Path) -> None:
    first = _gen("manifest", root).stdout
    elsewhere = tmp_path / "elsewhere" / "deep"
    elsewhere.parent.mkdir()
    root.rename(elsewhere)
    assert _gen("manifest", elsewhere).stdout == first


def test_new_assets_get_an_id_in_the_lockfile(root: Path) -> None:
    document = json.loads(_gen("manifest", root).stdout)
    lockfile = json.loads((root / ".servo" / "state.json").read_text())
    ids = {
        f"{one['key']['namespace']}.{one['key']['name']}": one["id"] for one in document["assets"]
    }
    assert lockfile["assetIds"] == ids
    assert {len(one) for one in ids.values()} == {ULID_LENGTH}


def test_two_runs_at_once_agree_about_the_ids(root: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        found = {done.stdout for done in pool.map(lambda _: _gen("manifest", root), range(2))}
    assert len(found) == 1


def test_output_goes_to_a_file(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "manifest.json"
    done = _gen("manifest", root, "--output", target)
    assert done.stdout == b""
    assert target.read_bytes() == _gen("manifest", root).stdout
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_check_passes_for_the_committed_manifest_and_writes_nothing(root: Path) -> None:
    _gen("manifest", root, "-o", root / "manifest.json")
    lockfile = root / ".servo" / "state.json"
    before = lockfile.stat().st_mtime_ns
    done = _gen("manifest", root, "--check", root / "manifest.json")
    assert (done.returncode, done.stdout) == (0, b"")
    assert lockfile.stat().st_mtime_ns == before


def test_check_prints_what_changed_asset_by_asset(root: Path) -> None:
    _gen("manifest", root, "-o", root / "manifest.json")
    path = root / "assets" / "staging.py"
    path.write_text(
        path.read_text()
        .replace('namespace="mart", ', 'name="late", ')
        .replace("min_rows=1", "min_rows=2")
    )
    before = (root / ".servo" / "state.json").read_bytes()
    done = _gen("manifest", root, "--check", root / "manifest.json", CI="true")
    assert done.returncode == 1
    assert done.stdout.decode().splitlines() == [
        "- mart.delays",
        "~ staging.flights: checks",
        "+ staging.late",
    ]
    assert b"--output" in done.stderr
    assert (root / ".servo" / "state.json").read_bytes() == before


def test_check_does_not_mind_a_comment_that_moves_the_functions(root: Path) -> None:
    _gen("manifest", root, "-o", root / "manifest.json")
    path = root / "assets" / "staging.py"
    path.write_text(path.read_text().replace("@asset(namespace", "# A comment.\n@asset(namespace"))
    assert _gen("manifest", root, "--check", root / "manifest.json").returncode == 0


def test_check_of_a_file_edited_by_hand_says_so(root: Path) -> None:
    (root / "manifest.json").write_text('{"assets": 3}')
    done = _gen("manifest", root, "--check", root / "manifest.json")
    assert done.returncode == 2
    assert b"cannot be read as a manifest" in done.stderr


def test_check_of_a_missing_file_is_a_file_error(root: Path) -> None:
    done = _gen("manifest", root, "--check", root / "nothing.json")
    assert done.returncode == 74
    assert b"--output" in done.stderr


def test_check_and_output_exclude_each_other(root: Path) -> None:
    assert _gen("manifest", root, "--check", "a", "--output", "b").returncode == 2


@pytest.mark.parametrize("options", [{"CI": "1"}, {"flag": "--frozen"}])
def test_frozen_refuses_new_assets(root: Path, options: dict[str, str]) -> None:
    flags = [options.pop("flag")] if "flag" in options else []
    done = _gen("manifest", root, *flags, **options)
    assert done.returncode == 78
    assert b"mart.delays, staging.flights" in done.stderr
    assert done.stdout == b""
    assert not (root / ".servo").exists()


def test_all_import_failures_are_listed(root: Path) -> None:
    (root / "assets" / "bad.py").write_text("def (:\n")
    (root / "assets" / "worse.py").write_text("\n\nraise ValueError('no')\n")
    done = _gen("manifest", root)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"assets/bad.py:1: SyntaxError" in done.stderr
    assert b"assets/worse.py:3: ValueError: no" in done.stderr


def test_a_corrupt_lockfile_is_not_replaced(root: Path) -> None:
    (root / ".servo").mkdir()
    (root / ".servo" / "state.json").write_text('{"assetIds": {')
    done = _gen("manifest", root)
    assert (done.returncode, done.stdout) == (78, b"")
    assert (root / ".servo" / "state.json").read_text() == '{"assetIds": {'


def test_verify_refuses_what_depends_on_the_hash_seed(root: Path) -> None:
    path = root / "assets" / "staging.py"
    assert _gen("manifest", root, "--verify").returncode == 0
    letters = '"|".join({"alpha", "beta", "gamma", "delta", "epsilon", "zeta"})'
    path.write_text(path.read_text().replace('"data@example.com"', letters))
    done = _gen("manifest", root, "--verify")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"'staging.flights', field owners[0]" in done.stderr


def test_what_user_code_prints_at_exit_does_not_reach_standard_output(root: Path) -> None:
    (root / "assets" / "late.py").write_text(
        "import atexit, os\natexit.register(print, 'late')\n"
        "atexit.register(os.write, 1, b'later')\n"
    )
    done = _gen("manifest", root)
    assert done.returncode == 0
    json.loads(done.stdout)
    assert b"late" in done.stderr
    assert b"later" in done.stderr


def test_outside_of_a_project_the_error_says_what_to_do(tmp_path: Path) -> None:
    done = _gen("manifest", cwd=tmp_path)
    assert done.returncode == 78
    assert b"servo init NAME" in done.stderr


def test_a_reader_that_goes_away_is_no_crash(root: Path) -> None:
    command = [sys.executable, "-P", "-m", "servo.cli.gen", "manifest", str(root)]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert b"Traceback" not in said


def test_help_teaches(tmp_path: Path) -> None:
    said = _gen("manifest", "--help", cwd=tmp_path).stdout.decode()
    for word in ("canonical JSON", "state.json", "--frozen", "Exit codes"):
        assert word in said
