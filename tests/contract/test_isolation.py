"""Two tenants on one control plane: what belongs to the other answers like what does not exist.

For every RPC of the method table and every field of its request that can name something, a tenant
asks for a thing of the other tenant, and for one that nobody has. Both answers must be the same
bytes. A new RPC, or a new field of a request, fails here until it says what it can name.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from plane_kit import Caller, ScriptedWorker, asset, at_work, plane
from servo import _wire
from servo._wire import METHODS, methods
from servo._wire.table import row_of
from servo.controlplane.serve import ControlPlane
from servo.types import AssetKey
from servo.types.access import ListKeysRequest, RevokeKeyRequest, Role
from servo.types.blockers import ExplainRequest
from servo.types.logs import LogBatch, LogLine, LogStream
from servo.types.manifests import ManifestContents
from servo.types.pools import ListPoolsRequest, SetPoolRequest
from servo.types.requests import (
    CancelRunRequest,
    CreateRunRequest,
    DeployRequest,
    DiffDeploymentsRequest,
    FindMissingChunksRequest,
    GetAssetRequest,
    GetDeploymentRequest,
    GetRunRequest,
    ListAssetsRequest,
    ListDeploymentsRequest,
    ListMaterializationsRequest,
    ListRunsRequest,
    ReadChunksRequest,
    ReadLogsRequest,
    Rerun,
    UpdateRunRequest,
    UploadChunksRequest,
    WatchEventsRequest,
    WatchRunRequest,
)
from servo.types.sessions import (
    AttemptCancelled,
    AttemptFinished,
    AttemptMetric,
    AttemptStarted,
    Heartbeat,
    Lease,
    OpenSessionRequest,
    WorkerHello,
)

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
WORKER = "01ARZ3NDEKTSV4RRFFQ69G5FAW"


@dataclass(frozen=True, slots=True)
class Things:
    """What can be named in a request."""

    run_id: str
    task_id: str
    deployment_id: str
    asset: str
    run_key: str
    pool: str
    key_id: str
    fingerprint: str
    digest: bytes
    chunk: bytes
    token: int

    def hidden_in(self, answer: bytes) -> bytes:
        """Return an answer with the names of these things blotted out."""
        texts: list[bytes] = [self.digest, self.digest.hex().encode()]
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int):
                texts.append(value if isinstance(value, bytes) else value.encode())
        namespace, _, name = self.asset.partition(".")
        texts += [name.encode(), namespace.encode()]
        for text in sorted(texts, key=len, reverse=True):
            answer = answer.replace(text, b"?" * len(text))
        return answer


def lease(of: Things) -> Lease:
    return Lease(task_id=of.task_id, attempt=1, token=of.token)


def session(*messages: Any) -> OpenSessionRequest:
    return OpenSessionRequest(messages=messages)


HELLO = WorkerHello(worker_id=WORKER, slots=1)
FINISHED = AttemptCancelled(reason="x")
LINE = LogLine(number=1, stream=LogStream.LOG, text="forged")

# For each RPC, by the field that names something: requests that differ only in what they name.
PROBES: dict[str, dict[str, Callable[[Things], Any]]] = {
    methods.DEPLOY.path: {
        "content_fingerprint": lambda of: DeployRequest(
            content_fingerprint=of.fingerprint, header=ManifestContents()
        ),
        "chunk_digests": lambda of: DeployRequest(
            content_fingerprint="f" * 64, header=ManifestContents(), chunk_digests=(of.digest,)
        ),
    },
    methods.FIND_MISSING_CHUNKS.path: {
        "chunk_digests": lambda of: FindMissingChunksRequest(chunk_digests=(of.digest,)),
    },
    methods.UPLOAD_CHUNKS.path: {"chunks": lambda of: UploadChunksRequest(chunks=(of.chunk,))},
    methods.READ_CHUNKS.path: {
        "chunk_digests": lambda of: ReadChunksRequest(chunk_digests=(of.digest,)),
    },
    methods.GET_DEPLOYMENT.path: {
        "deployment_id": lambda of: GetDeploymentRequest(deployment_id=of.deployment_id),
    },
    methods.LIST_DEPLOYMENTS.path: {
        "page_token": lambda of: ListDeploymentsRequest(
            page_token=f"deployments.{of.deployment_id}"
        ),
    },
    methods.DIFF_DEPLOYMENTS.path: {
        "from_deployment_id": lambda of: DiffDeploymentsRequest(
            from_deployment_id=of.deployment_id
        ),
        "to_deployment_id": lambda of: DiffDeploymentsRequest(to_deployment_id=of.deployment_id),
    },
    methods.CREATE_RUN.path: {
        "deployment_id": lambda of: CreateRunRequest(
            selection=("*",), deployment_id=of.deployment_id
        ),
        "selection": lambda of: CreateRunRequest(selection=(of.asset,)),
        # A run that is made has ids of its own; so this one cannot be made, for another reason.
        "run_key": lambda of: CreateRunRequest(selection=("none.such",), run_key=of.run_key),
        "rerun": lambda of: CreateRunRequest(selection=(), rerun=Rerun(run_id=of.run_id)),
    },
    methods.GET_RUN.path: {"run_id": lambda of: GetRunRequest(run_id=of.run_id)},
    methods.LIST_RUNS.path: {
        "page_token": lambda of: ListRunsRequest(page_token=f"runs.{of.run_id}")
    },
    methods.CANCEL_RUN.path: {"run_id": lambda of: CancelRunRequest(run_id=of.run_id)},
    methods.UPDATE_RUN.path: {
        "run_id": lambda of: UpdateRunRequest(run_id=of.run_id, paused=True, priority=7),
    },
    methods.EXPLAIN.path: {
        "run_id": lambda of: ExplainRequest(run_id=of.run_id),
        "task_id": lambda of: ExplainRequest(task_id=of.task_id),
        "asset_key": lambda of: ExplainRequest(asset_key=AssetKey.parse(of.asset)),
    },
    methods.WATCH_RUN.path: {"run_id": lambda of: WatchRunRequest(run_id=of.run_id)},
    methods.WATCH_EVENTS.path: {},
    methods.LIST_ASSETS.path: {
        "selection": lambda of: ListAssetsRequest(selection=(of.asset,)),
    },
    methods.GET_ASSET.path: {
        "key": lambda of: GetAssetRequest(key=AssetKey.parse(of.asset)),
    },
    methods.LIST_MATERIALIZATIONS.path: {
        "key": lambda of: ListMaterializationsRequest(key=AssetKey.parse(of.asset)),
    },
    methods.READ_LOGS.path: {
        "run_id": lambda of: ReadLogsRequest(run_id=of.run_id),
        "task": lambda of: ReadLogsRequest(run_id=OWN_RUN[0], task=of.task_id),
    },
    methods.GET_SERVER_INFO.path: {},
    methods.LIST_POOLS.path: {},
    # Set, a pool is one's own; so it is removed, which is done when there is none.
    methods.SET_POOL.path: {"name": lambda of: SetPoolRequest(name=of.pool)},
    methods.CREATE_KEY.path: {},
    methods.LIST_KEYS.path: {},
    methods.REVOKE_KEY.path: {"key_id": lambda of: RevokeKeyRequest(key_id=of.key_id)},
    methods.OPEN_SESSION.path: {
        "messages": lambda of: session(
            WorkerHello(worker_id=WORKER, slots=1, leases=(lease(of),)),
            Heartbeat(leases=(lease(of),)),
            AttemptStarted(lease=lease(of)),
            AttemptMetric(lease=lease(of), name="rows", value=1.0),
            AttemptFinished(lease=lease(of), outcome=FINISHED),
            LogBatch(task_id=of.task_id, attempt=1, lines=(LINE,)),
        ),
    },
}

HARMLESS: dict[str, dict[str, str]] = {
    methods.DEPLOY.path: {"header": "a part of the document; names nothing on the server"},
    methods.CREATE_RUN.path: {
        "partitions": "values of the caller's own dimensions",
        "config": "what the caller's own functions see",
        "budget": "amounts",
        "code_version_id": "a version of the caller's own code",
    },
    methods.GET_RUN.path: {"page_token": "a position in the tasks of one run"},
    methods.CANCEL_RUN.path: {"reason": "for people"},
    methods.EXPLAIN.path: {"partition_key": "a value of the asset's dimensions"},
    methods.LIST_ASSETS.path: {"page_token": "a position in the caller's own assets"},
    methods.LIST_MATERIALIZATIONS.path: {
        "partition_key": "a value of the asset's dimensions",
        "page_token": "a position in the history of one asset",
    },
    methods.READ_LOGS.path: {"since": "a moment"},
    methods.LIST_KEYS.path: {"page_token": "a position in the caller's own keys"},
    methods.CREATE_KEY.path: {
        "name": "for people",
        "workspace_id": "a workspace of the caller's own tenant",
        "expires_at": "a moment",
    },
}

OWN_RUN: list[str] = [""]
"""A run of the tenant that asks."""


class World:
    """A control plane with two tenants, each with everything there is.

    Args:
        folder: Where its database goes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.theirs: Things
        self.own: Things
        self.mine: Caller
        self.served: ControlPlane
        self.admin: Caller

    async def fill(self, served: ControlPlane, admin: Caller) -> None:
        self.served, self.admin = served, admin
        self.own, self.mine = await self._tenant("acme", "stock.apples")
        self.theirs, _ = await self._tenant("globex", "vault.silver")
        OWN_RUN[0] = self.own.run_id

    async def _tenant(self, tenant: str, name: str) -> tuple[Things, Caller]:
        owner = Caller(self.admin.url, tenant_id=tenant)
        definition = asset(name)
        deployed = (await owner.deploy([definition])).deployment
        pool = f"{tenant:_<12}"
        await owner.call(methods.SET_POOL, SetPoolRequest(name=pool, slots=3))
        worker = ScriptedWorker(owner)
        async with at_work(worker):
            run_key = f"{tenant:-<12}"
            run = (await owner.create_run("*", run_key=run_key)).run
            await owner.watch(run.run_id)
        held = await self._leased(owner)
        await owner.channel.close()
        assert deployed is not None
        key, text = await self.served.keys.create(
            tenant_id=tenant, workspace_id="*", role=Role.ADMIN
        )
        chunk = _wire.encode_chunk([definition])
        things = Things(
            run_id=run.run_id,
            task_id=held.task_id,
            deployment_id=deployed.deployment_id,
            asset=name,
            run_key=run_key,
            pool=pool,
            key_id=key.key_id,
            fingerprint=deployed.content_fingerprint,
            digest=hashlib.sha256(chunk).digest(),
            chunk=chunk,
            token=held.token,
        )
        return things, Caller(self.admin.url, key=text, tenant_id=tenant)

    async def _leased(self, owner: Caller) -> Lease:
        """Return a lease that is out, so that a stranger has one to take."""
        worker = ScriptedWorker(owner, lambda _: None)
        async with at_work(worker):
            await owner.create_run("*")
            await worker.until(lambda: bool(worker.dispatches))
        return worker.dispatches[0].lease

    async def ask(self, path: str, request: Any) -> list[bytes]:
        """Return every byte that the first tenant is answered with."""
        call: Any = self.mine.channel.stream_stream(path)(metadata=self.mine.metadata, timeout=20)
        await call.write(METHODS[path].encode_request(request))
        answers: list[bytes] = []
        try:
            if path == methods.OPEN_SESSION.path:
                # A session goes on; the receipt for the last message says that all were heard.
                # How messages share a response is a matter of the moment.
                while not answers or not answers[-1].startswith(b"LogReceipt"):
                    answers += _messages(await call.read())
                return answers
            await call.done_writing()
            while (data := await call.read()) is not grpc.aio.EOF:
                answers.append(data)
            await call.initial_metadata()
        except grpc.aio.AioRpcError as exc:
            details = dict(exc.trailing_metadata() or ()).get(_wire.DETAILS_KEY, b"")
            assert isinstance(details, bytes)
            answers += [exc.code().name.encode(), (exc.details() or "").encode(), details]
        finally:
            call.cancel()
        return answers


