"""requirements.lock holds names, versions and hashes, and nothing about where they come from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import _lock
import _regen

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / _lock.LOCK).read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HASH = "    --hash=sha256:" + "0" * 64


def floor(name: str) -> str:
    """The lower bound of a runtime dependency."""
    (declared,) = (text for text in PROJECT["dependencies"] if re.match(rf"{name}\b", text))
    found = re.search(r">=([0-9.]+)", declared)
    assert found, declared
    return found.group(1)


def test_the_committed_lock_names_only_packages_and_hashes() -> None:
    assert _lock.foreign_lines(LOCK) == []


def test_every_locked_package_has_a_hash() -> None:
    blocks = re.split(r"^(?=[a-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://mirror.example/simple",
        "--extra-index-url file:///srv/simple",
        "--find-links /srv/wheels",
        "-e .",
        "torch @ file:///srv/wheels/torch.whl \\",
        "click @ git+https://example.org/click \\",
        "click==8.2.0",
        "click>=8.2.0 \\",
        "./dist/arco_servo-0.1.0-py3-none-any.whl",
        "    # from https://mirror.example/simple",
        HASH.replace("sha256", "md5"),
    ],
)
def test_a_line_that_names_a_source_or_lacks_a_hash_is_refused(line: str) -> None:
    said = _lock.foreign_lines(f"click==8.2.0 \\\n{HASH}\n{line}\n")
    assert said == [f"requirements.lock:3: {line.strip()!r}"]


@pytest.mark.parametrize(
    "line",
    [
        "click==8.2.0 \\",
        "numpy==2.4.6 ; python_full_version < '3.12' \\",
        "pyright[nodejs]==1.1.400 \\",
        HASH,
        HASH + " \\",
        "    # via rich",
    ],
)
def test_what_uv_writes_is_accepted(line: str) -> None:
    assert _lock.foreign_lines(line) == []


def test_no_generator_is_needed_at_run_time() -> None:
    declared = {re.split(r"[^a-z0-9-]", text)[0] for text in PROJECT["dependencies"]}
    assert declared.isdisjoint({*_regen.TOOLS, "betterproto2", "grpcio-health-checking"})


def test_the_floor_of_protobuf_is_what_the_generated_code_demands() -> None:
    tools = _regen.read_manifest(ROOT / _regen.GENERATED)["tools"]
    assert floor("protobuf") == tools["protobuf-gencode"]


def test_the_floor_of_grpcio_is_the_release_of_the_generator() -> None:
    tools = _regen.read_manifest(ROOT / _regen.GENERATED)["tools"]
    assert floor("grpcio") == tools["grpcio-tools"]
