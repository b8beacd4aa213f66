-- name: store_value$
SELECT value FROM store_info WHERE name = :name;

-- name: put_store_value!
INSERT INTO store_info (name, value) VALUES (:name, :value) ON CONFLICT DO NOTHING;

-- name: touch_store!
UPDATE store_info SET value = value WHERE name = 'store_id';

-- name: workspace_number$
SELECT workspace FROM workspaces WHERE tenant_id = :tenant_id AND workspace_id = :workspace_id;

-- name: put_workspace!
INSERT INTO workspaces (tenant_id, workspace_id) VALUES (:tenant_id, :workspace_id)
ON CONFLICT DO NOTHING;

-- name: all_workspaces
SELECT workspace, tenant_id, workspace_id FROM workspaces ORDER BY workspace;

-- name: current_deployment_id$
SELECT current_deployment_id FROM workspaces WHERE workspace = :workspace;

-- name: set_current_deployment*!
UPDATE workspaces SET current_deployment_id = :deployment_id WHERE workspace = :workspace;

-- name: last_sequence$
SELECT coalesce(max(sequence), 0) FROM events WHERE workspace = :workspace;

-- name: history_after$
SELECT history_after FROM workspaces WHERE workspace = :workspace;

-- name: put_chunks*!
INSERT INTO chunks (workspace, digest, data) VALUES (:workspace, :digest, :data)
ON CONFLICT DO NOTHING;

-- name: chunk_exists$
SELECT 1 FROM chunks WHERE workspace = :workspace AND digest = :digest;

-- name: chunk$
SELECT data FROM chunks WHERE workspace = :workspace AND digest = :digest;

-- name: put_deployments*!
INSERT INTO deployments (deployment_id, workspace, content_fingerprint, record, header)
VALUES (:deployment_id, :workspace, :content_fingerprint, :record, :header);

-- name: deployment^
SELECT record, header FROM deployments
WHERE workspace = :workspace AND deployment_id = :deployment_id;

-- name: deployment_by_content^
SELECT record, header FROM deployments
WHERE workspace = :workspace AND content_fingerprint = :content_fingerprint;

-- name: deployments_before
SELECT record FROM deployments
WHERE workspace = :workspace AND deployment_id < :before
ORDER BY deployment_id DESC LIMIT :limit;

-- name: asset_ids
SELECT asset_key, asset_id FROM asset_ids WHERE workspace = :workspace;

-- name: drop_asset_ids*!
DELETE FROM asset_ids WHERE workspace = :workspace AND asset_id = :asset_id;

-- name: put_asset_ids*!
INSERT INTO asset_ids (workspace, asset_key, asset_id) VALUES (:workspace, :asset_key, :asset_id)
ON CONFLICT (workspace, asset_key) DO UPDATE SET asset_id = excluded.asset_id;

-- name: put_events*!
INSERT INTO events (workspace, sequence, run_id, record)
VALUES (:workspace, :sequence, :run_id, :record);

-- name: events_of_run
SELECT record FROM events WHERE run_id = :run_id AND sequence > :after
ORDER BY sequence LIMIT :limit;

-- name: events_of_workspace
SELECT record FROM events WHERE workspace = :workspace AND sequence > :after
ORDER BY sequence LIMIT :limit;

-- name: put_runs*!
INSERT INTO runs (run_id, workspace, state, run_key, record)
VALUES (:run_id, :workspace, :state, :run_key, :record);

-- name: put_run_plans*!
INSERT INTO run_plans (run_id, request, plan) VALUES (:run_id, :request, :plan);

-- name: update_runs*!
UPDATE runs SET state = :state, record = :record WHERE run_id = :run_id;

-- name: run^
SELECT record FROM runs WHERE workspace = :workspace AND run_id = :run_id;

-- name: run_request^
SELECT request FROM runs JOIN run_plans USING (run_id)
WHERE workspace = :workspace AND run_id = :run_id;

-- name: run_by_key^
SELECT record FROM runs WHERE workspace = :workspace AND run_key = :run_key;

-- name: runs_before
SELECT record FROM runs WHERE workspace = :workspace AND run_id < :before
ORDER BY run_id DESC LIMIT :limit;

-- name: runs_in_state_before
SELECT record, run_id FROM runs
WHERE workspace = :workspace AND state = :state AND run_id < :before
ORDER BY run_id DESC LIMIT :limit;

-- name: active_runs
SELECT record, request, plan FROM runs JOIN run_plans USING (run_id)
-- Unsorted. To return them in order, SQLite would go through all runs.
WHERE workspace = :workspace AND state IN ('pending', 'running', 'cancelling');

