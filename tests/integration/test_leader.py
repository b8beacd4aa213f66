"""One of several control planes schedules, and all of them answer."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import psycopg
import pytest

import postgres_kit
from leader_kit import callers, execute, planes, say, until
from plane_kit import KEY, ScriptedWorker, asset, at_work
from servo import _wire, errors
from servo.client import Client
from servo.controlplane import leader
from servo.controlplane.forward import FORWARDED_HEADER, Relay
from servo.controlplane.serve import ControlPlane, ControlPlaneConfig
from servo.controlplane.store import postgres_connection
from servo.controlplane.store.batch import Batch
from servo.controlplane.store.postgres import PostgresStore
from servo.types.access import Role
from servo.types.events import RunStateChanged
from servo.types.logs import LogBatch, LogLine, LogStream
from servo.types.requests import CancelRunRequest, GetRunRequest, ListRunsRequest, ReadLogsRequest
from servo.types.runs import RunState
from tls_kit import Authority


@pytest.fixture
def url() -> Iterator[str]:
    with postgres_kit.database() as found:
        yield found


def post(url: str, path: str, document: object, key: str = KEY) -> tuple[int, Any, Any]:
    """Call an RPC over HTTP with JSON; return status, document and headers."""
    request = urllib.request.Request(
        url + path,
        json.dumps(document).encode(),
        {"content-type": "application/json", "authorization": f"Bearer {key}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response), response.headers
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, json.load(exc), exc.headers


@execute
async def test_every_control_plane_answers_and_one_schedules(url: str) -> None:
    async with planes(url, 3) as served, callers(*served) as (_, second, third):
        assert [plane.is_scheduling for plane in served] == [True, False, False]
        await second.deploy([asset("raw.a"), asset("raw.b", "raw.a")])
        async with at_work(ScriptedWorker(third)):
            run = (await second.create_run("*")).run
            events = await third.watch(run.run_id)
        assert (await second.get_run(run.run_id)).state is RunState.SUCCEEDED
        assert [event.sequence for event in events] == list(range(2, len(events) + 2))


@execute
async def test_an_error_of_the_leader_arrives_as_it_was(url: str) -> None:
    async with planes(url, 2) as served, callers(*served) as both:
        found = []
        for caller in both:
            with pytest.raises(errors.NotFoundError) as missing:
                await caller.get_run("01ARZ3NDEKTSV4RRFFQ69G5FAV")
            found.append((missing.value.code, str(missing.value), missing.value.context))
        assert found[0] == found[1]
        statuses = []
        for caller in both:
            method = _wire.methods.READ_LOGS
            request = method.encode_request(ReadLogsRequest(run_id="01ARZ3NDEKTSV4RRFFQ69G5FAV"))
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await caller.channel.unary_stream(method.path)(
                    request, metadata=caller.metadata
                ).read()
            trailing = dict(ended.value.trailing_metadata() or ())
            statuses.append((ended.value.code(), ended.value.details(), trailing))
        assert statuses[0] == statuses[1]
        assert _wire.DETAILS_KEY in statuses[0][2]


@execute
async def test_who_may_call_is_settled_by_the_leader(url: str) -> None:
    async with planes(url, 2) as served:
        _, text = await served[0].keys.create(
            tenant_id="default", workspace_id="*", role=Role.VIEWER
        )
        follower = served[1]
        async with callers(follower) as (owner,):
            await owner.deploy([asset("raw.a")])
        async with callers(follower, key=text) as (viewer,):
            await viewer.call(_wire.methods.LIST_RUNS, ListRunsRequest())
            with pytest.raises(errors.PermissionDeniedError):
                await viewer.create_run("raw.a")
        async with callers(follower, key="wrong") as (nobody,):
            with pytest.raises(errors.UnauthenticatedError):
                await nobody.call(_wire.methods.LIST_RUNS, ListRunsRequest())
        status, said, _ = await asyncio.to_thread(
            post, follower.http_url, "/arco.v1.RunService/ListRuns", {}, "wrong"
        )
        assert (status, said["code"]) == (401, "unauthenticated")


@execute
async def test_the_caller_s_tenant_travels_along(url: str) -> None:
    async with (
        planes(url, 2) as served,
        callers(served[1], tenant_id="acme", workspace_id="sales") as (acme,),
        callers(served[1]) as (other,),
    ):
        await acme.deploy([asset("raw.a")])
        await other.deploy([asset("raw.z")])
        run = (await acme.create_run("raw.a")).run
        with pytest.raises(errors.NotFoundError):
            await other.get_run(run.run_id)


@execute
async def test_http_and_streams_of_it_are_passed_on_too(url: str) -> None:
    async with planes(url, 2) as served, callers(served[0]) as (caller,):
        await caller.deploy([asset("raw.a")])
        async with at_work(ScriptedWorker(caller)):
            run = (await caller.create_run("raw.a")).run
            http_url = served[1].http_url
            status, said, _ = await asyncio.to_thread(
                post, http_url, "/arco.v1.RunService/GetRun", {"runId": run.run_id}
            )
            assert (status, said["run"]["runId"]) == (200, run.run_id)
            with Client(http_url, api_key=KEY) as client:
                events = await asyncio.to_thread(lambda: list(client.runs.watch(run.run_id)))
        assert [each.sequence for each in events if each.sequence] == list(
            range(2, 2 + len([each for each in events if each.sequence]))
        )
        status, said, _ = await asyncio.to_thread(
            post, http_url, "/arco.v1.RunService/GetRun", {"runId": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}
        )
        assert (status, said["code"]) == (404, "not_found")


@execute
async def test_without_a_leader_callers_are_told_when_to_come_back(url: str) -> None:
    """A migration, or a leader that is just coming up, holds the lock."""
    holder = await asyncio.to_thread(psycopg.connect, url, autocommit=True)
    with holder:
        assert postgres_connection.take_lead(holder)
        async with planes(url, 1) as (only,), callers(only) as (caller,):
            assert not only.is_scheduling
            with pytest.raises(errors.UnavailableError) as refused:
                await caller.call(_wire.methods.LIST_RUNS, ListRunsRequest())
            assert refused.value.code == "NO_LEADER"
            assert refused.value.retry_after == 1
            status, _, headers = await asyncio.to_thread(
                post, only.http_url, "/arco.v1.RunService/ListRuns", {}
            )
            assert (status, headers["retry-after"]) == (503, "1")
            ready = await asyncio.to_thread(_status, only.http_url + "/readyz")
            assert ready == 503
            assert await asyncio.to_thread(_status, only.http_url + "/healthz") == 200
            holder.close()
            await until(lambda: only.is_scheduling)
            await caller.call(_wire.methods.LIST_RUNS, ListRunsRequest())


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code


@execute
async def test_a_leader_that_stops_hands_over_at_once(url: str) -> None:
    async with planes(url, 2) as served, callers(*served) as (_, follower):
        await follower.deploy([asset("raw.a")])
        await served[0].stop()
        await until(lambda: served[1].is_scheduling)
        assert (await follower.create_run("raw.a")).created
        expected = [(2, served[1].grpc_url)]
        await until(lambda: say(url, "SELECT epoch, address FROM leader") == expected)


@execute
async def test_a_leader_whose_lock_is_gone_steps_down_and_may_lead_again(url: str) -> None:
    async with planes(url, 1) as (only,), callers(only) as (caller,):
        await caller.deploy([asset("raw.a"), asset("raw.b", "raw.a")])
        worker = ScriptedWorker(caller, lambda _: None)
        async with at_work(worker):
            run = (await caller.create_run("*")).run
            await worker.until(lambda: bool(worker.dispatches))
            lost = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            await asyncio.to_thread(say, url, lost)
            await until(lambda: not only.is_scheduling)
            await until(lambda: only.is_scheduling)
        assert await asyncio.to_thread(say, url, "SELECT epoch FROM leader") == [(2,)]
        # The lease of the attempt that was under way still holds.
        (lease,) = (message.lease for message in worker.dispatches)
        async with at_work(ScriptedWorker(caller, worker_id=worker.worker_id), leases=(lease,)) as (
            again
        ):
            again.send(*_finished(worker))
            await caller.watch(run.run_id)
        assert (await caller.get_run(run.run_id)).state is RunState.SUCCEEDED


def _finished(worker: ScriptedWorker) -> tuple[Any, ...]:
    from plane_kit import succeed
    from servo.types.sessions import AttemptFinished, CreditGrant

    (dispatch,) = worker.dispatches
    done = AttemptFinished(lease=dispatch.lease, outcome=succeed(dispatch))
    return (done, CreditGrant(attempts=1))


def test_a_leader_that_is_busy_for_long_is_not_taken_for_one_that_hangs(url: str) -> None:
    """Planning, or reading back a large state, may keep the event loop from everything else.

    The others go by when the leader's connection last said something. It is busy here until that
    has changed several times, however slow the machine is.
    """

    async def body() -> None:
        async with planes(url, 2) as served:
            heard = set()
            gives_up = time.monotonic() + 40
            with psycopg.connect(url, autocommit=True) as watch:
                while len(heard) < 6 and time.monotonic() < gives_up:
                    heard.update(watch.execute(LAST_WORD).fetchall())
                    busy_until = time.monotonic() + leader.PULSE / 4
                    while time.monotonic() < busy_until:
                        pass
            assert len(heard) == 6
            await asyncio.sleep(leader.PULSE)
            assert served[0].is_scheduling
            assert await asyncio.to_thread(say, url, "SELECT epoch FROM leader") == [(1,)]

    asyncio.run(asyncio.wait_for(body(), 60))


LAST_WORD = """
SELECT a.state_change FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = 'servo leader'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@execute
async def test_a_leader_that_does_not_know_yet_can_write_nothing(url: str) -> None:
    """Somebody raised the epoch; the lock's connection is well, so nothing else tells."""
    async with planes(url, 1) as (only,), callers(only) as (caller,):
        await caller.deploy([asset("raw.a")])
        await asyncio.to_thread(say, url, "UPDATE leader SET epoch = epoch + 1")
        with pytest.raises(errors.UnavailableError) as refused:
            await caller.create_run("raw.a", run_key="once")
        assert refused.value.code == "NOT_LEADER"
        assert refused.value.retry_after
        await until(lambda: only.is_scheduling and only.active_runs == 0)
        assert await asyncio.to_thread(say, url, "SELECT count(*) FROM runs") == [(0,)]
        await until(lambda: only.is_scheduling)
        assert (await _patiently(lambda: caller.create_run("raw.a", run_key="once"))).created


