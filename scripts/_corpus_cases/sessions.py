"""The session between a worker and the control plane."""

from __future__ import annotations

from typing import Final

from _corpus_cases.case import (
    CHECK_RESULT,
    DEPLOYMENT_ID,
    EVENTS,
    FAILURE,
    FINISHED,
    MATERIALIZATION,
    MATERIALIZATION_ID,
    ONE_DAY,
    PROGRESS,
    RUN_ID,
    STARTED,
    STORE_ID,
    TASK_ID,
    WORKER_ID,
    Case,
    Json,
)
from _corpus_cases.definitions import ASSET, DIMENSIONS
from _corpus_cases.runs import BUDGET, ERROR, LOG_BATCH, SPENT

LEASE: Final[Json] = {"taskId": TASK_ID, "attempt": 1, "token": "7"}
FINISH: Final[Json] = {
    "lease": LEASE,
    "checks": [CHECK_RESULT],
    "finishedAt": FINISHED,
    "spent": SPENT,
}

FROM_WORKER: Final[dict[str, Json]] = {
    "hello": {
        "hello": {
            "workerId": WORKER_ID,
            "protocolVersion": 1,
            "servoVersion": "0.1.0",
            "codeVersionId": "git-0123456789ab",
            "slots": 4,
            "capabilities": ["cancel", "logs"],
            "leases": [LEASE],
            "hostName": "worker-1",
            "processId": 4321,
        }
    },
    "credit": {"credit": {"attempts": 4}},
    "received": {"received": {"lease": LEASE}},
    "started": {"started": {"lease": LEASE, "startedAt": STARTED}},
    "progressed": {"progressed": {"lease": LEASE, "progress": PROGRESS}},
    "metric": {
        "metric": {"lease": LEASE, "name": "rows_per_second", "value": 2.5, "reportedAt": STARTED}
    },
    "spent": {"spent": {"lease": LEASE, "spent": SPENT}},
    "log": {"log": LOG_BATCH},
    "finished-succeeded": {
        "finished": FINISH | {"succeeded": {"materialization": MATERIALIZATION}}
    },
    "finished-failed": {"finished": FINISH | {"failed": FAILURE}},
    "finished-cancelled": {"finished": FINISH | {"cancelled": {"reason": "ended by itself"}}},
    "heartbeat": {"heartbeat": {"leases": [LEASE, LEASE | {"token": "8"}]}},
    "draining": {"draining": {}},
}
FROM_SERVER: Final[dict[str, Json]] = {
    "welcome": {
        "welcome": {
            "protocolVersion": 1,
            "capabilities": ["cancel"],
            "heartbeatInterval": "2.500s",
            "leaseLength": "30s",
            "storeId": STORE_ID,
            "tenantId": "acme",
            "workspaceId": "analytics",
            "servoVersion": "0.1.0",
        }
    },
    "dispatch": {
        "dispatch": {
            "lease": LEASE,
            "runId": RUN_ID,
            "deploymentId": DEPLOYMENT_ID,
            "asset": ASSET,
            "partitionKey": ONE_DAY,
            "inputs": [
                {
                    "parameterName": "events",
                    "upstreamKey": EVENTS,
                    "partitions": [
                        {
                            "partitionKey": ONE_DAY,
                            "materializationId": MATERIALIZATION_ID,
                            "hasData": True,
                            "path": "raw/events/date=2025-01-15/tenant=acme",
                        },
                        {"partitionKey": {}},
                    ],
                    "partitioning": {"dimensions": [DIMENSIONS["time"]]},
                }
            ],
            "config": {"dry_run": "true"},
            "traceContext": {
                "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            },
            "budget": BUDGET,
        }
    },
    "cancel": {"cancel": {"lease": LEASE, "reason": "wrong day", "gracePeriod": "0.000001s"}},
    "receipt-accepted": {"receipt": {"lease": LEASE, "accepted": True}},
    "receipt-refused": {"receipt": {"lease": LEASE, "error": ERROR}},
    "revoked": {"revoked": {"lease": LEASE, "reason": "the lease expired"}},
    "log-receipt": {"logReceipt": {"batches": "12"}},
}

SESSIONS: Final = (
    *(
        Case(f"worker-{kind}", "WorkerMessage", message, "what a worker says")
        for kind, message in FROM_WORKER.items()
    ),
    *(
        Case(f"server-{kind}", "ServerMessage", message, "what a control plane says")
        for kind, message in FROM_SERVER.items()
    ),
    Case(
        "open-session-request",
        "OpenSessionRequest",
        {"messages": [FROM_WORKER["hello"], FROM_WORKER["credit"]]},
        "the first messages of a worker",
    ),
    Case(
        "open-session-response",
        "OpenSessionResponse",
        {"messages": [FROM_SERVER["welcome"], FROM_SERVER["dispatch"]]},
        "the first messages of a control plane",
    ),
)
