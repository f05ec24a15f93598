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

-- name: given_tasks
-- The bodies are apart: inside the document the server would read each of them three times.
SELECT new.*, unnest::json AS body
FROM ROWS FROM (
    json_to_recordset($1::json) AS (
        task_id text, kind text, name text, queue text, labels jsonb, version bigint, status text,
        precedence bigint, shape text, attempt bigint, node_id text, created_at timestamptz,
        run_at timestamptz, scheduled_at timestamptz, started_at timestamptz, finished_at timestamptz,
        exit_code bigint, error_code text, detail json, due boolean, blocked boolean, line text,
        queue_timeout_at timestamptz, deadline_at timestamptz
    ),
    unnest($2::text[])
) AS new

-- name: made_tasks
-- Specs and states of `new` together. A task whose id is taken is left out; the others' ids are in `made`.
made AS (
    INSERT INTO task_specs (task_id, created_at, kind, name, queue, labels, body)
    SELECT task_id, created_at, kind, name, queue, labels, body FROM new
    ON CONFLICT (task_id) DO NOTHING
    RETURNING task_id
),
live AS (
    INSERT INTO live_tasks (
        task_id, version, status, precedence, shape, attempt, node_id, created_at, run_at, scheduled_at,
        started_at, finished_at, exit_code, error_code, detail, due, blocked, line, queue_timeout_at,
        deadline_at
    )
    SELECT
        task_id, version, status, precedence, shape, attempt, node_id, created_at, run_at, scheduled_at,
        started_at, finished_at, exit_code, error_code, detail, due, blocked, line, queue_timeout_at,
        deadline_at
    FROM new
    JOIN made USING (task_id)
    WHERE status IN ('pending', 'scheduled', 'running')
),
ended AS (
    INSERT INTO ended_tasks (
        task_id, version, status, precedence, shape, attempt, node_id, created_at, run_at, scheduled_at,
        started_at, finished_at, exit_code, error_code, detail
    )
    SELECT
        task_id, version, status, precedence, shape, attempt, node_id, created_at, run_at, scheduled_at,
        started_at, finished_at, exit_code, error_code, detail
    FROM new
    JOIN made USING (task_id)
    WHERE status NOT IN ('pending', 'scheduled', 'running')
)

-- name: insert_tasks
WITH new AS (
-- include: given_tasks
),
-- include: made_tasks
SELECT task_id FROM made

-- name: all_new
-- Everything of a batch of new tasks but its row in `changes`, if no key and no number of it is taken.
free AS (
    SELECT NOT EXISTS (SELECT FROM idempotency_keys WHERE key = ANY ($3::text[]))
        AND NOT EXISTS (SELECT FROM changes WHERE master_id = $6::text AND number = $7::bigint) AS is_free
),
new AS (
-- include: given_tasks
WHERE (SELECT is_free FROM free)
),
-- include: made_tasks
, keys AS (
    INSERT INTO idempotency_keys (key, task_id, body_hash)
    SELECT * FROM unnest($3::text[], $4::text[], $5::text[])
    WHERE (SELECT is_free FROM free)
)

-- name: insert_all
-- A batch of new tasks as one statement, without a transaction around it: all of it, or nothing where a key
-- or the batch's number is taken; the number is returned, or no row. It is an error where somebody takes a
-- key meanwhile, or an id is taken: then the body is null, which it must not be.
WITH
-- include: all_new
INSERT INTO changes (master_id, number, body)
SELECT $6::text, $7::bigint, CASE WHEN (SELECT count(*) FROM made) = cardinality($2::text[]) THEN $8::json END
WHERE (SELECT is_free FROM free)
RETURNING number

-- name: insert_all_from_inbox
-- The same for tasks that wait in the inbox: each takes its row out, and is an error where that has gone.
WITH
-- include: all_new
, taken AS (
    DELETE FROM inbox WHERE inbox_id = ANY ($9::bigint[]) AND (SELECT is_free FROM free) RETURNING inbox_id
)
INSERT INTO changes (master_id, number, body)
SELECT $6::text,
       $7::bigint,
       CASE
           WHEN (SELECT count(*) FROM made) = cardinality($2::text[])
               AND (SELECT count(*) FROM taken) = cardinality($9::bigint[]) THEN $8::json
       END
WHERE (SELECT is_free FROM free)
RETURNING number

-- name: insert_all_given
-- A batch of a leader's new tasks, those that have a node already among them, with their attempts: all of it,
-- or nothing where another epoch leads or the number is taken. The epoch is held until that is decided.
WITH held AS (
    SELECT epoch, holder FROM leadership FOR KEY SHARE
),
free AS (
    SELECT EXISTS (SELECT FROM held WHERE epoch = $3::bigint AND holder IS NOT NULL)
        AND NOT EXISTS (SELECT FROM changes WHERE master_id = $4::text AND number = $5::bigint) AS is_free
),
new AS (
-- include: given_tasks
WHERE (SELECT is_free FROM free)
),
-- include: made_tasks
, saved AS (
    INSERT INTO attempts (task_id, attempt, node_id, status, body)
    SELECT task_id, attempt, node_id, status, body::json
    FROM unnest($7::text[], $8::bigint[], $9::text[], $10::text[], $11::text[])
        AS given (task_id, attempt, node_id, status, body)
    WHERE (SELECT is_free FROM free)
)
INSERT INTO changes (master_id, number, body)
SELECT $4::text, $5::bigint, CASE WHEN (SELECT count(*) FROM made) = cardinality($2::text[]) THEN $6::json END
WHERE (SELECT is_free FROM free)
RETURNING number

