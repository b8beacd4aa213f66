"""Type checkers accept the API as users write it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

API = Path(__file__).with_name("api.py")
ROOT = API.parent.parent.parent


@pytest.mark.slow
def test_mypy_accepts_the_api(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(API)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=110, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_pyright_accepts_the_api(tmp_path: Path) -> None:
    # A project of its own: pyright includes only files below its configuration.
    (tmp_path / API.name).write_text(API.read_text())
    settings = {"extraPaths": [str(ROOT / "src")], "typeCheckingMode": "strict"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=110, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No source files found" not in done.stdout


def test_ruff_accepts_the_api() -> None:
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", str(API)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
