"""Requests and responses of the service for the control plane itself (``server.proto``)."""

from __future__ import annotations

from servo._gen.arco.v1 import server_pb2 as pb
from servo.types.requests import GetServerInfoRequest, GetServerInfoResponse


def get_server_info_request_to_proto(
    _request: GetServerInfoRequest, message: pb.GetServerInfoRequest
) -> None:
    """Fill in the question who is there."""
    message.SetInParent()


def get_server_info_request_from_proto(_message: pb.GetServerInfoRequest) -> GetServerInfoRequest:
    """Read the question who is there."""
    return GetServerInfoRequest()


def get_server_info_response_to_proto(
    response: GetServerInfoResponse, message: pb.GetServerInfoResponse
) -> None:
    """Fill in who is there."""
    message.servo_version = response.servo_version
    message.protocol_version = response.protocol_version
    message.store_id = response.store_id
    message.ready = response.ready
    message.workers = response.workers
    message.active_runs = response.active_runs


def get_server_info_response_from_proto(
    message: pb.GetServerInfoResponse,
) -> GetServerInfoResponse:
    """Read who is there."""
    return GetServerInfoResponse(
        servo_version=message.servo_version,
        protocol_version=message.protocol_version,
        store_id=message.store_id,
        ready=message.ready,
        workers=message.workers,
        active_runs=message.active_runs,
    )