def _messages(data: bytes) -> list[bytes]:
    found = methods.OPEN_SESSION.decode_response(data).messages
    return [type(message).__name__.encode() + _wire.encode(message) for message in found]


@contextmanager
def world(folder: Path) -> Iterator[tuple[World, asyncio.Runner]]:
    """Run a control plane with two tenants; the test asks it in turns."""
    with asyncio.Runner() as runner:
        made = plane(folder)
        served, admin = runner.run(made.__aenter__())
        found = World(folder)
        try:
            runner.run(found.fill(served, admin))
            yield found, runner
        finally:
            runner.run(found.mine.channel.close())
            runner.run(made.__aexit__(None, None, None))


def other_ulid(ulid: str) -> st.SearchStrategy[str]:
    """Another id of the same moment, so that it has the same place in an order."""
    return st.text(ALPHABET, min_size=16, max_size=16).map(lambda end: ulid[:10] + end)


@st.composite
def missing(draw: st.DrawFn, like: Things) -> Things:
    """Things that nobody has, with names as long as those of others."""
    lower = "abcdefghijklmnopqrstuvwxyz"
    name = f"vault.{draw(st.text(lower, min_size=6, max_size=6))}"
    chunk = _wire.encode_chunk([asset(name)])
    return Things(
        run_id=draw(other_ulid(like.run_id)),
        task_id=draw(other_ulid(like.task_id)),
        deployment_id=draw(other_ulid(like.deployment_id)),
        asset=name,
        run_key=draw(st.text(lower, min_size=12, max_size=12)),
        pool=draw(st.text(lower, min_size=12, max_size=12)),
        key_id=draw(st.text(lower, min_size=8, max_size=8)),
        fingerprint=draw(st.binary(min_size=32, max_size=32)).hex(),
        digest=hashlib.sha256(chunk).digest(),
        chunk=chunk,
        token=like.token,
    )


