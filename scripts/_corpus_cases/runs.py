"""Runs, their plans, events, logs and errors."""

from __future__ import annotations

from typing import Final

from _corpus_cases.case import (
    CHECK_RESULT,
    CREATED,
    DAILY,
    DEPLOYMENT_ID,
    EVENTS,
    FAILURE,
    FINISHED,
    MATERIALIZATION,
    ONE_DAY,
    OTHER_TASK_ID,
    PROGRESS,
    RUN_ID,
    STARTED,
    TASK_ID,
    WORKER_ID,
    Case,
    Json,
    ulid,
)
from _corpus_cases.deployments import DEPLOYMENT, FINGERPRINT

RUN_STATES: Final = (
    "PENDING",
    "RUNNING",
    "CANCELLING",
    "SUCCEEDED",
    "FAILED",
    "CANCELLED",
    "TIMED_OUT",
)
TASK_STATES: Final = (
    "BLOCKED",
    "READY",
    "DISPATCHED",
    "RUNNING",
    "RETRY_WAIT",
    "SUCCEEDED",
    "FAILED",
    "CANCELLED",
    "SKIPPED",
)
FAILURE_CATEGORIES: Final = (
    "USER_CODE",
    "INFRASTRUCTURE",
    "TIMEOUT",
    "DATA_QUALITY",
    "CONFIGURATION",
    "CANCELLED",
)
ERROR_CATEGORIES: Final = (
    "VALIDATION",
    "NETWORK",
    "FILESYSTEM",
    "CONFIGURATION",
    "CACHE",
    "TIMEOUT",
    "PERMISSION",
    "UNKNOWN",
)
BUDGET: Final[Json] = {"usd": "12.50", "tokens": "1000000"}
SPENT: Final[Json] = {"usd": "0.000000001", "tokens": "4711"}
TASK: Final[Json] = {
    "taskId": TASK_ID,
    "assetKey": EVENTS,
    "partitionKey": ONE_DAY,
    "state": "TASK_STATE_SUCCEEDED",
    "attempt": 2,
    "reason": "the attempt succeeded",
    "failure": FAILURE,
    "startedAt": STARTED,
    "finishedAt": FINISHED,
    "retryAt": CREATED,
    "workerId": WORKER_ID,
    "progress": PROGRESS,
    "materialization": MATERIALIZATION,
    "checks": [CHECK_RESULT],
    "spent": SPENT,
    "spentBefore": {"tokens": "4000"},
    "waiting": "waiting for pool warehouse 4/4",
}
COUNTS: Final[Json] = {
    "total": 45,
    "blocked": 1,
    "ready": 2,
    "dispatched": 3,
    "running": 4,
    "retryWait": 5,
    "succeeded": 6,
    "failed": 7,
    "cancelled": 8,
    "skipped": 9,
}
RUN: Final[Json] = {
    "runId": RUN_ID,
    "deploymentId": DEPLOYMENT_ID,
    "state": "RUN_STATE_RUNNING",
    "runKey": "nightly-2025-11-21",
    "requestFingerprint": FINGERPRINT,
    "selection": ["raw.*", "mart.daily"],
    "createdAt": CREATED,
    "startedAt": STARTED,
    "finishedAt": FINISHED,
    "reason": "a task has started",
    "counts": COUNTS,
    "lastSequence": "17",
    "traceContext": {
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "vendor=1",
    },
    "priority": -5,
    "maxParallelism": 16,
    "timeoutSeconds": 7200,
    "budget": BUDGET,
    "spent": SPENT,
    "codeVersionId": "git-0123456789ab",
    "parentRunId": ulid("R2"),
    "rootRunId": ulid("R3"),
    "paused": True,
    "endsAs": "RUN_STATE_TIMED_OUT",
    "maxRetries": 5,
}
PLAN: Final[Json] = {
    "assets": [DAILY, EVENTS],
    "tasks": [
        {"asset": 1, "partitionKey": ONE_DAY},
        {"asset": 0, "partitionKey": ONE_DAY, "upstream": [0], "gates": [0]},
        {"asset": 0, "partitionKey": {}, "upstream": [0, 1, 127, 128, 300]},
    ],
    "gates": [{"tasks": [0, 1]}],
}


