"""Facts about source files, found by a forked process; that needs a process without threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import servo
from servo.manifest._ahead import FactsAhead
from servo.manifest._source_files import SourceFile

FILLER = "# " + "x" * 78 + "\n"
SOURCE = (
    "from servo import asset, row_count\nimport helper\n\n\n"
    + FILLER * 2000
    + "@asset(\n    checks=[row_count(min_rows=1)],\n)\n"
    + "def one(ctx):\n    '''Doc.'''\n    return 1\n\n\n"
    + "@asset\nasync def two(ctx):\n    return 2\n\n\n"
    + "def plain():\n    return 3\n"
)

PRELUDE = """
import os, sys
from pathlib import Path
from servo.manifest._ahead import FactsAhead
from servo.manifest._source_files import SourceFile
from servo.manifest.module_facts import binary_facts, read_facts
path = Path(sys.argv[1], "assets", "a.py")
helper = Path(sys.argv[1], "helper.py")
ahead = FactsAhead([SourceFile("assets.a", path)], [Path(sys.argv[1])])
"""

SAME = """
with ahead:
    source = path.read_bytes()
    known = ahead.find(str(path), source)
    assert {name for _, name in known.functions} == {"one", "two"}, known
    assert known == read_facts(source)
"""

IMPORTED = """
with ahead:
    assert ahead.find(str(helper), helper.read_bytes()) == read_facts(helper.read_bytes())
"""

CHANGED = """
with ahead:
    assert ahead.find(str(path), path.read_bytes()) is not None
    # As long as before: neither size nor time are enough.
    assert ahead.find(str(path), path.read_bytes().replace(b"return 1", b"return 2")) is None
"""

UNREADABLE = """
path.write_bytes(path.read_bytes() + b"def oops(")
with ahead:
    assert ahead.find(str(path), path.read_bytes()) == binary_facts(path.read_bytes())
"""

NOT_ASKED = """
with ahead:
    pass
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    sys.exit(0)
sys.exit("a process is left")
"""


@pytest.mark.parametrize("story", [SAME, IMPORTED, CHANGED, UNREADABLE, NOT_ASKED])
def test_a_second_process_reads_as_the_first_would(tmp_path: Path, story: str) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "a.py").write_text(SOURCE)
    (tmp_path / "helper.py").write_text("def help():\n    return 1\n")
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + story, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(Path(servo.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_process_with_threads_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(SOURCE)
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    with FactsAhead([SourceFile("a", path)], [tmp_path]) as ahead:
        assert ahead.find(str(path), path.read_bytes()) is None
    done.set()
    thread.join()
