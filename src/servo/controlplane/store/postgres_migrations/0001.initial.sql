-- depends:

-- Identifiers compare by their bytes, as ULIDs and the other database do.

CREATE TABLE store_info (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value TEXT NOT NULL
);

-- Which process schedules. Whoever takes over raises the epoch; what was begun under an older one
-- can then not be committed any more.
CREATE TABLE leader (
    only_row BOOLEAN PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch    BIGINT  NOT NULL,
    address  TEXT    NOT NULL
);

INSERT INTO leader (epoch, address) VALUES (0, '');

-- Every transaction that writes begins with this. Raising the epoch waits for those that have.
CREATE FUNCTION hold_epoch(expected BIGINT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM leader WHERE epoch = expected FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another control plane has taken over from epoch %', expected
            USING ERRCODE = 'SV001';
    END IF;
END;
$$;

-- A tenant's workspace: everything below belongs to one.
CREATE TABLE workspaces (
    workspace             INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id             TEXT COLLATE "C" NOT NULL,
    workspace_id          TEXT COLLATE "C" NOT NULL,
    current_deployment_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    UNIQUE (tenant_id, workspace_id)
);

-- API keys. Of the secret only its SHA-256 is kept; the id is the part of the key it is found by.
CREATE TABLE api_keys (
    key_id       TEXT COLLATE "C" PRIMARY KEY,
    digest       BYTEA  NOT NULL,
    name         TEXT   NOT NULL,
    tenant_id    TEXT   NOT NULL,
    workspace_id TEXT   NOT NULL,
    role         TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    revoked_at   BIGINT
);

-- Parts of manifests, exactly as they arrived.
CREATE TABLE chunks (
    workspace INTEGER NOT NULL REFERENCES workspaces,
    digest    BYTEA   NOT NULL,
    data      BYTEA   NOT NULL,
    PRIMARY KEY (workspace, digest)
);

CREATE TABLE deployments (
    deployment_id       TEXT COLLATE "C" PRIMARY KEY,
    workspace           INTEGER NOT NULL REFERENCES workspaces,
    content_fingerprint TEXT COLLATE "C" NOT NULL,
    record              BYTEA   NOT NULL,
    header              BYTEA   NOT NULL,
    UNIQUE (workspace, content_fingerprint)
);

CREATE INDEX deployments_of_workspace ON deployments (workspace, deployment_id);

-- Which id an asset key has; the key changes when the asset is renamed, the id never.
CREATE TABLE asset_ids (
    workspace INTEGER NOT NULL REFERENCES workspaces,
    asset_key TEXT COLLATE "C" NOT NULL,
    asset_id  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (workspace, asset_key)
);

-- How many attempts may use a pool at once, over all runs of the workspace.
CREATE TABLE pools (
    workspace INTEGER NOT NULL REFERENCES workspaces,
    name      TEXT COLLATE "C" NOT NULL,
    slots     INTEGER NOT NULL,
    PRIMARY KEY (workspace, name)
);

-- The history: append-only, gap-free per workspace. Here and below, what is written with every
-- commit carries no foreign key: one control plane writes, and checking would cost as much again.
CREATE TABLE events (
    workspace INTEGER NOT NULL,
    sequence  BIGINT  NOT NULL,
    run_id    TEXT COLLATE "C" NOT NULL,
    record    BYTEA   NOT NULL,
    PRIMARY KEY (workspace, sequence)
);

CREATE INDEX events_of_run ON events (run_id, sequence);

-- Rows that change with every commit leave room on their page, so that no index has to follow.
CREATE TABLE runs (
    run_id    TEXT COLLATE "C" PRIMARY KEY,
    workspace INTEGER NOT NULL REFERENCES workspaces,
    state     TEXT COLLATE "C" NOT NULL,
    run_key   TEXT COLLATE "C" NOT NULL,
    record    BYTEA   NOT NULL
) WITH (fillfactor = 50);

CREATE INDEX runs_of_workspace ON runs (workspace, run_id);
CREATE INDEX runs_by_state ON runs (workspace, state, run_id);
CREATE UNIQUE INDEX runs_by_key ON runs (workspace, run_key) WHERE run_key <> '';

CREATE TABLE run_plans (
    run_id  TEXT COLLATE "C" PRIMARY KEY REFERENCES runs,
    request BYTEA NOT NULL,
    plan    BYTEA NOT NULL
);

CREATE TABLE tasks (
    run_id     TEXT COLLATE "C" NOT NULL,
    task_index INTEGER NOT NULL,
    task_id    TEXT COLLATE "C" NOT NULL,
    token      BIGINT  NOT NULL,
    record     BYTEA   NOT NULL,
    PRIMARY KEY (run_id, task_index)
) WITH (fillfactor = 50);

CREATE TABLE materializations (
    workspace          INTEGER NOT NULL,
    asset_id           TEXT COLLATE "C" NOT NULL,
    partition_key      TEXT COLLATE "C" NOT NULL,
    sequence           BIGINT  NOT NULL,
    materialization_id TEXT COLLATE "C" NOT NULL,
    record             BYTEA   NOT NULL,
    PRIMARY KEY (workspace, asset_id, sequence)
);

CREATE INDEX materializations_of_partition
    ON materializations (workspace, asset_id, partition_key, sequence);

-- The newest materialisation of each partition.
CREATE TABLE current_materializations (
    workspace          INTEGER NOT NULL,
    asset_id           TEXT COLLATE "C" NOT NULL,
    partition_key      TEXT COLLATE "C" NOT NULL,
    sequence           BIGINT  NOT NULL,
    materialization_id TEXT COLLATE "C" NOT NULL,
    has_data           BOOLEAN NOT NULL,
    path               TEXT    NOT NULL,
    PRIMARY KEY (workspace, asset_id, partition_key)
);

CREATE INDEX current_materializations_by_age
    ON current_materializations (workspace, asset_id, sequence);

-- How many partitions of an asset are materialised: counting them takes longer than anybody waits.
CREATE TABLE partition_counts (
    workspace  INTEGER NOT NULL,
    asset_id   TEXT COLLATE "C" NOT NULL,
    partitions BIGINT  NOT NULL,
    PRIMARY KEY (workspace, asset_id)
) WITH (fillfactor = 50);

CREATE FUNCTION count_partition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO partition_counts AS counted (workspace, asset_id, partitions)
        VALUES (new.workspace, new.asset_id, 1)
        ON CONFLICT (workspace, asset_id) DO UPDATE SET partitions = counted.partitions + 1;
    ELSE
        UPDATE partition_counts SET partitions = partitions - 1
        WHERE workspace = old.workspace AND asset_id = old.asset_id;
    END IF;
    RETURN NULL;
END;
$$;

CREATE TRIGGER partition_counted AFTER INSERT OR DELETE ON current_materializations
FOR EACH ROW EXECUTE FUNCTION count_partition();

-- The cursor of a log counts within its run.
CREATE TABLE log_batches (
    run_id  TEXT COLLATE "C" NOT NULL,
    cursor  BIGINT NOT NULL,
    task_id TEXT COLLATE "C" NOT NULL,
    record  BYTEA  NOT NULL,
    PRIMARY KEY (run_id, cursor)
);

CREATE TABLE metrics (
    run_id      TEXT COLLATE "C" NOT NULL,
    task_id     TEXT COLLATE "C" NOT NULL,
    attempt     INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    value       DOUBLE PRECISION NOT NULL,
    reported_at BIGINT  NOT NULL
);

CREATE INDEX metrics_of_run ON metrics (run_id, task_id);
