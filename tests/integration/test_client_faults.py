"""What the client makes of servers, networks and callers that misbehave, on real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from client_kit import KEY, Mode, Script, Wire, call, scripted_plane
from hostile_kit import (
    Behave,
    free_port,
    garbage,
    hang,
    hang_up,
    hostile,
    http,
    http2,
    response,
    stream,
)
from servo import _wire, errors
from servo._wire import methods
from servo.client import AsyncClient, Client, Tls
from servo.types.events import Event, RunStateChanged
from servo.types.records import Run
from servo.types.requests import (
    GetRunResponse,
    GetServerInfoResponse,
    WatchRunRequest,
    WatchRunResponse,
)
from servo.types.runs import RunState
from servo.types.sessions import OpenSessionRequest
from tls_kit import Authority

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
INFO = GetServerInfoResponse(servo_version="1", ready=True)
BEGUN = WatchRunResponse(
    events=(
        Event(
            sequence=1,
            occurred_at=datetime(2025, 1, 15, tzinfo=UTC),
            run_id="r",
            payload=RunStateChanged(state=RunState.RUNNING),
        ),
    )
)
ENDED = WatchRunResponse(
    events=(
        Event(
            sequence=2,
            occurred_at=datetime(2025, 1, 15, tzinfo=UTC),
            run_id="r",
            payload=RunStateChanged(state=RunState.SUCCEEDED),
        ),
    )
)
HTML = b"<html><head><title>Oops</title></head><body><h1>It broke</h1></body></html>"

modes = pytest.mark.parametrize("mode", ["sync", "async"])
wires = pytest.mark.parametrize("wire", ["grpc", "http"])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Script]:
    with scripted_plane(tmp_path_factory.mktemp("plane")) as script:
        yield script


@pytest.fixture
def script(served: Script) -> Iterator[Script]:
    yield served
    served.clear()


def ask(mode: Mode, url: str, **options: Any) -> Any:
    return call(mode, url, lambda c: c.server.info(), **{"retries": 0, "timeout": 10} | options)


def failure(mode: Mode, url: str, **options: Any) -> errors.ServoError:
    with pytest.raises(errors.ServoError) as caught:
        ask(mode, url, **options)
    return caught.value


# -- servers that are not there, or say nothing ---------------------------------------------


@modes
@wires
def test_a_server_that_is_not_there_is_named(mode: Mode, wire: Wire) -> None:
    url = f"{wire}://127.0.0.1:{free_port()}"
    error = failure(mode, url)
    assert isinstance(error, errors.UnavailableError)
    assert f"cannot reach the control plane at {url}" in str(error)
    assert "check the address, and whether it runs" in str(error)


@modes
@wires
def test_a_name_that_is_not_known_is_named(mode: Mode, wire: Wire) -> None:
    url = f"{wire}://control-plane.invalid:7433"
    error = failure(mode, url, api_key=None)
    assert isinstance(error, errors.UnavailableError | errors.DeadlineError)
    assert "control-plane.invalid" in str(error)


@modes
@wires
def test_a_server_that_hangs_ends_with_the_deadline(mode: Mode, wire: Wire) -> None:
    began = time.monotonic()
    with hostile(hang) as port:
        error = failure(mode, f"{wire}://127.0.0.1:{port}", timeout=0.5)
    assert isinstance(error, errors.DeadlineError)
    assert "within 0.5 s" in str(error)
    assert time.monotonic() - began < 5


@modes
def test_a_server_that_sends_a_byte_now_and_then_ends_with_the_deadline(mode: Mode) -> None:
    def drip(connection: Any) -> None:
        connection.recv(65536)
        connection.sendall(response("200 OK", b"")[:-2].replace(b"length: 0", b"length: 999"))
        connection.sendall(b"\r\n")
        for _ in range(100):
            connection.sendall(b" ")
            time.sleep(0.05)

    began = time.monotonic()
    with hostile(drip) as port:
        error = failure(mode, f"http://127.0.0.1:{port}", timeout=0.5)
    assert isinstance(error, errors.DeadlineError)
    assert time.monotonic() - began < 3


def dripping_headers(connection: Any) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nx-padding: ")
    for _ in range(200):
        connection.sendall(b"x")
        time.sleep(0.05)


@modes
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_headers_that_drip_in_end_with_the_deadline(mode: Mode, tls: bool, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.server_cert, authority.server_key)

    def drip(connection: Any) -> None:
        with context.wrap_socket(connection, server_side=True) if tls else connection as ours:
            dripping_headers(ours)

    began = time.monotonic()
    with hostile(drip) as port:
        url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        error = failure(mode, url, timeout=0.5, tls=Tls(ca=authority.ca))
    assert isinstance(error, errors.DeadlineError)
    assert "within 0.5 s" in str(error)
    assert time.monotonic() - began < 5


@modes
def test_headers_of_a_stream_that_drip_in_end_with_the_limit_of_an_interceptor(mode: Mode) -> None:
    def hurry(call: Any, proceed: Any) -> Any:
        call.shorten(0.5)
        return proceed(call)

    began = time.monotonic()
    with hostile(dripping_headers) as port, pytest.raises(errors.DeadlineError):
        call(
            mode,
            f"http://127.0.0.1:{port}",
            lambda c: c._calls.stream(methods.WATCH_RUN, WatchRunRequest(run_id="r")),
            interceptors=[hurry],
            retries=0,
        )
    assert time.monotonic() - began < 5


@modes
def test_one_slow_call_leaves_the_next_one_its_time(mode: Mode, script: Script) -> None:
    script.answers["GetServerInfo"] = lambda _: INFO

    def twice(client: Any) -> Any:
        client.with_options(timeout=2.0).server.info()
        time.sleep(2.1)
        return client.server.info()

    async def twice_async(client: Any) -> Any:
        await client.with_options(timeout=2.0).server.info()
        await asyncio.sleep(2.1)
        return await client.server.info()

    do = twice if mode == "sync" else twice_async
    assert call(mode, script.http_url, do, timeout=30, retries=0) == INFO


@modes
@wires
def test_a_server_that_hangs_up_is_unavailable(mode: Mode, wire: Wire) -> None:
    with hostile(hang_up) as port:
        error = failure(mode, f"{wire}://127.0.0.1:{port}", timeout=5)
    assert isinstance(error, errors.UnavailableError)


# -- servers that are something else --------------------------------------------------------


@modes
@wires
def test_garbage_is_no_control_plane(mode: Mode, wire: Wire) -> None:
    with hostile(garbage) as port:
        url = f"{wire}://127.0.0.1:{port}"
        error = failure(mode, url, timeout=5)
    assert isinstance(error, errors.UnavailableError | errors.ConfigurationError)
    assert url in str(error)
    assert "check the address" in str(error)


@modes
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("500 Internal Server Error", errors.ServoError),
        ("502 Bad Gateway", errors.UnavailableError),
        ("404 Not Found", errors.ConfigurationError),
        ("403 Forbidden", errors.PermissionDeniedError),
        ("200 OK", errors.ConfigurationError),
    ],
)
def test_a_page_of_html_is_quoted_without_its_tags(
    mode: Mode, status: str, expected: type[errors.ServoError]
) -> None:
    with hostile(http(response(status, HTML, "text/html"))) as port:
        error = failure(mode, f"http://127.0.0.1:{port}")
    assert isinstance(error, expected)
    assert f"answered {status[:3]} with text/html" in str(error)
    assert "It broke" in str(error)
    assert "<h1>" not in str(error)
    assert "check the address, and what lies between" in str(error)


@modes
@pytest.mark.parametrize(
    ("status", "expected"), [(500, errors.ServoError), (404, errors.ConfigurationError)]
)
def test_a_page_of_html_over_http2_is_no_answer_of_a_control_plane(
    mode: Mode, status: int, expected: type[errors.ServoError]
) -> None:
    with hostile(http2(status, "text/html", HTML)) as port:
        url = f"grpc://127.0.0.1:{port}"
        error = failure(mode, url, timeout=5)
    assert isinstance(error, expected)
    assert f"{url} was answered {status} by something" in str(error)


@modes
def test_an_http_server_behind_a_grpc_address_is_told_apart(mode: Mode, script: Script) -> None:
    error = failure(mode, script.http_url.replace("http", "grpc"), timeout=5)
    assert "write the address with http:// or https://" in str(error)


@modes
def test_a_grpc_server_behind_an_http_address_is_told_apart(mode: Mode, script: Script) -> None:
    error = failure(mode, script.grpc_url.replace("grpc", "http"), timeout=5)
    assert "check the address" in str(error)


@modes
def test_json_that_is_no_answer_is_refused(mode: Mode) -> None:
    with hostile(http(response("200 OK", b'{"ready": "perhaps"}'))) as port:
        error = failure(mode, f"http://127.0.0.1:{port}")
    assert isinstance(error, errors.InvalidArgumentError)
    assert "GetServerInfoResponse" in str(error)


# -- redirects ------------------------------------------------------------------------------


@modes
@pytest.mark.parametrize("status", ["301 Moved Permanently", "307 Temporary Redirect"])
def test_a_redirect_is_not_followed_and_says_where_to(mode: Mode, status: str) -> None:
    asked: list[bytes] = []

    def elsewhere(connection: Any) -> None:
        asked.append(connection.recv(65536))

    with hostile(elsewhere) as other:
        path = "/arco.v1.ServerService/GetServerInfo"
        location = f"https://127.0.0.1:{other}{path}?token=s3cret"
        with hostile(http(response(status, location=location))) as port:
            error = failure(mode, f"http://127.0.0.1:{port}")
    assert isinstance(error, errors.ConfigurationError)
    assert f"'https://127.0.0.1:{other}'" in str(error)
    assert "s3cret" not in str(error)
    assert asked == []


# -- trailers, and streams that are cut off -------------------------------------------------


@modes
def test_a_proxy_that_strips_trailers_is_not_taken_for_an_answer(mode: Mode) -> None:
    data = _wire.methods.GET_SERVER_INFO.encode_response(INFO)
    message = b"\0" + len(data).to_bytes(4, "big") + data
    with hostile(http2(200, "application/grpc", message)) as port:
        error = failure(mode, f"grpc://127.0.0.1:{port}", timeout=5)
    assert error.code == "TRAILERS_STRIPPED"
    assert f"grpc://127.0.0.1:{port}" in str(error)


@modes
def test_a_stream_needs_no_trailers_over_http(mode: Mode) -> None:
    answers = [_wire.to_canonical_json(one).encode() for one in (BEGUN, ENDED)]
    body = stream(*((0, one) for one in answers), (2, b"{}"))
    with hostile(http(body)) as port:
        found = call(mode, f"http://127.0.0.1:{port}", lambda c: c.runs.watch("r"))
    assert [event.sequence for event in found] == [1, 2]


@modes
def test_a_stream_that_is_cut_off_is_opened_again_after_its_last_event(mode: Mode) -> None:
    asked: list[int] = []

    def reply(request: bytes) -> bytes:
        after = int(json.loads(request[5:])["afterSequence"])
        asked.append(after)
        answer = ENDED if after else BEGUN
        return stream((0, _wire.to_canonical_json(answer).encode()))

    with hostile(http(reply)) as port:
        found = call(mode, f"http://127.0.0.1:{port}", lambda c: c.runs.watch("r"))
    assert [event.sequence for event in found] == [1, 2]
    assert asked == [0, 1]


@modes
@pytest.mark.parametrize(
    ("tail", "match"),
    [
        ((1, b"\x1f\x8b"), "compressed"),
        ((0x40, b"{}"), "flags 0x40"),
        ((2, b"not json"), "no JSON"),
    ],
)
def test_a_stream_of_something_else_is_refused(
    mode: Mode, tail: tuple[int, bytes], match: str
) -> None:
    with (
        hostile(http(stream(tail))) as port,
        pytest.raises(errors.ConfigurationError, match=match),
    ):
        call(mode, f"http://127.0.0.1:{port}", lambda c: c.runs.watch("r"))


@modes
def test_an_error_at_the_end_of_a_stream_is_raised(mode: Mode) -> None:
    end = {"error": {"code": "not_found", "message": "no run 'r'"}}
    with (
        hostile(http(stream((2, json.dumps(end).encode())))) as port,
        pytest.raises(errors.NotFoundError, match="no run 'r'"),
    ):
        call(mode, f"http://127.0.0.1:{port}", lambda c: c.runs.watch("r"))


# -- sizes ----------------------------------------------------------------------------------


@modes
def test_a_hundred_megabytes_are_refused_when_they_are_announced(mode: Mode) -> None:
    head = response("200 OK").replace(b"length: 0", b"length: 104857600")
    began = time.monotonic()
    with hostile(http(head, keeps_open=True)) as port:
        error = failure(mode, f"http://127.0.0.1:{port}")
    assert error.code == "RESPONSE_TOO_LARGE"
    assert "104857600 bytes" in str(error)
    assert time.monotonic() - began < 5


@modes
def test_a_hundred_megabytes_are_refused_when_they_are_not_announced(mode: Mode) -> None:
    sent: list[int] = [0]

    def flood(connection: Any) -> None:
        connection.recv(65536)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        for _ in range(1600):
            connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
            sent[0] += 65536

    with hostile(flood) as port:
        error = failure(mode, f"http://127.0.0.1:{port}", max_response_bytes=1024 * 1024)
    assert error.code == "RESPONSE_TOO_LARGE"
    assert "raise max_response_bytes" in str(error)
    assert sent[0] < 50 * 1024 * 1024


@modes
def test_a_message_of_a_stream_that_is_too_large_is_refused(mode: Mode) -> None:
    head = stream()[:] + b"\0" + (104857600).to_bytes(4, "big")
    with (
        hostile(http(head, keeps_open=True)) as port,
        pytest.raises(errors.InvalidArgumentError, match="is refused: it has 104857600 bytes"),
    ):
        call(mode, f"http://127.0.0.1:{port}", lambda c: c.runs.watch("r"))


@modes
def test_a_large_message_over_grpc_is_refused(mode: Mode, script: Script) -> None:
    script.answers["GetServerInfo"] = lambda _: GetServerInfoResponse(
        servo_version="x" * 2_000_000, ready=True
    )
    error = failure(mode, script.grpc_url, max_response_bytes=1_000_000)
    assert error.code == "RESPONSE_TOO_LARGE"
    assert "2000" in str(error)
    assert len(ask(mode, script.grpc_url).servo_version) == 2_000_000


def test_the_stock_limit_of_grpc_does_not_apply(script: Script) -> None:
    script.answers["GetServerInfo"] = lambda _: GetServerInfoResponse(
        servo_version="x" * 8_000_000, ready=True
    )
    assert len(ask("sync", script.grpc_url).servo_version) == 8_000_000


# -- certificates ---------------------------------------------------------------------------


@modes
@wires
def test_an_expired_certificate_is_not_trusted(mode: Mode, wire: Wire, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls", expires_at=datetime.now(UTC) - timedelta(days=1))
    with scripted_plane(tmp_path, tls=authority.server()) as script:
        error = failure(mode, script.url(wire), tls=Tls(ca=authority.ca))
    assert isinstance(error, errors.ConfigurationError)
    assert error.code == "TLS_UNTRUSTED"
    assert "expired" in str(error)
    assert script.headers == []


@modes
@wires
def test_a_certificate_of_an_unknown_authority_is_not_trusted(
    mode: Mode, wire: Wire, tmp_path: Path
) -> None:
    with scripted_plane(tmp_path, tls=Authority(tmp_path / "tls").server()) as script:
        error = failure(mode, script.url(wire), tls=Tls(ca=Authority(tmp_path / "other").ca))
    assert error.code == "TLS_UNTRUSTED"
    assert "SERVO_TLS_CA" in str(error)


@modes
@wires
def test_a_certificate_that_is_trusted_lets_in(mode: Mode, wire: Wire, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    with scripted_plane(tmp_path, tls=authority.server(mutual=True)) as script:
        script.answers["GetServerInfo"] = lambda _: INFO
        tls = Tls(ca=authority.ca, cert=authority.client_cert, key=authority.client_key)
        assert ask(mode, script.url(wire), tls=tls) == INFO
        error = failure(mode, script.url(wire), tls=Tls(ca=authority.ca))
    assert isinstance(error, errors.UnavailableError | errors.ConfigurationError)


# -- contracts of another age ---------------------------------------------------------------


@modes
def test_what_only_a_newer_server_says_is_passed_over(mode: Mode) -> None:
    newer = {"servoVersion": "99", "ready": True, "moonPhase": {"waxing": True}}
    with hostile(http(response("200 OK", json.dumps(newer).encode()))) as port:
        found = ask(mode, f"http://127.0.0.1:{port}")
    assert (found.servo_version, found.ready) == ("99", True)


@modes
def test_a_server_that_does_not_know_a_call_is_older(mode: Mode, script: Script) -> None:
    prefix = f"{script.http_url}/nowhere"
    error = failure(mode, prefix)
    assert isinstance(error, errors.ConfigurationError)
    assert "older than this client, upgrade it" in str(error)


# -- clocks ---------------------------------------------------------------------------------


@modes
def test_a_date_to_come_back_at_counts_from_the_servers_own_clock(mode: Mode) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    reply = response(
        "503 Service Unavailable",
        b"",
        "text/plain",
        date=format_datetime(tomorrow, usegmt=True),
        retry_after=format_datetime(tomorrow + timedelta(seconds=2), usegmt=True),
    )
    with hostile(http(reply)) as port:
        error = failure(mode, f"http://127.0.0.1:{port}")
    assert error.retry_after == 2


@modes
@wires
def test_a_limit_is_sent_as_a_length_of_time(mode: Mode, wire: Wire, script: Script) -> None:
    script.answers["GetServerInfo"] = lambda _: INFO
    ask(mode, script.url(wire), timeout=7)
    (found,) = script.headers
    if wire == "http":
        assert 6_000 < int(found["connect-timeout-ms"]) <= 7_000
    del found["x-servo-request-id"]  # chance may end it like a point in time
    assert not any("T" in value and value.endswith("Z") for value in found.values())


def test_a_budget_does_not_follow_the_time_of_day(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.answers["GetServerInfo"] = lambda _: INFO
    left: list[Any] = []

    def jump(call: Any, proceed: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: 0.0)
            left.append(call.remaining())
        return proceed(call)

    ask("sync", script.grpc_url, interceptors=[jump])
    assert 9 < left[0] <= 10


# -- processes, threads, signals ------------------------------------------------------------

WATCH = """
    import asyncio, sys, time
    from servo.client import AsyncClient, Client

    mode, url, key = sys.argv[1:]

    def watch():
        with Client(url, api_key=key) as client:
            for event in client.runs.watch("r"):
                print("event", flush=True)

    async def watch_async():
        async with AsyncClient(url, api_key=key) as client:
            async for event in client.runs.watch("r"):
                print("event", flush=True)

    try:
        watch() if mode == "sync" else asyncio.run(watch_async())
    except KeyboardInterrupt:
        print("left", flush=True)