-- name: given_moves
-- The live rows are locked in the order of their ids; `found` are those that have the expected version.
locked AS (
    SELECT task_id, version FROM live_tasks WHERE task_id = ANY ($2::text[]) ORDER BY task_id FOR UPDATE
),
found AS (
    SELECT new.*
    FROM json_to_recordset($1::json) AS new (
        task_id text, version bigint, status text, precedence bigint, shape text, attempt bigint, node_id text,
        created_at timestamptz, run_at timestamptz, scheduled_at timestamptz, started_at timestamptz,
        finished_at timestamptz, exit_code bigint, error_code text, detail json, due boolean,
        queue_timeout_at timestamptz, deadline_at timestamptz, expected_version bigint
    )
    JOIN locked ON locked.task_id = new.task_id AND locked.version = new.expected_version
)

-- name: moved_tasks
-- Writes the states in `fit`: what has ended moves to history.
stayed AS (
    UPDATE live_tasks l
    SET version = fit.version,
        status = fit.status,
        attempt = fit.attempt,
        node_id = fit.node_id,
        run_at = fit.run_at,
        scheduled_at = fit.scheduled_at,
        started_at = fit.started_at,
        finished_at = fit.finished_at,
        exit_code = fit.exit_code,
        error_code = fit.error_code,
        detail = fit.detail,
        due = fit.due,
        blocked = false,
        queue_timeout_at = fit.queue_timeout_at,
        deadline_at = fit.deadline_at
    FROM fit
    WHERE l.task_id = fit.task_id AND fit.status IN ('pending', 'scheduled', 'running')
),
gone AS (
    DELETE FROM live_tasks l
    USING fit
    WHERE l.task_id = fit.task_id AND fit.status NOT IN ('pending', 'scheduled', 'running')
    RETURNING l.task_id
),
ended AS (
    INSERT INTO ended_tasks (
        task_id, version, status, precedence, shape, attempt, node_id, created_at, run_at, scheduled_at,
        started_at, finished_at, exit_code, error_code, detail
    )
    SELECT
        task_id, version, status, precedence, shape, attempt, node_id, created_at, run_at, scheduled_at,
        started_at, finished_at, exit_code, error_code, detail
    FROM fit
    JOIN gone USING (task_id)
)

-- name: move_tasks
-- Returns the version that every locked row had.
WITH
-- include: given_moves
,
fit AS (SELECT * FROM found),
-- include: moved_tasks
SELECT task_id, version FROM locked

-- name: lock_ended
SELECT task_id, version FROM ended_tasks WHERE task_id = ANY ($1::text[]) ORDER BY task_id FOR UPDATE

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
-- The ids once more, or statistics taken while history was short would make the join read all of it.
WHERE e.task_id = ANY ($2::text[]) AND e.task_id = new.task_id AND e.version = new.expected_version

-- name: kept_rows
-- Attempts and events of what was written, if `written` has a row.
saved AS (
    INSERT INTO attempts (task_id, attempt, node_id, status, body)
    SELECT task_id, attempt, node_id, status, body::json
    FROM written, unnest($4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[])
        AS new (task_id, attempt, node_id, status, body)
    ON CONFLICT (task_id, attempt) DO UPDATE
    SET node_id = excluded.node_id, status = excluded.status, body = excluded.body
),
told AS (
    INSERT INTO task_events (task_id, type, body)
    SELECT task_id, type, body::json
    FROM written, unnest($9::text[], $10::text[], $11::text[]) AS new (task_id, type, body)
)

-- name: record
-- Attempts, events and the batch's own row in one statement, the last of every commit.
WITH written AS (SELECT),
-- include: kept_rows
INSERT INTO changes (master_id, number, body) VALUES ($1, $2, $3)

-- name: move_all
-- A batch of moves of live tasks as one statement, without a transaction around it: all of it, or nothing
-- where a task is not as expected or the batch's number is taken; the number is returned, or no row.
WITH
-- include: given_moves
,
fit AS (
    SELECT * FROM found
    WHERE (SELECT count(*) FROM found) = cardinality($2::text[])
        AND NOT EXISTS (SELECT FROM changes WHERE master_id = $12::text AND number = $13::bigint)
),
-- include: moved_tasks
,
written AS (SELECT WHERE EXISTS (SELECT FROM fit)),
-- include: kept_rows
INSERT INTO changes (master_id, number, body)
SELECT $12::text, $13::bigint, $3::json FROM written
RETURNING number

-- name: recorded_changes
SELECT body FROM changes WHERE master_id = $1 AND number = $2
