"""The settings of logging reach the processes that a command starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from servo import errors
from servo.client import Client
from servo_project import ServoProject, wait_until

SETTINGS = '[profiles.cluster.log]\nformat = "json"\nlevel = "info"\n'


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_a_control_plane_logs_refused_calls_with_their_request(project: ServoProject) -> None:
    project.write("servo.toml", SETTINGS)
    project.write(
        "assets/a.py", "from servo import asset\n\n@asset\ndef one(ctx):\n    return [{'x': 1}]\n"
    )
    dev = project.start("--profile", "cluster", "dev")
    wait_until(lambda: project.server, "server.json")
    assert project.server is not None
    with (
        Client(project.server["grpcUrl"], api_key="wrong") as client,
        pytest.raises(errors.UnauthenticatedError) as caught,
    ):
        client.server.info()
    dev.terminate()
    shown = project.finish(dev).err
    found = [one for one in records(shown) if one.get("request_id") == caught.value.request_id]
    assert found, shown
    assert found[0]["logger"].startswith("servo.controlplane")
    assert "wrong" not in shown


def test_a_worker_logs_as_the_settings_say(project: ServoProject, tmp_path: Path) -> None:
    project.write("servo.toml", SETTINGS)
    worker = subprocess.Popen(
        [sys.executable, "-m", "servo.worker", "--url", "grpc://127.0.0.1:9", "--project", "."],
        cwd=project.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=project.environment({"SERVO_PROFILE": "cluster"}),
    )
    project.started.append(worker)
    assert worker.stderr is not None
    (record,) = records(worker.stderr.readline())
    assert (record["level"], record["logger"]) == ("info", "servo.worker")
    assert "not connected to grpc://127.0.0.1:9" in record["message"]
