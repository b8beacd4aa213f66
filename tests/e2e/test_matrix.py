"""The wheel with the oldest and the newest dependencies, on every Python that is found.

The matrix is declared once, in pyproject.toml: the Pythons are its classifiers, the oldest and the
newest versions follow from its dependencies. Every Python gets the newest; the oldest is the
business of our floor alone, because old wheels do not exist for new Pythons.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import distributions
from distributions import ROOT, UV, Distributions

# In one process: what is built for a session is built once.
pytestmark = [
    pytest.mark.matrix,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("distributions"),
]

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CLASSIFIER = re.compile(r"Programming Language :: Python :: (3\.\d+)")
PYTHONS = [found.group(1) for text in PROJECT["classifiers"] if (found := CLASSIFIER.match(text))]
FLOOR = PYTHONS[0]


def find(version: str) -> str | None:
    """An interpreter of that version: on the path, of uv, or of pyenv; it must really start."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    asked = subprocess.run(
        [UV, "python", "find", "--quiet", "--no-python-downloads", "--system", version],
        capture_output=True,
        text=True,
        check=False,
    )
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for candidate in (asked.stdout.strip(), *pyenv.glob(f"{version}.*/bin/python")):
        probe = f"import sys; sys.exit(sys.version_info[:2] != ({version.replace('.', ', ')}))"
        if candidate and subprocess.run([candidate, "-c", probe], check=False).returncode == 0:
            return str(candidate)
    return None


@dataclass(frozen=True, slots=True)
class Cell:
    """One environment of the matrix: what was installed, and what the tests said."""

    versions: dict[str, Version]
    python: str
    said: str


def fill(resolution: str, version: str, interpreter: str, folder: Path, wheel: Path) -> Cell:
    """Install the wheel with dependencies of that age, and run the tests of the public API."""
    wanted = folder / "wanted.txt"
    # Compiled from the project, so that its own requirements are the direct ones.
    distributions.run(
        *(UV, "pip", "compile", "--quiet", "--all-extras", "--resolution", resolution),
        *("--python-version", version, "--no-annotate", "--no-header", "--output-file", wanted),
        ROOT / "pyproject.toml",
        cwd=folder,
    )
    python = distributions.make_environment(
        folder / "venv", "-r", wanted, "pytest>=8.4", python=interpreter
    )
    distributions.run(
        *(UV, "pip", "install", "--quiet", "--python", python, "--no-deps", wheel), cwd=folder
    )
    listed = distributions.run(
        UV, "pip", "list", "--python", python, "--format", "freeze", cwd=folder
    )
    pinned = (line.split("==") for line in listed.splitlines() if "==" in line)
    versions = {name: Version(text) for name, text in pinned}
    probe = "import sys; print('.'.join(map(str, sys.version_info[:2])))"
    return Cell(
        versions=versions,
        python=distributions.run(python, "-I", "-c", probe, cwd=folder).strip(),
        said=distributions.run_suite(python, distributions.copy_suite(folder)),
    )


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    """The declared Pythons that this machine has."""
    return {version: path for version in PYTHONS if (path := find(version))}


@pytest.fixture(scope="module")
def cells(
    dist: Distributions, found: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Cell]:
    wanted = [("lowest-direct", FLOOR), *(("highest", version) for version in found)]
    folders = [tmp_path_factory.mktemp(f"{age}-{version}") for age, version in wanted]
    # Mostly waiting for processes; two at a time, because each starts several of its own.
    with ThreadPoolExecutor(2) as pool:
        futures = [
            pool.submit(fill, age, version, found[version], folder, dist.wheel)
            for (age, version), folder in zip(wanted, folders, strict=True)
        ]
        return {key: future.result() for key, future in zip(wanted, futures, strict=True)}


def test_the_public_api_works_in_every_environment(cells: dict[tuple[str, str], Cell]) -> None:
    for (age, version), cell in cells.items():
        assert cell.python == version
        last = cell.said.rstrip().splitlines()[-1]
        assert re.fullmatch(r"\d{3,} passed in .+", last), (age, version, last)


def test_the_oldest_dependencies_are_the_floors_that_the_project_declares(
    cells: dict[tuple[str, str], Cell],
) -> None:
    extras = PROJECT["optional-dependencies"].values()
    declared = [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]
    floors = dict(
        found.groups()
        for text in declared
        if (found := re.match(r"([a-z][a-z0-9-]*)[>=]=([0-9.]+)", text))
    )
    installed = cells["lowest-direct", FLOOR].versions
    assert {name: installed[name] for name in floors} == {
        name: Version(text) for name, text in floors.items()
    }


def test_the_matrix_has_seen_every_major_of_protobuf_that_is_allowed(
    cells: dict[tuple[str, str], Cell],
) -> None:
    (declared,) = (text for text in PROJECT["dependencies"] if text.startswith("protobuf"))
    allowed = SpecifierSet(declared.removeprefix("protobuf"))
    majors = {major for major in range(100) if allowed.contains(f"{major}.999")}
    assert len(majors) == 2
    assert {cell.versions["protobuf"].major for cell in cells.values()} == majors


def test_no_environment_of_the_matrix_holds_a_tool_that_generates(
    cells: dict[tuple[str, str], Cell],
) -> None:
    tools = {"betterproto2", "buf-bin", "grpcio-health-checking", "grpcio-tools", "mypy-protobuf"}
    assert {name for cell in cells.values() for name in cell.versions} & tools == set()


def test_every_declared_python_runs_or_is_named_as_missing(
    cells: dict[tuple[str, str], Cell],
    found: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert PROJECT["requires-python"] == f">={FLOOR}"
    assert {version for _, version in cells} == found.keys() | {FLOOR}
    with capsys.disabled():
        for version in PYTHONS:
            ran = [age for age, python in cells if python == version]
            print(f"\nmatrix: Python {version}: {', '.join(ran) or 'not found'}", end="")
