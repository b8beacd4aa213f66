from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import servo
from servo.cli import init

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").iterdir())
TEMPLATE = Path(init.__file__).parent / "template"


@pytest.mark.slow
@pytest.mark.parametrize("project", [*EXAMPLES, TEMPLATE], ids=lambda path: path.name)
def test_what_people_copy_is_clean_under_strict_type_checking(
    project: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--explicit-package-bases"),
            *("--config-file", os.devnull, "--cache-dir", str(tmp_path), "assets"),
        ],
        cwd=project,
        env=os.environ | {"MYPYPATH": f"{Path(servo.__file__).parents[1]}:."},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
