"""Who may call what: roles, scopes, limits and the way to the port, against a real server."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from http_kit import envelope, envelopes, request
from plane_kit import KEY, Caller, ScriptedWorker, asset, at_work, plane, sync
from servo import errors
from servo._wire import METHODS, MethodKind, methods
from servo.controlplane.identity import PERMISSIONS
from servo.controlplane.limits import RateLimit
from servo.controlplane.serve import ControlPlane, ControlPlaneConfig
from servo.controlplane.tls import TlsConfig
from servo.types.access import Role
from servo.types.requests import (
    CancelRunRequest,
    GetRunRequest,
    GetServerInfoRequest,
    ListRunsRequest,
)
from tls_kit import Authority

LIST_RUNS = "/arco.v1.RunService/ListRuns"
MISSING = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@asynccontextmanager
async def caller_with(
    served: ControlPlane,
    url: str,
    role: Role,
    *,
    tenant: str = "default",
    workspace: str = "*",
    **identity: str,
) -> AsyncIterator[Caller]:
    """A caller with a stored key of its own."""
    _, text = await served.keys.create(tenant_id=tenant, workspace_id=workspace, role=role)
    made = Caller(url, key=text, **identity)
    try:
        yield made
    finally:
        await made.channel.close()


def test_the_table_of_permissions_has_every_rpc_and_no_other() -> None:
    assert PERMISSIONS.keys() == METHODS.keys()


def test_every_rpc_may_be_called_by_somebody_beside_the_admin() -> None:
    assert all(roles - {Role.ADMIN} for path, roles in PERMISSIONS.items() if "Key" not in path)


def test_an_admin_may_call_everything() -> None:
    assert all(Role.ADMIN in roles for roles in PERMISSIONS.values())


def test_a_viewer_changes_nothing() -> None:
    may = {METHODS[path].name for path, roles in PERMISSIONS.items() if Role.VIEWER in roles}
    assert all(name.startswith(("Get", "List", "Read", "Watch", "Diff", "Explain")) for name in may)


def test_each_of_viewer_operator_and_deployer_may_do_what_the_one_before_may() -> None:
    for roles in PERMISSIONS.values():
        assert Role.VIEWER not in roles or Role.OPERATOR in roles
        assert Role.OPERATOR not in roles or Role.DEPLOYER in roles


@pytest.mark.parametrize("role", Role)
def test_a_role_may_call_exactly_what_the_table_says(tmp_path: Path, role: Role) -> None:
    async def refused(caller: Caller, path: str) -> bool:
        # Nonsense is enough: who may call is told what is wrong with it, or answered.
        call: Any
        sent: Any
        if METHODS[path].kind is MethodKind.BIDI_STREAM:
            # A message that is sent after the refusal arrived would make it INTERNAL in the client
            # (https://github.com/grpc/grpc/issues/36066).
            call, sent = caller.channel.stream_stream(path), iter(())
        else:
            call, sent = caller.channel.unary_stream(path), b"\xff"
        try:
            async for _ in call(sent, metadata=caller.metadata, timeout=30):
                pass
        except grpc.aio.AioRpcError as exc:
            assert exc.code() is not grpc.StatusCode.DEADLINE_EXCEEDED, path
            return exc.code() is grpc.StatusCode.PERMISSION_DENIED
        return False

    async def test() -> None:
        async with plane(tmp_path) as (served, admin):
            await admin.deploy([asset("raw.a")])
            async with caller_with(served, admin.url, role) as caller:
                for path, roles in PERMISSIONS.items():
                    assert await refused(caller, path) == (role not in roles), path

    asyncio.run(asyncio.wait_for(test(), 60))


@sync
async def test_a_role_that_does_not_suffice_is_told_which_would(path: Path) -> None:
    async with plane(path) as (served, admin):
        await admin.deploy([asset("raw.a")])
        async with caller_with(served, admin.url, Role.VIEWER) as viewer:
            with pytest.raises(
                errors.PermissionDeniedError, match="admin, deployer, operator"
            ) as e:
                await viewer.create_run("*")
            assert e.value.code == "ROLE_NOT_ALLOWED"


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", "Basic dGVzdA==", "Bearer wrong", KEY, f"Bearer {KEY}x", "Bearer é"],
)
def test_a_credential_that_is_missing_or_wrong_is_unauthenticated(
    tmp_path: Path, given: str
) -> None:
    async def test() -> None:
        async with plane(tmp_path) as (served, _):
            answer = await request(served.http_url + LIST_RUNS, b"{}", authorization=given)
            assert (answer.status, answer.document["code"]) == (401, "unauthenticated")

    asyncio.run(asyncio.wait_for(test(), 60))


@sync
async def test_a_wrong_key_is_unauthenticated_over_grpc(path: Path) -> None:
    async with plane(path) as (_, admin):
        caller = Caller(admin.url, key="servo_aaaaaaaa_" + "b" * 43)
        with pytest.raises(errors.UnauthenticatedError):
            await caller.call(methods.LIST_RUNS, ListRunsRequest())
        await caller.channel.close()


@sync
async def test_a_key_without_a_named_workspace_means_its_own(path: Path) -> None:
    async with plane(path) as (served, admin):
        theirs = Caller(admin.url, tenant_id="acme", workspace_id="prod")
        await theirs.deploy([asset("raw.a")])
        run_id = (await theirs.create_run("*")).run.run_id
        async with caller_with(
            served, admin.url, Role.VIEWER, tenant="acme", workspace="prod"
        ) as viewer:
            assert (await viewer.get_run(run_id)).run_id == run_id
        await theirs.channel.close()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEPLOYER, Role.ADMIN])
def test_a_workspace_outside_a_key_answers_like_one_that_does_not_exist(
    tmp_path: Path, role: Role
) -> None:
    async def test() -> None:
        async with plane(tmp_path) as (served, admin):
            theirs = Caller(admin.url, tenant_id="globex", workspace_id="prod")
            await theirs.deploy([asset("raw.a")])
            await theirs.channel.close()
            said = set()
            for tenant, workspace in (("globex", "prod"), ("nobody", "prod"), ("globex", "none")):
                identity = {"tenant_id": tenant, "workspace_id": workspace}
                async with caller_with(
                    served, admin.url, role, tenant="acme", **identity
                ) as caller:
                    with pytest.raises(errors.NotFoundError) as caught:
                        await caller.call(methods.GET_SERVER_INFO, GetServerInfoRequest())
                    key_id = caller.metadata[0][1].split("_")[1]
                    text = str(caught.value)
                    for name in (tenant, workspace, key_id):
                        text = text.replace(repr(name), "?")
                    said.add((caught.value.code, text))
            assert len(said) == 1

    asyncio.run(asyncio.wait_for(test(), 60))


@sync
async def test_looking_at_a_workspace_that_does_not_exist_does_not_make_it(path: Path) -> None:
    async with plane(path) as (served, admin):
        async with caller_with(served, admin.url, Role.VIEWER, workspace_id="new") as viewer:
            with pytest.raises(errors.NotFoundError, match="no workspace 'new'"):
                await viewer.call(methods.LIST_RUNS, ListRunsRequest())
        assert ("default", "new") not in {row[1:] for row in await served.store.workspaces()}


@pytest.mark.parametrize("name", ["*", "../x", "a b", "x" * 129, "ü"])
def test_names_that_are_no_workspace_are_refused(tmp_path: Path, name: str) -> None:
    async def test() -> None:
        async with plane(tmp_path) as (served, _):
            answer = await request(
                served.http_url + LIST_RUNS, b"{}", key=KEY, x_servo_workspace_id=name
            )
            assert (answer.status, answer.document["code"]) == (400, "invalid_argument")

    asyncio.run(asyncio.wait_for(test(), 60))


@sync
async def test_the_server_tells_a_workspace_of_its_own_activity_only(path: Path) -> None:
    async with plane(path) as (_, admin), at_work(ScriptedWorker(admin)):
        await admin.deploy([asset("raw.a")])
        other = Caller(admin.url, tenant_id="globex")
        found = await other.call(methods.GET_SERVER_INFO, GetServerInfoRequest())
        assert (found.workers, found.active_runs) == (0, 0)
        own = await admin.call(methods.GET_SERVER_INFO, GetServerInfoRequest())
        assert own.workers == 1
        await other.channel.close()


@sync
async def test_a_key_that_calls_too_often_is_told_when_to_go_on(path: Path) -> None:
    limit = RateLimit(per_second=0.1, burst=2)
    async with plane(path, rate_limit=limit) as (served, admin):
        for _ in range(2):
            await admin.call(methods.LIST_RUNS, ListRunsRequest())
        with pytest.raises(errors.RateLimitedError) as caught:
            await admin.call(methods.LIST_RUNS, ListRunsRequest())
        assert caught.value.retry_after == pytest.approx(10, abs=1)
        answer = await request(served.http_url + LIST_RUNS, b"{}", key=KEY)
        assert (answer.status, answer.document["code"]) == (429, "resource_exhausted")
        assert 9 <= int(answer.headers["retry-after"]) <= 10


@sync
async def test_a_key_that_calls_too_often_does_not_stop_another(path: Path) -> None:
    limit = RateLimit(per_second=0.1, burst=1)
    async with (
        plane(path, rate_limit=limit) as (served, admin),
        caller_with(served, admin.url, Role.DEPLOYER) as deployer,
    ):
        await admin.call(methods.LIST_RUNS, ListRunsRequest())
        with pytest.raises(errors.RateLimitedError):
            await admin.call(methods.LIST_RUNS, ListRunsRequest())
        await deployer.call(methods.LIST_RUNS, ListRunsRequest())


@sync
async def test_revoking_a_key_ends_the_watch_that_it_opened(path: Path) -> None:
    async with plane(path) as (served, admin):
        await admin.deploy([asset("raw.a")])
        run_id = (await admin.create_run("*")).run.run_id
        async with caller_with(served, admin.url, Role.VIEWER) as viewer:
            call: Any = viewer.channel.unary_stream(methods.WATCH_RUN.path)(
                b"\n\x1a" + run_id.encode(), metadata=viewer.metadata
            )
            await asyncio.wait_for(call.read(), 20)
            key_id = viewer.metadata[0][1].split("_")[1]
            await served.keys.revoke("default", "*", key_id)
            assert await asyncio.wait_for(call.code(), 20) is grpc.StatusCode.UNAUTHENTICATED
        assert served.watchers == 0


@sync
async def test_revoking_a_key_ends_the_watch_over_http(path: Path) -> None:
    async with plane(path) as (served, admin):
        await admin.deploy([asset("raw.a")])
        run_id = (await admin.create_run("*")).run.run_id
        key, text = await served.keys.create(
            tenant_id="default", workspace_id="*", role=Role.VIEWER
        )
        watching = asyncio.create_task(
            request(
                served.http_url + methods.WATCH_RUN.path,
                envelope({"runId": run_id}),
                key=text,
                content_type="application/connect+json",
            )
        )
        async with asyncio.timeout(20):
            while not served.watchers:
                await asyncio.sleep(0.02)
        await served.keys.revoke("default", "*", key.key_id)
        end = envelopes((await asyncio.wait_for(watching, 20)).body)[-1][1]
        assert end["error"]["code"] == "unauthenticated"


@sync
async def test_revoking_a_key_ends_the_session_of_its_worker(path: Path) -> None:
    async with plane(path) as (served, admin):
        await admin.deploy([asset("raw.a")])
        async with caller_with(served, admin.url, Role.WORKER) as caller:
            worker = ScriptedWorker(caller)
            session = asyncio.create_task(worker.run())
            await asyncio.wait_for(worker.welcomed.wait(), 20)
            assert served.connected_workers == 1
            await served.keys.revoke("default", "*", caller.metadata[0][1].split("_")[1])
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await asyncio.wait_for(session, 20)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert served.connected_workers == 0


def test_no_secret_is_logged_when_a_call_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with plane(tmp_path) as (served, _):
            wrong = "servo_aaaaaaaa_" + "s" * 43
            answer = await request(served.http_url + LIST_RUNS, b"{}", key=wrong)
            assert "ssss" not in answer.body.decode()

    asyncio.run(asyncio.wait_for(test(), 60))
    assert "UNAUTHENTICATED" in caplog.text
    assert "ssss" not in caplog.text


# -- the way to the port ------------------------------------------------------------------


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.com:0"])
def test_listening_beyond_loopback_without_tls_is_refused(tmp_path: Path, listen: str) -> None:
    config = ControlPlaneConfig(database=tmp_path / "servo.db", api_key="k" * 32, listen=listen)
    with pytest.raises(errors.ConfigurationError, match=r"--tls-cert and --tls-key") as caught:
        asyncio.run(ControlPlane(config).start())
    assert caught.value.code == "LISTEN_NOT_LOOPBACK"
    assert not (tmp_path / "servo.db").exists()


def test_http_beyond_loopback_without_tls_is_refused_as_well(tmp_path: Path) -> None:
    config = ControlPlaneConfig(
        database=tmp_path / "servo.db", api_key="k" * 32, http_listen="0.0.0.0:0"
    )
    with pytest.raises(errors.ConfigurationError, match="without TLS"):
        asyncio.run(ControlPlane(config).start())


def test_listening_beyond_loopback_without_any_key_is_refused(tmp_path: Path) -> None:
    config = ControlPlaneConfig(
        database=tmp_path / "servo.db",
        listen="0.0.0.0:0",
        tls=Authority(tmp_path / "tls").server(),
    )
    with pytest.raises(errors.ConfigurationError, match="set SERVO_API_KEY") as caught:
        asyncio.run(ControlPlane(config).start())
    assert caught.value.code == "LISTEN_WITHOUT_AUTH"


def test_a_short_key_beyond_loopback_is_refused(tmp_path: Path) -> None:
    config = ControlPlaneConfig(
        database=tmp_path / "servo.db",
        listen="0.0.0.0:0",
        api_key="secret",
        tls=Authority(tmp_path / "tls").server(),
    )
    with pytest.raises(errors.ConfigurationError, match="has 6 characters") as caught:
        asyncio.run(ControlPlane(config).start())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("listen", ["nowhere", "127.0.0.1:", "127.0.0.1:99999", ":7433"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, listen: str) -> None:
    config = ControlPlaneConfig(database=tmp_path / "servo.db", api_key=KEY, listen=listen)
    with pytest.raises(errors.ConfigurationError, match="no address to listen on"):
        asyncio.run(ControlPlane(config).start())


@sync
async def test_a_port_that_is_taken_is_said_and_leaves_nothing_open(path: Path) -> None:
    async with plane(path) as (served, caller):
        for taken in ("listen", "http_listen"):
            url = caller.url if taken == "listen" else served.http_url
            config = ControlPlaneConfig(
                database=path / "other.db", api_key=KEY, **{taken: url.partition("://")[2]}
            )
            with pytest.raises(errors.UnavailableError, match="cannot listen on"):
                await ControlPlane(config).start()
        again = ControlPlane(ControlPlaneConfig(database=path / "other.db", api_key=KEY))
        await again.start()
        await again.stop()


@sync
async def test_both_ports_speak_tls(path: Path) -> None:
    authority = Authority(path / "tls")
    async with plane(path, tls=authority.server()) as (served, caller):
        assert (caller.url[:8], served.http_url[:8]) == ("grpcs://", "https://")
        secure = Caller(caller.url, credentials=authority.channel_credentials())
        await secure.call(methods.LIST_RUNS, ListRunsRequest())
        await secure.channel.close()
        url = served.http_url + LIST_RUNS
        answer = await request(url, b"{}", key=KEY, tls=authority.context())
        assert answer.status == 200


@sync
async def test_with_tls_and_a_key_it_listens_for_everybody(path: Path) -> None:
    authority, key = Authority(path / "tls"), "k" * 32
    config = ControlPlaneConfig(
        database=path / "servo.db", listen="0.0.0.0:0", api_key=key, tls=authority.server()
    )
    served = ControlPlane(config)
    try:
        url = await served.start()
        near = Caller(
            url.replace("0.0.0.0", "127.0.0.1"),
            key=key,
            credentials=authority.channel_credentials(),
        )
        await near.call(methods.LIST_RUNS, ListRunsRequest())
        await near.channel.close()
        http = served.http_url.replace("0.0.0.0", "127.0.0.1")
        answer = await request(http + LIST_RUNS, b"{}", key=key, tls=authority.context())
        assert answer.status == 200
    finally:
        await served.stop()


@sync
async def test_what_is_sent_in_the_clear_to_a_tls_port_is_not_answered(path: Path) -> None:
    authority = Authority(path / "tls")
    async with plane(path, tls=authority.server()) as (_, caller):
        with pytest.raises(errors.UnavailableError):
            await caller.call(methods.LIST_RUNS, ListRunsRequest())


@sync
async def test_a_client_that_does_not_know_the_authority_does_not_connect(path: Path) -> None:
    ours, other = Authority(path / "ours"), Authority(path / "other")
    async with plane(path, tls=ours.server()) as (served, caller):
        stranger = Caller(caller.url, credentials=other.channel_credentials())
        with pytest.raises(errors.UnavailableError):
            await stranger.call(methods.LIST_RUNS, ListRunsRequest())
        await stranger.channel.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await request(served.http_url + LIST_RUNS, b"{}", key=KEY, tls=other.context())


@sync
async def test_with_client_certificates_both_ports_ask_for_one_and_for_a_key(path: Path) -> None:
    authority = Authority(path / "tls")
    async with plane(path, tls=authority.server(mutual=True)) as (served, caller):
        url = served.http_url + LIST_RUNS
        known = Caller(caller.url, credentials=authority.channel_credentials(mutual=True))
        await known.call(methods.LIST_RUNS, ListRunsRequest())
        answer = await request(url, b"{}", key=KEY, tls=authority.context(mutual=True))
        assert answer.status == 200
        assert (await request(url, b"{}", tls=authority.context(mutual=True))).status == 401
        await known.channel.close()


@sync
async def test_with_client_certificates_nobody_without_one_is_heard(path: Path) -> None:
    authority = Authority(path / "tls")
    async with plane(path, tls=authority.server(mutual=True)) as (served, caller):
        unknown = Caller(caller.url, credentials=authority.channel_credentials())
        with pytest.raises(errors.UnavailableError):
            await unknown.call(methods.LIST_RUNS, ListRunsRequest())
        await unknown.channel.close()
        with pytest.raises((ssl.SSLError, ConnectionError, IndexError, ValueError)):
            await request(served.http_url + LIST_RUNS, b"{}", key=KEY, tls=authority.context())


@pytest.mark.parametrize("broken", ["cert", "key", "client_ca"])
@pytest.mark.parametrize("content", [None, b"", b"no pem"])
def test_a_tls_file_that_cannot_be_used_is_named_at_the_start(
    tmp_path: Path, broken: str, content: bytes | None
) -> None:
    authority = Authority(tmp_path / "tls")
    bad = tmp_path / "bad.pem"
    if content is not None:
        bad.write_bytes(content)
    files = {"cert": authority.server_cert, "key": authority.server_key, "client_ca": authority.ca}
    tls = TlsConfig(**files | {broken: bad})
    config = ControlPlaneConfig(database=tmp_path / "servo.db", api_key=KEY, tls=tls)
    with pytest.raises(errors.ConfigurationError, match=r"bad\.pem") as caught:
        asyncio.run(ControlPlane(config).start())
    assert caught.value.code == "TLS_FILES"


def test_the_program_says_how_to_listen_for_others(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "servo.controlplane"),
            *("--database", str(tmp_path / "servo.db"), "--listen", "0.0.0.0:0"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78
    assert "Give --tls-cert and --tls-key" in done.stderr
    assert "Traceback" not in done.stderr


@sync
async def test_cancelling_a_run_takes_more_than_looking_at_it(path: Path) -> None:
    async with plane(path) as (served, admin):
        await admin.deploy([asset("raw.a")])
        run_id = (await admin.create_run("*")).run.run_id
        async with caller_with(served, admin.url, Role.VIEWER) as viewer:
            await viewer.call(methods.GET_RUN, GetRunRequest(run_id=run_id))
            with pytest.raises(errors.PermissionDeniedError):
                await viewer.call(methods.CANCEL_RUN, CancelRunRequest(run_id=run_id))
