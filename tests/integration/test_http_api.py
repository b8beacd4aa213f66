"""The HTTP port: the Connect protocol, spoken byte by byte and by the tools that people use."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from contract.javascript import node, programs
from http_kit import connect, envelope, envelopes, parse, request
from plane_kit import KEY, ScriptedWorker, asset, at_work, plane, sync
from servo import _wire, errors
from servo._wire import METHODS, MethodKind
from servo.controlplane.listener import OwnNames
from servo.types.requests import ListRunsRequest

LIST_RUNS = "/arco.v1.RunService/ListRuns"
WATCH_RUN = "/arco.v1.RunService/WatchRun"
STREAM = "application/connect+json"
ROOT = Path(__file__).resolve().parents[2]


async def output_of(*command: str, **environ: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=-1, stderr=-1, cwd=ROOT, env=os.environ | environ
    )
    out, err = await asyncio.wait_for(process.communicate(), 50)
    assert process.returncode == 0, out.decode() + err.decode()
    return out.decode()


def error_of(document: dict[str, object]) -> errors.ServoError:
    return _wire.error_from_connect(400, document)


# What `curl -d '{}' -H 'content-type: application/json' URL` writes, byte for byte.
CURL = (
    "POST /arco.v1.RunService/ListRuns HTTP/1.1\r\nHost: {host}\r\nUser-Agent: curl/8.5.0\r\n"
    "Accept: */*\r\n{more}content-type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
)


async def curl(url: str, more: str = "") -> bytes:
    reader, writer = await connect(url)
    writer.write(CURL.format(host=url.removeprefix("http://"), more=more).encode())
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    length = re.search(rb"content-length: (\d+)", answer)
    assert length is not None
    answer += await reader.readexactly(int(length[1]))
    writer.close()
    return answer


@sync
async def test_plain_curl_with_a_key_lists_runs(path: Path) -> None:
    async with plane(path) as (served, _):
        answer = parse(await curl(served.http_url, f"authorization: Bearer {KEY}\r\n"))
        assert (answer.status, answer.document) == (200, {"nextPageToken": "", "runs": []})
        assert answer.headers["content-type"] == "application/json"


@sync
async def test_plain_curl_without_a_key_gets_401_and_an_error_in_json(path: Path) -> None:
    async with plane(path) as (served, _):
        answer = parse(await curl(served.http_url))
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.document["code"] == "unauthenticated"
        assert type(error_of(answer.document)) is errors.UnauthenticatedError


@sync
async def test_buf_curl_speaks_connect_to_the_http_port(path: Path) -> None:
    async with plane(path) as (served, caller):
        await caller.deploy([asset("raw.a")])
        buf = Path(sys.executable).with_name("buf")
        shown = await output_of(
            *(str(buf), "curl", "--protocol", "connect", "--schema", "proto"),
            *("-H", f"authorization: Bearer {KEY}", "-d", "{}"),
            served.http_url + "/arco.v1.DeploymentService/ListDeployments",
            BUF_CACHE_DIR=str(path),
        )
        assert json.loads(shown)["deployments"][0]["assetCount"] == 1


@sync
async def test_buf_curl_learns_the_contract_from_the_grpc_port_itself(path: Path) -> None:
    async with plane(path) as (_, caller):
        await caller.deploy([asset("raw.a")])
        buf = Path(sys.executable).with_name("buf")
        shown = await output_of(
            *(str(buf), "curl", "--protocol", "grpc", "--http2-prior-knowledge"),
            *("-H", f"authorization: Bearer {KEY}", "-d", '{"selection": ["*"]}'),
            caller.url.replace("grpc://", "http://") + "/arco.v1.AssetService/ListAssets",
            BUF_CACHE_DIR=str(path),
        )
        assert json.loads(shown)["assets"][0]["definition"]["key"]["name"] == "a"


@pytest.mark.parametrize("binary", ["false", "true"], ids=["json", "proto"])
def test_the_connect_transport_of_javascript_runs_and_watches(tmp_path: Path, binary: str) -> None:
    """The protocol of connect-web, which has the same transport on top of the browser's fetch."""
    made = programs()
    (tmp_path / "gen").symlink_to(made / "gen")
    (tmp_path / "node_modules").symlink_to(made.parent / "node_modules")
    program = shutil.copy(Path(__file__).with_name("connect_client.mjs"), tmp_path)

    async def test() -> None:
        async with plane(tmp_path) as (served, caller), at_work(ScriptedWorker(caller)):
            await caller.deploy([asset("raw.a"), asset("raw.b", "raw.a")])
            shown = await output_of(
                node(), "--preserve-symlinks-main", str(program), served.http_url, KEY, binary
            )
        found = json.loads(shown)
        assert found["events"] == list(
            range(found["events"][0], found["events"][0] + len(found["events"]))
        )
        assert found["last"] == "runStateChanged"
        assert found["missing"] == {"code": "not_found", "detail": "RUN_NOT_FOUND"}

    asyncio.run(asyncio.wait_for(test(), 60))


