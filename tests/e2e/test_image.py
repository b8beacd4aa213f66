"""The images, made without Docker from exactly what their Dockerfiles copy."""

from __future__ import annotations

import venv
from hashlib import sha256
from pathlib import Path

import pytest

import _rehearse_image
from _rehearse_image import Rehearsal
from distributions import ROOT

# In one process: what is built for a session is built once.
pytestmark = [
    pytest.mark.wheel,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("distributions"),
]

VERSION = "3.2.1"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    return _rehearse_image.rehearse(
        ROOT / "Dockerfile",
        tmp_path_factory.mktemp("release"),
        given={"SERVO_BUILD_VERSION": VERSION},
    )


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_release_image_passes_the_smoke_test_and_writes_to_tmp_only(
    release: Rehearsal,
) -> None:
    before = contents(release.root / "opt")
    said = release.run(["python", "-I", "-m", "servo.smoke"])
    assert f"answered by version {VERSION}" in said
    assert said.endswith("smoke: ok\n")
    assert contents(release.root / "opt") == before


def test_the_release_image_starts_as_the_command_line(release: Rehearsal) -> None:
    assert release.run([*release.entrypoint, "--version"]) == f"servo, version {VERSION}\n"
    assert release.user == "10001:10001"


def test_the_release_image_holds_what_servo_needs_and_no_tool(release: Rehearsal) -> None:
    program = "from importlib import metadata as m; print(*(d.name for d in m.distributions()))"
    names = set(release.run(["python", "-I", "-c", program]).split())
    assert {"arco-servo", "duckdb", "grpcio", "protobuf", "pyarrow"} <= names
    tools = {
        "buf-bin",
        "grpcio-tools",
        "hatchling",
        "mypy",
        "pip",
        "polars",
        "pytest",
        "ruff",
        "uv",
    }
    assert names & tools == set()


def test_the_release_image_is_made_of_sources_only(release: Rehearsal) -> None:
    tops = {name.split("/")[0] for name in release.copied}
    assert tops == {
        *("LICENSE", "README.md", "examples", "pyproject.toml", "requirements.lock"),
        *("scripts", "src"),
    }


def test_a_release_image_without_a_version_is_not_made(tmp_path: Path) -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    line = next(each for each in text.splitlines() if each.startswith("RUN : "))
    (tmp_path / "Dockerfile").write_text(f"FROM python:3.11-slim\n{line} true\n", encoding="utf-8")
    (tmp_path / "image").mkdir()
    venv.create(tmp_path / "python")
    with pytest.raises(_rehearse_image.RehearsalError, match="give the version"):
        _rehearse_image.rehearse(
            tmp_path / "Dockerfile", tmp_path / "image", python=tmp_path / "python"
        )


def test_the_development_image_runs_the_tests_of_its_own_tree(
    tmp_path: Path,
) -> None:
    made = _rehearse_image.rehearse(ROOT / "Dockerfile.dev", tmp_path)
    assert made.run([*made.entrypoint, "--version"]).startswith("servo, version ")
    said = made.run(
        ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/public_api"],
        HYPOTHESIS_STORAGE_DIRECTORY="/tmp",
    )
    assert " passed in " in said
