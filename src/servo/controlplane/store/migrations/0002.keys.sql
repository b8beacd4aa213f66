-- depends: 0001.initial

-- API keys. Of the secret only its SHA-256 is kept; the id is the part of the key it is found by.
CREATE TABLE api_keys (
    key_id       TEXT    PRIMARY KEY,
    digest       BLOB    NOT NULL,
    name         TEXT    NOT NULL,
    tenant_id    TEXT    NOT NULL,
    workspace_id TEXT    NOT NULL,
    role         TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER
) WITHOUT ROWID;

-- The cursor of a log counts within its run: one that counts over all of them tells everybody how
-- much the others write.
CREATE TABLE log_lines (
    run_id  TEXT    NOT NULL,
    cursor  INTEGER NOT NULL,
    task_id TEXT    NOT NULL,
    record  BLOB    NOT NULL,
    PRIMARY KEY (run_id, cursor)
);

INSERT INTO log_lines (run_id, cursor, task_id, record)
SELECT run_id, row_number() OVER (PARTITION BY run_id ORDER BY cursor), task_id, record
FROM log_batches;

DROP TABLE log_batches;
ALTER TABLE log_lines RENAME TO log_batches;
