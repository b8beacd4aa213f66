"""What lies outside of what a request may say is an invalid argument, in every listing and stream.

The listings are found in the method table: a new one is tested by being there.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any

import grpc.aio
import msgspec
import pytest

from http_kit import envelope, envelopes, request
from plane_kit import KEY, Caller, ScriptedWorker, asset, at_work, plane, sync
from servo import _wire, errors
from servo._wire import METHODS, Method, methods
from servo.client import AsyncClient
from servo.types.access import CreateKeyRequest, Role
from servo.types.keys import AssetKey
from servo.types.requests import (
    GetRunRequest,
    ListMaterializationsRequest,
    ReadLogsRequest,
    WatchEventsRequest,
    WatchRunRequest,
)


def fields_of(cls: type) -> Any:
    return inspect.signature(cls).parameters


LISTINGS = {
    name: method
    for name, method in METHODS.items()
    if "page_token" in fields_of(method.request_type)
}
TOKENS = [
    "garbage", "-1", "1", "9" * 20, "9" * 5_000, "runs.", "runs.1", "keys.01", "assets.-1",
    "nothing.1", "\x00", "runs.01ARZ3NDEKTSV4RRFFQ69G5FAVX", "materializations." + "9" * 19,
]  # fmt: skip


def replace(request: Any, **changes: Any) -> Any:
    is_struct = isinstance(request, msgspec.Struct)
    return (msgspec.structs.replace if is_struct else dataclasses.replace)(request, **changes)


def base_of(method: Method[Any, Any], run_id: str) -> Any:
    """Return a request that is answered with a page."""
    if method is methods.GET_RUN:
        return GetRunRequest(run_id=run_id)
    if method is methods.LIST_MATERIALIZATIONS:
        return ListMaterializationsRequest(key=AssetKey("raw", "a"))
    return method.request_type()


async def prepared(caller: Caller) -> str:
    await caller.deploy([asset("raw.a"), asset("raw.b"), asset("raw.c")])
    run_id = ""
    async with at_work(ScriptedWorker(caller)):
        for _ in range(2):
            run_id = (await caller.create_run("*")).run.run_id
            await caller.watch(run_id)
    for _ in range(2):
        await caller.call(methods.CREATE_KEY, CreateKeyRequest(name="k", role=Role.VIEWER))
    await caller.deploy([asset("raw.a"), asset("raw.b")])
    return run_id


async def refused(caller: Caller, method: Method[Any, Any], wanted: Any) -> str:
    with pytest.raises(errors.InvalidArgumentError) as caught:
        await caller.call(method, wanted)
    return caught.value.code


async def refused_over_http(url: str, method: Method[Any, Any], document: object) -> str:
    body = json.dumps(document).encode()
    answer = await request(f"{url}{method.path}", body, key=KEY)
    assert answer.status == 400, (method.name, document, answer)
    assert answer.document["code"] == "invalid_argument"
    return _wire.error_from_connect(400, answer.document).code


def document_of(method: Method[Any, Any], run_id: str) -> dict[str, Any]:
    if method is methods.GET_RUN:
        return {"runId": run_id}
    if method is methods.LIST_MATERIALIZATIONS:
        return {"key": {"namespace": "raw", "name": "a"}}
    return {}


def test_there_are_as_many_listings_as_the_contract_has_tokens() -> None:
    assert len(LISTINGS) >= 6
    for method in METHODS.values():
        has_token = "next_page_token" in fields_of(method.response_type)
        assert has_token == (method.path in LISTINGS), method.name


@sync
async def test_every_listing_refuses_what_is_no_page(path: Path) -> None:
    async with plane(path) as (served, caller):
        run_id = await prepared(caller)
        tokens: dict[str, str] = {}
        for name, method in LISTINGS.items():
            base = base_of(method, run_id)
            first = await caller.call(method, replace(base, page_size=1))
            tokens[name] = first.next_page_token
            assert tokens[name], f"{method.name} has one page only; give it more to list"
            second = await caller.call(method, replace(base, page_token=tokens[name]))
            assert second != first
            huge = await caller.call(method, replace(base, page_size=2**31 - 1))
            assert huge.next_page_token == ""
        for name, method in LISTINGS.items():
            base, document = base_of(method, run_id), document_of(method, run_id)
            foreign = [token for other, token in tokens.items() if other != name]
            for token in (*TOKENS, *foreign):
                if token == tokens[name]:
                    continue
                code = await refused(caller, method, replace(base, page_token=token))
                assert code == "INVALID_PAGE_TOKEN"
                over_http = document | {"pageToken": token}
                assert await refused_over_http(served.http_url, method, over_http) == code
            for size in (-1, -2, -(2**31)):
                if method is methods.GET_RUN:
                    # It has a meaning of its own there: no tasks.
                    answer = await caller.call(method, replace(base, page_size=size))
                    assert answer.run.tasks == ()
                    continue
                code = await refused(caller, method, replace(base, page_size=size))
                assert code == "INVALID_PAGE_SIZE"
                over_http = document | {"pageSize": size}
                assert await refused_over_http(served.http_url, method, over_http) == code


@sync
async def test_the_client_passes_on_what_is_wrong_with_a_page(path: Path) -> None:
    async with plane(path) as (served, caller):
        await prepared(caller)
        for url in (served.grpc_url, served.http_url):
            async with AsyncClient(url, api_key=KEY) as client:
                for listed in (
                    client.runs.list(page_size=-1),
                    client.deployments.list(page_size=-1),
                    client.assets.list(page_size=-1),
                    client.keys.list(page_size=-1),
                ):
                    with pytest.raises(errors.InvalidArgumentError, match="is negative"):
                        _ = [one async for one in listed]


@sync
async def test_every_rpc_refuses_a_document_that_is_not_an_object(path: Path) -> None:
    async with plane(path) as (served, _):
        for method in METHODS.values():
            if method is methods.OPEN_SESSION:
                continue
            for document in ([], "x", None, 3, True):
                if method.kind == "unary":
                    await refused_over_http(served.http_url, method, document)
                    continue
                url = f"{served.http_url}{method.path}"
                content_type = "application/connect+json"
                answer = await request(url, envelope(document), key=KEY, content_type=content_type)
                ((_, end),) = envelopes(answer.body)
                assert end["error"]["code"] == "invalid_argument", (method.name, document)


@sync
async def test_a_filter_by_an_unknown_name_is_refused_and_not_dropped(path: Path) -> None:
    async with plane(path) as (served, _):
        url = served.http_url
        for states in (["RUN_STATE_FAILD"], ["RUN_STATE_FAILED", "x"], [99], ["99"]):
            await refused_over_http(url, methods.LIST_RUNS, {"states": states})


@sync
async def test_streams_refuse_a_place_that_their_history_does_not_have(path: Path) -> None:
    async with plane(path) as (served, caller):
        run_id = await prepared(caller)
        for after in (-1, 10**9, 2**63 - 1):
            for method, wanted, code in (
                (methods.WATCH_EVENTS, WatchEventsRequest(after_sequence=after), "SEQUENCE"),
                (
                    methods.WATCH_RUN,
                    WatchRunRequest(run_id=run_id, after_sequence=after),
                    "SEQUENCE",
                ),
                (methods.READ_LOGS, ReadLogsRequest(run_id=run_id, after_cursor=after), "CURSOR"),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    _ = [one async for one in caller.stream(method, wanted)]
                details = dict(caught.value.trailing_metadata() or ())[_wire.DETAILS_KEY]
                error = _wire.error_from_status(caught.value.code().name, "", bytes(details))
                assert isinstance(error, errors.InvalidArgumentError)
                assert error.code == f"UNKNOWN_{code}", (method.name, after)
        for url in (served.grpc_url, served.http_url):
            async with AsyncClient(url, api_key=KEY) as client:
                with pytest.raises(errors.InvalidArgumentError, match="there is no event"):
                    _ = [one async for one in client.runs.watch(run_id, after_sequence=10**9)]


@sync
async def test_a_follower_goes_on_after_the_last_event_of_its_run(path: Path) -> None:
    async with plane(path) as (_, caller):
        run_id = await prepared(caller)
        wanted = WatchRunRequest(run_id=run_id)
        events = [e async for page in caller.stream(methods.WATCH_RUN, wanted) for e in page.events]
        for event in events:
            wanted = WatchRunRequest(run_id=run_id, after_sequence=event.sequence)
            rest = [e async for p in caller.stream(methods.WATCH_RUN, wanted) for e in p.events]
            assert rest == [e for e in events if e.sequence > event.sequence]