"""

FORK = """
    import os, sys
    from servo.client import Client

    url, key = sys.argv[1:]
    client = Client(url, api_key=key)
    print("before", client.server.info().servo_version, flush=True)
    ids = [f"{number:03}" for number in range(100)]
    child = os.fork()
    who = "child" if child == 0 else "parent"
    found = [client.runs.get(who + each, tasks=False).run_id for each in ids]
    print(who, found == [who + each for each in ids], flush=True)
    if child == 0:
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )


@modes
@wires
def test_ctrl_c_leaves_a_watch_within_a_second_and_ends_the_call(
    mode: Mode, wire: Wire, script: Script
) -> None:
    ended = threading.Event()

    async def endless(_: Any) -> AsyncIterator[Any]:
        try:
            yield BEGUN
            await asyncio.sleep(60)
        finally:
            ended.set()

    script.answers["WatchRun"] = endless
    with start(WATCH, mode, script.url(wire), KEY) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "event\n"
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "left\n"
        took = time.monotonic() - began
        assert process.wait(20) == 0
    assert took < 1
    assert ended.wait(10)


@wires
def test_a_forked_child_and_its_parent_both_go_on(wire: Wire, script: Script) -> None:
    script.answers["GetServerInfo"] = lambda _: INFO
    script.answers["GetRun"] = lambda request: GetRunResponse(
        run=Run(run_id=request.run_id, state=RunState.RUNNING)
    )
    with start(FORK, script.url(wire), KEY) as process:
        output, _ = process.communicate(timeout=60)
    first, *both, last = output.splitlines()
    assert (first, sorted(both), last) == ("before 1", ["child True", "parent True"], "0")


