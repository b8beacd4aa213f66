"""Building the distributions, and environments outside the tree that hold them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).parent / "uv"
SUITE = ("tests/public_api", "tests/contract/vectors", "tests/golden")
PYTEST_INI = """\
[pytest]
addopts = --import-mode=importlib --strict-markers --strict-config
filterwarnings = error
"""


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    """Run a command that must succeed, away from this tree's environment.

    Returns:
        What it printed.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PYTEST", "COV", "SERVO_", "VIRTUAL_ENV"))
    }
    done = subprocess.run(
        command,
        cwd=cwd,
        env=inherited | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True, slots=True)
class Distributions:
    """What one build made: an sdist of the tree, a wheel of the sdist, a wheel of the tree."""

    sdist: Path
    wheel: Path
    wheel_of_tree: Path


def build(folder: Path) -> Distributions:
    """Build everything that is released into two folders below `folder`."""
    command = (sys.executable, "-m", "build", "--no-isolation", "--outdir")
    run(*command, folder / "dist", ROOT, cwd=folder)
    run(*command, folder / "tree", "--wheel", ROOT, cwd=folder)
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    (wheel_of_tree,) = (folder / "tree").glob("*.whl")
    return Distributions(sdist=sdist, wheel=wheel, wheel_of_tree=wheel_of_tree)


def make_environment(folder: Path, *arguments: str | Path, python: str = sys.executable) -> Path:
    """Make an environment in `folder` and install into it.

    Args:
        folder: Where; must not exist.
        arguments: What `uv pip install` is given.
        python: Its interpreter.

    Returns:
        The interpreter of the environment.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    run(UV, "venv", "--quiet", "--python", python, folder, cwd=folder.parent)
    inside = folder / "bin/python"
    run(UV, "pip", "install", "--quiet", "--python", inside, *arguments, cwd=folder)
    return inside


def copy_suite(folder: Path) -> Path:
    """Copy the tests of the public API, and the data that they read, to where no source is."""
    for name in SUITE:
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.lock")
        )
    (folder / "pytest.ini").write_text(PYTEST_INI, encoding="utf-8")
    return folder


def run_suite(python: Path, folder: Path) -> str:
    """Run the copied suite against the wheel in an environment; return what pytest said.

    Warnings are errors from the first import on, as programs have it that use Servo.
    """
    strict = ("-W", "error", "-X", "warn_default_encoding")
    return run(
        *(python, *strict, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/public_api"),
        cwd=folder,
        SERVO_EXPECTED_ORIGIN="wheel",
    )
