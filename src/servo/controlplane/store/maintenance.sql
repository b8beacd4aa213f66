-- What the administrator's commands ask of a database, page by page. Both dialects run all of it.

-- name: every_workspace
SELECT workspace, tenant_id, workspace_id, current_deployment_id, history_after
FROM workspaces ORDER BY workspace;

-- name: renew_store_id!
UPDATE store_info SET value = :value WHERE name = 'store_id';

-- name: first_and_last_event^
SELECT count(*), min(sequence), max(sequence) FROM events WHERE workspace = :workspace;

-- name: ends_of_history
SELECT e.sequence FROM events AS e
WHERE e.workspace = :workspace AND NOT EXISTS (
  SELECT 1 FROM events AS n WHERE n.workspace = e.workspace AND n.sequence = e.sequence + 1
)
ORDER BY e.sequence LIMIT :limit;

-- name: event_at^
SELECT record FROM events WHERE workspace = :workspace AND sequence = :sequence;

-- name: events_of_nobody
SELECT sequence, record FROM events
WHERE workspace = :workspace AND run_id = '' AND sequence > :after
ORDER BY sequence LIMIT :limit;

-- name: events_of_run_after
SELECT workspace, sequence, record FROM events
WHERE run_id = :run_id AND sequence > :after ORDER BY sequence LIMIT :limit;

-- name: events_of_unknown_runs
SELECT e.workspace, e.run_id, min(e.sequence) FROM events AS e
WHERE e.run_id <> ''
  AND NOT EXISTS (SELECT 1 FROM runs AS r WHERE r.run_id = e.run_id)
  AND NOT EXISTS (SELECT 1 FROM forgotten_runs AS f WHERE f.run_id = e.run_id)
GROUP BY e.workspace, e.run_id LIMIT :limit;

-- name: stale_forgotten_runs
SELECT f.run_id FROM forgotten_runs AS f JOIN workspaces AS w USING (workspace)
WHERE f.last_sequence <= w.history_after
   OR EXISTS (SELECT 1 FROM runs AS r WHERE r.run_id = f.run_id)
LIMIT :limit;

-- name: count_runs$
SELECT count(*) FROM runs WHERE workspace = :workspace;

-- name: runs_after
SELECT run_id, state, run_key, record FROM runs
WHERE workspace = :workspace AND run_id > :after ORDER BY run_id LIMIT :limit;

-- name: run_exists$
SELECT 1 FROM runs WHERE workspace = :workspace AND run_id = :run_id;

-- name: run_plan^
SELECT request, plan FROM run_plans WHERE run_id = :run_id;

-- name: tasks_after
SELECT task_index, task_id, token, record FROM tasks
WHERE run_id = :run_id AND task_index > :after ORDER BY task_index LIMIT :limit;

-- name: logs_after
SELECT cursor, task_id, record FROM log_batches
WHERE run_id = :run_id AND cursor > :after ORDER BY cursor LIMIT :limit;

-- name: store_values
SELECT name, value FROM store_info;

-- name: applied_migrations
SELECT migration_id, migration_hash FROM _yoyo_migration
UNION ALL SELECT migration_id, migration_hash FROM _yoyo_log;

-- name: lost_tasks
SELECT t.run_id, count(*) FROM tasks AS t
WHERE NOT EXISTS (SELECT 1 FROM runs AS r WHERE r.run_id = t.run_id)
GROUP BY t.run_id LIMIT :limit;

-- name: lost_plans
SELECT p.run_id, count(*) FROM run_plans AS p
WHERE NOT EXISTS (SELECT 1 FROM runs AS r WHERE r.run_id = p.run_id)
GROUP BY p.run_id LIMIT :limit;

-- name: lost_logs
SELECT l.run_id, count(*) FROM log_batches AS l
WHERE NOT EXISTS (SELECT 1 FROM runs AS r WHERE r.run_id = l.run_id)
GROUP BY l.run_id LIMIT :limit;

