"""What `python -m servo.controlplane` makes of its options and of the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def serve(folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command until it ends by itself."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("SERVO_")}
    return subprocess.run(
        [sys.executable, "-m", "servo.controlplane", *options],
        env=ours | {"PYTHONPATH": str(ROOT / "src")} | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_database_it_says_what_to_set(tmp_path: Path) -> None:
    ended = serve(tmp_path)
    assert ended.returncode == 78
    assert "set --database or SERVO_DATABASE_URL" in ended.stderr


@pytest.mark.parametrize("given", ["option", "variable"])
def test_a_server_that_is_not_there_is_named_without_its_password(
    tmp_path: Path, given: str
) -> None:
    url = "postgresql://user:hidden@127.0.0.1:1/servo"
    if given == "option":
        ended = serve(tmp_path, "--database", url, SERVO_API_KEY="k" * 32)
    else:
        ended = serve(tmp_path, SERVO_DATABASE_URL=url, SERVO_API_KEY="k" * 32)
    assert ended.returncode == 69
    assert "127.0.0.1:1/servo" in ended.stderr
    assert "hidden" not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
