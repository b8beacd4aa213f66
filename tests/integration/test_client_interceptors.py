"""Every interceptor, in both clients, over both transports, for answers and for streams.

A test with ``ways`` runs in every combination; the others say with which ones they run, and here is
why not with all:

- Over HTTP there is no stream of both sides: HTTP/1.1 cannot carry one, and the client says so
  (``test_a_stream_of_both_sides_over_http_is_refused``).
- A timeout of the caller bounds calls with one answer. How long a stream lasts is not known: only
  an interceptor bounds one, and what both sides say is bounded in its opening alone.
- A stream of both sides is repeated by nothing that the contract has today, so repetition is tested
  with the calls that are (``repeated``), and the rule for it with a row of its own.
- A client that is asked twice, or by threads, is asked for one answer: what is shared between calls
  does not know of shapes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from client_kit import KEY, Mode, Script, Wire, call, own_clock, scripted_plane
from servo import errors
from servo._wire import Method, methods
from servo.client import INTERCEPTOR_ORDER, AsyncClient, Client, Retries, TokenFile, _tracing
from servo.types.events import Event, RunStateChanged
from servo.types.ids import Ulid
from servo.types.records import Run
from servo.types.requests import (
    CreateRunResponse,
    GetServerInfoRequest,
    GetServerInfoResponse,
    WatchRunRequest,
    WatchRunResponse,
)
from servo.types.runs import RunState
from servo.types.sessions import (
    CreditGrant,
    LogReceipt,
    OpenSessionRequest,
    OpenSessionResponse,
)

INFO = GetServerInfoResponse(servo_version="1", ready=True)
QUICK = Retries(first=0.01)


def event(sequence: int, state: RunState = RunState.RUNNING) -> WatchRunResponse:
    return WatchRunResponse(
        events=(
            Event(
                sequence=sequence,
                occurred_at=datetime(2025, 1, 15, tzinfo=UTC),
                run_id="r",
                payload=RunStateChanged(state=state),
            ),
        )
    )


EVENTS = [event(1), event(2, RunState.SUCCEEDED)]
HEARD = [OpenSessionResponse(messages=(LogReceipt(batches=number),)) for number in (1, 2)]
SAID = [OpenSessionRequest(messages=(CreditGrant(attempts=number),)) for number in (1, 2)]


@dataclass(frozen=True)
class Way:
    """One of the ways to make a call."""

    mode: Mode
    wire: Wire
    kind: str

    def __str__(self) -> str:
        return f"{self.mode}-{self.wire}-{self.kind}"

    @property
    def rpc(self) -> str:
        return {"unary": "GetServerInfo", "server": "WatchRun", "both": "OpenSession"}[self.kind]

    @property
    def answer(self) -> Any:
        """What a script answers with, and what comes back of it."""
        return {"unary": INFO, "server": EVENTS, "both": HEARD}[self.kind]

    @property
    def attempts(self) -> int:
        """How often a call is made that keeps failing."""
        return 1 if self.kind == "both" else 3

    def __call__(self, script: Script, **options: Any) -> Any:
        """Make the call; the answer of a scripted one by default."""
        script.answers.setdefault(self.rpc, lambda _: self.answer)
        return call(self.mode, script.url(self.wire), self.do, **options)

    def do(self, client: Any) -> Any:
        if self.kind == "unary":
            return client.server.info()
        if self.kind == "both":
            return exchange(client, self.mode, iter(SAID))
        # Without the verb's own patience: that one opens a stream again by itself.
        return client._calls.stream(methods.WATCH_RUN, WatchRunRequest(run_id="r"))


async def in_async(items: Iterator[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def exchange(
    client: Any,
    mode: Mode,
    requests: Iterator[OpenSessionRequest],
    method: Method[Any, Any] = methods.OPEN_SESSION,
    **options: Any,
) -> Any:
    """Call a stream of both sides. The verb's caller comes back by itself; this one does not."""
    said = requests if mode == "sync" else in_async(requests)
    return client._calls.exchange(method, said, **options)


WAYS = [
    Way(mode, wire, kind)
    for mode in ("sync", "async")
    for wire in ("grpc", "http")
    for kind in ("unary", "server", "both")
    if (wire, kind) != ("http", "both")
]
ways = pytest.mark.parametrize("way", WAYS, ids=str)
repeated = pytest.mark.parametrize("way", [way for way in WAYS if way.attempts > 1], ids=str)
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


