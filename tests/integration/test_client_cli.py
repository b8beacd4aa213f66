"""The command line calls as any client does, and continues the trace it was started in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from client_kit import KEY, Wire, scripted_plane

ROOT = Path(__file__).parents[2]
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("wire", ["grpc", "http"])
def test_a_command_carries_its_trace_to_the_control_plane(wire: Wire, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text("[tool.servo]\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SERVO_")}
    with scripted_plane(tmp_path) as script:
        done = subprocess.run(
            [sys.executable, "-m", "servo.cli.main", "status"],
            cwd=project,
            env=kept
            | {
                "PYTHONPATH": str(ROOT / "src"),
                "SERVO_API_URL": script.url(wire),
                "SERVO_API_KEY": KEY,
                "TRACEPARENT": PARENT,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert script.headers, done.stderr
    assert {found["traceparent"] for found in script.headers} == {PARENT}
    assert {found["x-servo-source"] for found in script.headers} == {"cli"}
