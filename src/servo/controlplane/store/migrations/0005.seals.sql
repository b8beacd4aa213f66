-- depends: 0004.history

-- From here on every record ends with a check sum. Those of runs and deployments up to these ids may
-- have none; empty, where there were none yet.
INSERT INTO store_info (name, value)
SELECT 'sealed_after_run', coalesce(max(run_id), '') FROM runs;
INSERT INTO store_info (name, value)
SELECT 'sealed_after_deployment', coalesce(max(deployment_id), '') FROM deployments;