def event(sequence: int, payload: str, value: Json) -> Json:
    """Return an event of a run."""
    return {"sequence": f"{sequence}", "occurredAt": FINISHED, "runId": RUN_ID, payload: value}


POOL_CHANGED: Final[Json] = {
    "sequence": "9",
    "occurredAt": FINISHED,
    "poolChanged": {"name": "warehouse", "slots": 4},
}
EVENTS_SEEN: Final[dict[str, Json]] = {
    "deployment-activated": event(1, "deploymentActivated", {"deployment": DEPLOYMENT}),
    "run-created": event(2, "runCreated", {"run": RUN}),
    "run-state-changed": event(
        3, "runStateChanged", {"state": "RUN_STATE_RUNNING", "reason": "a task has started"}
    ),
    "task-state-changed": event(
        4,
        "taskStateChanged",
        {
            "index": 1,
            "state": "TASK_STATE_RETRY_WAIT",
            "attempt": 1,
            "reason": "the attempt failed",
            "failure": FAILURE,
            "workerId": WORKER_ID,
            "retryAt": FINISHED,
            "materialization": MATERIALIZATION,
            "checks": [CHECK_RESULT],
        },
    ),
    "run-cancelling": event(
        5,
        "runStateChanged",
        {
            "state": "RUN_STATE_CANCELLING",
            "reason": "it took longer than 2 h",
            "endsAs": "RUN_STATE_TIMED_OUT",
        },
    ),
    "run-updated": event(6, "runUpdated", {"paused": True, "priority": -5}),
    "run-updated-to-defaults": event(7, "runUpdated", {}),
    "task-spent": event(8, "taskSpent", {"index": 1, "attempt": 2, "spent": SPENT}),
    "pool-changed": POOL_CHANGED,
    "pool-emptied": POOL_CHANGED | {"poolChanged": {"name": "warehouse", "slots": 0}},
    "pool-removed": POOL_CHANGED | {"poolChanged": {"name": "warehouse"}},
    "task-progressed": event(0, "taskProgressed", {"index": 1, "attempt": 1, "progress": PROGRESS}),
}
LINES: Final[list[Json]] = [
    {"number": "1", "stream": "LOG_STREAM_STDOUT", "writtenAt": STARTED, "text": "hello"},
    {
        "number": "2",
        "stream": "LOG_STREAM_STDERR",
        "writtenAt": STARTED,
        "text": "cut",
        "truncated": True,
        "droppedAfter": "3",
    },
    {
        "number": "6",
        "stream": "LOG_STREAM_LOG",
        "writtenAt": FINISHED,
        "level": "WARNING",
        "text": "late rows",
    },
]
LOG_BATCH: Final[Json] = {"taskId": TASK_ID, "attempt": 1, "lines": LINES}
ERROR: Final[Json] = {
    "code": "RUN_KEY_CONFLICT",
    "category": "ERROR_CATEGORY_VALIDATION",
    "message": "run key 'nightly' names a run of another request; use another key",
    "context": {"run_key": "nightly", "run_id": RUN_ID},
    "causes": [{"code": "LEASE_EXPIRED", "message": "the lease of attempt 1 has expired"}],
}
SELECTIONS: Final[dict[str, Json]] = {
    "key": {"key": ONE_DAY},
    "range": {"range": {"dimension": "date", "first": "2025-01-01", "last": "2025-01-31"}},
    "product": {
        "product": {
            "dimensions": [
                {"dimension": "region", "values": ["north", "a,b"]},
                {
                    "dimension": "date",
                    "values": ["2025-02-10"],
                    "ranges": [{"first": "2025-01-01", "last": "2025-01-31"}],
                },
            ],
            "others": True,
        }
    },
    "all": {"all": True},
}
BLOCKERS: Final = (
    "NONE",
    "NO_WORKER",
    "WORKERS_BUSY",
    "CODE_VERSION",
    "POOL",
    "ASSET_LIMIT",
    "RUN_LIMIT",
    "TENANT_LIMIT",
    "PAUSED",
    "UPSTREAM",
    "RETRY_WAIT",
    "EXECUTING",
    "FAILED",
    "CANCELLED",
    "BUDGET",
    "SUCCEEDED",
    "NOT_REQUESTED",
    "PARTITION",
    "DATABASE",
)
BLOCKER: Final[Json] = {
    "kind": "BLOCKER_KIND_POOL",
    "subject": "pool",
    "subjectId": "warehouse",
    "message": "waiting for pool warehouse 4/4",
    "remedy": "wait for a slot, or make it larger: servo pools set warehouse SLOTS",
    "details": {"used": "4", "slots": "4"},
}
EXPLAINED: Final[dict[str, Json]] = {
    "run": {"runId": RUN_ID},
    "task": {"taskId": TASK_ID},
    "asset": {"assetKey": EVENTS, "partitionKey": ONE_DAY},
}
POOL: Final[Json] = {"name": "warehouse", "slots": 4, "used": 4, "waiting": 12}

