"""The method table: every RPC once, for client, server and whatever joins the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor

from servo._gen.arco.v1 import (
    asset_service_pb2,
    deployment_pb2,
    key_pb2,
    log_pb2,
    pool_pb2,
    run_service_pb2,
    server_pb2,
    worker_pb2,
)
from servo._wire.codec import decode, decode_untrusted, encode, request_from_json
from servo._wire.table import row_of
from servo.types import access, blockers, pools, requests, sessions

Request = TypeVar("Request")
Response = TypeVar("Response")


REQUEST_BYTES: Final = 1024 * 1024
"""The largest request of most RPCs: 10,000 selections, or the digests of a million assets."""

LARGE_REQUEST_BYTES: Final = 4 * 1024 * 1024
"""The largest request of those that carry more: a chunk of a manifest, or results of a worker.

It is also the largest message that any grpc server takes unless it is told otherwise.
"""


class MethodKind(StrEnum):
    """How many messages go each way."""

    UNARY = "unary"
    SERVER_STREAM = "server_stream"
    BIDI_STREAM = "bidi_stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method(Generic[Request, Response]):
    """One RPC.

    Conversion happens here and not in grpc's own serialisers: an error in those reaches the
    caller as INTERNAL, whatever it was.

    Attributes:
        service: Full name of the service, such as ``arco.v1.RunService``.
        name: Name of the RPC, such as ``CreateRun``.
        kind: How many messages go each way.
        request_type: Type of the façade that is sent.
        response_type: Type of the façade that is answered with.
        idempotent: Whether sending the same request twice does no harm; a test compares it with
            the option of the RPC, whose reading would import a lot.
        max_request_bytes: The largest request, or message of a stream, that a server reads.
    """

    service: str
    name: str
    kind: MethodKind
    request_type: type[Request]
    response_type: type[Response]
    idempotent: bool
    max_request_bytes: int = REQUEST_BYTES

    @property
    def path(self) -> str:
        """The path of the RPC, such as ``/arco.v1.RunService/CreateRun``."""
        return f"/{self.service}/{self.name}"

    def encode_request(self, request: Request) -> bytes:
        """Encode what the client sends.

        Raises:
            InvalidArgumentError: A part of it cannot be sent.
        """
        return encode(request)

    def decode_request(self, data: bytes) -> Request:
        """Decode what the server receives.

        Raises:
            InvalidArgumentError: It is malformed, or there is too much in it.
        """
        return decode_untrusted(self.request_type, data)

    def decode_json_request(self, data: bytes) -> Request:
        """Decode what the server receives as JSON.

        Raises:
            InvalidArgumentError: It is malformed, or there is too much in it.
        """
        return request_from_json(self.request_type, data)

    def encode_response(self, response: Response) -> bytes:
        """Encode what the server answers.

        Raises:
            InvalidArgumentError: A part of it cannot be sent.
        """
        return encode(response)

    def decode_response(self, data: bytes) -> Response:
        """Decode what the client receives.

        Raises:
            InvalidArgumentError: It is malformed.
        """
        return decode(self.response_type, data)


def _method(
    file: FileDescriptor,
    service_name: str,
    name: str,
    request_type: type[Request],
    response_type: type[Response],
    *,
    idempotent: bool = True,
    max_request_bytes: int = REQUEST_BYTES,
) -> Method[Request, Response]:
    service: ServiceDescriptor = file.services_by_name[service_name]
    descriptor: MethodDescriptor = service.methods_by_name[name]
    expected = (row_of(request_type).message, row_of(response_type).message)
    found = (descriptor.input_type.full_name, descriptor.output_type.full_name)
    if found != tuple([message.DESCRIPTOR.full_name for message in expected]):
        raise TypeError(f"{descriptor.full_name} takes and returns {found!r}, not {expected!r}")
    if descriptor.client_streaming:
        kind = MethodKind.BIDI_STREAM
    else:
        kind = MethodKind.SERVER_STREAM if descriptor.server_streaming else MethodKind.UNARY
    return Method(
        service=service.full_name,
        name=name,
        kind=kind,
        request_type=request_type,
        response_type=response_type,
        idempotent=idempotent,
        max_request_bytes=max_request_bytes,
    )


def _deployments(
    name: str,
    request_type: type[Request],
    response_type: type[Response],
    *,
    max_request_bytes: int = REQUEST_BYTES,
) -> Method[Request, Response]:
    return _method(
        deployment_pb2.DESCRIPTOR,
        "DeploymentService",
        name,
        request_type,
        response_type,
        max_request_bytes=max_request_bytes,
    )


def _runs(
    name: str,
    request_type: type[Request],
    response_type: type[Response],
    *,
    idempotent: bool = True,
) -> Method[Request, Response]:
    file = run_service_pb2.DESCRIPTOR
    return _method(file, "RunService", name, request_type, response_type, idempotent=idempotent)


def _assets(
    name: str, request_type: type[Request], response_type: type[Response]
) -> Method[Request, Response]:
    file = asset_service_pb2.DESCRIPTOR
    return _method(file, "AssetService", name, request_type, response_type)


def _keys(
    name: str,
    request_type: type[Request],
    response_type: type[Response],
    *,
    idempotent: bool = True,
) -> Method[Request, Response]:
    file = key_pb2.DESCRIPTOR
    return _method(file, "KeyService", name, request_type, response_type, idempotent=idempotent)


DEPLOY: Final = _deployments("Deploy", requests.DeployRequest, requests.DeployResponse)
FIND_MISSING_CHUNKS: Final = _deployments(
    "FindMissingChunks", requests.FindMissingChunksRequest, requests.FindMissingChunksResponse
)
UPLOAD_CHUNKS: Final = _deployments(
    "UploadChunks",
    requests.UploadChunksRequest,
    requests.UploadChunksResponse,
    max_request_bytes=LARGE_REQUEST_BYTES,
)
READ_CHUNKS: Final = _deployments(
    "ReadChunks", requests.ReadChunksRequest, requests.ReadChunksResponse
)
GET_DEPLOYMENT: Final = _deployments(
    "GetDeployment", requests.GetDeploymentRequest, requests.GetDeploymentResponse
)
LIST_DEPLOYMENTS: Final = _deployments(
    "ListDeployments", requests.ListDeploymentsRequest, requests.ListDeploymentsResponse
)
DIFF_DEPLOYMENTS: Final = _deployments(
    "DiffDeployments", requests.DiffDeploymentsRequest, requests.DiffDeploymentsResponse
)
CREATE_RUN: Final = _runs(
    "CreateRun", requests.CreateRunRequest, requests.CreateRunResponse, idempotent=False
)
GET_RUN: Final = _runs("GetRun", requests.GetRunRequest, requests.GetRunResponse)
LIST_RUNS: Final = _runs("ListRuns", requests.ListRunsRequest, requests.ListRunsResponse)
CANCEL_RUN: Final = _runs("CancelRun", requests.CancelRunRequest, requests.CancelRunResponse)
UPDATE_RUN: Final = _runs("UpdateRun", requests.UpdateRunRequest, requests.UpdateRunResponse)
EXPLAIN: Final = _runs("Explain", blockers.ExplainRequest, blockers.ExplainResponse)
WATCH_EVENTS: Final = _runs(
    "WatchEvents", requests.WatchEventsRequest, requests.WatchEventsResponse
)
WATCH_RUN: Final = _runs("WatchRun", requests.WatchRunRequest, requests.WatchRunResponse)
LIST_ASSETS: Final = _assets("ListAssets", requests.ListAssetsRequest, requests.ListAssetsResponse)
GET_ASSET: Final = _assets("GetAsset", requests.GetAssetRequest, requests.GetAssetResponse)
LIST_MATERIALIZATIONS: Final = _assets(
    "ListMaterializations",
    requests.ListMaterializationsRequest,
    requests.ListMaterializationsResponse,
)
READ_LOGS: Final = _method(
    log_pb2.DESCRIPTOR,
    "LogService",
    "ReadLogs",
    requests.ReadLogsRequest,
    requests.ReadLogsResponse,
)
GET_SERVER_INFO: Final = _method(
    server_pb2.DESCRIPTOR,
    "ServerService",
    "GetServerInfo",
    requests.GetServerInfoRequest,
    requests.GetServerInfoResponse,
)
LIST_POOLS: Final = _method(
    pool_pb2.DESCRIPTOR,
    "PoolService",
    "ListPools",
    pools.ListPoolsRequest,
    pools.ListPoolsResponse,
)
SET_POOL: Final = _method(
    pool_pb2.DESCRIPTOR, "PoolService", "SetPool", pools.SetPoolRequest, pools.SetPoolResponse
)
CREATE_KEY: Final = _keys(
    "CreateKey", access.CreateKeyRequest, access.CreateKeyResponse, idempotent=False
)
LIST_KEYS: Final = _keys("ListKeys", access.ListKeysRequest, access.ListKeysResponse)
REVOKE_KEY: Final = _keys("RevokeKey", access.RevokeKeyRequest, access.RevokeKeyResponse)
OPEN_SESSION: Final = _method(
    worker_pb2.DESCRIPTOR,
    "WorkerService",
    "OpenSession",
    sessions.OpenSessionRequest,
    sessions.OpenSessionResponse,
    idempotent=False,
    max_request_bytes=LARGE_REQUEST_BYTES,
)

METHODS: Final[Mapping[str, Method[Any, Any]]] = MappingProxyType(
    {
        method.path: method
        for method in (
            DEPLOY,
            FIND_MISSING_CHUNKS,
            UPLOAD_CHUNKS,
            READ_CHUNKS,
            GET_DEPLOYMENT,
            LIST_DEPLOYMENTS,
            DIFF_DEPLOYMENTS,
            CREATE_RUN,
            GET_RUN,
            LIST_RUNS,
            CANCEL_RUN,
            UPDATE_RUN,
            EXPLAIN,
            WATCH_RUN,
            WATCH_EVENTS,
            LIST_ASSETS,
            GET_ASSET,
            LIST_MATERIALIZATIONS,
            READ_LOGS,
            GET_SERVER_INFO,
            LIST_POOLS,
            SET_POOL,
            CREATE_KEY,
            LIST_KEYS,
            REVOKE_KEY,
            OPEN_SESSION,
        )
    }
)
"""Every RPC of the contract by path."""
