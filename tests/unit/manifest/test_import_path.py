from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from servo.manifest._import_path import clashes
from servo.manifest.project import Project


def project(root: Path, *files: str) -> Project:
    (root / "assets").mkdir(exist_ok=True)
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("X = 1\n")
    return Project.load(root, environ={})


def test_modules_with_the_name_of_others_are_named(tmp_path: Path) -> None:
    found = clashes(
        project(
            tmp_path, "queue.py", "src/click/__init__.py", "lib.py", "hypothesis.py", "html/x.js"
        )
    )
    assert [(one.path, one.is_shadowed) for one in found] == [
        ("hypothesis.py", False),
        ("queue.py", True),
        ("src/click", True),
    ]
    first, second, third = map(str, found)
    assert first.startswith("hypothesis.py hides the installed library hypothesis")
    assert second.startswith("queue.py cannot be imported: 'queue' is a module of the standard")
    assert "the installed library click" in third


def test_tests_and_set_up_of_a_project_are_no_clash(tmp_path: Path) -> None:
    assert clashes(project(tmp_path, "test/__init__.py", "setup.py", "conftest.py")) == []


def test_a_project_that_is_installed_is_no_clash_with_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = project(tmp_path, "src/mine/__init__.py")
    monkeypatch.syspath_prepend(tmp_path / "src" / ".." / "src")
    assert clashes(found) == []


def test_the_standard_library_comes_before_a_project_and_a_project_before_libraries(
    tmp_path: Path,
) -> None:
    project(tmp_path, "queue.py", "colorsys.py", "hypothesis.py")
    program = (
        "import sys; from pathlib import Path;"
        "from servo.manifest._import_path import import_first;"
        f"root = {str(tmp_path)!r}; import_first([Path(root)]); sys.path.insert(0, root);"
        "import queue, colorsys, hypothesis;"
        "print(queue.Queue, colorsys.rgb_to_hsv, hypothesis.X)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" 1\n")
