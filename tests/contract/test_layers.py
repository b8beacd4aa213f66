"""The layer contracts of pyproject.toml refuse what ARCHITECTURE.md forbids."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

MODULES = (
    "_gen/arco/v1/run_pb2",
    "_introspect",
    "_registry",
    "_version",
    "_wire/runs",
    "asset",
    "checks/run",
    "cli/main",
    "client/client",
    "config/settings",
    "context",
    "controlplane/planner",
    "errors",
    "io/parquet",
    "manifest/build",
    "result",
    "types/ids",
    "worker/session",
)


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """The package with every layer present and nothing imported."""
    package = tmp_path / "src/servo"
    for module in MODULES:
        path = package / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        for folder in path.relative_to(package).parents:
            (package / folder / "__init__.py").touch()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(root: Path) -> tuple[int, str]:
    command = (
        "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    )
    done = subprocess.run(
        [sys.executable, "-c", command, "--no-cache"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_tree_without_imports_keeps_every_contract(skeleton: Path) -> None:
    code, said = lint(skeleton)
    assert code == 0, said


@pytest.mark.parametrize(
    ("importer", "statement", "contract"),
    [
        ("manifest/build", "import servo.client.client", "Every layer imports only"),
        ("worker/session", "import servo.controlplane.planner", "Every layer imports only"),
        ("errors", "import servo.types.ids", "Every layer imports only"),
        ("types/ids", "import servo._gen.arco.v1.run_pb2", "Every layer imports only"),
        ("asset", "import servo._wire.runs", "The façade and the wire are siblings"),
        ("_wire/runs", "import servo.asset", "The wire knows definitions"),
        ("cli/main", "import servo._gen.arco.v1.run_pb2", "Only servo._wire imports"),
        ("controlplane/planner", "import servo.asset", "The control plane never imports"),
        (
            "types/ids",
            "import google.protobuf",
            "Types use the standard library",
        ),
        (
            "errors",
            "import grpc",
            "Types use the standard library",
        ),
    ],
)
def test_an_import_that_crosses_a_border_breaks_its_contract(
    skeleton: Path, importer: str, statement: str, contract: str
) -> None:
    (skeleton / f"src/servo/{importer}.py").write_text(statement + "\n", encoding="utf-8")
    code, said = lint(skeleton)
    assert code == 1, said
    assert re.search(rf"{contract}.* BROKEN", said), said


def test_a_module_that_no_layer_names_is_refused(skeleton: Path) -> None:
    (skeleton / "src/servo/misc.py").touch()
    code, said = lint(skeleton)
    assert code == 1
    assert "misc" in said


def test_types_are_forbidden_every_package_that_we_depend_on() -> None:
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"].values()
    declared = [*project["dependencies"], *chain.from_iterable(extras)]
    names = {re.split(r"[^A-Za-z0-9-]", text)[0] for text in declared} - {project["name"]}
    modules = {
        module
        for module, owners in metadata.packages_distributions().items()
        if names & set(owners) and not module.startswith("_")
    }
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    types = next(each for each in contracts if each["name"].startswith("Types use"))
    assert modules <= set(types["forbidden_modules"])
