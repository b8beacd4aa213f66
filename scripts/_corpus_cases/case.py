"""One message of the corpus, and the values that many of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One message of the corpus.

    Attributes:
        name: Names the files; lower case, words joined by ``-``.
        type: The message, without the package.
        value: The message as protobuf's JSON, in any order and without what is empty.
        note: What the message is there for.
        extra: Bytes put after the message, as a newer sender would write them.
        json_gives: The case that the JSON of this one gives as binary, when it is not this one.
        cannot: Reader to the reason why it cannot read this one, with the place upstream where
            that is known.
    """

    name: str
    type: str
    value: Json
    note: str
    extra: bytes = b""
    json_gives: str = ""
    cannot: Mapping[str, str] = field(default_factory=dict)


def ulid(last: str) -> str:
    """Return an id that is easy to tell from the others by its end."""
    return "01ARZ3NDEKTSV4RRFFQ69G5FAV"[: 26 - len(last)] + last


ASSET_ID: Final = ulid("A1")
RUN_ID: Final = ulid("R1")
TASK_ID: Final = ulid("T1")
OTHER_TASK_ID: Final = ulid("T2")
WORKER_ID: Final = ulid("W1")
MATERIALIZATION_ID: Final = ulid("M1")
DEPLOYMENT_ID: Final = ulid("D1")
STORE_ID: Final = ulid("S1")

EVENTS: Final[Json] = {"namespace": "raw", "name": "events"}
DAILY: Final[Json] = {"namespace": "mart", "name": "daily"}
ONE_DAY: Final[Json] = {"dimensions": {"date": "d:2025-01-15", "tenant": "s:acme"}}

CREATED: Final = "2025-11-21T09:00:00Z"
STARTED: Final = "2025-11-21T09:00:01.500Z"
FINISHED: Final = "2025-11-21T09:00:02.000001Z"

CHECK_RESULT: Final[Json] = {
    "checkName": "row_count",
    "type": "CHECK_TYPE_ROW_COUNT",
    "phase": "CHECK_PHASE_POST",
    "severity": "CHECK_SEVERITY_ERROR",
    "passed": False,
    "message": "0 rows, at least 1 expected",
    "observed": {"rows": "0"},
    "failedRows": "0",
    "parameterName": "events",
}
FAILURE: Final[Json] = {
    "category": "FAILURE_CATEGORY_USER_CODE",
    "message": "ZeroDivisionError: division by zero",
    "retryable": False,
    "reason": "exception",
    "errorType": "ZeroDivisionError",
    "maxAttempts": 4,
}
PROGRESS: Final[Json] = {"message": "half of the files", "percentage": 50}
MATERIALIZATION: Final[Json] = {
    "materializationId": MATERIALIZATION_ID,
    "assetKey": EVENTS,
    "assetId": ASSET_ID,
    "partitionKey": ONE_DAY,
    "runId": RUN_ID,
    "taskId": TASK_ID,
    "attempt": 1,
    "createdAt": CREATED,
    "hasData": True,
    "rowCount": "42",
    "byteSize": "4096",
    "path": "raw/events/date=2025-01-15/tenant=acme",
    "columns": [
        {"name": "id", "type": "int64", "nullable": False},
        {"name": "created_at", "type": "timestamp[us, tz=UTC]", "nullable": True},
    ],
    "metadata": {"source": "api"},
}
GIT: Final[Json] = {
    "repository": "https://git.example/acme/pipelines.git",
    "branch": "main",
    "commitSha": "0123456789abcdef0123456789abcdef01234567",
    "commitMessage": "Add events",
    "author": "Ada <ada@example.org>",
    "dirty": True,
}
