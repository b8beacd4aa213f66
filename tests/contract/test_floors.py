"""What the project demands of others: floors that follow from facts, and one lock."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import _lock
import _lock_subset
import _regen

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
RUNTIME = [Requirement(text) for text in PROJECT["dependencies"]]
EXTRAS = [Requirement(t) for extra in PROJECT["optional-dependencies"].values() for t in extra]
GROUPS = [
    Requirement(t) for g in PYPROJECT["dependency-groups"].values() for t in g if type(t) is str
]
LOCKS = {"requirements.lock", "tests/contract/js/package-lock.json"}
LOCK_NAMES = re.compile(
    r"(.*[.-])?lock(\.(json|toml|yaml|yml|txt))?|Pipfile\.lock|npm-shrinkwrap\.json|pylock.*\.toml"
    r"|requirements.*\.txt|constraints.*\.txt|bun\.lockb"
)
# Hosts, addresses, repositories and paths, as locks of pip, uv and npm write them.
SOURCE = re.compile(
    r"\w+://|\bgit\+|\bfile:|\bgithub:|\"resolved\"|--(?:index|extra-index|find-links)"
)


def floor(name: str) -> str:
    (found,) = (each for each in RUNTIME if each.name == name)
    (lower,) = (each.version for each in found.specifier if each.operator == ">=")
    return lower


def validated_versions() -> set[str]:
    """What the generated modules pass to protobuf's check of its own version, when imported."""
    found = set()
    for path in (ROOT / _regen.GENERATED).rglob("*_pb2.py"):
        call = re.search(r"ValidateProtobufRuntimeVersion\(([^)]*)\)", path.read_text("utf-8"))
        assert call, path
        found.add(".".join(re.findall(r"\b\d+\b(?=,)", call.group(1))))
    return found


def test_the_floor_of_protobuf_is_what_every_generated_module_checks() -> None:
    assert validated_versions() == {floor("protobuf")}


def test_the_ceiling_of_protobuf_is_one_major_above_the_generator() -> None:
    (protobuf,) = (each for each in RUNTIME if each.name == "protobuf")
    major = int(floor("protobuf").split(".")[0])
    assert {str(each) for each in protobuf.specifier} == {f">={floor('protobuf')}", f"<{major + 2}"}


def test_the_floor_of_grpcio_is_the_release_of_its_generator() -> None:
    tools = _regen.read_manifest(ROOT / _regen.GENERATED)["tools"]
    assert floor("grpcio") == tools["grpcio-tools"]
    # A module that names a version of its own would raise the floor, and there is none.
    assert not list((ROOT / _regen.GENERATED).rglob("*_pb2_grpc.py"))


@pytest.mark.parametrize(
    "tool",
    [*_regen.TOOLS, "betterproto2", "betterproto2-compiler", "hatchling", "pytest", "uv"],
)
def test_a_tool_is_in_a_development_group_only(tool: str) -> None:
    assert tool in {each.name for each in GROUPS}
    assert tool not in {each.name for each in (*RUNTIME, *EXTRAS)}


def test_the_health_service_is_ours() -> None:
    lock = (ROOT / _lock.LOCK).read_text(encoding="utf-8")
    assert "grpcio-health-checking" not in lock


def test_no_tool_is_needed_by_what_is_needed_at_run_time() -> None:
    lock = _lock_subset.entries((ROOT / _lock.LOCK).read_text(encoding="utf-8"))
    project = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    roots = _lock_subset.requirements(project, PROJECT["optional-dependencies"])
    needed = {entry.name for entry in _lock_subset.closure(lock, roots)}
    tools = {each.name for each in GROUPS} | {"grpcio-health-checking"}
    assert needed & tools == set()


def test_every_dependency_has_a_floor_that_the_lock_satisfies() -> None:
    locked = dict(
        re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / _lock.LOCK).read_text("utf-8"), re.MULTILINE)
    )
    for each in (*RUNTIME, *EXTRAS):
        if each.name != PROJECT["name"]:
            assert {spec.operator for spec in each.specifier} & {">=", "=="}, str(each)
            assert each.specifier.contains(locked[each.name]), str(each)


def tracked() -> list[str]:
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def test_there_is_no_other_lock_in_the_repository() -> None:
    found = {name for name in tracked() if LOCK_NAMES.fullmatch(name.rpartition("/")[2])}
    assert found == LOCKS


@pytest.mark.parametrize("name", sorted(LOCKS))
def test_a_lock_records_no_address_path_or_repository(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert SOURCE.findall(text) == []


@pytest.mark.parametrize(
    "line",
    [
        "--index-url somewhere",
        "torch @ file:///srv/torch.whl",
        "click @ git+ssh:click",
        '"resolved": "somewhere"',
        '"left-pad": "github:someone/left-pad"',
        "https://mirror.example/simple",
    ],
)
def test_an_address_in_a_lock_would_be_seen(line: str) -> None:
    assert SOURCE.search(line)
