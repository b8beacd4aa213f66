"""A disk that fills while a table is written: a small tmpfs, in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from servo_project import ServoProject

ASSETS = """
import os
from servo import asset, row_count

@asset(checks=[row_count(min_rows=1)], max_retries=0)
def table(ctx):
    rows = int(ctx.config.get("rows", "10"))
    return [{"text": os.urandom(500).hex()} for _ in range(rows)]
"""

# The database and its log take a part of it; 60,000 rows take 30 MB.
STORY = """
set -eu
mount -t tmpfs -o size=24m tmpfs .servo
servo() { "$PYTHON" -m servo.cli.main "$@"; }
servo run raw.table --json >small.json
cp -r .servo/data before
set +e
servo run raw.table --config rows=60000 --json >big.json 2>big.err
echo $? >big.code
set -e
cp -r .servo/data after
servo run raw.table --config rows=20 --json >again.json
servo asset show raw.table --json >shown.json
# The background host uses the disk until it has gone.
while [ -e .servo/server.json ]; do sleep 0.1; done
"""


@pytest.mark.slow
def test_a_table_that_fills_the_disk_fails_its_task_and_harms_nothing(
    project: ServoProject,
) -> None:
    project.write("assets/raw.py", ASSETS)
    (project.root / ".servo").mkdir(exist_ok=True)
    # Root may mount as it is; anybody else may in a user namespace.
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-r", "--mount"]
    done = subprocess.run(
        [*namespace, "bash", "-c", STORY],
        cwd=project.root,
        env=project.environment({"PYTHON": sys.executable}),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    def document(name: str) -> dict[str, object]:
        found: dict[str, object] = json.loads((project.root / name).read_text())
        return found

    assert document("small.json")["state"] == "RUN_STATE_SUCCEEDED"
    assert (project.root / "big.code").read_text().strip() == "1"
    failed = document("big.json")
    assert failed["state"] == "RUN_STATE_FAILED"
    assert "No space left on device" in json.dumps(failed)
    assert files(project.root / "before") == files(project.root / "after")
    assert document("again.json")["state"] == "RUN_STATE_SUCCEEDED"
    assert '"rowCount": "20"' in json.dumps(document("shown.json"))


MANY = """
from servo import StaticDimension, asset

@asset(partitions=StaticDimension("k", values=[str(number) for number in range(400)]))
def many(ctx):
    print("x" * 200)
    return [{"a": 1}]
"""

# The tables lie elsewhere: it is the database that has no room.
SILENCE = """
set -u
mkdir -p tables
mount -t tmpfs -o size=3m tmpfs .servo
ln -s "$PWD/tables" .servo/data
servo() { "$PYTHON" -m servo.cli.main "$@"; }
servo deploy --no-verify
servo run raw.many --partition k=1 >first.out || exit 1
dd if=/dev/zero of=.servo/fill bs=1k 2>/dev/null
dd if=/dev/zero of=.servo/fill bs=1 oflag=append conv=notrunc 2>/dev/null
servo run raw.many --all-partitions >run.out 2>run.err &
following=$!
for _ in $(seq 60); do
  sleep 1
  servo status latest >status.out 2>&1
  grep -q "no space left for the database" run.out run.err && break
done
servo status latest >status.out 2>&1
servo why latest >why.out 2>&1
rm .servo/fill
kill $following
wait $following
# What was asked for before is done now, or can be asked for again.
servo run raw.many --partition k=2 >again.out 2>&1 || exit 2
servo cancel latest >/dev/null 2>&1
servo db check >check.out 2>&1 || exit 3
while [ -e .servo/server.json ]; do servo cancel latest >/dev/null 2>&1; sleep 0.3; done
"""


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_disk_without_room_for_the_database_is_named_where_the_user_looks(
    project: ServoProject,
) -> None:
    project.write("assets/raw.py", MANY)
    (project.root / ".servo").mkdir(exist_ok=True)
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-r", "--mount"]
    done = subprocess.run(
        [*namespace, "bash", "-c", SILENCE],
        cwd=project.root,
        env=project.environment({"PYTHON": sys.executable}),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    def said(*names: str) -> str:
        return "".join((project.root / name).read_text() for name in names)

    assert done.returncode == 0, f"{done}\n{said('first.out')}"
    # Either the run could not be asked for at all, or it waits: both name the reason.
    assert "no space left for the database" in said("run.out", "run.err")
    if "waits" in said("run.out", "run.err"):
        assert "no space left for the database" in said("status.out")
        assert "no space left for the database" in said("why.out")


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its contents."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
