-- name: claim_keys
INSERT INTO idempotency_keys (key, task_id, body_hash)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
ON CONFLICT (key) DO NOTHING
RETURNING key

-- name: key_owners
SELECT key, task_id, body_hash FROM idempotency_keys WHERE key = ANY ($1::text[])

-- name: give_up_keys
DELETE FROM idempotency_keys k
USING unnest($1::text[], $2::text[]) AS given (key, task_id)
WHERE k.key = given.key AND k.task_id = given.task_id

-- name: insert_specs
INSERT INTO task_specs (task_id, created_at, kind, name, queue, labels, body)
SELECT task_id, created_at, kind, name, queue, labels, body
FROM json_to_recordset($1::json) AS new (
    task_id text, created_at timestamptz, kind text, name text, queue text, labels jsonb, body json
)
ON CONFLICT (task_id) DO NOTHING
RETURNING task_id

-- name: insert_live
INSERT INTO live_tasks (
    task_id, version, status, precedence, shape, attempt, node_id, created_at, run_at, scheduled_at, started_at,
    finished_at, exit_code, error_code, detail, due, queue_timeout_at, deadline_at
)
SELECT
    task_id, version, status, precedence, shape, attempt, node_id, created_at, run_at, scheduled_at, started_at,
    finished_at, exit_code, error_code, detail, due, queue_timeout_at, deadline_at
FROM json_to_recordset($1::json) AS new (
    task_id text, version bigint, status text, precedence bigint, shape text, attempt bigint, node_id text,
    created_at timestamptz, run_at timestamptz, scheduled_at timestamptz, started_at timestamptz,
    finished_at timestamptz, exit_code bigint, error_code text, detail json,
    due boolean, queue_timeout_at timestamptz, deadline_at timestamptz
)

-- name: insert_ended
INSERT INTO ended_tasks (
    task_id, version, status, precedence, shape, attempt, node_id, created_at, run_at, scheduled_at, started_at,
    finished_at, exit_code, error_code, detail
)
SELECT
    task_id, version, status, precedence, shape, attempt, node_id, created_at, run_at, scheduled_at, started_at,
    finished_at, exit_code, error_code, detail
FROM json_to_recordset($1::json) AS new (
    task_id text, version bigint, status text, precedence bigint, shape text, attempt bigint, node_id text,
    created_at timestamptz, run_at timestamptz, scheduled_at timestamptz, started_at timestamptz,
    finished_at timestamptz, exit_code bigint, error_code text, detail json
)

-- name: lock_live
SELECT task_id, version FROM live_tasks WHERE task_id = ANY ($1::text[]) ORDER BY task_id FOR UPDATE

-- name: lock_ended
SELECT task_id, version FROM ended_tasks WHERE task_id = ANY ($1::text[]) ORDER BY task_id FOR UPDATE

-- name: update_live
UPDATE live_tasks l
SET version = new.version,
    status = new.status,
    attempt = new.attempt,
    node_id = new.node_id,
    run_at = new.run_at,
    scheduled_at = new.scheduled_at,
    started_at = new.started_at,
    finished_at = new.finished_at,
    exit_code = new.exit_code,
    error_code = new.error_code,
    detail = new.detail,
    due = new.due,
    blocked = false,
    queue_timeout_at = new.queue_timeout_at,
    deadline_at = new.deadline_at
FROM json_to_recordset($1::json) AS new (
    task_id text, version bigint, status text, attempt bigint, node_id text, run_at timestamptz,
    scheduled_at timestamptz, started_at timestamptz, finished_at timestamptz, exit_code bigint,
    error_code text, detail json,
    due boolean, queue_timeout_at timestamptz, deadline_at timestamptz, expected_version bigint
)
WHERE l.task_id = new.task_id AND l.version = new.expected_version

-- name: delete_live
DELETE FROM live_tasks WHERE task_id = ANY ($1::text[])

-- name: update_ended
UPDATE ended_tasks e
SET version = new.version,
    status = new.status,
    attempt = new.attempt,
    node_id = new.node_id,
    run_at = new.run_at,
    scheduled_at = new.scheduled_at,
    started_at = new.started_at,
    finished_at = new.finished_at,
    exit_code = new.exit_code,
    error_code = new.error_code,
    detail = new.detail
FROM json_to_recordset($1::json) AS new (
    task_id text, version bigint, status text, attempt bigint, node_id text, run_at timestamptz,
    scheduled_at timestamptz, started_at timestamptz, finished_at timestamptz, exit_code bigint,
    error_code text, detail json,
    expected_version bigint
)
WHERE e.task_id = new.task_id AND e.version = new.expected_version

-- name: save_attempts
INSERT INTO attempts (task_id, attempt, node_id, status, body)
SELECT task_id, attempt, node_id, status, body
FROM json_to_recordset($1::json) AS new (
    task_id text, attempt bigint, node_id text, status text, body json
)
ON CONFLICT (task_id, attempt) DO UPDATE
SET node_id = excluded.node_id, status = excluded.status, body = excluded.body

-- name: append_events
INSERT INTO task_events (task_id, type, body)
SELECT task_id, type, body
FROM json_to_recordset($1::json) AS new (task_id text, type text, body json)

-- name: record_changes
INSERT INTO changes (master_id, number, body) VALUES ($1, $2, $3)

-- name: recorded_changes
SELECT body FROM changes WHERE master_id = $1 AND number = $2