@wires
def test_fifty_threads_make_a_thousand_calls_on_one_client(wire: Wire, script: Script) -> None:
    script.answers["GetServerInfo"] = lambda _: INFO
    found: list[Any] = []
    failed: list[BaseException] = []
    with Client(script.url(wire), api_key=KEY, timeout=60) as client:

        def work() -> None:
            try:
                for _ in range(20):
                    found.append(client.server.info())
            except BaseException as exc:  # whatever it is, the test has to know
                failed.append(exc)

        threads = [threading.Thread(target=work) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
    assert failed == []
    assert found == [INFO] * 1000
    assert len({one["x-servo-request-id"] for one in script.headers}) == 1000


@wires
def test_a_thousand_calls_at_once_on_one_asyncio_client(wire: Wire, script: Script) -> None:
    script.answers["GetServerInfo"] = lambda _: INFO

    async def all_of_them(client: Any) -> list[Any]:
        limit = asyncio.Semaphore(50)

        async def one() -> Any:
            async with limit:
                return await client.server.info()

        return list(await asyncio.gather(*(one() for _ in range(1000))))

    assert call("async", script.url(wire), all_of_them, timeout=60) == [INFO] * 1000


@wires
def test_an_asyncio_client_is_not_used_in_another_loop(wire: Wire, script: Script) -> None:
    script.answers["GetServerInfo"] = lambda _: INFO

    async def ask_elsewhere(client: Any) -> None:
        def elsewhere() -> None:
            with pytest.raises(errors.ConfigurationError, match="another event loop") as caught:
                asyncio.run(client.server.info())
            assert caught.value.code == "OTHER_EVENT_LOOP"

        assert await client.server.info() == INFO
        await asyncio.to_thread(elsewhere)
        assert await client.server.info() == INFO

    call("async", script.url(wire), ask_elsewhere)


@modes
@wires
def test_a_closed_client_says_so(mode: Mode, wire: Wire, script: Script) -> None:
    async def close_and_ask(client: Any) -> Any:
        await client.close()
        return await client.server.info()

    def close_then_ask(client: Any) -> Any:
        client.close()
        return client.server.info()

    with pytest.raises(errors.ConfigurationError, match="was closed") as caught:
        call(mode, script.url(wire), close_then_ask if mode == "sync" else close_and_ask)
    assert caught.value.code == "CLIENT_CLOSED"


@modes
@pytest.mark.parametrize("key", ["s3cret\n", "s3cret\r\nx-servo-tenant-id: other", " "])
def test_a_key_with_a_line_break_is_refused_and_not_shown(
    mode: Mode, key: str, script: Script
) -> None:
    for provider in (key, lambda: key):
        with pytest.raises(errors.ConfigurationError, match="API key cannot be sent") as caught:
            ask(mode, script.grpc_url, api_key=provider)
        assert "s3cret" not in str(caught.value)
    assert script.headers == []


def test_every_hostile_server_is_a_behaviour() -> None:
    servers: list[Behave] = [hang, garbage, hang_up, http(b""), http2(200, "text/html")]
    assert all(map(callable, servers))


# -- a client that is closed while others use it ----------------------------------------------


@pytest.mark.parametrize(
    ("wire", "kind"),
    [
        ("grpc", "unary"),
        ("grpc", "server"),
        ("grpc", "both"),
        ("http", "unary"),
        ("http", "server"),
    ],
)
def test_closing_a_client_fails_its_calls_and_cancels_no_task(
    wire: Wire, kind: str, script: Script
) -> None:
    async def silence(_: Any) -> Any:
        await asyncio.sleep(30)

    async def silent_stream(_: Any) -> Any:
        await asyncio.sleep(30)
        yield None

    script.answers |= {
        "GetServerInfo": silence, "WatchRun": silent_stream, "OpenSession": silent_stream
    }  # fmt: skip

    async def requests() -> AsyncIterator[OpenSessionRequest]:
        yield OpenSessionRequest(messages=())
        await asyncio.sleep(60)

    async def use(client: AsyncClient) -> Any:
        if kind == "unary":
            return await client.server.info()
        if kind == "both":
            return [answer async for answer in client.workers.open_session(requests())]
        return [event async for event in client.runs.watch("r")]

    async def close() -> None:
        client = AsyncClient(script.url(wire), api_key=KEY)
        using = asyncio.create_task(use(client))
        async with asyncio.timeout(30):
            while not script.headers:
                await asyncio.sleep(0.01)
        await client.close()
        with pytest.raises((errors.ConfigurationError, errors.UnavailableError)):
            await asyncio.wait_for(using, 30)

    asyncio.run(close())
