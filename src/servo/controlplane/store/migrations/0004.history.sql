-- depends: 0003.pools

-- Up to where the history of a workspace was forgotten: its events are those after this number.
ALTER TABLE workspaces ADD COLUMN history_after INTEGER NOT NULL DEFAULT 0;

-- Runs that were forgotten while events of theirs are still part of the history.
CREATE TABLE forgotten_runs (
    run_id        TEXT    PRIMARY KEY,
    workspace     INTEGER NOT NULL REFERENCES workspaces,
    last_sequence INTEGER NOT NULL
) WITHOUT ROWID;
