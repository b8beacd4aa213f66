"""Fingerprints computed by a forked process; a process without threads is needed for that."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import servo
from servo.manifest._ahead import FingerprintsAhead

FILLER = "# " + "x" * 78 + "\n"
SOURCE = (
    "from servo import asset, row_count\n\n\n"
    + FILLER * 2000
    + "@asset(\n    checks=[row_count(min_rows=1)],\n)\n"
    + "def one(ctx):\n    '''Doc.'''\n    return 1\n\n\n"
    + "@asset\nasync def two(ctx):\n    return 2\n\n\n"
    + "def plain():\n    return 3\n"
)

PRELUDE = """
import os, sys
from pathlib import Path
from servo.manifest._ahead import FingerprintsAhead
from servo.manifest.discovery import AssetDiscovery
from servo.manifest.fingerprint import fingerprint_all
path = Path(sys.argv[1], "assets", "a.py")
"""

SAME = """
with FingerprintsAhead([path]) as ahead:
    found = [asset.function for asset in AssetDiscovery(sys.argv[1]).discover()]
    known = ahead.find(str(path))
    assert {name for _, name in known} == {"one", "two"}, known
    assert fingerprint_all(found, ahead=ahead) == fingerprint_all(found)
"""

CHANGED = """
with FingerprintsAhead([path]) as ahead:
    assert ahead.find(str(path)) is not None
    path.write_text(path.read_text().replace("return 1", "return 11"))
    assert ahead.find(str(path)) is None
"""

UNREADABLE = """
path.write_bytes(path.read_bytes() + b"def oops(")
with FingerprintsAhead([path]) as ahead:
    assert ahead.find(str(path)) == {}
"""

NOT_ASKED = """
with FingerprintsAhead([path]) as ahead:
    pass
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    sys.exit(0)
sys.exit("a process is left")
"""


@pytest.mark.parametrize("story", [SAME, CHANGED, UNREADABLE, NOT_ASKED])
def test_a_second_process_fingerprints_as_the_first_would(tmp_path: Path, story: str) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "a.py").write_text(SOURCE)
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
    with FingerprintsAhead([path]) as ahead:
        assert ahead.find(str(path)) is None
    done.set()
    thread.join()
