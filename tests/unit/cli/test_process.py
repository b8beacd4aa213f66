"""Standard streams, and how commands end, whatever the modules of the project do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import servo
from servo_project import is_alive

ASSET = "from servo import asset\n@asset\ndef one(ctx): return [{'a': 1}]\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "servo.toml").touch()
    (tmp_path / "assets" / "a.py").write_text(ASSET)
    return tmp_path


def servo_command(
    root: Path, *arguments: str, program: str = "servo.cli.main", redirect: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command as a shell does that redirects its streams."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("SERVO_", "COVERAGE"))}
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-m", program, *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environ | {"PYTHONPATH": str(Path(servo.__file__).parents[1])} | more,
    )


NOISE = """
import os, subprocess, atexit, threading
subprocess.run(["echo", "of a child"])
os.write(1, b"of C\\n")
print("of Python")
atexit.register(lambda: os.write(1, b"at exit\\n"))
late = subprocess.Popen(["sh", "-c", "sleep 0.2; echo of a late child"])
"""


@pytest.mark.parametrize("arguments", [["validate", "--json"], ["asset", "list", "--json"]])
def test_json_is_one_document_whatever_modules_write(root: Path, arguments: Sequence[str]) -> None:
    (root / "assets" / "a.py").write_text(NOISE + ASSET)
    done = servo_command(root, *arguments)
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    assert "of a child" in done.stderr
    assert "at exit" in done.stderr


def test_what_people_read_has_nothing_of_what_modules_write_when_they_are_imported(
    root: Path,
) -> None:
    (root / "assets" / "a.py").write_text(NOISE + ASSET)
    done = servo_command(root, "validate")
    assert (
        done.stdout.splitlines()[0]
        == f"{root.name} is in order: 1 asset (0 partitioned), 0 checks."
    )
    assert "of C" not in done.stdout
    assert "of C" in done.stderr


@pytest.mark.parametrize(
    "left",
    [
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\n",
        "import atexit, time\natexit.register(time.sleep, 600)\n",
        "from concurrent.futures import ProcessPoolExecutor as P\np = P(1); p.submit(abs, 1)\n",
    ],
    ids=["thread", "exit handler", "pool"],
)
@pytest.mark.parametrize("program", ["servo.cli.main", "servo.cli.gen"])
def test_a_command_ends_whatever_a_module_has_left_running(
    root: Path, left: str, program: str
) -> None:
    (root / "assets" / "a.py").write_text(left + ASSET)
    arguments = ["validate"] if program == "servo.cli.main" else ["manifest", "--no-frozen"]
    began = time.monotonic()
    done = servo_command(root, *arguments, program=program)
    assert (done.returncode, done.stderr) == (0, "")
    assert "one" in done.stdout or "1 asset" in done.stdout
    assert time.monotonic() - began < 45


def test_exit_handlers_of_a_module_are_called_also_behind_a_thread_that_stays(root: Path) -> None:
    (root / "assets" / "a.py").write_text(
        "import atexit, threading, time\n"
        "atexit.register(lambda: open('called', 'w').close())\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n" + ASSET
    )
    assert servo_command(root, "validate").returncode == 0
    assert (root / "called").exists()


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["validate"], ["validate", "--json"], ["--help"]])
def test_a_full_standard_output_is_one_line_and_74(
    root: Path, arguments: list[str], unbuffered: str
) -> None:
    done = servo_command(root, *arguments, redirect=">/dev/full", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 74
    assert done.stderr.count("\n") == 1
    assert "standard output cannot be written: No space left on device" in done.stderr


def test_a_full_standard_output_ends_servo_gen_likewise(root: Path) -> None:
    arguments = ["manifest", "--no-frozen"]
    done = servo_command(root, *arguments, program="servo.cli.gen", redirect=">/dev/full")
    assert (done.returncode, done.stderr.count("\n")) == (74, 1)


@pytest.mark.parametrize("redirect", [">&-", ">&- 2>&-", "<&- >&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_a_closed_stream_counts_as_none(root: Path, redirect: str) -> None:
    for arguments in (["validate"], ["validate", "--json"]):
        done = servo_command(root, *arguments, redirect=redirect)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_wrong_usage_keeps_its_code_where_it_cannot_be_said(root: Path) -> None:
    assert servo_command(root, "nope", redirect="2>/dev/full").returncode == 2
    assert servo_command(root, "nope", redirect=">&- 2>&-").returncode == 2


def test_an_interrupted_import_names_the_file(root: Path) -> None:
    (root / "assets" / "b.py").write_text("raise KeyboardInterrupt")
    done = servo_command(root, "validate")
    assert done.returncode == 130
    assert done.stderr.lstrip() == "Interrupted.\nIt was importing assets/b.py.\n"


@pytest.mark.parametrize("program", ["servo.cli.main", "servo.cli.gen"])
def test_the_processes_of_a_pool_end_with_the_command(root: Path, program: str) -> None:
    (root / "assets" / "a.py").write_text(
        "import os\nfrom concurrent.futures import ProcessPoolExecutor\n"
        "pool = ProcessPoolExecutor(1)\n"
        "open('child', 'w').write(str(pool.submit(os.getpid).result()))\n" + ASSET
    )
    arguments = ["validate"] if program == "servo.cli.main" else ["manifest", "--no-frozen"]
    assert servo_command(root, *arguments, program=program).returncode == 0
    assert not is_alive(int((root / "child").read_text()))
