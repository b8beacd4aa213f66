"""The distributions: complete, free of tools, and working where this tree is not."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src/servo"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
UV = Path(sys.executable).parent / "uv"


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that must succeed, away from this tree's environment."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))
    }
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel and what it requires, only."""
    folder = tmp_path_factory.mktemp("elsewhere")
    python = folder / "venv/bin/python"
    run(UV, "venv", "--quiet", "--python", sys.executable, folder / "venv", cwd=folder)
    run(
        *(UV, "pip", "install", "--quiet", "--python", python),
        *("--constraint", ROOT / "requirements.lock", wheel),
        cwd=folder,
    )
    return python


def shipped(wheel: Path) -> Iterator[str]:
    with zipfile.ZipFile(wheel) as archive:
        yield from archive.namelist()


def files(folder: Path, prefix: str) -> set[str]:
    return {
        f"{prefix}/{path.relative_to(folder).as_posix()}"
        for path in folder.rglob("*")
        if path.is_file() and not {"__pycache__", ".servo", ".mypy_cache"}.intersection(path.parts)
    }


def test_the_wheel_ships_every_file_of_the_package_and_the_example(wheel: Path) -> None:
    example = ROOT / "examples" / "nycflights"
    ours = files(PACKAGE, "servo") | files(example, "servo/_examples/nycflights")
    theirs = {name for name in shipped(wheel) if not name.split("/")[0].endswith(".dist-info")}
    assert theirs == ours


def test_the_wheel_ships_generated_code_with_its_stubs_and_the_typing_marker(wheel: Path) -> None:
    names = set(shipped(wheel))
    assert {
        "servo/py.typed",
        "servo/_gen/MANIFEST.json",
        "servo/_gen/arco/v1/manifest_pb2.py",
        "servo/_gen/arco/v1/manifest_pb2.pyi",
    } <= names
    assert not any(name.startswith("arco/") for name in names)


def test_the_metadata_declares_the_dependencies_of_pyproject(wheel: Path) -> None:
    (name,) = (each for each in shipped(wheel) if each.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        fields = email.message_from_bytes(archive.read(name))
    declared = {text for text in fields.get_all("Requires-Dist", []) if "extra ==" not in text}

    def parts(text: str) -> tuple[str, frozenset[str]]:
        found = re.match(r"([A-Za-z0-9-]+)(.*)", text.replace(" ", ""))
        assert found
        return found.group(1), frozenset(found.group(2).split(","))

    assert {parts(text) for text in declared} == {parts(text) for text in PROJECT["dependencies"]}
    assert fields["License-Expression"] == "Apache-2.0"
    assert fields["Requires-Python"] == ">=3.11"


def test_the_source_distribution_ships_what_generation_and_the_tests_need(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "buf.gen.yaml",
        "proto/arco/v1/manifest.proto",
        "requirements.lock",
        "scripts/regen.sh",
        "tests/conftest.py",
    } <= names
    assert not any(name.startswith((".venv", ".git/", "dist/")) for name in names)


def test_the_smoke_test_passes_in_an_environment_of_its_own(python: Path) -> None:
    said = run(python, "-I", "-m", "servo.smoke", cwd=python.parent)
    assert "site-packages" in said
    assert said.rstrip().endswith("smoke: ok")


def test_the_command_line_is_installed(python: Path) -> None:
    said = run(python.parent / "servo", "--version", cwd=python.parent)
    assert said.strip().endswith(_version())


def test_import_works_without_any_extra(python: Path) -> None:
    program = "import servo, sys; print(servo.__version__, 'pyarrow' in sys.modules)"
    assert run(python, "-I", "-c", program, cwd=python.parent) == f"{_version()} False\n"


def _version() -> str:
    found = re.search(r'"(.+)"', (PACKAGE / "_version.py").read_text().splitlines()[-1])
    assert found
    return found.group(1)
