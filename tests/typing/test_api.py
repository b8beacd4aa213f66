"""Type checkers accept the API as users write it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

API = Path(__file__).with_name("api.py")
ROOT = API.parent.parent.parent


@pytest.mark.slow
def test_mypy_accepts_the_api(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(API)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=110, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_accepts_the_api() -> None:
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", str(API)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