-- name: lost_metrics
SELECT m.run_id, count(*) FROM metrics AS m
WHERE NOT EXISTS (SELECT 1 FROM runs AS r WHERE r.run_id = m.run_id)
GROUP BY m.run_id LIMIT :limit;

-- name: count_materializations$
SELECT count(*) FROM materializations WHERE workspace = :workspace;

-- name: materialization_of^
SELECT sequence, record FROM materializations
WHERE workspace = :workspace AND asset_id = :asset_id AND partition_key = :partition_key
  AND materialization_id = :materialization_id
ORDER BY sequence LIMIT 1;

-- name: materializations_after
SELECT asset_id, partition_key, sequence, materialization_id, record FROM materializations
WHERE workspace = :workspace
  AND (asset_id, sequence) > (:asset_id, :after)
ORDER BY asset_id, sequence LIMIT :limit;

-- name: current_that_are_not_newest
SELECT c.asset_id, c.partition_key, c.sequence,
  (SELECT max(m.sequence) FROM materializations AS m
   WHERE m.workspace = c.workspace AND m.asset_id = c.asset_id
     AND m.partition_key = c.partition_key) AS newest
FROM current_materializations AS c
WHERE c.workspace = :workspace AND c.sequence <> coalesce(
  (SELECT max(m.sequence) FROM materializations AS m
   WHERE m.workspace = c.workspace AND m.asset_id = c.asset_id
     AND m.partition_key = c.partition_key), -1)
LIMIT :limit;

-- name: current_after
SELECT c.asset_id, c.partition_key, c.sequence, c.has_data, c.path, c.materialization_id, m.record
FROM current_materializations AS c
JOIN materializations AS m USING (workspace, asset_id, sequence)
WHERE c.workspace = :workspace
  AND (c.asset_id, c.sequence) > (:asset_id, :after)
ORDER BY c.asset_id, c.sequence LIMIT :limit;

-- name: partitions_without_current
SELECT m.asset_id, m.partition_key FROM materializations AS m
WHERE m.workspace = :workspace AND NOT EXISTS (
  SELECT 1 FROM current_materializations AS c
  WHERE c.workspace = m.workspace AND c.asset_id = m.asset_id
    AND c.partition_key = m.partition_key
)
GROUP BY m.asset_id, m.partition_key LIMIT :limit;

-- name: wrong_partition_counts
SELECT found.asset_id, sum(found.counted) AS counted, sum(found.stored) AS stored FROM (
  SELECT asset_id, count(*) AS counted, 0 AS stored FROM current_materializations
  WHERE workspace = :workspace GROUP BY asset_id
  UNION ALL
  SELECT asset_id, 0, partitions FROM partition_counts WHERE workspace = :workspace
) AS found
GROUP BY found.asset_id HAVING sum(found.counted) <> sum(found.stored) LIMIT :limit;

-- name: deployments_after
SELECT deployment_id, record, header FROM deployments
WHERE workspace = :workspace AND deployment_id > :after ORDER BY deployment_id LIMIT :limit;

-- name: deployment_exists$
SELECT 1 FROM deployments WHERE workspace = :workspace AND deployment_id = :deployment_id;

-- name: chunks_after
SELECT digest, data FROM chunks
WHERE workspace = :workspace AND digest > :after ORDER BY digest LIMIT :limit;

-- name: digests_after
SELECT digest FROM chunks
WHERE workspace = :workspace AND digest > :after ORDER BY digest LIMIT :limit;

-- Deciding what may be forgotten ----------------------------------------------------------------

-- name: drop_run_facts!
DROP TABLE IF EXISTS run_facts;

-- name: make_run_facts!
CREATE TEMP TABLE run_facts (
  run_id        TEXT    PRIMARY KEY,
  finished_at   BIGINT  NOT NULL,
  deployment_id TEXT    NOT NULL,
  parent_run_id TEXT    NOT NULL,
  root_run_id   TEXT    NOT NULL,
  last_sequence BIGINT  NOT NULL,
  kept          TEXT    NOT NULL
);