-- name: run_in_full^
SELECT record, request, plan FROM runs JOIN run_plans USING (run_id)
WHERE workspace = :workspace AND run_id = :run_id;

-- name: put_tasks*!
INSERT INTO tasks (run_id, task_index, task_id, token, record)
VALUES (:run_id, :task_index, :task_id, :token, :record)
ON CONFLICT (run_id, task_index) DO UPDATE SET token = excluded.token, record = excluded.record;

-- name: tasks_of_run
SELECT record, token FROM tasks WHERE run_id = :run_id AND task_index >= :first
ORDER BY task_index LIMIT :limit;

-- name: put_materializations*!
INSERT INTO materializations
  (workspace, asset_id, partition_key, sequence, materialization_id, record)
VALUES (:workspace, :asset_id, :partition_key, :sequence, :materialization_id, :record);

-- name: put_current_materializations*!
INSERT INTO current_materializations
  (workspace, asset_id, partition_key, sequence, materialization_id, has_data, path)
VALUES (:workspace, :asset_id, :partition_key, :sequence, :materialization_id, :has_data, :path)
ON CONFLICT (workspace, asset_id, partition_key) DO UPDATE SET
  sequence = excluded.sequence, materialization_id = excluded.materialization_id,
  has_data = excluded.has_data, path = excluded.path;

-- name: current_materializations
SELECT partition_key, materialization_id, has_data, path FROM current_materializations
WHERE workspace = :workspace AND asset_id = :asset_id;

-- name: partition_count$
SELECT partitions FROM partition_counts
WHERE workspace = :workspace AND asset_id = :asset_id;

-- name: materializations_before
SELECT sequence, record FROM materializations
WHERE workspace = :workspace AND asset_id = :asset_id AND sequence < :before
ORDER BY sequence DESC LIMIT :limit;

-- name: materializations_of_partition_before
SELECT sequence, record FROM materializations
-- The numbers first. SQLite does not know how rare a partition is, and would go through all that was
-- made of the asset to save itself the sorting.
WHERE workspace = :workspace AND asset_id = :asset_id AND sequence IN (
  SELECT sequence FROM materializations
  WHERE workspace = :workspace AND asset_id = :asset_id AND partition_key = :partition_key
    AND sequence < :before
  ORDER BY sequence DESC LIMIT :limit
)
ORDER BY sequence DESC;

-- name: current_materializations_before
SELECT m.sequence, m.record FROM current_materializations AS c
JOIN materializations AS m USING (workspace, asset_id, sequence)
WHERE c.workspace = :workspace AND c.asset_id = :asset_id AND c.sequence < :before
ORDER BY c.sequence DESC LIMIT :limit;

-- name: put_logs*!
INSERT INTO log_batches (run_id, cursor, task_id, record)
VALUES (
  :run_id,
  (SELECT coalesce(max(cursor), 0) + 1 FROM log_batches WHERE run_id = :run_id),
  :task_id,
  :record
);

-- name: logs_of_run
SELECT cursor, task_id, record FROM log_batches WHERE run_id = :run_id AND cursor > :after
ORDER BY cursor LIMIT :limit;

-- name: logs_of_run_before
SELECT cursor, task_id, record FROM log_batches WHERE run_id = :run_id AND cursor < :before
ORDER BY cursor DESC LIMIT :limit;

-- name: put_metrics*!
INSERT INTO metrics (run_id, task_id, attempt, name, value, reported_at)
VALUES (:run_id, :task_id, :attempt, :name, :value, :reported_at);

-- name: pools
SELECT name, slots FROM pools WHERE workspace = :workspace;

-- name: put_pools*!
INSERT INTO pools (workspace, name, slots) VALUES (:workspace, :name, :slots)
ON CONFLICT (workspace, name) DO UPDATE SET slots = excluded.slots;

-- name: drop_pools*!
DELETE FROM pools WHERE workspace = :workspace AND name = :name;

-- name: put_api_key!
INSERT INTO api_keys
  (key_id, digest, name, tenant_id, workspace_id, role, created_at, expires_at, revoked_at)
VALUES
  (:key_id, :digest, :name, :tenant_id, :workspace_id, :role, :created_at, :expires_at, NULL);

-- name: revoke_api_key!
UPDATE api_keys SET revoked_at = :revoked_at WHERE key_id = :key_id AND revoked_at IS NULL;

-- name: api_keys
SELECT key_id, digest, name, tenant_id, workspace_id, role, created_at, expires_at, revoked_at
FROM api_keys ORDER BY created_at, key_id;