RUNS: Final = (
    Case("run", "Run", RUN | {"tasks": [TASK]}, "a run with every field set"),
    Case("task", "Task", TASK | {"index": 3}, "a task with every field set"),
    Case(
        "run-every-state",
        "ListRunsRequest",
        {"states": [f"RUN_STATE_{state}" for state in RUN_STATES]},
        "every state of a run, in a packed list",
    ),
    Case(
        "task-every-state",
        "Run",
        RUN | {"tasks": [TASK | {"state": f"TASK_STATE_{state}"} for state in TASK_STATES]},
        "every state of a task",
    ),
    Case(
        "failure-every-category",
        "Run",
        RUN
        | {
            "tasks": [
                TASK | {"failure": FAILURE | {"category": f"FAILURE_CATEGORY_{category}"}}
                for category in FAILURE_CATEGORIES
            ]
        },
        "every category of failure",
    ),
    Case("failure", "Failure", FAILURE, "a failure with every field set"),
    Case("check-result", "CheckResult", CHECK_RESULT, "the outcome of a check"),
    Case(
        "check-result-passed",
        "CheckResult",
        {
            "checkName": "unique_id",
            "type": "CHECK_TYPE_UNIQUE",
            "phase": "CHECK_PHASE_POST",
            "severity": "CHECK_SEVERITY_CRITICAL",
            "passed": True,
        },
        "a check that passed",
    ),
    Case("materialization", "Materialization", MATERIALIZATION, "a partition that was produced"),
    Case("plan", "Plan", PLAN, "indices in packed lists, as one byte and as two"),
    *(
        Case(f"partition-selection-{kind}", "PartitionSelection", value, "a kind of selection")
        for kind, value in SELECTIONS.items()
    ),
    Case(
        "create-run-request",
        "CreateRunRequest",
        {
            "selection": ["mart.daily"],
            "partitions": SELECTIONS["range"],
            "upstream": True,
            "downstream": True,
            "runKey": "nightly-2025-11-21",
            "deploymentId": DEPLOYMENT_ID,
            "config": {"dry_run": "true"},
            "priority": 10,
            "maxParallelism": 16,
            "timeoutSeconds": 7200,
            "budget": BUDGET,
            "codeVersionId": "git-0123456789ab",
            "maxRetries": 5,
        },
        "asks for a run",
    ),
    *(
        Case(
            f"create-run-request-rerun-{scope.lower()}",
            "CreateRunRequest",
            {
                "selection": ["+mart.daily", "not raw.*"],
                "rerun": {"runId": RUN_ID, "scope": f"RERUN_SCOPE_{scope}"},
            },
            "repeats tasks of an earlier run",
        )
        for scope in ("UNFINISHED", "ALL")
    ),
    Case("create-run-response", "CreateRunResponse", {"run": RUN, "created": True}, "a new run"),
    Case(
        "get-run-request",
        "GetRunRequest",
        {"runId": RUN_ID, "pageSize": -1, "pageToken": "p2"},
        "a negative number takes ten bytes",
    ),
    Case(
        "get-run-response",
        "GetRunResponse",
        {"run": RUN | {"tasks": [TASK]}, "nextPageToken": "p3"},
        "a run with a page of its tasks",
    ),
    Case("list-runs-request", "ListRunsRequest", {"pageSize": 50, "pageToken": "p2"}, "a page"),
    Case(
        "list-runs-response", "ListRunsResponse", {"runs": [RUN], "nextPageToken": "p3"}, "a page"
    ),
    Case(
        "cancel-run-request",
        "CancelRunRequest",
        {"runId": RUN_ID, "reason": "wrong day"},
        "asks to stop a run",
    ),
    Case("cancel-run-response", "CancelRunResponse", {"run": RUN}, "a run that is being stopped"),
    Case(
        "update-run-request",
        "UpdateRunRequest",
        {"runId": RUN_ID, "paused": True, "priority": 100},
        "holds a run",
    ),
    Case(
        "update-run-request-to-defaults",
        "UpdateRunRequest",
        {"runId": RUN_ID, "paused": False, "priority": 0},
        "what is set to its default is not the same as what is left as it is",
    ),
    Case("update-run-response", "UpdateRunResponse", {"run": RUN}, "a run that is held"),
    *(
        Case(f"explain-request-{target}", "ExplainRequest", value, "asks why it is not done")
        for target, value in EXPLAINED.items()
    ),
    Case(
        "explain-response",
        "ExplainResponse",
        {"chain": [BLOCKER | {"kind": f"BLOCKER_KIND_{kind}"} for kind in BLOCKERS]},
        "every kind of blocker",
    ),
    Case("blocker", "Blocker", BLOCKER, "one link of a chain"),
    Case(
        "watch-events-request",
        "WatchEventsRequest",
        {"afterSequence": "9000000000", "follow": True},
        "goes on with the history of a workspace",
    ),
    Case(
        "watch-events-response",
        "WatchEventsResponse",
        {"events": [EVENTS_SEEN["deployment-activated"], EVENTS_SEEN["pool-changed"]]},
        "events of no run",
    ),
    Case("pool", "Pool", POOL, "a pool that is full"),
    Case("list-pools-request", "ListPoolsRequest", {}, "nothing to say"),
    Case(
        "list-pools-response",
        "ListPoolsResponse",
        {"pools": [POOL, {"name": "zero"}]},
        "pools, one of which holds everything",
    ),
    Case("set-pool-request", "SetPoolRequest", {"name": "warehouse", "slots": 4}, "a size"),
    Case("set-pool-request-zero", "SetPoolRequest", {"name": "warehouse", "slots": 0}, "no slots"),
    Case("set-pool-request-remove", "SetPoolRequest", {"name": "warehouse"}, "removes a pool"),
    Case("set-pool-response", "SetPoolResponse", {"pool": POOL}, "a pool after a change"),
    Case(
        "watch-run-request",
        "WatchRunRequest",
        {"runId": RUN_ID, "afterSequence": "17"},
        "goes on with watching",
    ),
    Case(
        "watch-run-response",
        "WatchRunResponse",
        {"events": list(EVENTS_SEEN.values())},
        "every kind of event",
    ),
    *(
        Case(f"event-{kind}", "Event", value, "a kind of event")
        for kind, value in EVENTS_SEEN.items()
    ),
    Case("log-batch", "LogBatch", LOG_BATCH, "every stream of a log"),
    Case(
        "read-logs-request",
        "ReadLogsRequest",
        {
            "runId": RUN_ID,
            "task": "raw.events[date=2025-01-15]",
            "follow": True,
            "afterCursor": "9000000000",
        },
        "an integer beyond 32 bits",
    ),
    Case(
        "read-logs-request-tail",
        "ReadLogsRequest",
        {"runId": RUN_ID, "tail": 0, "since": "2025-01-15T10:30:00.500Z", "attempt": 2},
        "no line of the past: zero is not the same as absent",
    ),
    Case(
        "read-logs-response",
        "ReadLogsResponse",
        {"batches": [LOG_BATCH, LOG_BATCH | {"taskId": OTHER_TASK_ID}], "cursor": "9000000001"},
        "the logs of two tasks",
    ),
    Case("error-detail", "ErrorDetail", ERROR, "an error with every field set"),
    *(
        Case(
            f"error-{category.lower()}",
            "ErrorDetail",
            {"code": category, "category": f"ERROR_CATEGORY_{category}", "message": "said so"},
            "a category of error",
        )
        for category in ERROR_CATEGORIES
    ),
)
