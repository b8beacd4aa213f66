"""On Windows, as far as it can be had here: without the modules that only POSIX systems have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from servo.client import Client
from servo.testing import LocalPlane, local_plane

MODULES = Path(__file__).resolve().parents[1] / "without_posix"
COMMAND = """
import without_posix, sys
from servo.cli.main import cli, invoke
sys.exit(invoke(sys.argv[1:], cli, "servo"))
"""
MESSAGE = "this needs Linux or macOS"
ASSETS = "from servo import asset\n@asset\ndef one(ctx):\n    return [{'a': 1}]\n"


@pytest.fixture(scope="module")
def plane() -> Iterator[LocalPlane]:
    with local_plane() as found:
        with Client(found.grpc_url, api_key=found.api_key) as client:
            client.pools.set("warehouse", 3)
        yield found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets/a.py").write_text(ASSETS)
    (tmp_path / "servo.toml").touch()
    return tmp_path


def run(
    project: Path, *arguments: str, code: str = COMMAND, **variables: str
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SERVO_")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=project,
        env=kept | {"PYTHONPATH": str(MODULES)} | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        ("status", "--json"),
        ("events", "--json"),
        ("keys", "list", "--json"),
        ("pools", "list", "--json"),
        ("config", "check"),
        ("validate",),
    ],
    ids=" ".join,
)
def test_commands_for_a_control_plane_elsewhere_work(
    project: Path, plane: LocalPlane, command: tuple[str, ...]
) -> None:
    done = run(project, *command, SERVO_API_URL=plane.grpc_url, SERVO_API_KEY=plane.api_key)
    assert done.returncode == 0, done.stderr
    if command[0] == "pools":
        assert "warehouse" in done.stdout


@pytest.mark.parametrize("kind", ["grpc_url", "http_url"])
def test_the_client_works_over_grpc_and_http(project: Path, plane: LocalPlane, kind: str) -> None:
    code = """
import without_posix, sys
from servo.client import Client
with Client(sys.argv[1], api_key=sys.argv[2]) as client:
    print(client.server.info().ready)
"""
    done = run(project, getattr(plane, kind), plane.api_key, code=code)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_assets_are_declared_and_called(project: Path) -> None:
    code = """
import without_posix
from servo import AssetKey, PartitionKey, asset
from servo.testing import make_context
@asset(namespace="raw")
def orders(ctx): return [{"a": 1}]
print(orders(make_context()), orders.definition.key, PartitionKey({"d": 1}).to_canonical())
"""
    done = run(project, code=code)
    assert done.stdout == """[{'a': 1}] raw.orders {"d":"i:1"}\n""", done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("run", "*"),
        ("status",),
        ("deploy",),
        ("dev",),
        ("worker", "--url", "grpc://127.0.0.1:9"),
        ("demo",),
        ("db", "check"),
        ("rerun", "latest"),
    ],
    ids=" ".join,
)
def test_everything_else_says_in_one_line_what_it_needs(
    project: Path, command: tuple[str, ...]
) -> None:
    done = run(project, *command)
    assert done.returncode == 78, done.stderr
    assert done.stderr.startswith(f"Error: {MESSAGE}")
    assert "WSL" in done.stderr
    assert done.stderr.count("\n") == 1


def test_with_json_it_is_an_error_document(project: Path) -> None:
    done = run(project, "run", "*", "--json")
    assert json.loads(done.stdout)["code"] == "PLATFORM_NOT_SUPPORTED"


def test_the_kit_for_tests_says_so_too(project: Path) -> None:
    code = """
import without_posix
from servo import asset, errors
from servo.testing import local_plane, materialize
@asset(namespace="raw")
def orders(ctx): return [{"a": 1}]
for what in (lambda: materialize(orders), lambda: local_plane().__enter__()):
    try: what()
    except errors.ConfigurationError as exc: print(exc.code)
"""
    done = run(project, code=code)
    assert done.stdout == "PLATFORM_NOT_SUPPORTED\n" * 2, done.stderr
