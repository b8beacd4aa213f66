"""Requests and responses of the service for runs (``run.proto``, ``run_service.proto``)."""

from __future__ import annotations

from collections.abc import Iterable

from servo._gen.arco.v1 import event_pb2, run_pb2, run_service_pb2
from servo._wire.enums import RERUN_SCOPE, RUN_STATE
from servo._wire.events import event_from_proto, event_to_proto
from servo._wire.keys import partition_key_from_proto, partition_key_to_proto
from servo._wire.runs import run_from_proto, run_to_proto
from servo.errors import InvalidArgumentError
from servo.types.events import Event
from servo.types.partitions import PartitionKey
from servo.types.requests import (
    AllPartitions,
    CancelRunRequest,
    CancelRunResponse,
    CreateRunRequest,
    CreateRunResponse,
    DimensionSelection,
    GetRunRequest,
    GetRunResponse,
    ListRunsRequest,
    ListRunsResponse,
    PartitionProduct,
    PartitionRange,
    PartitionSelection,
    PeriodRange,
    Rerun,
    UpdateRunRequest,
    UpdateRunResponse,
    WatchEventsRequest,
    WatchEventsResponse,
    WatchRunRequest,
    WatchRunResponse,
)


def partition_range_to_proto(found: PartitionRange, message: run_pb2.PartitionRange) -> None:
    """Fill in a range of periods."""
    message.dimension = found.dimension
    message.first = found.first
    message.last = found.last


def partition_range_from_proto(message: run_pb2.PartitionRange) -> PartitionRange:
    """Read a range of periods."""
    return PartitionRange(dimension=message.dimension, first=message.first, last=message.last)


def period_range_to_proto(found: PeriodRange, message: run_pb2.PeriodRange) -> None:
    """Fill in periods from one to another."""
    message.first = found.first
    message.last = found.last


def period_range_from_proto(message: run_pb2.PeriodRange) -> PeriodRange:
    """Read periods from one to another."""
    return PeriodRange(first=message.first, last=message.last)


def dimension_selection_to_proto(
    selection: DimensionSelection, message: run_pb2.DimensionSelection
) -> None:
    """Fill in what is selected of a dimension."""
    message.dimension = selection.dimension
    message.values.extend(selection.values)
    for found in selection.ranges:
        period_range_to_proto(found, message.ranges.add())


def dimension_selection_from_proto(message: run_pb2.DimensionSelection) -> DimensionSelection:
    """Read what is selected of a dimension."""
    return DimensionSelection(
        dimension=message.dimension,
        values=tuple(message.values),
        ranges=tuple([period_range_from_proto(found) for found in message.ranges]),
    )


def partition_product_to_proto(
    product: PartitionProduct, message: run_pb2.PartitionProduct
) -> None:
    """Fill in a product of selections."""
    for selection in product.dimensions:
        dimension_selection_to_proto(selection, message.dimensions.add())
    message.others = product.others


def partition_product_from_proto(message: run_pb2.PartitionProduct) -> PartitionProduct:
    """Read a product of selections."""
    return PartitionProduct(
        dimensions=tuple([dimension_selection_from_proto(found) for found in message.dimensions]),
        others=message.others,
    )


def partition_selection_to_proto(
    selection: PartitionSelection, message: run_pb2.PartitionSelection
) -> None:
    """Fill in which partitions are selected."""
    if isinstance(selection, PartitionKey):
        partition_key_to_proto(selection, message.key)
    elif isinstance(selection, PartitionRange):
        partition_range_to_proto(selection, message.range)
    elif isinstance(selection, PartitionProduct):
        message.product.SetInParent()
        partition_product_to_proto(selection, message.product)
    else:
        message.all = True


def partition_selection_from_proto(message: run_pb2.PartitionSelection) -> PartitionSelection:
    """Read which partitions are selected.

    Raises:
        InvalidArgumentError: They are selected in a way that this version does not know. Running
            others instead would be worse than refusing.
        ValueError: The partition key is malformed.
    """
    kind = message.WhichOneof("kind")
    if kind == "key":
        return partition_key_from_proto(message.key)
    if kind == "range":
        return partition_range_from_proto(message.range)
    if kind == "all" and message.all:
        return AllPartitions()
    if kind == "product":
        return partition_product_from_proto(message.product)
    raise InvalidArgumentError(
        "the partitions are selected in a way that this version of Servo does not know; send a "
        "key, a range, a product or all=true, or upgrade this side"
    )


