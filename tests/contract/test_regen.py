"""scripts/regen.sh: the generated package cannot drift from the protos unnoticed."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

import _regen
from servo._gen.arco.v1 import common_pb2, run_pb2, run_service_pb2

ROOT = Path(__file__).resolve().parents[2]
PROTO = "proto/arco/v1/common.proto"
MESSAGES = _regen.GENERATED / "arco/v1/common_pb2.py"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of everything that generation reads and writes."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / _regen.PROTO, tmp_path / _regen.PROTO)
    shutil.copytree(ROOT / _regen.GENERATED, tmp_path / _regen.GENERATED, ignore=ignore)
    for name in _regen.INPUTS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def run(tree: Path, *arguments: str) -> int:
    return _regen.main(["--root", str(tree), *arguments])


def test_the_committed_package_passes_the_check(tree: Path) -> None:
    assert run(tree, "--check") == 0


def test_generating_again_changes_no_byte(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tree) == 0
    assert capsys.readouterr().out == "0 files changed\n"


def test_the_check_names_an_edited_proto(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append(tree / PROTO, "\n// One more thought.\n")
    assert run(tree, "--check") == 1
    assert f"{PROTO}: edited since the code was generated" in capsys.readouterr().err


def test_the_check_names_an_added_proto(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extra = "proto/arco/v1/extra.proto"
    (tree / extra).write_text('syntax = "proto3";\n\npackage arco.v1;\n', encoding="utf-8")
    assert run(tree, "--check") == 1
    assert f"{extra}: added" in capsys.readouterr().err


def test_the_check_names_an_edited_generated_file(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    append(tree / MESSAGES, "\nEXTRA = 1\n")
    assert run(tree, "--check") == 1
    assert f"{MESSAGES}: edited by hand" in capsys.readouterr().err


def test_the_check_names_a_deleted_generated_file(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / MESSAGES).unlink()
    assert run(tree, "--check") == 1
    assert f"{MESSAGES}: deleted" in capsys.readouterr().err


def test_the_check_names_an_added_generated_file(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / _regen.GENERATED / "arco/v1/mine.py").write_text("", encoding="utf-8")
    assert run(tree, "--check") == 1
    assert f"{_regen.GENERATED}/arco/v1/mine.py: added" in capsys.readouterr().err


def test_the_check_names_a_generator_of_another_version(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tree / _regen.GENERATED / _regen.MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["tools"]["grpcio-tools"] = "1.60.0"
    path.write_text(json.dumps(manifest), encoding="utf-8")
    assert run(tree, "--check") == 1
    assert "generator grpcio-tools: generated with 1.60.0" in capsys.readouterr().err


def test_the_check_sees_an_edit_that_the_manifest_was_made_to_agree_with(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    append(tree / MESSAGES, "\nEXTRA = 1\n")
    path = tree / _regen.GENERATED / _regen.MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["outputs"] = _regen.output_hashes(tree / _regen.GENERATED)
    path.write_text(json.dumps(manifest), encoding="utf-8")
    assert _regen.hash_drift(tree) == []
    assert run(tree, "--check") == 1
    assert f"{MESSAGES}: not what the generators write" in capsys.readouterr().err


def test_a_missing_manifest_says_what_to_do(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / _regen.GENERATED / _regen.MANIFEST).unlink()
    assert run(tree, "--check") == 1
    assert _regen.REMEDY in capsys.readouterr().err


def test_regenerating_repairs_every_kind_of_drift(tree: Path) -> None:
    (tree / _regen.GENERATED / "arco/v1/common_pb2.pyi").unlink()
    (tree / _regen.GENERATED / "arco/v1/mine.py").write_text("", encoding="utf-8")
    append(tree / MESSAGES, "\nEXTRA = 1\n")
    assert run(tree) == 0
    assert run(tree, "--check") == 0


def test_a_proto_that_does_not_compile_fails_the_check_with_bufs_own_words(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    append(tree / PROTO, "\nmessage {\n")
    assert run(tree, "--check") == 2
    assert "common.proto" in capsys.readouterr().err


def test_the_baseline_is_an_image_of_the_protos_without_their_comments(tree: Path) -> None:
    assert run(tree, "--accept-baseline") == 0
    image = descriptor_pb2.FileDescriptorSet.FromString((tree / _regen.BASELINE).read_bytes())
    ours = {file.name for file in image.file if file.package == "arco.v1"}
    assert ours == {f"arco/v1/{path.name}" for path in (tree / "proto/arco/v1").glob("*.proto")}
    assert not any(file.HasField("source_code_info") for file in image.file)


def test_accepting_the_same_protos_again_changes_no_byte(tree: Path) -> None:
    assert run(tree, "--accept-baseline") == 0
    first = (tree / _regen.BASELINE).read_bytes()
    assert run(tree, "--accept-baseline") == 0
    assert (tree / _regen.BASELINE).read_bytes() == first


def test_a_test_session_refuses_to_start_beside_drifted_code(tree: Path) -> None:
    for name in ("pyproject.toml", "scripts/_regen.py", "tests/conftest.py"):
        (tree / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    session = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only"]
    clean = subprocess.run(session, cwd=tree, capture_output=True, text=True, check=False)
    assert clean.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, clean.stdout + clean.stderr
    append(tree / PROTO, "\n// One more thought.\n")
    drifted = subprocess.run(session, cwd=tree, capture_output=True, text=True, check=False)
    said = drifted.stdout + drifted.stderr
    assert drifted.returncode == 3
    assert f"{PROTO}: edited since the code was generated" in said
    assert _regen.REMEDY in said


def test_an_import_that_stays_public_is_refused() -> None:
    text = "if True:\n    import arco.v1.common_pb2\n"
    with pytest.raises(
        _regen.RegenError, match=r"x_pb2\.py:2 still imports 'arco\.v1\.common_pb2'"
    ):
        _regen.make_private(text, name="x_pb2.py")


def test_a_use_of_the_shared_descriptor_pool_that_stays_is_refused() -> None:
    text = "DESCRIPTOR = _descriptor_pool.Default().Add(b'')\n"
    with pytest.raises(_regen.RegenError, match=r"x_pb2\.py still uses _descriptor_pool"):
        _regen.make_private(text, name="x_pb2.py")


def test_an_import_that_the_private_pool_does_not_hold_is_refused(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = 'syntax = "proto3";\npackage arco.v1;\nimport "google/protobuf/struct.proto";\n'
    extra += "message Extra {\n  google.protobuf.Struct facts = 1;\n}\n"
    (tree / "proto/arco/v1/extra.proto").write_text(extra, encoding="utf-8")
    assert run(tree) == 2
    assert "extra_pb2.py imports struct_pb2: add it to WELL_KNOWN" in capsys.readouterr().err


def test_messages_name_the_private_module_so_that_they_pickle() -> None:
    message = common_pb2.PartitionKey(dimensions={"date": "d:2025-01-15"})
    assert type(message).__module__ == "servo._gen.arco.v1.common_pb2"
    assert pickle.loads(pickle.dumps(message)) == message


def test_every_generated_module_loads_without_a_top_level_package() -> None:
    for module in (common_pb2, run_pb2, run_service_pb2):
        assert module.__name__.startswith("servo._gen.arco.v1.")
