-- depends: 0002.keys

-- How many attempts may use a pool at once, over all runs of the workspace.
CREATE TABLE pools (
    workspace INTEGER NOT NULL REFERENCES workspaces,
    name      TEXT    NOT NULL,
    slots     INTEGER NOT NULL,
    PRIMARY KEY (workspace, name)
) WITHOUT ROWID;

-- A page of the runs in one state, however many there are in the others.
CREATE INDEX runs_by_state ON runs (workspace, state, run_id);
DROP INDEX runs_active;

-- A page of the deployments.
CREATE INDEX deployments_of_workspace ON deployments (workspace, deployment_id);

-- A page of what was made of one partition, and of what is current.
CREATE INDEX materializations_of_partition
    ON materializations (workspace, asset_id, partition_key, sequence);
CREATE INDEX current_materializations_by_age
    ON current_materializations (workspace, asset_id, sequence);

-- How many partitions of an asset are materialised: counting them takes longer than anybody waits.
CREATE TABLE partition_counts (
    workspace  INTEGER NOT NULL REFERENCES workspaces,
    asset_id   TEXT    NOT NULL,
    partitions INTEGER NOT NULL,
    PRIMARY KEY (workspace, asset_id)
) WITHOUT ROWID;

INSERT INTO partition_counts (workspace, asset_id, partitions)
SELECT workspace, asset_id, count(*) FROM current_materializations GROUP BY workspace, asset_id;

CREATE TRIGGER partition_appeared AFTER INSERT ON current_materializations
BEGIN
    INSERT INTO partition_counts (workspace, asset_id, partitions)
    VALUES (new.workspace, new.asset_id, 1)
    ON CONFLICT (workspace, asset_id) DO UPDATE SET partitions = partitions + 1;
END;

CREATE TRIGGER partition_vanished AFTER DELETE ON current_materializations
BEGIN
    UPDATE partition_counts SET partitions = partitions - 1
    WHERE workspace = old.workspace AND asset_id = old.asset_id;
END;

-- A metric may be no number at all, such as a loss that diverged: SQLite keeps NaN as NULL.
CREATE TABLE numbers (
    run_id      TEXT    NOT NULL,
    task_id     TEXT    NOT NULL,
    attempt     INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    value       REAL,
    reported_at INTEGER NOT NULL
);

INSERT INTO numbers (run_id, task_id, attempt, name, value, reported_at)
SELECT run_id, task_id, attempt, name, value, reported_at FROM metrics;

DROP TABLE metrics;
ALTER TABLE numbers RENAME TO metrics;
CREATE INDEX metrics_of_run ON metrics (run_id, task_id);
