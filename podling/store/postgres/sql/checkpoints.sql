-- name: save
-- The task's one row in heads puts its checkpoints in order, and keeps off the attempts that came before.
WITH head AS (
    INSERT INTO podling_checkpoint_heads AS known (task_id, sequence, attempt) VALUES ($1, 1, $3)
    ON CONFLICT (task_id) DO UPDATE SET sequence = known.sequence + 1, attempt = excluded.attempt
    WHERE known.attempt <= excluded.attempt
    RETURNING sequence
)
INSERT INTO podling_checkpoints (
    task_id, sequence, checkpoint_id, attempt, at, progress, data, estimated_seconds_remaining
)
SELECT $1, head.sequence, $2, $3, clock_timestamp(), $4::float8, $5::text, $6::float8 FROM head
RETURNING checkpoint_id, task_id, attempt, sequence, at, progress, data, estimated_seconds_remaining

-- name: save_from_inside
-- Holds the task's row, so that its attempt does not end before this is written. What is too old goes, too.
WITH live AS (
    SELECT FROM live_tasks
    WHERE task_id = $1 AND attempt = $3 AND status IN ('scheduled', 'running')
    FOR SHARE
),
head AS (
    INSERT INTO podling_checkpoint_heads AS known (task_id, sequence, attempt) SELECT $1, 1, $3 FROM live
    ON CONFLICT (task_id) DO UPDATE SET sequence = known.sequence + 1, attempt = excluded.attempt
    WHERE known.attempt <= excluded.attempt
    RETURNING sequence
),
old AS (
    DELETE FROM podling_checkpoints
    WHERE task_id = $1 AND sequence <= (SELECT sequence FROM head) - $7::bigint
)
INSERT INTO podling_checkpoints (
    task_id, sequence, checkpoint_id, attempt, at, progress, data, estimated_seconds_remaining
)
SELECT $1, head.sequence, $2, $3, clock_timestamp(), $4::float8, $5::text, $6::float8 FROM head
RETURNING checkpoint_id, task_id, attempt, sequence, at, progress, data, estimated_seconds_remaining

-- name: find
SELECT checkpoint_id, task_id, attempt, sequence, at, progress, data, estimated_seconds_remaining
FROM podling_checkpoints WHERE checkpoint_id = $1

-- name: latest
SELECT checkpoint_id, task_id, attempt, sequence, at, progress, data, estimated_seconds_remaining
FROM podling_checkpoints WHERE task_id = $1 ORDER BY sequence DESC LIMIT 1

-- name: list
SELECT checkpoint_id, task_id, attempt, sequence, at, progress, data, estimated_seconds_remaining
FROM podling_checkpoints WHERE task_id = $1 ORDER BY sequence

-- name: newest
SELECT checkpoint_id, task_id, attempt, sequence, at, progress, data, estimated_seconds_remaining
FROM podling_checkpoints
WHERE task_id = $1 AND ($3::bigint IS NULL OR sequence < $3)
ORDER BY sequence DESC
LIMIT $2

-- name: cleanup
WITH gone AS (
    DELETE FROM podling_checkpoints
    WHERE task_id = $1 AND sequence IN (
        SELECT sequence FROM podling_checkpoints WHERE task_id = $1 ORDER BY sequence DESC OFFSET $2
    )
    RETURNING sequence
)
SELECT count(*) AS count FROM gone

-- name: delete_all
WITH head AS (DELETE FROM podling_checkpoint_heads WHERE task_id = $1),
gone AS (DELETE FROM podling_checkpoints WHERE task_id = $1 RETURNING sequence)
SELECT count(*) AS count FROM gone