def failing(times: int, answer: Any, error: Callable[[], errors.ServoError]) -> Any:
    """Return what fails that many times before it answers."""
    left = [times]

    def reply(_: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise error()
        return answer

    return reply


def unavailable() -> errors.ServoError:
    return errors.UnavailableError("the store is being restarted")


class Recorder:
    """An interceptor of the user that writes down what it sees."""

    def __init__(self, note: Callable[[Any], Any]) -> None:
        self.seen: list[Any] = []
        self._note = note

    def __call__(self, call: Any, proceed: Any) -> Any:
        self.seen.append(self._note(call))
        return proceed(call)


# -- the chain ------------------------------------------------------------------------------


def test_the_chain_of_both_clients_has_the_published_order(script: Script) -> None:
    clients = Client(script.grpc_url), AsyncClient(script.grpc_url)
    for client in clients:
        assert tuple(step.name for step in client._calls.steps) == INTERCEPTOR_ORDER
    clients[0].close()


class Noting:
    """An interceptor of the client, which is written down when a call comes to it."""

    def __init__(self, step: Any, seen: list[str]) -> None:
        self.name = step.name
        self._step = step
        self._seen = seen

    def bind_unary(self, proceed: Any) -> Any:
        return self._noting(self._step.bind_unary(proceed))

    def bind_stream(self, proceed: Any) -> Any:
        return self._noting(self._step.bind_stream(proceed))

    def _noting(self, bound: Any) -> Any:
        def handle(call: Any) -> Any:
            self._seen.append(self.name)
            return bound(call)

        return handle


@ways
def test_a_call_passes_the_interceptors_in_the_published_order(way: Way, script: Script) -> None:
    seen: list[str] = []

    def do(client: Any) -> Any:
        known = client._calls
        client._calls = noted = type(known)(
            client._transport,
            [Noting(step, seen) for step in known.steps],
            url=client._url,
            address=client._address,
            metadata=client._metadata,
            limits=client._limits,
            clock=client._clock,
        )
        if way.kind == "unary":
            return noted.unary(methods.GET_SERVER_INFO, GetServerInfoRequest())
        return way.do(client)

    script.answers[way.rpc] = lambda _: way.answer
    assert call(way.mode, script.url(way.wire), do) == way.answer
    assert tuple(seen) == INTERCEPTOR_ORDER


@ways
def test_every_way_is_answered(way: Way, script: Script) -> None:
    assert way(script) == way.answer


@ways
def test_the_users_interceptor_sees_what_all_others_have_done(way: Way, script: Script) -> None:
    seen = Recorder(lambda call: (dict(call.metadata), call.request_id, call.attempt))
    way(script, interceptors=[seen], tenant_id="default")
    ((metadata, request_id, attempt),) = seen.seen
    assert metadata["x-servo-tenant-id"] == "default"
    assert metadata["authorization"] == f"Bearer {KEY}"
    assert metadata["x-servo-request-id"] == request_id
    assert attempt == 1


# -- identity -------------------------------------------------------------------------------


@ways
def test_every_call_says_on_whose_behalf_it_is_made(way: Way, script: Script) -> None:
    way(script, tenant_id="acme", workspace_id="prod", source="cli")
    (found,) = script.headers
    assert found["x-servo-tenant-id"] == "acme"
    assert found["x-servo-workspace-id"] == "prod"
    assert found["x-servo-source"] == "cli"


@ways
def test_what_the_caller_says_wins_and_is_sent_in_lower_case(way: Way, script: Script) -> None:
    way(script, metadata={"X-Servo-Source": "airflow", "X-Team": "Data"})
    (found,) = script.headers
    assert (found["x-servo-source"], found["x-team"]) == ("airflow", "Data")


@modes
@pytest.mark.parametrize(
    ("name", "value"),
    [("x-team", "a\r\nauthorization: Bearer b"), ("x-team", "büro"), ("x team", "a")],
)
def test_metadata_that_would_become_another_header_is_refused(
    mode: Mode, name: str, value: str, script: Script
) -> None:
    with pytest.raises(errors.ConfigurationError, match="cannot be sent"):
        call(mode, script.grpc_url, lambda c: c.server.info(), metadata={name: value})
    assert script.headers == []


@ways
def test_an_interceptor_cannot_break_out_of_a_header_either(way: Way, script: Script) -> None:
    def inject(call: Any, proceed: Any) -> Any:
        call.metadata["x-team"] = "a\r\nx-servo-tenant-id: other"
        return proceed(call)

    with pytest.raises(errors.ConfigurationError, match="line breaks"):
        way(script, interceptors=[inject])
    assert script.headers == []


@wires
def test_clients_of_two_tenants_in_two_threads_never_mix(wire: Wire, script: Script) -> None:
    script.answers["GetServerInfo"] = lambda _: INFO
    found: list[tuple[str, str]] = []

    def ask(tenant: str) -> None:
        with Client(script.url(wire), api_key=KEY, tenant_id=tenant, source=tenant) as client:
            for _ in range(50):
                client.server.info()

    threads = [threading.Thread(target=ask, args=(tenant,)) for tenant in ("acme", "umbrella")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = [(one["x-servo-tenant-id"], one["x-servo-source"]) for one in script.headers]
    assert sorted(found) == [("acme", "acme")] * 50 + [("umbrella", "umbrella")] * 50


# -- request id -----------------------------------------------------------------------------


@ways
def test_all_attempts_of_a_call_have_one_ulid(
    way: Way, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "servo.client")
    script.answers[way.rpc] = failing(9, way.answer, unavailable)
    with pytest.raises(errors.UnavailableError) as caught:
        way(script, retries=QUICK)
    sent = [found["x-servo-request-id"] for found in script.headers]
    assert sent == [caught.value.request_id] * way.attempts
    assert Ulid(sent[0]) == sent[0]
    if way.attempts == 1:
        return
    assert {getattr(record, "request_id", None) for record in caplog.records} == {sent[0]}
    assert sent[0] in caplog.text


@ways
def test_an_id_of_the_caller_is_kept(way: Way, script: Script) -> None:
    way(script, metadata={"x-servo-request-id": "ci-42"})
    assert [found["x-servo-request-id"] for found in script.headers] == ["ci-42"]


@ways
def test_two_calls_have_two_ids(way: Way, script: Script) -> None:
    way(script)
    way(script)
    assert len({found["x-servo-request-id"] for found in script.headers}) == 2


# -- auth -----------------------------------------------------------------------------------


@ways
def test_the_provider_is_asked_for_each_call(way: Way, script: Script) -> None:
    keys = iter(["first", KEY])
    with pytest.raises(errors.UnauthenticatedError):
        way(script, api_key=lambda: "first")
    way(script, api_key=lambda: next(keys) and KEY)
    assert [found["authorization"] for found in script.headers] == ["Bearer first", f"Bearer {KEY}"]


@modes
def test_one_client_takes_every_new_key_of_a_file(
    mode: Mode, script: Script, tmp_path: Path
) -> None:
    script.answers["GetServerInfo"] = lambda _: INFO
    path = tmp_path / "key"
    path.write_text("old\n")

    def rotate(client: Any) -> Any:
        if mode == "sync":
            with pytest.raises(errors.UnauthenticatedError):
                client.server.info()
            path.write_text(f"{KEY}\n")
            return client.server.info()
        return rotate_async(client)

    async def rotate_async(client: Any) -> Any:
        with pytest.raises(errors.UnauthenticatedError):
            await client.server.info()
        path.write_text(f"{KEY}\n")
        return await client.server.info()

    assert call(mode, script.grpc_url, rotate, api_key=TokenFile(path)) == INFO
    sent = [found["authorization"] for found in script.headers]
    assert sent == ["Bearer old", f"Bearer {KEY}"]


@pytest.mark.parametrize("way", [way for way in WAYS if way.mode == "async"], ids=str)
def test_an_async_provider_is_waited_for(way: Way, script: Script) -> None:
    async def provider() -> str:
        await asyncio.sleep(0)
        return KEY

    assert way(script, api_key=provider) == way.answer


def test_an_async_provider_of_a_synchronous_client_is_refused(script: Script) -> None:
    async def provider() -> str:
        return KEY

    def ask() -> Any:
        found = provider()
        found.close()
        return found

    with pytest.raises(errors.ConfigurationError, match="needs an AsyncClient"):
        call("sync", script.grpc_url, lambda c: c.server.info(), api_key=ask)
    assert script.headers == []


@ways
def test_a_provider_that_fails_is_named_and_its_text_is_not_shown(way: Way, script: Script) -> None:
    def vault() -> str:
        raise RuntimeError("s3cret")

    with pytest.raises(errors.ConfigurationError, match=r"vault raised RuntimeError") as caught:
        way(script, api_key=vault)
    assert "s3cret" not in str(caught.value)
    assert script.headers == []


@modes
@pytest.mark.parametrize("url", ["grpc://192.0.2.1:7433", "http://192.0.2.1:7433"])
@pytest.mark.parametrize("api_key", ["s3cret", lambda: "s3cret"], ids=["text", "provider"])
def test_a_key_is_never_sent_in_plain_text_to_another_machine(
    mode: Mode, url: str, api_key: Any
) -> None:
    with pytest.raises(errors.ConfigurationError, match="in plain text") as caught:
        call(mode, url, lambda c: c.server.info(), api_key=api_key)
    assert caught.value.code == "PLAIN_TEXT_KEY"
    assert "s3cret" not in str(caught.value)


@modes
@pytest.mark.parametrize("url", ["grpc://192.0.2.1:7433", "http://192.0.2.1:7433"])
def test_a_key_that_comes_as_metadata_is_not_sent_in_plain_text_either(
    mode: Mode, url: str
) -> None:
    metadata = {"Authorization": "Bearer s3cret"}
    began = time.monotonic()
    with pytest.raises(errors.ConfigurationError, match="in plain text"):
        call(mode, url, lambda c: c.server.info(), api_key=None, metadata=metadata)
    assert time.monotonic() - began < 5


@ways
def test_a_key_never_shows(way: Way, script: Script, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    seen = Recorder(lambda call: shown.append(f"{call!r} {call.metadata!r} {call.metadata}"))
    with pytest.raises(errors.UnauthenticatedError) as caught:
        way(script, api_key="s3cret-key", interceptors=[seen])
    shown += [repr(caught.value), str(caught.value.context), caplog.text]
    with Client(script.grpc_url, api_key="s3cret-key") as client:
        shown += [repr(client), repr(vars(client)), repr(vars(client._auth))]
    assert "s3cret-key" not in "\n".join(shown)


# -- deadline -------------------------------------------------------------------------------


def test_a_call_with_no_time_is_not_sent(script: Script) -> None:
    seen = Recorder(lambda call: call.attempt)
    for mode in ("sync", "async"):
        for wire in ("grpc", "http"):
            with pytest.raises(errors.DeadlineError, match="within 0 s") as caught:
                call(
                    mode,
                    script.url(wire),
                    lambda c: c.server.info(),
                    timeout=0,
                    interceptors=[seen],
                )
            assert caught.value.attempts == 0
    assert script.headers == seen.seen == []


@ways
def test_an_interceptor_may_leave_a_call_less_time(way: Way, script: Script) -> None:
    async def silence(_: Any) -> Any:
        await asyncio.sleep(30)

    async def silent_stream(_: Any) -> Any:
        await asyncio.sleep(30)
        yield None

    script.answers[way.rpc] = silence if way.kind == "unary" else silent_stream

    def hurry(call: Any, proceed: Any) -> Any:
        call.shorten(0.3)
        return proceed(call)

    began = time.monotonic()
    with pytest.raises(errors.DeadlineError):
        way(script, interceptors=[hurry], retries=0)
    assert time.monotonic() - began < 10


@modes
@wires
def test_a_call_without_a_limit_has_none(mode: Mode, wire: Wire, script: Script) -> None:
    seen = Recorder(lambda call: call.remaining())
    Way(mode, wire, "unary")(script, timeout=None, interceptors=[seen])
    assert seen.seen == [None]


@modes
@wires
def test_the_budget_shrinks_over_the_attempts(mode: Mode, wire: Wire, script: Script) -> None:
    script.answers["GetServerInfo"] = failing(2, INFO, unavailable)
    seen = Recorder(lambda call: call.remaining())
    Way(mode, wire, "unary")(script, timeout=20, interceptors=[seen], retries=Retries(first=0.1))
    first, second, third = seen.seen
    assert 20 > first > second + 0.04 > third + 0.08


@modes
@pytest.mark.parametrize(
    ("given", "own", "expected"), [(20, 5, 5), (5, 20, 5), (None, 5, 5), (20, None, 20)]
)
def test_the_shorter_limit_wins(
    mode: Mode, given: float | None, own: float | None, expected: float, script: Script
) -> None:
    script.answers["GetServerInfo"] = lambda _: INFO
    seen = Recorder(lambda call: call.timeout)
    call(
        mode,
        script.grpc_url,
        lambda c: c.server.info(timeout=own),
        timeout=given,
        interceptors=[seen],
    )
    assert seen.seen == [expected]


@modes
def test_planning_has_more_time_unless_somebody_asked_for_less(mode: Mode, script: Script) -> None:
    run = Run(run_id="r", state=RunState.RUNNING)
    script.answers["CreateRun"] = lambda _: CreateRunResponse(run=run, created=True)
    seen = Recorder(lambda call: call.timeout)
    do = lambda c: c.runs.create(["a.b"])  # noqa: E731  # it is said twice below
    call(mode, script.grpc_url, do, interceptors=[seen])
    call(mode, script.grpc_url, do, interceptors=[seen], timeout=7)
    call(mode, script.grpc_url, lambda c: do(c.with_options(timeout=3)), interceptors=[seen])
    assert seen.seen == [300, 7, 3]


# -- retry ----------------------------------------------------------------------------------


@repeated
def test_a_call_that_does_no_harm_twice_is_repeated(way: Way, script: Script) -> None:
    script.answers[way.rpc] = failing(2, way.answer, unavailable)
    assert way(script, retries=QUICK) == way.answer
    assert len(script.headers) == 3


@ways
def test_after_the_last_attempt_the_error_is_the_servers(way: Way, script: Script) -> None:
    script.answers[way.rpc] = failing(9, way.answer, unavailable)
    with pytest.raises(errors.UnavailableError, match="being restarted") as caught:
        way(script, retries=QUICK)
    assert caught.value.attempts == len(script.headers) == way.attempts


@ways
def test_an_error_that_stays_is_not_repeated(way: Way, script: Script) -> None:
    script.answers[way.rpc] = failing(9, way.answer, lambda: errors.NotFoundError("no run 'r'"))
    with pytest.raises(errors.NotFoundError) as caught:
        way(script, retries=QUICK)
    assert caught.value.attempts == len(script.headers) == 1


@modes
@wires
def test_a_run_is_created_again_only_with_a_key(mode: Mode, wire: Wire, script: Script) -> None:
    run = Run(run_id="r", state=RunState.RUNNING)
    answer = CreateRunResponse(run=run, created=True)

    def create(key: str) -> Any:
        script.answers["CreateRun"] = failing(1, answer, unavailable)
        return call(
            mode, script.url(wire), lambda c: c.runs.create(["a.b"], run_key=key), retries=QUICK
        )

    with pytest.raises(errors.UnavailableError):
        create("")
    assert create("nightly") == answer
    assert len(script.headers) == 3


@pytest.mark.parametrize("way", [way for way in WAYS if way.kind != "unary"], ids=str)
def test_a_stream_is_not_repeated_after_its_first_message(way: Way, script: Script) -> None:
    def answer(_: Any) -> Iterator[Any]:
        yield way.answer[0]
        raise unavailable()

    script.answers[way.rpc] = answer
    with pytest.raises(errors.UnavailableError) as caught:
        way(script, retries=QUICK)
    assert caught.value.attempts == len(script.headers) == 1


@modes
@wires
def test_a_watch_goes_on_after_the_last_event(mode: Mode, wire: Wire, script: Script) -> None:
    def answer(request: Any) -> Iterator[Any]:
        if request.after_sequence == 0:
            yield EVENTS[0]
            raise unavailable()
        yield EVENTS[1]

    script.answers["WatchRun"] = answer
    found = call(mode, script.url(wire), lambda c: c.runs.watch("r"))
    assert [one.sequence for one in found] == [1, 2]
    assert [request.after_sequence for _, request in script.requests] == [0, 1]


@repeated
def test_a_pause_that_the_server_asks_for_is_kept(way: Way, script: Script) -> None:
    script.answers[way.rpc] = failing(
        1, way.answer, lambda: errors.RateLimitedError("too many calls", retry_after=0.7)
    )
    began = time.monotonic()
    assert way(script, retries=QUICK) == way.answer
    assert time.monotonic() - began >= 0.7


@modes
@wires
def test_a_pause_longer_than_the_budget_is_not_waited_for(
    mode: Mode, wire: Wire, script: Script
) -> None:
    script.answers["GetServerInfo"] = failing(
        1, INFO, lambda: errors.RateLimitedError("too many calls", retry_after=60)
    )
    began = time.monotonic()
    with pytest.raises(errors.RateLimitedError) as caught:
        Way(mode, wire, "unary")(script, timeout=5, retries=QUICK)
    assert time.monotonic() - began < 5
    assert caught.value.retry_after == pytest.approx(60)
    assert caught.value.attempts == 1


@modes
@wires
def test_a_target_that_keeps_failing_is_left_alone(mode: Mode, wire: Wire, script: Script) -> None:
    clock = own_clock()
    script.answers["GetServerInfo"] = failing(99, INFO, unavailable)

    def twice(client: Any) -> Any:
        return twice_async(client) if mode == "async" else twice_sync(client)

    def twice_sync(client: Any) -> Any:
        for _ in range(2):
            with pytest.raises(errors.UnavailableError):
                client.server.info()
        return client

    async def twice_async(client: Any) -> Any:
        for _ in range(2):
            with pytest.raises(errors.UnavailableError):
                await client.server.info()
        return client

    # A client that lives on keeps the breaker, which is shared by all clients of the target.
    keeper = Client(script.url(wire), api_key=KEY, clock=clock)
    call(mode, script.url(wire), twice, retries=QUICK, clock=clock)
    assert len(script.headers) == 5
    with pytest.raises(errors.UnavailableError, match="left alone") as caught:
        call(mode, script.url(wire), lambda c: c.server.info(), clock=clock)
    assert caught.value.code == "CIRCUIT_OPEN"
    assert (caught.value.attempts, len(script.headers)) == (0, 5)
    keeper.close()


# -- tracing --------------------------------------------------------------------------------


@pytest.fixture
def tracers() -> TracerProvider:
    return TracerProvider()


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def spans(
    tracers: TracerProvider, reader: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> InMemorySpanExporter:
    """Collect spans, and metrics, in providers that are not those of the whole process."""
    found = InMemorySpanExporter()
    tracers.add_span_processor(SimpleSpanProcessor(found))
    instruments = _tracing.Instruments(tracers, MeterProvider(metric_readers=[reader]))
    monkeypatch.setattr(_tracing, "_instruments", lambda: instruments)
    return found


@ways
def test_the_server_continues_the_trace_of_the_caller(
    way: Way, script: Script, spans: InMemorySpanExporter, tracers: TracerProvider
) -> None:
    with tracers.get_tracer("test").start_as_current_span("pipeline") as outer:
        way(script)
    span = next(one for one in spans.get_finished_spans() if one.name != "pipeline")
    context = span.get_span_context()
    assert context is not None
    assert context.trace_id == outer.get_span_context().trace_id
    assert span.parent is not None
    assert span.parent.span_id == outer.get_span_context().span_id
    (found,) = script.headers
    sent = f"00-{context.trace_id:032x}-{context.span_id:016x}-"
    assert found["traceparent"].startswith(sent)
    assert span.name.endswith(way.rpc)
    assert span.attributes is not None
    assert span.attributes["rpc.method"] == way.rpc
    assert span.attributes["servo.request_id"] == found["x-servo-request-id"]


@ways
def test_an_attempt_that_fails_has_a_span_that_says_so(
    way: Way, script: Script, spans: InMemorySpanExporter
) -> None:
    script.answers[way.rpc] = failing(9, way.answer, lambda: errors.NotFoundError("no run 'r'"))
    with pytest.raises(errors.NotFoundError):
        way(script)
    (failed,) = spans.get_finished_spans()
    assert not failed.status.is_ok
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "NOT_FOUND"
    assert failed.attributes["rpc.response.status_code"] == "NOT_FOUND"


@repeated
def test_each_attempt_has_a_span(way: Way, script: Script, spans: InMemorySpanExporter) -> None:
    script.answers[way.rpc] = failing(1, way.answer, unavailable)
    way(script, retries=QUICK)
    failed, good = spans.get_finished_spans()
    assert [one.attributes and one.attributes["servo.attempt"] for one in (failed, good)] == [1, 2]
    assert not failed.status.is_ok
    assert failed.status.description == "UNAVAILABLE"
    assert good.attributes is not None
    assert "error.type" not in good.attributes
    sent = [found["traceparent"] for found in script.headers]
    assert len(set(sent)) == 2


@ways
def test_a_trace_that_the_caller_gives_is_continued(
    way: Way, script: Script, spans: InMemorySpanExporter
) -> None:
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    way(script, metadata={"traceparent": given, "tracestate": "a=b"})
    (found,) = script.headers
    assert found["traceparent"].split("-")[1] == given.split("-")[1]
    assert found["tracestate"] == "a=b"


@modes
def test_attempts_are_measured(
    mode: Mode, script: Script, spans: InMemorySpanExporter, reader: InMemoryMetricReader
) -> None:
    Way(mode, "grpc", "unary")(script)
    data = reader.get_metrics_data()
    assert data is not None
    names = {
        metric.name
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert "rpc.client.call.duration" in names


# -- the user's own -------------------------------------------------------------------------


class Tagging:
    """Adds metadata and changes the answers; for synchronous clients."""

    def unary(self, call: Any, proceed: Any) -> Any:
        call.metadata["X-Tag"] = "1"
        return ("seen", proceed(call))

    def stream(self, call: Any, proceed: Any) -> Any:
        call.metadata["X-Tag"] = "1"
        for item in proceed(call):
            yield ("seen", item)


class AsyncTagging:
    """The same for asyncio."""

    async def unary(self, call: Any, proceed: Any) -> Any:
        call.metadata["X-Tag"] = "1"
        return ("seen", await proceed(call))

    async def stream(self, call: Any, proceed: Any) -> Any:
        call.metadata["X-Tag"] = "1"
        async for item in proceed(call):
            yield ("seen", item)


@ways
def test_an_interceptor_changes_what_is_sent_and_what_comes_back(way: Way, script: Script) -> None:
    found = way(script, interceptors=[Tagging() if way.mode == "sync" else AsyncTagging()])
    plain = way.answer
    expected = ("seen", plain) if way.kind == "unary" else [("seen", one) for one in plain]
    assert found == expected
    assert script.headers[0]["x-tag"] == "1"


@ways
def test_an_interceptor_that_raises_is_named(way: Way, script: Script) -> None:
    def faulty(call: Any, proceed: Any) -> Any:
        raise KeyError("region")

    def outer(call: Any, proceed: Any) -> Any:
        return proceed(call)

    with pytest.raises(errors.ServoError, match=r"faulty raised KeyError: 'region'") as caught:
        way(script, interceptors=[outer, faulty])
    assert caught.value.context["interceptor"].endswith("faulty")
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.request_id
    assert script.headers == []


class Faulty:
    """Raises in the middle of a stream; for synchronous clients."""

    def unary(self, call: Any, proceed: Any) -> Any:
        proceed(call)
        raise errors.InvalidArgumentError("not today")

    def stream(self, call: Any, proceed: Any) -> Any:
        for item in proceed(call):
            yield item
            raise errors.InvalidArgumentError("not today")


class AsyncFaulty:
    """The same for asyncio."""

    async def unary(self, call: Any, proceed: Any) -> Any:
        await proceed(call)
        raise errors.InvalidArgumentError("not today")

    async def stream(self, call: Any, proceed: Any) -> Any:
        async for item in proceed(call):
            yield item
            raise errors.InvalidArgumentError("not today")


@ways
def test_an_error_of_ours_from_an_interceptor_keeps_its_class(way: Way, script: Script) -> None:
    faulty = Faulty() if way.mode == "sync" else AsyncFaulty()
    with pytest.raises(errors.InvalidArgumentError, match="not today") as caught:
        way(script, interceptors=[faulty])
    assert caught.value.context["interceptor"] == type(faulty).__qualname__
    assert len(script.headers) == 1


@ways
def test_an_error_that_only_passes_an_interceptor_is_not_blamed_on_it(
    way: Way, script: Script
) -> None:
    script.answers[way.rpc] = failing(9, way.answer, lambda: errors.NotFoundError("no run 'r'"))
    tagging = Tagging() if way.mode == "sync" else AsyncTagging()
    with pytest.raises(errors.NotFoundError) as caught:
        way(script, interceptors=[tagging, Recorder(lambda _: None)])
    assert "interceptor" not in caught.value.context


@modes
def test_what_is_no_interceptor_is_refused(mode: Mode, script: Script) -> None:
    with pytest.raises(errors.ConfigurationError, match="is no interceptor"):
        call(mode, script.grpc_url, lambda c: c.server.info(), interceptors=[object()])


# -- streams of both sides ------------------------------------------------------------------


@modes
def test_a_stream_of_both_sides_over_http_is_refused(mode: Mode, script: Script) -> None:
    with pytest.raises(errors.ConfigurationError, match="use the grpc:// or grpcs://") as caught:
        call(mode, script.http_url, lambda c: exchange(c, mode, iter(SAID)))
    assert caught.value.code == "GRPC_ONLY"
    assert caught.value.request_id
    assert script.headers == []


async def echo(requests: AsyncIterator[OpenSessionRequest]) -> AsyncIterator[OpenSessionResponse]:
    async for request in requests:
        (grant,) = request.messages
        assert isinstance(grant, CreditGrant)
        yield OpenSessionResponse(messages=(LogReceipt(batches=grant.attempts),))


def received(answer: OpenSessionResponse) -> int:
    (receipt,) = answer.messages
    assert isinstance(receipt, LogReceipt)
    return receipt.batches


@modes
def test_both_sides_talk_at_the_same_time(mode: Mode, script: Script) -> None:
    script.answers["OpenSession"] = echo
    heard: list[int] = []

    def alternate() -> Iterator[OpenSessionRequest]:
        # The next request is only there when the last one was answered.
        for number in (1, 2, 3):
            while len(heard) < number - 1:
                time.sleep(0.001)
            yield OpenSessionRequest(messages=(CreditGrant(attempts=number),))

    async def alternate_async() -> AsyncIterator[OpenSessionRequest]:
        for number in (1, 2, 3):
            while len(heard) < number - 1:
                await asyncio.sleep(0.001)
            yield OpenSessionRequest(messages=(CreditGrant(attempts=number),))

    def listen(client: Any) -> Any:
        for answer in client._calls.exchange(methods.OPEN_SESSION, alternate()):
            heard.append(received(answer))

    async def listen_async(client: Any) -> Any:
        async for answer in client._calls.exchange(methods.OPEN_SESSION, alternate_async()):
            heard.append(received(answer))

    call(mode, script.grpc_url, listen if mode == "sync" else listen_async)
    assert heard == [1, 2, 3]


@modes
@pytest.mark.parametrize(
    "error",
    [
        KeyError("region"),
        TimeoutError("nothing to say"),
        errors.UnavailableError("the store of the caller is gone"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_the_requests_is_raised_where_the_answers_are_read(
    mode: Mode, error: Exception, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    script.answers["OpenSession"] = echo

    def requests() -> Iterator[OpenSessionRequest]:
        yield SAID[0]
        raise error

    with pytest.raises(type(error)) as caught:
        call(mode, script.grpc_url, lambda c: exchange(c, mode, requests()))
    assert caught.value is error
    assert "Traceback" not in caplog.text


@modes
def test_a_request_that_cannot_be_sent_says_so(mode: Mode, script: Script) -> None:
    script.answers["OpenSession"] = echo
    too_many = OpenSessionRequest(messages=(CreditGrant(attempts=2**40),))
    with pytest.raises(errors.InvalidArgumentError, match="cannot be sent") as caught:
        call(mode, script.grpc_url, lambda c: exchange(c, mode, iter([SAID[0], too_many])))
    assert caught.value.request_id


async def opened_late(_: Any) -> AsyncIterator[OpenSessionResponse]:
    await asyncio.sleep(30)
    yield HEARD[0]


async def opened_at_once(_: Any) -> AsyncIterator[OpenSessionResponse]:
    yield HEARD[0]
    await asyncio.sleep(1)
    yield HEARD[1]


@modes
def test_a_limit_bounds_the_opening(mode: Mode, script: Script) -> None:
    script.answers["OpenSession"] = opened_late
    began = time.monotonic()
    with pytest.raises(errors.DeadlineError, match=r"within 0\.3 s"):
        call(mode, script.grpc_url, lambda c: exchange(c, mode, iter(SAID), opening=0.3))
    assert time.monotonic() - began < 15


@modes
def test_a_limit_bounds_nothing_after_the_opening(mode: Mode, script: Script) -> None:
    script.answers["OpenSession"] = opened_at_once
    found = call(mode, script.grpc_url, lambda c: exchange(c, mode, iter(SAID), opening=0.5))
    assert found == HEARD


@modes
def test_a_stream_with_no_time_to_open_is_not_sent(mode: Mode, script: Script) -> None:
    with pytest.raises(errors.DeadlineError, match="within 0 s"):
        call(mode, script.grpc_url, lambda c: exchange(c, mode, iter(SAID), opening=0))
    assert script.headers == []


def test_leaving_the_answers_closes_the_requests_and_ends_the_call(script: Script) -> None:
    ended = threading.Event()
    closed: list[str] = []

    async def endless(_: Any) -> AsyncIterator[OpenSessionResponse]:
        try:
            while True:
                yield HEARD[0]
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    async def requests() -> AsyncIterator[OpenSessionRequest]:
        try:
            yield SAID[0]
            await asyncio.sleep(60)
        finally:
            closed.append("requests")

    async def leave(client: Any) -> None:
        async with client.workers.open_session(requests()) as answers:
            async for _ in answers:
                break
        assert closed == ["requests"]

    script.answers["OpenSession"] = endless
    call("async", script.grpc_url, leave)
    assert ended.wait(30)


def test_requests_that_wait_to_be_sent_are_closed_as_well(script: Script) -> None:
    closed: list[str] = []
    large = OpenSessionRequest(messages=(CreditGrant(attempts=1),) * 50_000)

    async def deaf(_: Any) -> AsyncIterator[OpenSessionResponse]:
        yield HEARD[0]
        await asyncio.sleep(30)

    async def requests() -> AsyncIterator[OpenSessionRequest]:
        try:
            while True:
                yield large
        finally:
            closed.append("requests")

    said = requests()  # held here, so that nobody but the client closes it

    async def leave(client: Any) -> None:
        async with client.workers.open_session(said) as answers:
            async for _ in answers:
                break
            await asyncio.sleep(0.5)
        assert closed == ["requests"]

    script.answers["OpenSession"] = deaf
    call("async", script.grpc_url, leave)


def test_leaving_the_answers_ends_the_call_of_a_synchronous_client(script: Script) -> None:
    ended = threading.Event()

    async def endless(_: Any) -> AsyncIterator[OpenSessionResponse]:
        try:
            while True:
                yield HEARD[0]
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    def leave(client: Any) -> None:
        with client.workers.open_session(iter(SAID)) as answers:
            next(answers)

    script.answers["OpenSession"] = endless
    call("sync", script.grpc_url, leave)
    assert ended.wait(30)


HARMLESS = replace(methods.OPEN_SESSION, idempotent=True)
"""As if the contract had a stream of both sides that may be opened twice."""


@modes
@pytest.mark.parametrize(
    ("method", "attempts"), [(HARMLESS, 3), (methods.OPEN_SESSION, 1)], ids=["harmless", "session"]
)
def test_an_attempt_that_has_taken_no_request_is_repeated_if_that_does_no_harm(
    mode: Mode, method: Method[Any, Any], attempts: int, script: Script
) -> None:
    script.answers["OpenSession"] = echo
    left = [2]

    def refuse(call: Any, proceed: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise unavailable()
        return proceed(call)

    seen = Recorder(lambda call: call.attempt)
    make = lambda c: exchange(c, mode, iter(SAID), method)  # noqa: E731  # it is said twice below
    options: dict[str, Any] = {"interceptors": [seen, refuse], "retries": QUICK}
    if attempts == 1:
        with pytest.raises(errors.UnavailableError, match="being restarted"):
            call(mode, script.grpc_url, make, **options)
    else:
        found = call(mode, script.grpc_url, make, **options)
        assert [received(answer) for answer in found] == [1, 2]
    assert seen.seen == list(range(1, attempts + 1))


@modes
def test_an_attempt_that_has_taken_a_request_is_never_repeated(mode: Mode, script: Script) -> None:
    async def refuse(requests: Any) -> AsyncIterator[Any]:
        await anext(requests)
        raise unavailable()
        yield None

    script.answers["OpenSession"] = refuse
    with pytest.raises(errors.UnavailableError, match="being restarted") as caught:
        call(
            mode,
            script.grpc_url,
            lambda c: exchange(c, mode, iter(SAID), HARMLESS),
            retries=QUICK,
        )
    assert caught.value.attempts == len(script.headers) == 1


@modes
def test_sessions_that_fail_count_for_the_breaker_and_a_worker_comes_back_all_the_same(
    mode: Mode, script: Script
) -> None:
    clock = own_clock()
    script.answers["OpenSession"] = failing(99, HEARD, unavailable)
    keeper = Client(script.grpc_url, api_key=KEY, clock=clock)

    def fail(match: str, make: Callable[[Any], Any]) -> None:
        with pytest.raises(errors.UnavailableError, match=match):
            call(mode, script.grpc_url, make, clock=clock)

    for _ in range(5):
        fail("being restarted", lambda c: exchange(c, mode, iter(SAID)))
    fail("left alone", lambda c: exchange(c, mode, iter(SAID)))
    said: Any = iter(SAID) if mode == "sync" else in_async(iter(SAID))
    fail("being restarted", lambda c: c.workers.open_session(said))
    assert len(script.headers) == 6
    keeper.close()


class Doubling:
    """Says everything twice; for synchronous clients."""

    def unary(self, call: Any, proceed: Any) -> Any:
        return proceed(call)

    def stream(self, call: Any, proceed: Any) -> Any:
        said = call.request
        call.request = (request for request in said for _ in range(2))
        yield from proceed(call)


class AsyncDoubling:
    """The same for asyncio."""

    async def unary(self, call: Any, proceed: Any) -> Any:
        return await proceed(call)

    async def stream(self, call: Any, proceed: Any) -> Any:
        said = call.request
        call.request = (request async for request in said for _ in range(2))
        async for answer in proceed(call):
            yield answer


@modes
def test_an_interceptor_changes_what_the_caller_streams(mode: Mode, script: Script) -> None:
    script.answers["OpenSession"] = echo
    doubling = Doubling() if mode == "sync" else AsyncDoubling()
    found = call(
        mode, script.grpc_url, lambda c: exchange(c, mode, iter(SAID)), interceptors=[doubling]
    )
    assert [received(answer) for answer in found] == [1, 1, 2, 2]
