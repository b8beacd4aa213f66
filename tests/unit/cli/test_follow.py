"""Following a run on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

PROGRAM = """
import os, sys
from servo.cli import _follow, _process
from servo.cli._run_view import RunView
from servo.types.records import Run
from servo.types.runs import RunState

_process.watch_streams()
view = RunView(Run(run_id="r", state=RunState.RUNNING))
with _follow.display(None, view) as display:
    sys.stdout.write("printed, and not yet written")
    print("ready", file=sys.__stderr__, flush=True)
    sys.stdin.readline()
sys.stdout.flush()
print("done", file=sys.__stderr__, flush=True)
_process.leave(129)
"""


def test_what_is_left_for_a_terminal_that_is_gone_goes_nowhere() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        env={"TERM": "xterm", "COLUMNS": "80"},
    )
    os.close(theirs)
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    os.close(ours)
    _, said = process.communicate("go\n", timeout=60)
    assert (said, process.returncode) == ("done\n", 129)