-- name: put_run_facts*!
INSERT INTO run_facts
  (run_id, finished_at, deployment_id, parent_run_id, root_run_id, last_sequence, kept)
VALUES
  (:run_id, :finished_at, :deployment_id, :parent_run_id, :root_run_id, :last_sequence, :kept);

-- name: keep_newest!
UPDATE run_facts SET kept = 'newest' WHERE kept = '' AND run_id IN (
  SELECT run_id FROM run_facts WHERE kept <> 'active' ORDER BY run_id DESC LIMIT :limit
);

-- name: drop_makers!
DROP TABLE IF EXISTS makers;

-- name: make_makers!
CREATE TEMP TABLE makers (
  materialization_id TEXT   PRIMARY KEY,
  run_id             TEXT   NOT NULL,
  token              BIGINT NOT NULL
);

-- name: put_makers*!
INSERT INTO makers (materialization_id, run_id, token)
VALUES (:materialization_id, :run_id, :token) ON CONFLICT DO NOTHING;

-- name: drop_made!
DROP TABLE IF EXISTS made;

-- name: make_made!
CREATE TEMP TABLE made (
  asset_id      TEXT    NOT NULL,
  partition_key TEXT    NOT NULL,
  sequence      BIGINT  NOT NULL,
  next_sequence BIGINT  NOT NULL,
  token         BIGINT  NOT NULL,
  run_id        TEXT    NOT NULL,
  needed        INTEGER NOT NULL
);

-- What nobody made as far as the tasks know is needed: it is not understood.
-- name: put_made!
INSERT INTO made (asset_id, partition_key, sequence, next_sequence, token, run_id, needed)
SELECT found.asset_id, found.partition_key, found.sequence,
  coalesce(found.next_sequence, 9223372036854775807), coalesce(k.token, found.sequence),
  coalesce(k.run_id, ''),
  CASE WHEN found.next_sequence IS NULL OR k.run_id IS NULL OR c.sequence IS NOT NULL
    THEN 1 ELSE 0 END
FROM (
  SELECT workspace, asset_id, partition_key, sequence, materialization_id,
    lead(sequence) OVER (PARTITION BY asset_id, partition_key ORDER BY sequence) AS next_sequence
  FROM materializations WHERE workspace = :workspace
) AS found
LEFT JOIN makers AS k ON k.materialization_id = found.materialization_id
LEFT JOIN current_materializations AS c
  ON c.workspace = found.workspace AND c.asset_id = found.asset_id
 AND c.partition_key = found.partition_key AND c.sequence = found.sequence;

-- name: index_made_by_asset!
CREATE INDEX made_by_asset ON made (asset_id, needed, token);

-- name: index_made_by_partition!
CREATE INDEX made_by_partition ON made (asset_id, partition_key, needed, token);

-- name: index_made_by_run!
CREATE INDEX made_by_run ON made (run_id);

-- name: assets_made
SELECT DISTINCT asset_id FROM made;

-- What was current of one asset when something that is needed of another began to be made.
-- name: need_inputs!
UPDATE made SET needed = 1
WHERE asset_id = :upstream AND needed = 0 AND EXISTS (
  SELECT 1 FROM made AS r
  WHERE r.asset_id = :reader AND r.needed = 1
    AND r.token > made.sequence AND r.token <= made.next_sequence
);

-- name: need_inputs_of_same_partition!
UPDATE made SET needed = 1
WHERE asset_id = :upstream AND needed = 0 AND EXISTS (
  SELECT 1 FROM made AS r
  WHERE r.asset_id = :reader AND r.partition_key = made.partition_key AND r.needed = 1
    AND r.token > made.sequence AND r.token <= made.next_sequence
);