def rerun_to_proto(rerun: Rerun, message: run_pb2.Rerun) -> None:
    """Fill in which tasks are repeated."""
    message.run_id = rerun.run_id
    message.scope = RERUN_SCOPE.number[rerun.scope]


def rerun_from_proto(message: run_pb2.Rerun) -> Rerun:
    """Read which tasks are repeated.

    Raises:
        InvalidArgumentError: The scope is not set, or not known to this version.
    """
    return Rerun(run_id=message.run_id, scope=RERUN_SCOPE.member[message.scope])


def create_run_request_to_proto(
    request: CreateRunRequest, message: run_pb2.CreateRunRequest
) -> None:
    """Fill in a request for a run."""
    message.selection.extend(request.selection)
    if request.partitions is not None:
        partition_selection_to_proto(request.partitions, message.partitions)
    message.upstream = request.upstream
    message.downstream = request.downstream
    message.run_key = request.run_key
    message.deployment_id = request.deployment_id
    if request.config:
        message.config.update(request.config)
    message.priority = request.priority
    message.max_parallelism = request.max_parallelism
    message.timeout_seconds = request.timeout_seconds
    if request.budget:
        message.budget.update(request.budget)
    message.code_version_id = request.code_version_id
    if request.rerun is not None:
        rerun_to_proto(request.rerun, message.rerun)
    if request.max_retries is not None:
        message.max_retries = request.max_retries


def create_run_request_from_proto(message: run_pb2.CreateRunRequest) -> CreateRunRequest:
    """Read a request for a run.

    Raises:
        InvalidArgumentError: The partitions are selected in a way that is not known.
        ValueError: The partition key is malformed.
    """
    return CreateRunRequest(
        selection=tuple(message.selection),
        partitions=(
            partition_selection_from_proto(message.partitions)
            if message.HasField("partitions")
            else None
        ),
        upstream=message.upstream,
        downstream=message.downstream,
        run_key=message.run_key,
        deployment_id=message.deployment_id,
        config=dict(message.config),
        priority=message.priority,
        max_parallelism=message.max_parallelism,
        timeout_seconds=message.timeout_seconds,
        budget=dict(message.budget),
        code_version_id=message.code_version_id,
        rerun=rerun_from_proto(message.rerun) if message.HasField("rerun") else None,
        max_retries=message.max_retries if message.HasField("max_retries") else None,
    )


def create_run_response_to_proto(
    response: CreateRunResponse, message: run_pb2.CreateRunResponse
) -> None:
    """Fill in the run that was asked for."""
    run_to_proto(response.run, message.run)
    message.created = response.created


def create_run_response_from_proto(message: run_pb2.CreateRunResponse) -> CreateRunResponse:
    """Read the run that was asked for."""
    return CreateRunResponse(run=run_from_proto(message.run), created=message.created)


def get_run_request_to_proto(request: GetRunRequest, message: run_pb2.GetRunRequest) -> None:
    """Fill in which run is read."""
    message.run_id = request.run_id
    message.page_size = request.page_size
    message.page_token = request.page_token


def get_run_request_from_proto(message: run_pb2.GetRunRequest) -> GetRunRequest:
    """Read which run is read."""
    return GetRunRequest(
        run_id=message.run_id, page_size=message.page_size, page_token=message.page_token
    )


def get_run_response_to_proto(response: GetRunResponse, message: run_pb2.GetRunResponse) -> None:
    """Fill in a run with a page of its tasks."""
    run_to_proto(response.run, message.run)
    message.next_page_token = response.next_page_token


def get_run_response_from_proto(message: run_pb2.GetRunResponse) -> GetRunResponse:
    """Read a run with a page of its tasks."""
    return GetRunResponse(run=run_from_proto(message.run), next_page_token=message.next_page_token)


def list_runs_request_to_proto(request: ListRunsRequest, message: run_pb2.ListRunsRequest) -> None:
    """Fill in which runs are read."""
    message.page_size = request.page_size
    message.page_token = request.page_token
    message.states.extend([RUN_STATE.number[state] for state in request.states])


def list_runs_request_from_proto(message: run_pb2.ListRunsRequest) -> ListRunsRequest:
    """Read which runs are read.

    Raises:
        InvalidArgumentError: A state is not known to this version.
    """
    return ListRunsRequest(
        page_size=message.page_size,
        page_token=message.page_token,
        states=tuple([RUN_STATE.member[state] for state in message.states]),
    )


def list_runs_response_to_proto(
    response: ListRunsResponse, message: run_pb2.ListRunsResponse
) -> None:
    """Fill in a page of runs."""
    for run in response.runs:
        run_to_proto(run, message.runs.add())
    message.next_page_token = response.next_page_token