@pytest.mark.parametrize("path", METHODS)
def test_every_field_of_every_request_says_what_it_can_name(path: str) -> None:
    message = row_of(METHODS[path].request_type).message.DESCRIPTOR
    by_name = {
        field.name
        for field in message.fields
        if field.type in (field.TYPE_STRING, field.TYPE_BYTES, field.TYPE_MESSAGE)
    }
    assert by_name == PROBES[path].keys() | HARMLESS.get(path, {}).keys()


def test_every_rpc_is_asked() -> None:
    assert PROBES.keys() == METHODS.keys()


@pytest.mark.parametrize(
    ("path", "field"), [(path, field) for path, probes in PROBES.items() for field in probes]
)
def test_a_foreign_thing_answers_like_a_missing_one(tmp_path: Path, path: str, field: str) -> None:
    probe = PROBES[path][field]
    # What the first tenant uploads is its own afterwards, so that it can ask only once.
    examples = 1 if path == methods.UPLOAD_CHUNKS.path else 8
    with world(tmp_path) as (found, runner):

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(nothing=missing(found.theirs))
        def same(nothing: Things) -> None:
            foreign = runner.run(found.ask(path, probe(found.theirs)))
            absent = runner.run(found.ask(path, probe(nothing)))
            assert [found.theirs.hidden_in(data) for data in foreign] == [
                nothing.hidden_in(data) for data in absent
            ]
            assert foreign, "an answer without a byte says nothing about isolation"

        same()


