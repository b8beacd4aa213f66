"""The worker calls by the rules of the client: encrypted, or on its own machine."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client_kit import KEY, Script, scripted_plane
from plane_kit import Caller, plane
from servo import errors
from servo.client import Tls, TokenFile
from servo.controlplane.serve import ControlPlane
from servo.types.access import Role
from servo.types.assets import AssetDefinition, CodeLocation
from servo.types.ids import Ulid
from servo.types.keys import AssetKey
from servo.types.runs import RunState
from servo.worker.worker import Worker, WorkerConfig
from servo_project import ServoProject
from tls_kit import Authority


async def connect(config: WorkerConfig, script: Script) -> None:
    """Run a worker until it has opened its session."""
    worker = Worker(config)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(30):
        while not script.headers:
            await asyncio.sleep(0.02)
    worker.kill()
    await running


def test_a_workers_key_is_never_sent_in_plain_text_to_another_machine(tmp_path: Path) -> None:
    config = WorkerConfig(url="grpc://192.0.2.1:7433", api_key="s3cret", project=tmp_path)
    with pytest.raises(errors.ConfigurationError, match="in plain text"):
        Worker(config)


def test_a_worker_shows_its_certificate_and_trusts_the_authority_it_is_given(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path / "tls")
    with scripted_plane(tmp_path, tls=authority.server(mutual=True)) as script:
        config = WorkerConfig(
            url=script.grpc_url,
            api_key=KEY,
            tls=Tls(ca=authority.ca, cert=authority.client_cert, key=authority.client_key),
            project=tmp_path,
            slots=1,
        )
        asyncio.run(connect(config, script))
    assert script.headers[0]["x-servo-source"] == "worker"


def test_a_worker_does_not_go_on_with_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    with scripted_plane(tmp_path, tls=Authority(tmp_path / "tls").server()) as script:
        config = WorkerConfig(
            url=script.grpc_url,
            api_key=KEY,
            tls=Tls(ca=Authority(tmp_path / "other").ca),
            project=tmp_path,
            slots=1,
        )
        with pytest.raises(errors.ConfigurationError, match="is not trusted"):
            asyncio.run(Worker(config).run())
    assert script.headers == []


# -- the session goes through the interceptors of the client ----------------------------------

CODE = """
import time
from pathlib import Path

from servo import asset

@asset(namespace="raw")
def events(ctx):
    Path("begun").touch()
    while Path("hold").exists():
        time.sleep(0.01)
    return [{"n": 1}]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "code_of_the_rotating_worker.py").write_text(CODE)
    return tmp_path


@pytest.fixture
def definition(project: Path, monkeypatch: pytest.MonkeyPatch) -> AssetDefinition:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2] / "src"))
    return AssetDefinition(
        AssetKey("raw", "events"), code=CodeLocation("code_of_the_rotating_worker", "events")
    )


async def until(condition: Callable[[], bool], running: asyncio.Task[None]) -> None:
    async with asyncio.timeout(60):
        while not condition() and not running.done():
            await asyncio.sleep(0.02)
    assert condition(), running


async def run_once(caller: Caller) -> RunState:
    return await end_of((await caller.create_run("raw.events")).run.run_id, caller)


async def end_of(run_id: str, caller: Caller) -> RunState:
    await caller.watch(run_id)
    run = await caller.get_run(run_id)
    assert [task.attempt for task in run.tasks] == [1]
    return run.state


async def new_key(served: ControlPlane) -> tuple[str, str]:
    key, text = await served.keys.create(
        tenant_id="default", workspace_id="default", role=Role.WORKER
    )
    return key.key_id, text


async def revoke(served: ControlPlane, key_id: str) -> None:
    await served.keys.revoke("default", "default", key_id)


def test_a_worker_goes_on_with_the_new_key_of_its_file_when_the_old_one_is_revoked(
    project: Path, definition: AssetDefinition
) -> None:
    async def story() -> None:
        async with plane(project) as (served, caller):
            await caller.deploy([definition])
            first_id, first = await new_key(served)
            path = project / "key"
            path.write_text(f"{first}\n")
            config = WorkerConfig(url=caller.url, api_key=TokenFile(path), project=project, slots=1)
            worker = Worker(config)
            running = asyncio.create_task(worker.run())
            await until(lambda: served.connected_workers == 1, running)
            (project / "hold").touch()
            under_way = (await caller.create_run("raw.events")).run.run_id
            await until((project / "begun").exists, running)
            _, second = await new_key(served)
            path.write_text(f"{second}\n")
            await revoke(served, first_id)
            await until(lambda: served.connected_workers == 0, running)
            await until(lambda: served.connected_workers == 1, running)
            (project / "hold").unlink()
            assert await end_of(under_way, caller) is RunState.SUCCEEDED
            assert await run_once(caller) is RunState.SUCCEEDED
            worker.kill()
            await running

    asyncio.run(asyncio.wait_for(story(), 100))


