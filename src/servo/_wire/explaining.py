"""Why something is not done (``run.proto``)."""

from __future__ import annotations

from servo._gen.arco.v1 import run_pb2 as pb
from servo._wire.enums import BLOCKER_KIND
from servo._wire.keys import (
    asset_key_from_proto,
    asset_key_to_proto,
    partition_key_from_proto,
    partition_key_to_proto,
)
from servo.errors import InvalidArgumentError
from servo.types.blockers import Blocker, ExplainRequest, ExplainResponse


def blocker_to_proto(blocker: Blocker, message: pb.Blocker) -> None:
    """Fill in one link."""
    message.kind = BLOCKER_KIND.number[blocker.kind]
    message.subject = blocker.subject
    message.subject_id = blocker.subject_id
    message.message = blocker.message
    message.remedy = blocker.remedy
    if blocker.details:
        message.details.update(blocker.details)


def blocker_from_proto(message: pb.Blocker) -> Blocker:
    """Read one link.

    Raises:
        InvalidArgumentError: Its kind is not known to this version.
    """
    return Blocker(
        kind=BLOCKER_KIND.member[message.kind],
        subject=message.subject,
        subject_id=message.subject_id,
        message=message.message,
        remedy=message.remedy,
        details=dict(message.details),
    )


def explain_request_to_proto(request: ExplainRequest, message: pb.ExplainRequest) -> None:
    """Fill in what the question is about."""
    if request.asset_key is not None:
        asset_key_to_proto(request.asset_key, message.asset_key)
    elif request.task_id:
        message.task_id = request.task_id
    else:
        message.run_id = request.run_id
    if request.partition_key is not None:
        partition_key_to_proto(request.partition_key, message.partition_key)


def explain_request_from_proto(message: pb.ExplainRequest) -> ExplainRequest:
    """Read what the question is about.

    Raises:
        InvalidArgumentError: It is not said, or not known to this version.
        ValueError: A key is malformed.
    """
    target = message.WhichOneof("target")
    if target is None:
        raise InvalidArgumentError("say what the question is about: a run, a task or an asset")
    return ExplainRequest(
        run_id=message.run_id,
        task_id=message.task_id,
        asset_key=asset_key_from_proto(message.asset_key) if target == "asset_key" else None,
        partition_key=(
            partition_key_from_proto(message.partition_key)
            if message.HasField("partition_key")
            else None
        ),
    )


def explain_response_to_proto(response: ExplainResponse, message: pb.ExplainResponse) -> None:
    """Fill in the chain."""
    for blocker in response.chain:
        blocker_to_proto(blocker, message.chain.add())


def explain_response_from_proto(message: pb.ExplainResponse) -> ExplainResponse:
    """Read the chain.

    Raises:
        InvalidArgumentError: A link is of a kind that this version does not know.
    """
    return ExplainResponse(chain=tuple([blocker_from_proto(found) for found in message.chain]))
