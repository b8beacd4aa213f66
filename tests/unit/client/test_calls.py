"""Calls: identity, deadlines, errors, and the stock message limit."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from servo.client import Client
from servo.errors import (
    ConfigurationError,
    ConflictError,
    DeadlineError,
    InvalidArgumentError,
    NotFoundError,
    ServoError,
    UnavailableError,
)
from servo.types.deployments import Deployment
from servo.types.keys import AssetKey
from servo.types.partitions import PartitionKey
from servo.types.records import Materialization, Run, Task
from servo.types.requests import (
    AllPartitions,
    CancelRunResponse,
    CreateRunResponse,
    DiffDeploymentsResponse,
    GetAssetResponse,
    GetDeploymentResponse,
    GetRunResponse,
    GetServerInfoResponse,
    ListAssetsResponse,
    ListDeploymentsResponse,
    ListMaterializationsResponse,
    ListRunsResponse,
)
from servo.types.runs import RunState, TaskState

RUN = Run(run_id="r", state=RunState.RUNNING)


def task(index: int) -> Task:
    return Task(
        task_id=f"t{index}",
        index=index,
        asset_key=AssetKey("raw", "events"),
        partition_key=PartitionKey(),
        state=TaskState.READY,
    )


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def test_every_call_carries_who_calls(plane: Any, client: Client) -> None:
    plane.answers["GetServerInfo"] = lambda _: GetServerInfoResponse(ready=True)
    client.server.info()
    found = {name: plane.metadata[name] for name in plane.metadata if "agent" not in name}
    assert len(found.pop("x-servo-request-id")) == 26
    assert found == {
        "authorization": "Bearer k3y",
        "x-servo-tenant-id": "acme",
        "x-servo-workspace-id": "prod",
        "x-servo-source": "test",
    }


def test_an_error_of_the_server_is_raised_as_the_same_error(plane: Any, client: Client) -> None:
    def refuse(_: object) -> object:
        raise ConflictError("key 'k' is taken", code="RUN_KEY_CONFLICT", context={"key": "k"})

    plane.answers["CreateRun"] = refuse
    with pytest.raises(ConflictError, match="key 'k' is taken") as caught:
        client.runs.create(["raw.*"], run_key="k")
    assert caught.value.code == "RUN_KEY_CONFLICT"
    assert caught.value.context == {"key": "k"}


def test_a_bug_of_the_server_says_where_to_look(plane: Any, client: Client) -> None:
    plane.answers["GetServerInfo"] = lambda _: {}["secret"]
    with pytest.raises(ServoError, match="see the server's log") as caught:
        client.server.info()
    assert "secret" not in str(caught.value)


def test_a_control_plane_that_is_not_there_is_named() -> None:
    url = f"grpc://127.0.0.1:{free_port()}"
    with (
        Client(url) as client,
        pytest.raises(UnavailableError, match=f"cannot reach the control plane at {url}"),
    ):
        client.server.info()


def test_a_call_ends_at_its_deadline(plane: Any) -> None:
    asked = threading.Event()

    def wait(_: object) -> GetServerInfoResponse:
        asked.wait(5)
        return GetServerInfoResponse()

    plane.answers["GetServerInfo"] = wait
    with (
        Client(plane.url, timeout=0.2) as client,
        pytest.raises(DeadlineError, match=r"GetServerInfo at grpc.* within 0\.2 s"),
    ):
        client.server.info()
    asked.set()


def test_a_server_that_does_not_know_a_call_is_too_old(client: Client) -> None:
    with pytest.raises(ConfigurationError, match="older than this client"):
        client.server.info()


def test_a_request_that_cannot_be_sent_never_leaves(plane: Any, client: Client) -> None:
    with pytest.raises(InvalidArgumentError, match="CancelRunRequest cannot be sent"):
        client.runs.cancel("r", "\ud800")
    assert plane.asked == []


def test_waiting_until_ready_outlasts_a_server_that_starts_late(plane: Any) -> None:
    plane.stop()
    plane.answers["GetServerInfo"] = lambda _: GetServerInfoResponse(
        ready=len(plane.asked) > 1, servo_version="1"
    )
    # Longer than a circuit breaker would stay closed.
    late = threading.Timer(1.5, plane.start)
    late.start()
    with Client(plane.url) as client:
        assert client.server.wait_ready(10.0).servo_version == "1"
    late.join()
    assert len(plane.asked) == 2


def test_waiting_until_ready_gives_up_with_the_reason() -> None:
    began = time.monotonic()
    with (
        Client(f"grpc://127.0.0.1:{free_port()}") as client,
        pytest.raises(UnavailableError, match=r"not ready after 0\.2 s: cannot reach"),
    ):
        client.server.wait_ready(0.2)
    assert time.monotonic() - began < 5


def test_a_run_is_created_as_it_was_asked_for(plane: Any, client: Client) -> None:
    plane.answers["CreateRun"] = lambda _: CreateRunResponse(run=RUN, created=False)
    response = client.runs.create(
        ["raw.*"], partitions=AllPartitions(), upstream=True, run_key="k", config={"a": "b"}
    )
    assert response == CreateRunResponse(run=RUN, created=False)
    (request,) = plane.requests("CreateRun")
    assert request.selection == ("raw.*",)
    assert request.partitions == AllPartitions()
    assert (request.upstream, request.downstream, request.run_key) == (True, False, "k")
    assert request.config == {"a": "b"}


def test_a_run_is_read_with_the_tasks_of_all_pages(plane: Any, client: Client) -> None:
    pages = {
        "": GetRunResponse(
            run=Run(run_id="r", state=RunState.RUNNING, tasks=(task(0), task(1))),
            next_page_token="p2",
        ),
        "p2": GetRunResponse(run=Run(run_id="r", state=RunState.FAILED, tasks=(task(2),))),
    }
    plane.answers["GetRun"] = lambda request: pages[request.page_token]
    run = client.runs.get("r")
    assert [found.index for found in run.tasks] == [0, 1, 2]
    assert run.state is RunState.FAILED


def test_a_run_is_read_without_tasks(plane: Any, client: Client) -> None:
    plane.answers["GetRun"] = lambda _: GetRunResponse(run=RUN, next_page_token="ignored")
    assert client.runs.get("r", tasks=False) == RUN
    assert [request.page_size for request in plane.requests("GetRun")] == [-1]


def test_lists_go_on_over_pages_only_as_far_as_they_are_read(plane: Any, client: Client) -> None:
    plane.answers["ListRuns"] = lambda request: ListRunsResponse(
        runs=(RUN, RUN), next_page_token=f"{request.page_token}x"
    )
    found = client.runs.list(states=[RunState.RUNNING], page_size=2)
    assert [next(found).run_id for _ in range(3)] == ["r"] * 3
    assert [request.page_token for request in plane.requests("ListRuns")] == ["", "x"]
    assert plane.requests("ListRuns")[0].states == (RunState.RUNNING,)


def test_a_run_is_cancelled(plane: Any, client: Client) -> None:
    plane.answers["CancelRun"] = lambda _: CancelRunResponse(run=RUN)
    assert client.runs.cancel("r", "enough") == RUN
    assert plane.requests("CancelRun")[0].reason == "enough"


def test_assets_are_listed_and_read(plane: Any, client: Client, asset_summary: Any) -> None:
    plane.answers["ListAssets"] = lambda request: ListAssetsResponse(
        assets=(asset_summary,), next_page_token="" if request.page_token else "x"
    )
    plane.answers["GetAsset"] = lambda _: GetAssetResponse(
        asset=asset_summary, downstream=(AssetKey("mart", "daily"),)
    )
    assert list(client.assets.list(["raw.*"])) == [asset_summary] * 2
    assert client.assets.get("raw.events").downstream == (AssetKey("mart", "daily"),)
    assert plane.requests("GetAsset")[0].key == AssetKey("raw", "events")


def test_materializations_are_listed(plane: Any, client: Client) -> None:
    found = Materialization(
        materialization_id="m", asset_key=AssetKey("raw", "events"), partition_key=PartitionKey()
    )
    plane.answers["ListMaterializations"] = lambda _: ListMaterializationsResponse(
        materializations=(found,)
    )
    listed = client.assets.materializations(
        "raw.events", partition_key=PartitionKey(), latest_only=True
    )
    assert list(listed) == [found]
    (request,) = plane.requests("ListMaterializations")
    assert (request.partition_key, request.latest_only) == (PartitionKey(), True)


def test_deployments_are_listed_read_and_compared(plane: Any, client: Client) -> None:
    deployment = Deployment(deployment_id="d", content_fingerprint="f")
    plane.answers["GetDeployment"] = lambda _: GetDeploymentResponse(deployment=deployment)
    plane.answers["ListDeployments"] = lambda _: ListDeploymentsResponse(deployments=(deployment,))
    plane.answers["DiffDeployments"] = lambda _: DiffDeploymentsResponse()
    assert client.deployments.get() == deployment
    assert list(client.deployments.list()) == [deployment]
    assert client.deployments.diff("a", "b") == ()
    assert plane.requests("DiffDeployments")[0].to_deployment_id == "b"


def test_one_client_serves_many_threads(plane: Any, client: Client) -> None:
    plane.answers["GetRun"] = lambda request: GetRunResponse(
        run=Run(run_id=request.run_id, state=RunState.RUNNING)
    )
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda name=name: found.append(client.runs.get(name).run_id))
        for name in map(str, range(8))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(found) == [str(number) for number in range(8)]


def test_a_client_shows_its_address_and_not_its_key() -> None:
    with Client("grpc://127.0.0.1:1", api_key="s3cret") as client:
        assert repr(client) == "Client('grpc://127.0.0.1:1')"
        assert "s3cret" not in str(vars(client))


def test_an_answer_of_a_missing_thing_is_not_found(plane: Any, client: Client) -> None:
    def refuse(_: object) -> object:
        raise NotFoundError("no run 'r'")

    plane.answers["GetRun"] = refuse
    with pytest.raises(NotFoundError, match="no run 'r'"):
        client.runs.get("r")