LISTS: dict[str, Any] = {
    methods.LIST_RUNS.path: ListRunsRequest(page_size=1000),
    methods.LIST_DEPLOYMENTS.path: ListDeploymentsRequest(page_size=1000),
    methods.LIST_ASSETS.path: ListAssetsRequest(page_size=1000),
    methods.LIST_KEYS.path: ListKeysRequest(page_size=1000),
    methods.LIST_POOLS.path: ListPoolsRequest(),
    methods.WATCH_EVENTS.path: WatchEventsRequest(),
    methods.LIST_MATERIALIZATIONS.path: ListMaterializationsRequest(
        key=AssetKey("stock", "apples"), page_size=1000
    ),
}


def test_every_rpc_that_lists_is_listed() -> None:
    lists = {path for path, method in METHODS.items() if "/List" in path}
    assert LISTS.keys() == lists | {methods.WATCH_EVENTS.path}


@pytest.mark.parametrize("path", LISTS)
def test_a_list_has_everything_of_ones_own_and_nothing_of_others(tmp_path: Path, path: str) -> None:
    with world(tmp_path) as (found, runner):
        answer = b"".join(runner.run(found.ask(path, LISTS[path])))
        own, theirs = (
            {one.run_id, one.deployment_id, one.asset.split(".")[1], one.key_id, one.pool}
            for one in (found.own, found.theirs)
        )
        assert any(name.encode() in answer for name in own)
        assert not [name for name in theirs if name.encode() in answer]


