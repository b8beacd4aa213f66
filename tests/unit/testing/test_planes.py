"""A control plane of one's own for a test."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from servo import __version__, errors
from servo.testing import local_plane


def test_a_local_plane_answers_over_both_transports_and_to_both_clients() -> None:
    async def ask_async() -> str:
        async with plane.async_client() as client:
            return (await client.server.info()).servo_version

    with local_plane() as plane:
        with plane.client() as client:
            assert client.server.info().servo_version == __version__
        with plane.client(url=plane.http_url) as client:
            assert client.server.info().servo_version == __version__
        assert asyncio.run(ask_async()) == __version__


def test_a_local_plane_has_a_key_that_does_not_show() -> None:
    with local_plane() as plane:
        assert plane.api_key not in repr(plane)
        with (
            plane.client(api_key="other") as client,
            pytest.raises(errors.UnauthenticatedError),
        ):
            client.server.info()


def test_nothing_of_a_local_plane_is_left() -> None:
    with local_plane() as plane, pytest.raises(RuntimeError, match="of the test"):
        raise RuntimeError("of the test")
    with plane.client(retries=0) as client, pytest.raises(errors.UnavailableError):
        client.server.info()
    assert "servo-local-plane" not in {thread.name for thread in threading.enumerate()}


def test_two_local_planes_know_nothing_of_each_other() -> None:
    with local_plane() as one, local_plane() as other, one.client() as client:
        ids = {client.server.info().store_id}
        with other.client() as second:
            ids.add(second.server.info().store_id)
    assert len(ids) == 2


@pytest.mark.parametrize(
    "ending",
    [
        "",
        "with plane.client() as client: assert client.server.info().ready",
        "import os; child = os.fork() or sys.exit(); os.waitpid(child, 0); "
        "assert os.path.isdir(folder)",
        "raise SystemExit(0)",
    ],
    ids=["at once", "after a call", "with a forked child", "by an exit"],
)
def test_a_local_plane_that_is_never_left_ends_with_its_process(
    ending: str, tmp_path: Path
) -> None:
    script = (
        "import glob, sys\n"
        "from servo.testing import local_plane\n"
        "manager = local_plane()\n"
        "plane = manager.__enter__()\n"
        f"(folder,) = glob.glob({str(tmp_path)!r} + '/servo-plane-*')\n"
        f"{ending}\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        check=False,
        # grpc itself writes a line in a process that forks.
        env={**os.environ, "TMPDIR": str(tmp_path), "GRPC_VERBOSITY": "NONE"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_a_local_plane_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path.joinpath(*["d" * 200] * 4)  # SQLite takes paths of about 500 bytes
    deep.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(errors.ServoError), local_plane():
        pass
    assert list(deep.iterdir()) == []
    assert "servo-local-plane" not in {thread.name for thread in threading.enumerate()}


def test_a_local_plane_that_does_not_start_in_time_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("servo.testing.planes._START_SECONDS", 0.0)
    with pytest.raises(errors.DeadlineError, match="has not started within 0 s"), local_plane():
        pass
    assert "servo-local-plane" not in {thread.name for thread in threading.enumerate()}
