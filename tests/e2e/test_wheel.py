"""The distributions: complete, free of tools, and working where this tree is not."""

from __future__ import annotations

import email
import re
import subprocess
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

import distributions
from distributions import ROOT, Distributions, run

# In one process: what is built for a session is built once.
pytestmark = [
    pytest.mark.wheel,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("distributions"),
]

PACKAGE = ROOT / "src/servo"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# In the repository and not in the sdist: what only its owner, or a measurement, needs.
NOT_RELEASED = (".ci/", "benchmarks/")


@pytest.fixture(scope="module")
def python(dist: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel and what it requires, only."""
    return distributions.make_environment(
        tmp_path_factory.mktemp("elsewhere") / "venv",
        *("--constraint", ROOT / "requirements.lock", dist.wheel),
    )


@pytest.fixture(scope="module")
def python_with_extras(dist: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with every extra, and the runner of the tests."""
    return distributions.make_environment(
        tmp_path_factory.mktemp("complete") / "venv",
        *("--constraint", ROOT / "requirements.lock", f"{dist.wheel}[all]", "pytest"),
    )


def shipped(wheel: Path) -> Iterator[str]:
    with zipfile.ZipFile(wheel) as archive:
        yield from archive.namelist()


def text_in(wheel: Path, suffix: str) -> str:
    (name,) = (each for each in shipped(wheel) if each.endswith(suffix))
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(name).decode()


def metadata_of(wheel: Path) -> Message:
    return email.message_from_string(text_in(wheel, ".dist-info/METADATA"))


def files(folder: Path, prefix: str) -> set[str]:
    return {
        f"{prefix}/{path.relative_to(folder).as_posix()}"
        for path in folder.rglob("*")
        if path.is_file() and not {"__pycache__", ".servo", ".mypy_cache"}.intersection(path.parts)
    }


def known_to_git() -> set[str]:
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}


def test_the_wheel_ships_every_file_of_the_package_and_the_example(dist: Distributions) -> None:
    example = ROOT / "examples" / "nycflights"
    ours = files(PACKAGE, "servo") | files(example, "servo/_examples/nycflights")
    theirs = {name for name in shipped(dist.wheel) if not name.split("/")[0].endswith(".dist-info")}
    assert theirs == ours


def test_the_wheel_ships_generated_code_with_its_stubs_and_the_typing_marker(
    dist: Distributions,
) -> None:
    names = set(shipped(dist.wheel))
    assert {
        "servo/py.typed",
        "servo/_gen/MANIFEST.json",
        "servo/_gen/arco/v1/manifest_pb2.py",
        "servo/_gen/arco/v1/manifest_pb2.pyi",
    } <= names
    assert not any(name.startswith("arco/") for name in names)


def test_the_wheel_of_the_sdist_is_the_wheel_of_the_tree_byte_for_byte(dist: Distributions) -> None:
    assert dist.wheel.name == dist.wheel_of_tree.name
    assert dist.wheel.read_bytes() == dist.wheel_of_tree.read_bytes()


def test_the_metadata_declares_the_dependencies_of_pyproject(dist: Distributions) -> None:
    fields = metadata_of(dist.wheel)
    declared = {text for text in fields.get_all("Requires-Dist", []) if "extra ==" not in text}

    def parts(text: str) -> tuple[str, frozenset[str]]:
        found = re.match(r"([A-Za-z0-9-]+)(.*)", text.replace(" ", ""))
        assert found
        return found.group(1), frozenset(found.group(2).split(","))

    assert {parts(text) for text in declared} == {parts(text) for text in PROJECT["dependencies"]}
    assert fields["License-Expression"] == "Apache-2.0"
    assert fields["Requires-Python"] == ">=3.11"


def test_the_floors_in_the_metadata_are_what_the_generated_code_demands(
    dist: Distributions,
) -> None:
    demanded = text_in(dist.wheel, "servo/_gen/arco/v1/common_pb2.py")
    call = re.search(r"ValidateProtobufRuntimeVersion\(([^)]*)\)", demanded)
    assert call
    version = ".".join(re.findall(r"^\s+(\d+),", call.group(1), flags=re.MULTILINE))
    floors = {
        name: floor
        for text in metadata_of(dist.wheel).get_all("Requires-Dist", [])
        for name, floor in re.findall(r"^(protobuf|grpcio)\b.*>=([0-9.]+)", text)
    }
    assert floors["protobuf"] == version
    tools = text_in(dist.wheel, "servo/_gen/MANIFEST.json")
    assert f'"grpcio-tools": "{floors["grpcio"]}"' in tools


def test_the_version_is_in_the_wheel_and_nowhere_in_the_tree(dist: Distributions) -> None:
    version = metadata_of(dist.wheel)["Version"]
    assert f'\n__version__ = "{version}"\n' in text_in(dist.wheel, "servo/_version.py")
    assert version not in (PACKAGE / "_version.py").read_text(encoding="utf-8")


def test_the_source_distribution_is_what_git_knows(dist: Distributions) -> None:
    with tarfile.open(dist.sdist) as archive:
        names = {each.name.partition("/")[2] for each in archive.getmembers() if each.isfile()}
    wanted = {name for name in known_to_git() if not name.startswith(NOT_RELEASED)}
    assert names - {"PKG-INFO"} == wanted


def test_the_smoke_test_passes_in_an_environment_of_its_own(python: Path) -> None:
    said = run(python, "-I", "-m", "servo.smoke", cwd=python.parent)
    assert "site-packages" in said
    assert said.rstrip().endswith("smoke: ok")


def test_the_shipped_example_has_its_golden_manifest(python_with_extras: Path) -> None:
    golden = ROOT / "tests/golden/nycflights.json"
    said = run(
        *(python_with_extras, "-I", "-m", "servo.smoke", "--example-manifest", golden),
        cwd=python_with_extras.parent,
    )
    assert "example manifest: as in nycflights.json\nsmoke: ok\n" in said


def test_the_public_api_works_from_the_wheel_with_the_locked_versions(
    python_with_extras: Path, tmp_path: Path
) -> None:
    said = distributions.run_suite(python_with_extras, distributions.copy_suite(tmp_path))
    assert re.search(r"\n\d{3,} passed in", said), said


def test_the_command_line_is_installed(dist: Distributions, python: Path) -> None:
    version = metadata_of(dist.wheel)["Version"]
    for command in ("servo", "servo-gen"):
        said = run(python.parent / command, "--version", cwd=python.parent)
        assert said == f"{command}, version {version}\n"


def test_import_works_without_any_extra(dist: Distributions, python: Path) -> None:
    program = "import servo, sys; print(servo.__version__, 'pyarrow' in sys.modules)"
    version = metadata_of(dist.wheel)["Version"]
    assert run(python, "-I", "-c", program, cwd=python.parent) == f"{version} False\n"