def test_a_run_key_of_others_is_free(tmp_path: Path) -> None:
    with world(tmp_path) as (found, runner):
        made = runner.run(found.mine.create_run("*", run_key=found.theirs.run_key))
        assert made.created
        assert made.run.run_id != found.theirs.run_id


def test_a_line_that_is_forged_for_a_task_of_others_is_not_in_their_log(tmp_path: Path) -> None:
    path = methods.OPEN_SESSION.path
    with world(tmp_path) as (found, runner):
        runner.run(found.ask(path, PROBES[path]["messages"](found.theirs)))
        assert runner.run(found.served.store.logs(found.theirs.run_id, 0, 10)) == []


def test_what_others_log_does_not_show_in_ones_own_cursors(tmp_path: Path) -> None:
    async def log(world: World, tenant: str, lines: int) -> str:
        owner = Caller(world.admin.url, tenant_id=tenant)
        worker = ScriptedWorker(owner, lambda _: None)
        async with at_work(worker):
            await owner.deploy([asset("lines.printed")])
            run = (await owner.create_run("*")).run
            await worker.until(lambda: bool(worker.dispatches))
            assert worker.dispatches[0].run_id == run.run_id
            task_id = worker.dispatches[0].lease.task_id
            for number in range(lines):
                line = LogLine(number=number + 1, stream=LogStream.LOG, text="x")
                worker.send(LogBatch(task_id=task_id, attempt=1, lines=(line,)))
            store = world.served.store
            async with asyncio.timeout(20):
                while len(await store.logs(run.run_id, 0, 100)) < lines:
                    await asyncio.sleep(0.01)
        await owner.channel.close()
        return run.run_id

    with world(tmp_path) as (found, runner):
        runner.run(log(found, "globex", 30))
        run_id = runner.run(log(found, "acme", 3))
        rows = runner.run(found.served.store.logs(run_id, 0, 100))
        assert [cursor for cursor, _ in rows] == [1, 2, 3]


@pytest.mark.parametrize("busy", ["creating", "deploying"])
def test_nobody_waits_for_what_others_do(tmp_path: Path, busy: str) -> None:
    async def test(found: World) -> None:
        theirs = await found.served._current.plane.workspace("globex", "default")
        async with getattr(theirs, busy), asyncio.timeout(20):
            await found.mine.create_run("*")
            await found.mine.deploy([asset("stock.pears")])

    with world(tmp_path) as (found, runner):
        runner.run(test(found))


NOT_BY_WORKSPACE = {
    "all_workspaces": "read once, at the start",
    "api_keys": "read once, at the start",
    "events_of_run": "asked after the run was found in the workspace",
    "tasks_of_run": "asked after the run was found in the workspace",
    "logs_of_run": "asked after the run was found in the workspace",
    "logs_of_run_before": "asked after the run was found in the workspace",
    "store_value": "the store's own",
    "workspace_number": "finds the workspace",
}
"""Queries that read without naming a workspace, and why they may."""


def test_every_query_reads_within_a_workspace() -> None:
    text = resources.files("servo.controlplane.store").joinpath("queries.sql").read_text()
    queries = re.findall(r"-- name: (\w+)\S*\n(.*?);", text, re.DOTALL)
    free = {
        name
        for name, sql in queries
        if sql.startswith("SELECT") and "workspace = :workspace" not in sql
    }
    assert free == NOT_BY_WORKSPACE.keys()
