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
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::json[])
ON CONFLICT (task_id) DO NOTHING
RETURNING task_id

-- name: insert_live
INSERT INTO live_tasks (
    task_id, version, status, attempt, node_id, run_at, scheduled_at, started_at, finished_at, exit_code,
    error_code, detail, precedence, shape, created_at, due, queue_timeout_at, deadline_at
)
SELECT * FROM unnest(
    $1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::timestamptz[], $7::timestamptz[],
    $8::timestamptz[], $9::timestamptz[], $10::bigint[], $11::text[], $12::json[], $13::bigint[],
    $14::text[], $15::timestamptz[], $16::boolean[], $17::timestamptz[], $18::timestamptz[]
)

-- name: insert_ended
INSERT INTO ended_tasks (
    task_id, version, status, attempt, node_id, run_at, scheduled_at, started_at, finished_at, exit_code,
    error_code, detail, precedence, shape, created_at
)
SELECT * FROM unnest(
    $1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::timestamptz[], $7::timestamptz[],
    $8::timestamptz[], $9::timestamptz[], $10::bigint[], $11::text[], $12::json[], $13::bigint[],
    $14::text[], $15::timestamptz[]
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
FROM unnest(
    $1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::timestamptz[], $7::timestamptz[],
    $8::timestamptz[], $9::timestamptz[], $10::bigint[], $11::text[], $12::json[], $13::boolean[],
    $14::timestamptz[], $15::timestamptz[], $16::bigint[]
) AS new (
    task_id, version, status, attempt, node_id, run_at, scheduled_at, started_at, finished_at, exit_code,
    error_code, detail, due, queue_timeout_at, deadline_at, expected_version
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
FROM unnest(
    $1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::timestamptz[], $7::timestamptz[],
    $8::timestamptz[], $9::timestamptz[], $10::bigint[], $11::text[], $12::json[], $13::bigint[]
) AS new (
    task_id, version, status, attempt, node_id, run_at, scheduled_at, started_at, finished_at, exit_code,
    error_code, detail, expected_version
)
WHERE e.task_id = new.task_id AND e.version = new.expected_version

-- name: save_attempts
INSERT INTO attempts (task_id, attempt, node_id, status, body)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::json[])
ON CONFLICT (task_id, attempt) DO UPDATE
SET node_id = excluded.node_id, status = excluded.status, body = excluded.body

-- name: append_events
INSERT INTO task_events (task_id, type, body)
SELECT * FROM unnest($1::text[], $2::text[], $3::json[])

-- name: record_changes
INSERT INTO changes (master_id, number, body) VALUES ($1, $2, $3)

-- name: recorded_changes
SELECT body FROM changes WHERE master_id = $1 AND number = $2