@sync
async def test_names_of_headers_may_be_in_upper_case(path: Path) -> None:
    async with plane(path) as (served, _):
        answer = parse(await curl(served.http_url, f"AUTHORIZATION: bearer {KEY}\r\n"))
        assert answer.status == 200


@pytest.mark.parametrize("port", ["grpc", "http"])
def test_garbage_on_a_port_hurts_nobody(tmp_path: Path, port: str) -> None:
    async def test() -> None:
        async with plane(tmp_path) as (served, caller):
            url = served.http_url if port == "http" else caller.url
            for garbage in (b"\0" * 1000, b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\0\x01"):
                reader, writer = await connect(url)
                writer.write(garbage)
                writer.write_eof()
                assert b"Traceback" not in await asyncio.wait_for(reader.read(), 20)
                writer.close()
            answer = await request(served.http_url + LIST_RUNS, b"{}", key=KEY)
            assert answer.status == 200
            await caller.call(METHODS[LIST_RUNS], ListRunsRequest())

    asyncio.run(asyncio.wait_for(test(), 60))


@sync
async def test_a_header_that_does_not_end_is_not_read_for_ever(path: Path) -> None:
    async with plane(path) as (served, _):
        reader, writer = await connect(served.http_url)
        writer.write(b"POST / HTTP/1.1\r\nx: " + b"y" * 200_000)
        answer = await asyncio.wait_for(reader.readline(), 20)
        assert b" 400 " in answer
        writer.close()


@sync
async def test_protobuf_is_spoken_as_well_as_json(path: Path) -> None:
    method = METHODS[LIST_RUNS]
    async with plane(path) as (served, _):
        answer = await request(
            served.http_url + LIST_RUNS,
            method.encode_request(ListRunsRequest(page_size=5)),
            key=KEY,
            content_type="application/proto",
        )
        assert answer.headers["content-type"] == "application/proto"
        assert method.decode_response(answer.body).runs == ()


@sync
async def test_a_stream_is_a_message_in_each_envelope_and_ends_with_an_empty_one(
    path: Path,
) -> None:
    async with plane(path) as (served, caller), at_work(ScriptedWorker(caller)):
        await caller.deploy([asset("raw.a")])
        run_id = (await caller.create_run("*")).run.run_id
        answer = await request(
            served.http_url + WATCH_RUN, envelope({"runId": run_id}), key=KEY, content_type=STREAM
        )
        assert (answer.status, answer.headers["content-type"]) == (200, STREAM)
        *messages, end = envelopes(answer.body)
        assert end == (2, {})
        sequences = [int(event["sequence"]) for _, found in messages for event in found["events"]]
        kept = [number for number in sequences if number]
        assert kept == list(range(kept[0], kept[0] + len(kept)))


@sync
async def test_what_goes_wrong_with_a_stream_is_in_its_last_envelope(path: Path) -> None:
    async with plane(path) as (served, _):
        body = envelope({"runId": "01ARZ3NDEKTSV4RRFFQ69G5FAV"})
        answer = await request(served.http_url + WATCH_RUN, body, key=KEY, content_type=STREAM)
        ((flags, end),) = envelopes(answer.body)
        assert (answer.status, flags, end["error"]["code"]) == (200, 2, "not_found")
        assert error_of(end["error"]).code == "RUN_NOT_FOUND"


@sync
async def test_a_watch_arrives_message_by_message(path: Path) -> None:
    async with plane(path) as (served, caller):
        await caller.deploy([asset("raw.a")])
        run_id = (await caller.create_run("*")).run.run_id
        reader, writer = await connect(served.http_url)
        body = envelope({"runId": run_id})
        writer.write(
            f"POST {WATCH_RUN} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {STREAM}\r\n"
            f"authorization: Bearer {KEY}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        # The run waits for a worker; what has happened so far is here all the same.
        await asyncio.wait_for(reader.readuntil(b'"runCreated"'), 20)
        writer.close()


@sync
async def test_a_caller_who_leaves_ends_the_watch_on_the_server(path: Path) -> None:
    async with plane(path) as (served, caller):
        await caller.deploy([asset("raw.a")])
        run_id = (await caller.create_run("*")).run.run_id
        reader, writer = await connect(served.http_url)
        body = envelope({"runId": run_id})
        writer.write(
            f"POST {WATCH_RUN} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {STREAM}\r\n"
            f"authorization: Bearer {KEY}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        await asyncio.wait_for(reader.readuntil(b'"runCreated"'), 20)
        assert served.watchers == 1
        writer.close()
        async with asyncio.timeout(20):
            while served.watchers:
                await asyncio.sleep(0.02)


@sync
async def test_a_worker_session_is_refused_with_the_reason(path: Path) -> None:
    async with plane(path) as (served, _):
        answer = await request(
            served.http_url + "/arco.v1.WorkerService/OpenSession",
            envelope({}),
            key=KEY,
            content_type=STREAM,
        )
        ((_, end),) = envelopes(answer.body)
        assert end["error"]["code"] == "unimplemented"
        assert "over gRPC only" in end["error"]["message"]


def test_every_rpc_of_the_method_table_is_there_and_asks_for_a_key(tmp_path: Path) -> None:
    async def test() -> None:
        async with plane(tmp_path) as (served, _):
            for path, method in METHODS.items():
                unary = method.kind is MethodKind.UNARY
                answer = await request(
                    served.http_url + path,
                    b"{}" if unary else envelope({}),
                    content_type="application/json" if unary else STREAM,
                )
                error = answer.document if unary else envelopes(answer.body)[-1][1]["error"]
                expected = (
                    "unimplemented" if method.kind is MethodKind.BIDI_STREAM else "unauthenticated"
                )
                assert error["code"] == expected, path

    asyncio.run(asyncio.wait_for(test(), 60))


@sync
async def test_errors_have_the_http_status_that_connect_gives_their_code(path: Path) -> None:
    async with plane(path) as (served, _):
        base = served.http_url + "/arco.v1."
        for rpc, body, status, code in (
            ("RunService/GetRun", b'{"runId":"x"}', 404, "not_found"),
            ("RunService/GetRun", b'{"runId":5}', 400, "invalid_argument"),
            ("RunService/GetRun", b"no json", 400, "invalid_argument"),
            ("RunService/GetRun", b'"\xff"', 400, "invalid_argument"),
            ("RunService/CreateRun", b"{}", 400, "invalid_argument"),
            ("RunService/Nothing", b"{}", 404, "unimplemented"),
        ):
            answer = await request(base + rpc, body, key=KEY)
            assert (answer.status, answer.document["code"]) == (status, code), rpc


@sync
async def test_a_field_that_only_a_newer_client_knows_is_passed_over(path: Path) -> None:
    async with plane(path) as (served, _):
        answer = await request(served.http_url + LIST_RUNS, b'{"fromTheFuture": 1}', key=KEY)
        assert answer.status == 200


@sync
async def test_the_request_id_comes_back_and_one_is_made_when_there_is_none(path: Path) -> None:
    async with plane(path) as (served, _):
        url = served.http_url + LIST_RUNS
        given = await request(url, b"{}", key=KEY, x_servo_request_id="mine-1")
        assert given.headers["x-servo-request-id"] == "mine-1"
        made = await request(url, b"{}")
        assert re.fullmatch("[0-9A-Z]{26}", made.headers["x-servo-request-id"])


@sync
async def test_a_request_id_that_could_forge_a_line_of_the_log_is_replaced(path: Path) -> None:
    async with plane(path) as (served, _):
        answer = await request(served.http_url + LIST_RUNS, b"{}", x_servo_request_id="a b\tc")
        assert re.fullmatch("[0-9A-Z]{26}", answer.headers["x-servo-request-id"])


@sync
async def test_the_callers_deadline_ends_a_stream_with_deadline_exceeded(path: Path) -> None:
    async with plane(path) as (served, caller):
        await caller.deploy([asset("raw.a")])
        run_id = (await caller.create_run("*")).run.run_id
        answer = await request(
            served.http_url + WATCH_RUN,
            envelope({"runId": run_id}),
            key=KEY,
            content_type=STREAM,
            connect_timeout_ms="200",
        )
        assert envelopes(answer.body)[-1][1]["error"]["code"] == "deadline_exceeded"


@pytest.mark.parametrize(
    ("headers", "status", "part"),
    [
        ({"connect_timeout_ms": "soon"}, 400, "at most ten digits"),
        ({"connect_timeout_ms": "12345678901"}, 400, "at most ten digits"),
        ({"connect_protocol_version": "2"}, 400, "version 1"),
        ({"content_encoding": "gzip"}, 501, "identity"),
    ],
)
def test_headers_of_the_protocol_are_checked(
    tmp_path: Path, headers: dict[str, str], status: int, part: str
) -> None:
    async def test() -> None:
        async with plane(tmp_path) as (served, _):
            answer = await request(served.http_url + LIST_RUNS, b"{}", key=KEY, **headers)
            assert answer.status == status
            assert part in answer.document["message"]

    asyncio.run(asyncio.wait_for(test(), 60))


@sync
async def test_what_is_no_call_is_refused_in_the_words_of_http(path: Path) -> None:
    async with plane(path) as (served, _):
        get = await request(served.http_url + LIST_RUNS, verb="GET", key=KEY)
        assert (get.status, get.headers["allow"]) == (405, "POST")
        text = await request(served.http_url + LIST_RUNS, b"{}", key=KEY, content_type="text/plain")
        assert (text.status, text.headers["accept-post"]) == (
            415,
            "application/json, application/proto",
        )
        post = await request(served.http_url + "/healthz")
        assert (post.status, post.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("body", [b"", b"\0\0\0\0\5{}", envelope({}) * 2, b"\1\0\0\0\2{}"])
def test_a_stream_takes_exactly_one_whole_message(tmp_path: Path, body: bytes) -> None:
    async def test() -> None:
        async with plane(tmp_path) as (served, _):
            answer = await request(served.http_url + WATCH_RUN, body, key=KEY, content_type=STREAM)
            assert envelopes(answer.body)[-1][1]["error"]["code"] == "invalid_argument"

    asyncio.run(asyncio.wait_for(test(), 60))


@sync
async def test_a_body_over_the_limit_is_refused_with_413_before_it_is_read(path: Path) -> None:
    async with plane(path, max_request_bytes=1000) as (served, _):
        answer = await request(served.http_url + LIST_RUNS, b" " * 2000 + b"{}", key=KEY)
        assert (answer.status, answer.document["code"]) == (413, "resource_exhausted")
        assert "more than 1,000 bytes" in answer.document["message"]


@sync
async def test_a_body_that_does_not_say_its_size_is_read_up_to_the_limit(path: Path) -> None:
    async with plane(path, max_request_bytes=1000) as (served, _):
        reader, writer = await connect(served.http_url)
        writer.write(
            f"POST {LIST_RUNS} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {KEY}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(3):
            writer.write(b"1f4\r\n" + b" " * 500 + b"\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        assert b" 413 " in answer.splitlines()[0]
        writer.close()


@sync
async def test_a_grpc_request_over_the_limit_is_resource_exhausted(path: Path) -> None:
    async with plane(path, max_request_bytes=1000) as (_, caller):
        with pytest.raises(errors.ServoError, match="larger than max") as caught:
            await caller.create_run("x" * 2000)
        assert caught.value.context["grpc_status"] == "RESOURCE_EXHAUSTED"


@sync
async def test_the_server_lives_and_is_ready(path: Path) -> None:
    async with plane(path) as (served, _):
        for probe in ("/healthz", "/readyz"):
            answer = await request(served.http_url + probe, verb="GET")
            assert (answer.status, answer.document) == (200, {"status": "ok"})


@sync
async def test_browsers_are_let_in_from_configured_origins_only(path: Path) -> None:
    page = "http://localhost:5173"
    preflight = {"verb": "OPTIONS", "access_control_request_method": "POST"}
    async with plane(path, cors_origins=(page,)) as (served, _):
        url = served.http_url + LIST_RUNS
        allowed = await request(url, origin=page, **preflight)
        assert allowed.status == 204
        assert allowed.headers["access-control-allow-origin"] == page
        assert "authorization" in allowed.headers["access-control-allow-headers"]
        answer = await request(url, b"{}", key=KEY, origin=page)
        assert answer.headers["access-control-allow-origin"] == page
        other = await request(url, origin="http://evil.example", **preflight)
        assert "access-control-allow-origin" not in other.headers


@sync
async def test_no_browser_is_let_in_by_default(path: Path) -> None:
    async with plane(path) as (served, _):
        answer = await request(
            served.http_url + LIST_RUNS,
            verb="OPTIONS",
            origin="http://localhost:5173",
            access_control_request_method="POST",
        )
        assert "access-control-allow-origin" not in answer.headers


@sync
async def test_an_error_that_nobody_foresaw_says_where_to_look_and_no_more(path: Path) -> None:
    async with plane(path) as (served, _):
        served.store._reader.close()
        answer = await request(served.http_url + LIST_RUNS, b"{}", key=KEY)
        assert answer.status == 500
        message = answer.document["message"]
        assert re.fullmatch(r"internal error, see the server's log \(id [0-9a-f]{8}\)", message)


@sync
async def test_many_connections_at_once_are_answered(path: Path) -> None:
    async with plane(path) as (served, _):
        url = served.http_url + LIST_RUNS
        answers = await asyncio.gather(*(request(url, b"{}", key=KEY) for _ in range(50)))
        assert {answer.status for answer in answers} == {200}


@sync
async def test_stopping_ends_the_watches_over_http(path: Path) -> None:
    async with plane(path) as (served, caller):
        await caller.deploy([asset("raw.a")])
        run_id = (await caller.create_run("*")).run.run_id
        watching = asyncio.create_task(
            request(
                served.http_url + WATCH_RUN,
                envelope({"runId": run_id}),
                key=KEY,
                content_type=STREAM,
            )
        )
        async with asyncio.timeout(20):
            while not served.watchers:
                await asyncio.sleep(0.02)
        await served.stop()
        answer = await asyncio.wait_for(watching, 20)
        flags, end = envelopes(answer.body)[-1]
        assert (flags, end["error"]["code"]) == (2, "unavailable")


@sync
async def test_on_loopback_only_names_of_loopback_and_configured_ones_are_answered(
    path: Path,
) -> None:
    async with plane(path, http_hosts=("servo.example.org",)) as (served, _):
        for host in ("localhost", "LOCALHOST:80", "127.0.0.1", "127.1.2.3:9", "[::1]:80", "[::1]"):
            answer = await request(f"{served.http_url}/healthz", verb="GET", host=host)
            assert answer.status == 200, host
        for host in ("servo.example.org", "Servo.Example.org.:8080"):
            answer = await request(f"{served.http_url}/healthz", verb="GET", host=host)
            assert answer.status == 200, host
        for host in (
            "evil.example.com",
            "127.0.0.1.evil.example.com:80",
            "localhost.evil",
            "10.0.0.1",
        ):
            for where in ("/healthz", "/arco.v1.ServerService/GetServerInfo", LIST_RUNS, "/x"):
                answer = await request(f"{served.http_url}{where}", b"{}", key=KEY, host=host)
                assert answer.status == 421, (host, where)
                assert "--http-host" in answer.document["message"]


def test_where_others_reach_the_port_every_name_is_answered() -> None:
    names = OwnNames("0.0.0.0:80")
    assert names("evil.example.com")
    assert names("")
