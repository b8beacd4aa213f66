-- depends: 0001.initial

-- Up to where the history of a workspace was forgotten: its events are those after this number.
ALTER TABLE workspaces ADD COLUMN history_after BIGINT NOT NULL DEFAULT 0;

-- Runs that were forgotten while events of theirs are still part of the history.
CREATE TABLE forgotten_runs (
    run_id        TEXT COLLATE "C" PRIMARY KEY,
    workspace     INTEGER NOT NULL REFERENCES workspaces,
    last_sequence BIGINT  NOT NULL
);
