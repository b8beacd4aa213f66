-- depends:

CREATE TABLE store_info (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- A tenant's workspace: everything below belongs to one.
CREATE TABLE workspaces (
    workspace             INTEGER PRIMARY KEY,
    tenant_id             TEXT NOT NULL,
    workspace_id          TEXT NOT NULL,
    current_deployment_id TEXT NOT NULL DEFAULT '',
    UNIQUE (tenant_id, workspace_id)
);

-- Parts of manifests, exactly as they arrived.
CREATE TABLE chunks (
    workspace INTEGER NOT NULL REFERENCES workspaces,
    digest    BLOB    NOT NULL,
    data      BLOB    NOT NULL,
    PRIMARY KEY (workspace, digest)
);

CREATE TABLE deployments (
    deployment_id       TEXT    PRIMARY KEY,
    workspace           INTEGER NOT NULL REFERENCES workspaces,
    content_fingerprint TEXT    NOT NULL,
    record              BLOB    NOT NULL,
    header              BLOB    NOT NULL,
    UNIQUE (workspace, content_fingerprint)
);

-- Which id an asset key has; the key changes when the asset is renamed, the id never.
CREATE TABLE asset_ids (
    workspace INTEGER NOT NULL REFERENCES workspaces,
    asset_key TEXT    NOT NULL,
    asset_id  TEXT    NOT NULL,
    PRIMARY KEY (workspace, asset_key)
) WITHOUT ROWID;

-- The history: append-only, gap-free per workspace.
CREATE TABLE events (
    workspace INTEGER NOT NULL REFERENCES workspaces,
    sequence  INTEGER NOT NULL,
    run_id    TEXT    NOT NULL,
    record    BLOB    NOT NULL,
    PRIMARY KEY (workspace, sequence)
) WITHOUT ROWID;

CREATE INDEX events_of_run ON events (run_id, sequence);

CREATE TABLE runs (
    run_id    TEXT    PRIMARY KEY,
    workspace INTEGER NOT NULL REFERENCES workspaces,
    state     TEXT    NOT NULL,
    run_key   TEXT    NOT NULL,
    record    BLOB    NOT NULL
);

CREATE INDEX runs_of_workspace ON runs (workspace, run_id);
CREATE INDEX runs_active ON runs (workspace, state)
    WHERE state IN ('pending', 'running', 'cancelling');
CREATE UNIQUE INDEX runs_by_key ON runs (workspace, run_key) WHERE run_key <> '';

-- What a run was made from. Not part of its row: that is written with every commit, and SQLite
-- writes a row as a whole.
CREATE TABLE run_plans (
    run_id  TEXT PRIMARY KEY REFERENCES runs,
    request BLOB NOT NULL,
    plan    BLOB NOT NULL
);

CREATE TABLE tasks (
    run_id     TEXT    NOT NULL REFERENCES runs,
    task_index INTEGER NOT NULL,
    task_id    TEXT    NOT NULL,
    token      INTEGER NOT NULL,
    record     BLOB    NOT NULL,
    PRIMARY KEY (run_id, task_index)
) WITHOUT ROWID;

CREATE TABLE materializations (
    workspace          INTEGER NOT NULL REFERENCES workspaces,
    asset_id           TEXT    NOT NULL,
    partition_key      TEXT    NOT NULL,
    sequence           INTEGER NOT NULL,
    materialization_id TEXT    NOT NULL,
    record             BLOB    NOT NULL,
    PRIMARY KEY (workspace, asset_id, sequence)
) WITHOUT ROWID;

-- The newest materialisation of each partition.
CREATE TABLE current_materializations (
    workspace          INTEGER NOT NULL REFERENCES workspaces,
    asset_id           TEXT    NOT NULL,
    partition_key      TEXT    NOT NULL,
    sequence           INTEGER NOT NULL,
    materialization_id TEXT    NOT NULL,
    has_data           INTEGER NOT NULL,
    path               TEXT    NOT NULL,
    PRIMARY KEY (workspace, asset_id, partition_key)
) WITHOUT ROWID;

CREATE TABLE log_batches (
    cursor  INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id  TEXT NOT NULL,
    task_id TEXT NOT NULL,
    record  BLOB NOT NULL
);

CREATE INDEX log_batches_of_run ON log_batches (run_id, cursor);

CREATE TABLE metrics (
    run_id      TEXT    NOT NULL,
    task_id     TEXT    NOT NULL,
    attempt     INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    value       REAL    NOT NULL,
    reported_at INTEGER NOT NULL
);

CREATE INDEX metrics_of_run ON metrics (run_id, task_id);