-- name: keep_lineage!
UPDATE run_facts SET kept = 'lineage'
WHERE kept = '' AND run_id IN (SELECT run_id FROM made WHERE needed = 1);

-- name: keep_named!
UPDATE run_facts SET kept = 'named' WHERE kept = '' AND (
  run_id IN (SELECT parent_run_id FROM run_facts WHERE kept <> '')
  OR run_id IN (SELECT root_run_id FROM run_facts WHERE kept <> '')
);

-- name: runs_by_reason
SELECT kept, count(*) FROM run_facts GROUP BY kept;

-- name: holder_of_history^
SELECT f.run_id, f.kept,
  (SELECT min(e.sequence) FROM events AS e WHERE e.run_id = f.run_id) AS began
FROM run_facts AS f
WHERE f.kept IN ('active', 'young', 'newest')
  AND EXISTS (SELECT 1 FROM events AS e WHERE e.run_id = f.run_id)
ORDER BY began LIMIT 1;

-- name: forgotten_size^
SELECT
  (SELECT count(*) FROM tasks WHERE run_id IN (SELECT run_id FROM run_facts WHERE kept = '')),
  (SELECT count(*) FROM made WHERE run_id IN (SELECT run_id FROM run_facts WHERE kept = ''));

-- name: log_size^
SELECT count(*), coalesce(sum(length(l.record)), 0) FROM log_batches AS l
JOIN run_facts AS f ON f.run_id = l.run_id
WHERE f.kept = '' OR (f.kept <> 'active' AND f.finished_at < :before);

-- name: runs_with_old_logs
SELECT f.run_id FROM run_facts AS f
WHERE f.run_id > :after AND (f.kept = '' OR (f.kept <> 'active' AND f.finished_at < :before))
  AND EXISTS (SELECT 1 FROM log_batches AS l WHERE l.run_id = f.run_id)
ORDER BY f.run_id LIMIT :limit;

-- name: last_log$
SELECT max(cursor) FROM log_batches WHERE run_id = :run_id;

-- name: drop_logs!
DELETE FROM log_batches WHERE run_id = :run_id AND cursor <= :up_to;

-- name: runs_to_forget
SELECT run_id, last_sequence FROM run_facts WHERE kept = '' ORDER BY run_id DESC LIMIT :limit;

-- name: run_is_used$
SELECT 1 FROM run_facts WHERE kept <> '' AND deployment_id = :deployment_id LIMIT 1;

-- name: drop_metrics*!
DELETE FROM metrics WHERE run_id = :run_id;

-- name: drop_materializations*!
DELETE FROM materializations WHERE workspace = :workspace AND (asset_id, sequence) IN (
  SELECT asset_id, sequence FROM made WHERE run_id = :run_id
);

-- name: drop_tasks*!
DELETE FROM tasks WHERE run_id = :run_id;

-- name: drop_plans*!
DELETE FROM run_plans WHERE run_id = :run_id;

-- name: drop_runs*!
DELETE FROM runs WHERE run_id = :run_id;

-- name: put_forgotten_runs*!
INSERT INTO forgotten_runs (run_id, workspace, last_sequence)
VALUES (:run_id, :workspace, :last_sequence);

-- name: drop_facts*!
DELETE FROM run_facts WHERE run_id = :run_id;

-- name: drop_events!
DELETE FROM events WHERE workspace = :workspace AND sequence <= :up_to;

-- name: begin_history_after!
UPDATE workspaces SET history_after = :up_to WHERE workspace = :workspace;

-- name: drop_forgotten_runs!
DELETE FROM forgotten_runs WHERE workspace = :workspace AND last_sequence <= :up_to;

-- name: drop_deployments*!
DELETE FROM deployments WHERE workspace = :workspace AND deployment_id = :deployment_id;

-- name: drop_chunks*!
DELETE FROM chunks WHERE workspace = :workspace AND digest = :digest;