def list_runs_response_from_proto(message: run_pb2.ListRunsResponse) -> ListRunsResponse:
    """Read a page of runs."""
    return ListRunsResponse(
        runs=tuple([run_from_proto(run) for run in message.runs]),
        next_page_token=message.next_page_token,
    )


def cancel_run_request_to_proto(
    request: CancelRunRequest, message: run_pb2.CancelRunRequest
) -> None:
    """Fill in which run to stop."""
    message.run_id = request.run_id
    message.reason = request.reason


def cancel_run_request_from_proto(message: run_pb2.CancelRunRequest) -> CancelRunRequest:
    """Read which run to stop."""
    return CancelRunRequest(run_id=message.run_id, reason=message.reason)


def cancel_run_response_to_proto(
    response: CancelRunResponse, message: run_pb2.CancelRunResponse
) -> None:
    """Fill in the run that is being stopped."""
    run_to_proto(response.run, message.run)


def cancel_run_response_from_proto(message: run_pb2.CancelRunResponse) -> CancelRunResponse:
    """Read the run that is being stopped."""
    return CancelRunResponse(run=run_from_proto(message.run))


def update_run_request_to_proto(
    request: UpdateRunRequest, message: run_pb2.UpdateRunRequest
) -> None:
    """Fill in what changes of a run."""
    message.run_id = request.run_id
    if request.paused is not None:
        message.paused = request.paused
    if request.priority is not None:
        message.priority = request.priority


def update_run_request_from_proto(message: run_pb2.UpdateRunRequest) -> UpdateRunRequest:
    """Read what changes of a run."""
    has = message.HasField
    return UpdateRunRequest(
        run_id=message.run_id,
        paused=message.paused if has("paused") else None,
        priority=message.priority if has("priority") else None,
    )


def update_run_response_to_proto(
    response: UpdateRunResponse, message: run_pb2.UpdateRunResponse
) -> None:
    """Fill in the run after the change."""
    run_to_proto(response.run, message.run)


def update_run_response_from_proto(message: run_pb2.UpdateRunResponse) -> UpdateRunResponse:
    """Read the run after the change."""
    return UpdateRunResponse(run=run_from_proto(message.run))


def watch_events_request_to_proto(
    request: WatchEventsRequest, message: run_service_pb2.WatchEventsRequest
) -> None:
    """Fill in from where to follow the history."""
    message.after_sequence = request.after_sequence
    message.follow = request.follow


def watch_events_request_from_proto(
    message: run_service_pb2.WatchEventsRequest,
) -> WatchEventsRequest:
    """Read from where to follow the history."""
    return WatchEventsRequest(after_sequence=message.after_sequence, follow=message.follow)


def watch_events_response_to_proto(
    response: WatchEventsResponse, message: run_service_pb2.WatchEventsResponse
) -> None:
    """Fill in events."""
    for event in response.events:
        event_to_proto(event, message.events.add())


def watch_events_response_from_proto(
    message: run_service_pb2.WatchEventsResponse,
) -> WatchEventsResponse:
    """Read events; those of a kind that only a newer version knows are left out.

    Raises:
        InvalidArgumentError: An event has a state that this version does not know.
    """
    return WatchEventsResponse(events=_known_events(message.events))


def watch_run_request_to_proto(
    request: WatchRunRequest, message: run_service_pb2.WatchRunRequest
) -> None:
    """Fill in which run to follow."""
    message.run_id = request.run_id
    message.after_sequence = request.after_sequence


def watch_run_request_from_proto(message: run_service_pb2.WatchRunRequest) -> WatchRunRequest:
    """Read which run to follow."""
    return WatchRunRequest(run_id=message.run_id, after_sequence=message.after_sequence)


def watch_run_response_to_proto(
    response: WatchRunResponse, message: run_service_pb2.WatchRunResponse
) -> None:
    """Fill in events."""
    for event in response.events:
        event_to_proto(event, message.events.add())


def watch_run_response_from_proto(message: run_service_pb2.WatchRunResponse) -> WatchRunResponse:
    """Read events; those of a kind that only a newer version knows are left out.

    Raises:
        InvalidArgumentError: An event has a state that this version does not know.
    """
    return WatchRunResponse(events=_known_events(message.events))


def _known_events(messages: Iterable[event_pb2.Event]) -> tuple[Event, ...]:
    return tuple(
        [event_from_proto(event) for event in messages if event.WhichOneof("payload") is not None]
    )
