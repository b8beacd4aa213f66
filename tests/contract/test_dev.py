"""scripts/dev: the verbs, a cheap setup, and the gates of `check`."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from _check import GATES, Gate, main

ROOT = Path(__file__).resolve().parents[2]
VERBS = ["setup", "demo", "test", "check", "regen", "bench", "docs", "lock", "release"]
GOOD = Gate("good", (sys.executable, "-c", ""), "always passes")
BAD = Gate("bad", (sys.executable, "-c", "raise SystemExit(3)"), "never passes")
LATER = Gate("later", (sys.executable, "-c", "print('was here')"), "says so")


def dev(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(root / "scripts/dev"), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree whose environment is up to date, as far as anybody can tell."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/dev", tmp_path / "scripts/dev")
    (tmp_path / "requirements.lock").write_text("click==8.2.0 \\\n", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    made_from = b"".join(
        (tmp_path / name).read_bytes()
        for name in ("requirements.lock", "pyproject.toml", "scripts/dev")
    )
    stamp = f"{hashlib.sha256(made_from).hexdigest()}  -\n"
    (tmp_path / ".venv/.servo-setup").write_text(stamp, encoding="utf-8")
    return tmp_path


def test_help_has_one_line_for_each_verb() -> None:
    done = dev(ROOT, "help")
    assert done.returncode == 0
    assert re.findall(r"^  (\w+) +\w", done.stdout, flags=re.MULTILINE) == VERBS


def test_an_unknown_verb_is_refused_with_the_help() -> None:
    done = dev(ROOT, "deploy")
    assert done.returncode == 1
    assert "unknown verb 'deploy'" in done.stderr
    assert "usage: scripts/dev" in done.stderr


def test_setup_does_nothing_when_nothing_changed(tree: Path) -> None:
    done = dev(tree, "setup")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_setup_installs_again_when_an_input_changed(tree: Path, name: str) -> None:
    with (tree / name).open("a", encoding="utf-8") as file:
        file.write("\n")
    done = dev(tree, "setup")
    assert done.returncode == 1  # there is no uv in this environment
    assert "Installing 1 packages" in done.stdout
    assert "the locked packages could not be installed" in done.stderr


def test_a_setup_that_failed_is_not_taken_for_done(tree: Path) -> None:
    (tree / "pyproject.toml").write_text("", encoding="utf-8")
    dev(tree, "setup")
    assert not (tree / ".venv/.servo-setup").exists()


def test_check_stops_at_the_first_gate_that_fails(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([], gates=(GOOD, BAD, LATER)) == 1
    said = capfd.readouterr().out
    assert "bad: FAILED (exit 3)" in said
    assert re.search(r"later +not run", said)
    assert "was here" not in said


def test_check_runs_every_gate_with_keep_going_and_still_fails(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(["--keep-going"], gates=(BAD, LATER)) == 1
    assert "was here" in capfd.readouterr().out


def test_check_runs_only_the_gates_that_are_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["later"], gates=(BAD, LATER)) == 0
    assert "bad" not in capfd.readouterr().out


def test_check_refuses_a_gate_that_it_does_not_have(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["speed"], gates=(GOOD,))
    assert caught.value.code == 2
    assert "speed" in capsys.readouterr().err


def test_generated_code_is_checked_before_the_tests_run() -> None:
    names = [gate.name for gate in GATES]
    assert names.index("generated") < names.index("tests") < names.index("distributions")