def test_the_command_reads_the_key_file_again_for_each_session(project: Path) -> None:
    servo = ServoProject(project)
    servo.write("pyproject.toml", "[tool.servo]\n")
    servo.write("assets/events.py", CODE)
    path = project / "key"

    async def story() -> None:
        async with plane(project) as (served, caller):
            first_id, first = await new_key(served)
            path.write_text(first)
            environ = {"SERVO_API_URL": caller.url, "SERVO_API_KEY_FILE": str(path)}
            process = await asyncio.to_thread(servo.start, "worker", "--slots", "1", **environ)

            async def until_connected(number: int) -> None:
                async with asyncio.timeout(60):
                    while served.connected_workers != number and process.poll() is None:
                        await asyncio.sleep(0.02)
                assert served.connected_workers == number

            await until_connected(1)
            path.write_text((await new_key(served))[1])
            await revoke(served, first_id)
            await until_connected(0)
            await until_connected(1)
            process.terminate()
            assert await asyncio.to_thread(process.wait, 60) == 0

    try:
        asyncio.run(asyncio.wait_for(story(), 110))
    finally:
        servo.close()


def test_a_worker_waits_for_the_new_key_when_the_old_one_is_revoked_before_it_is_there(
    project: Path, definition: AssetDefinition, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "servo.worker")

    async def story() -> None:
        async with plane(project) as (served, caller):
            await caller.deploy([definition])
            first_id, first = await new_key(served)
            path = project / "key"
            path.write_text(first)
            config = WorkerConfig(url=caller.url, api_key=TokenFile(path), project=project, slots=1)
            worker = Worker(config)
            running = asyncio.create_task(worker.run())
            await until(lambda: served.connected_workers == 1, running)
            await revoke(served, first_id)
            await until(lambda: "was revoked; ask for a new one" in caplog.text, running)
            path.unlink()
            await until(lambda: "cannot be read" in caplog.text, running)
            path.write_text((await new_key(served))[1])
            await until(lambda: served.connected_workers == 1, running)
            assert await run_once(caller) is RunState.SUCCEEDED
            worker.kill()
            await running

    asyncio.run(asyncio.wait_for(story(), 100))
    refused = [record for record in caplog.records if "was revoked; ask" in record.getMessage()]
    assert {record.levelname for record in refused} == {"WARNING"}
    assert all(Ulid(record.__dict__["request_id"]) for record in refused)
    assert "servo_" not in caplog.text


@pytest.mark.parametrize("source", ["text", "file"])
def test_a_worker_whose_first_key_is_wrong_ends_at_once(project: Path, source: str) -> None:
    path = project / "key"
    path.write_text("wrong")
    api_key = TokenFile(path) if source == "file" else "wrong"

    async def story() -> None:
        async with plane(project) as (_, caller):
            config = WorkerConfig(url=caller.url, api_key=api_key, project=project, slots=1)
            with pytest.raises(errors.UnauthenticatedError, match="missing or wrong") as caught:
                await Worker(config).run()
            assert Ulid(caught.value.request_id)

    asyncio.run(asyncio.wait_for(story(), 100))


def test_a_worker_with_a_key_of_its_own_ends_when_that_is_revoked(
    project: Path, definition: AssetDefinition
) -> None:
    async def story() -> None:
        async with plane(project) as (served, caller):
            key_id, text = await new_key(served)
            config = WorkerConfig(url=caller.url, api_key=text, project=project, slots=1)
            running = asyncio.create_task(Worker(config).run())
            await until(lambda: served.connected_workers == 1, running)
            await revoke(served, key_id)
            with pytest.raises(errors.UnauthenticatedError):
                await running

    asyncio.run(asyncio.wait_for(story(), 100))


def test_each_session_says_who_it_is_and_has_an_id_of_its_own(tmp_path: Path) -> None:
    async def story(script: Script) -> None:
        config = WorkerConfig(
            url=script.grpc_url, api_key=KEY, tenant_id="acme", project=tmp_path, slots=1
        )
        worker = Worker(config)
        running = asyncio.create_task(worker.run())
        await until(lambda: len(script.headers) >= 3, running)
        worker.kill()
        await running

    with scripted_plane(tmp_path) as script:
        # A session that ends at once is opened again.
        script.answers["OpenSession"] = lambda _: []
        asyncio.run(asyncio.wait_for(story(script), 100))
    found = script.headers
    assert {(one["x-servo-source"], one["x-servo-tenant-id"]) for one in found} == {
        ("worker", "acme")
    }
    assert len({one["x-servo-request-id"] for one in found}) == len(found)


def test_a_control_plane_that_asks_for_a_pause_gets_it(tmp_path: Path) -> None:
    def refuse(_: Any) -> Any:
        raise errors.UnavailableError("no leader yet", retry_after=0.6)

    async def story(script: Script) -> None:
        worker = Worker(WorkerConfig(url=script.grpc_url, api_key=KEY, project=tmp_path, slots=1))
        running = asyncio.create_task(worker.run())
        await until(lambda: len(script.headers) >= 1, running)
        began = time.monotonic()
        await until(lambda: len(script.headers) >= 2, running)
        assert time.monotonic() - began >= 0.5
        worker.kill()
        await running

    with scripted_plane(tmp_path) as script:
        script.answers["OpenSession"] = refuse
        asyncio.run(asyncio.wait_for(story(script), 100))