async def _patiently(call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async with asyncio.timeout(30):
        while True:
            try:
                return await call()
            except errors.UnavailableError:
                await asyncio.sleep(0.05)


def test_an_old_epoch_is_refused_by_the_database_itself(url: str) -> None:
    async def body() -> None:
        old = PostgresStore(url, 0)
        workspace = await old.workspace("t", "w")
        say(url, "UPDATE leader SET epoch = 1")
        for change in (
            lambda: old.write(Batch(pools=[(workspace, "p", 1)])),
            lambda: old.workspace("t", "new"),
        ):
            with pytest.raises(errors.UnavailableError, match="epoch 0") as refused:
                await change()
            assert refused.value.code == "NOT_LEADER"
        assert await old.pools(workspace) == {}
        new = PostgresStore(url, 1)
        await new.write(Batch(pools=[(workspace, "p", 2)]))
        assert await old.pools(workspace) == {"p": 2}
        old.close()
        new.close()

    asyncio.run(body())


def test_raising_the_epoch_waits_for_the_transaction_that_checked_it(url: str) -> None:
    with (
        psycopg.connect(url) as writing,
        psycopg.connect(url, autocommit=True) as taking_over,
    ):
        writing.execute("SELECT hold_epoch(0)")
        taking_over.execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            taking_over.execute("UPDATE leader SET epoch = 1")
        writing.commit()
        taking_over.execute("UPDATE leader SET epoch = 1")
        with pytest.raises(psycopg.DatabaseError) as refused:
            writing.execute("SELECT hold_epoch(0)")
        assert refused.value.sqlstate == postgres_connection.FENCED


@execute
async def test_streams_end_when_the_leader_they_go_to_is_not_the_leader_any_more(url: str) -> None:
    """One that hangs keeps its connections; nobody is to wait for them to break."""
    async with planes(url, 2) as served, callers(*served) as (direct, follower):
        await direct.deploy([asset("raw.a")])
        run = (await direct.create_run("raw.a")).run
        watching = asyncio.create_task(follower.watch(run.run_id))
        http = Client(served[1].http_url, api_key=KEY)
        over_http = asyncio.create_task(
            asyncio.to_thread(lambda: list(http.runs.watch(run.run_id)))
        )
        await until(lambda: served[0].watchers == 2)
        served[1]._follow("")
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await watching
        details = dict(ended.value.trailing_metadata() or ())[_wire.DETAILS_KEY]
        error = _wire.error_from_status(ended.value.code().name, "", details)
        assert (error.code, error.retry_after) == ("NO_LEADER", 1)
        await until(lambda: served[0].watchers == 0)
        # The client over HTTP was told the same, and comes back.
        served[1]._follow(served[0].grpc_url)
        await until(lambda: served[0].watchers == 1)
        await direct.call(_wire.methods.CANCEL_RUN, CancelRunRequest(run_id=run.run_id))
        events = await over_http
        assert isinstance(events[-1].payload, RunStateChanged)
        http.close()


@execute
async def test_a_call_is_passed_on_once_only(url: str) -> None:
    """An address in the database that leads back to a follower is no endless loop."""
    async with planes(url, 2) as served, callers(served[1]) as (caller,):
        caller.metadata = (*caller.metadata, (FORWARDED_HEADER, "1"))
        with pytest.raises(errors.UnavailableError) as refused:
            await caller.call(_wire.methods.LIST_RUNS, ListRunsRequest())
        assert refused.value.code == "NO_LEADER"


@execute
async def test_a_slow_leader_ends_with_the_caller_s_deadline(url: str) -> None:
    """The deadline travels along, and so does giving up."""
    async with planes(url, 2) as served, callers(*served) as (direct, follower):
        await direct.deploy([asset("raw.a")])
        run = (await direct.create_run("raw.a")).run
        method = _wire.methods.WATCH_RUN
        request = method.request_type(run_id=run.run_id)
        call = follower.channel.unary_stream(method.path)(
            method.encode_request(request), metadata=follower.metadata
        )
        await call.read()
        await until(lambda: served[0].watchers == 1)
        call.cancel()
        await until(lambda: served[0].watchers == 0)


@execute
async def test_a_log_is_read_through_a_follower(url: str) -> None:
    async with planes(url, 2) as served, callers(*served) as (direct, follower):
        await direct.deploy([asset("raw.a")])
        worker = ScriptedWorker(follower, lambda _: None)
        async with at_work(worker):
            run = (await direct.create_run("raw.a")).run
            await worker.until(lambda: bool(worker.dispatches))
            (dispatch,) = worker.dispatches
            line = LogLine(number=1, stream=LogStream.STDOUT, text="x" * 100_000)
            worker.send(LogBatch(task_id=dispatch.lease.task_id, attempt=1, lines=(line,)))
            worker.send(*_finished(worker))
            await follower.watch(run.run_id)
        read = [
            line.text
            async for response in follower.stream(
                _wire.methods.READ_LOGS, ReadLogsRequest(run_id=run.run_id)
            )
            for batch in response.batches
            for line in batch.lines
        ]
        assert read == ["x" * 100_000]


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mutual"])
def test_followers_check_the_leader_s_certificate(url: str, tmp_path: Path, mutual: bool) -> None:
    authority = Authority(tmp_path / "tls")
    stranger = Authority(tmp_path / "other")

    async def body() -> None:
        tls = authority.server(mutual=mutual)
        options: dict[str, Any] = {"tls": tls, "peer_ca": authority.ca}
        request = GetRunRequest(run_id="01ARZ3NDEKTSV4RRFFQ69G5FAV")
        credentials = authority.channel_credentials(mutual=mutual)
        async with planes(url, 2, **options) as served:
            async with callers(served[1], credentials=credentials) as (caller,):
                with pytest.raises(errors.NotFoundError):
                    await caller.call(_wire.methods.GET_RUN, request)
            options["peer_ca"] = stranger.ca
            async with (
                planes(url, 1, **options) as (suspicious,),
                callers(suspicious, credentials=credentials) as (caller,),
            ):
                with pytest.raises(errors.UnavailableError):
                    await caller.call(_wire.methods.GET_RUN, request)

    asyncio.run(asyncio.wait_for(body(), 60))


def test_keys_are_not_passed_on_in_plain_text_to_another_machine() -> None:
    async def body() -> None:
        relay = Relay()
        with pytest.raises(errors.ConfigurationError, match="plain text"):
            relay.follow("grpc://plane.example.com:7433")
        assert not relay.is_open
        await relay.close()

    asyncio.run(body())


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"api_key": ""}, "LISTEN_WITHOUT_AUTH"),
        ({"api_key": KEY, "advertise": "0.0.0.0:7433"}, "ADVERTISE_MISSING"),
        ({"api_key": KEY, "advertise": "nowhere"}, "LISTEN_INVALID"),
    ],
)
def test_what_cannot_work_with_several_processes_is_refused_at_the_start(
    url: str, options: dict[str, Any], code: str
) -> None:
    with pytest.raises(errors.ConfigurationError) as refused:
        asyncio.run(ControlPlane(ControlPlaneConfig(database=url, **options)).start())
    assert refused.value.code == code


def test_a_stored_key_is_enough_to_start_without_another(url: str) -> None:
    async def body() -> None:
        async with planes(url, 1) as (served,):
            await served.keys.create(tenant_id="t", workspace_id="*", role=Role.VIEWER)
        again = ControlPlane(ControlPlaneConfig(database=url))
        await again.start()
        await again.stop()

    asyncio.run(body())


@pytest.mark.parametrize(
    "database",
    [
        "postgresql://user:s3cret@127.0.0.1:1/servo",
        "postgresql://user@127.0.0.1:1/servo?password=s3cret",
        "postgresql://user:s3cret@127.0.0.1:not-a-port/servo",
        "postgresql://user:s3cret@127.0.0.1/servo?no_such_option=1",
        "mysql://user:s3cret@127.0.0.1/servo",
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(database: str) -> None:
    with pytest.raises((errors.ConfigurationError, errors.UnavailableError)) as refused:
        asyncio.run(ControlPlane(ControlPlaneConfig(database=database, api_key=KEY)).start())
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert "127.0.0.1" in str(refused.value)
