"""What ``servo dev`` prints of runs and workers."""

from __future__ import annotations

import shlex
import signal

from servo_project import ServoProject, wait_until

ASSETS = """
from servo import StaticDimension, asset

@asset
def good(ctx):
    return [{"a": 1}]

@asset(max_retries=1, retry_delay_seconds=1)
def bad(ctx):
    raise ValueError("boom \\x1b[31m red")

@asset(partitions=StaticDimension("k", values=[f"v {n}" for n in range(300)]), max_retries=0)
def many(ctx):
    raise ValueError("odd")
"""


def test_dev_prints_a_line_when_a_worker_is_ready_and_when_a_run_starts_fails_and_ends(
    project: ServoProject,
) -> None:
    project.write("assets/a.py", ASSETS)
    dev = project.start("dev")
    wait_until(lambda: project.server is not None, "dev serves")
    good = project.ok("run", "a.good", "--json").json["runId"]
    bad = project.run("run", "a.bad", "--json").json["runId"]
    many = project.run("run", "a.many", "--all-partitions", "--json").json["runId"]
    other = project.ok("run", "a.good", "--json", SERVO_WORKSPACE_ID="w2").json["runId"]
    command = f"servo logs {many} --task 'a.many[k="
    printed = project.run("logs", bad, "--task", "a.bad")
    dev.send_signal(signal.SIGINT)
    lines = project.finish(dev).out.splitlines()
    text = "\n".join(lines)
    assert "● A worker is ready." in lines
    assert f"▶ run {good} started: 1 task of a.good" in lines
    assert any(line.startswith(f"✓ run {good} succeeded in ") for line in lines)
    failed = [line for line in lines if line.startswith(f"✗ run {bad}: a.bad failed")]
    assert " failed in attempt 1 of 2, next attempt in " in failed[0]
    assert ": ValueError: boom \\x1b[31m red; servo logs " in failed[0]
    # The first failure teaches, the second one has its line.
    assert text.count("    at assets/a.py:10, in bad") == 1
    assert f"    To stop the run: servo cancel {bad}" in lines
    assert failed[1].endswith(f"; servo logs {bad} --task a.bad")
    assert "boom" in printed.out
    assert f"0 of 1 task succeeded; servo status {bad}" in text
    assert f"▶ w2: run {other} started: 1 task of a.good" in lines
    # However many tasks a run has.
    of_many = [line for line in lines if many in line]
    assert len(of_many) == 6
    assert shlex.split(of_many[1][of_many[1].index(command) :])[-1].startswith("a.many[k=v ")
    assert "0 of 300 tasks succeeded" in of_many[-1]
    assert "\x1b" not in text
