-- name: add
WITH made AS (
    INSERT INTO schedules (schedule_id, name, created_at, version, body)
    VALUES ($1, $2, $3, nextval('schedule_versions'), $4::json)
    ON CONFLICT DO NOTHING
    RETURNING schedule_id, version
)
INSERT INTO schedule_states (schedule_id, version, cursor)
SELECT schedule_id, version, $5 FROM made
RETURNING version

-- name: change
-- Without a cursor it goes on from where it is.
WITH changed AS (
    UPDATE schedules SET body = $3::json, name = $5, version = nextval('schedule_versions')
    WHERE schedule_id = $1 AND version = $2
    RETURNING schedule_id, version
)
UPDATE schedule_states s SET version = changed.version, cursor = coalesce($4::timestamptz, s.cursor)
FROM changed
WHERE s.schedule_id = changed.schedule_id
RETURNING s.version

-- name: remove
WITH gone AS (DELETE FROM schedules WHERE schedule_id = $1 RETURNING schedule_id),
state AS (DELETE FROM schedule_states WHERE schedule_id = $1),
fires AS (DELETE FROM schedule_fires WHERE schedule_id = $1)
SELECT schedule_id FROM gone

-- name: find
SELECT s.body, s.version, t.cursor, t.last_task_id, row_to_json(last.*) AS last
FROM schedules s
JOIN schedule_states t USING (schedule_id)
LEFT JOIN LATERAL (
    SELECT schedule_id, fire_time, manual, outcome, at, task_id, message, count
    FROM schedule_fires f
    WHERE f.schedule_id = s.schedule_id
    ORDER BY fire_time DESC, manual DESC
    LIMIT 1
) AS last ON true
WHERE s.schedule_id = $1 OR s.name = $1
ORDER BY s.schedule_id = $1 DESC
LIMIT 1

-- name: load
SELECT s.body, s.version, t.cursor, t.last_task_id, row_to_json(last.*) AS last
FROM schedules s
JOIN schedule_states t USING (schedule_id)
LEFT JOIN LATERAL (
    SELECT schedule_id, fire_time, manual, outcome, at, task_id, message, count
    FROM schedule_fires f
    WHERE f.schedule_id = s.schedule_id
    ORDER BY fire_time DESC, manual DESC
    LIMIT 1
) AS last ON true
WHERE $1::timestamptz IS NULL OR (s.created_at, s.schedule_id) < ($1, $2::text)
ORDER BY s.created_at DESC, s.schedule_id DESC
LIMIT $3

-- name: revision
-- No change leaves both as they were, in whatever order changes become visible.
SELECT count(*) AS number, coalesce(sum(version), 0)::bigint AS total FROM schedules

-- name: news
WITH revision AS (
    SELECT count(*) AS number, coalesce(sum(version), 0)::bigint AS total FROM schedules
)
SELECT r.number, r.total, s.body, s.version, t.cursor, t.last_task_id, NULL::json AS last
FROM revision r
LEFT JOIN (schedules s JOIN schedule_states t USING (schedule_id)) ON s.version > $1

-- name: versions
SELECT schedule_id, version FROM schedules

-- name: claim
-- Locks the schedules in the order of their ids, and keeps what was decided of those that still are as they
-- were, unless that time was decided before. Returns the positions of what was kept.
WITH given AS (
    SELECT DISTINCT ON (schedule_id, fire_time, manual) *
    FROM json_to_recordset($1::json) AS new (
        position bigint, schedule_id text, fire_time timestamptz, manual boolean, outcome text, at timestamptz,
        task_id text, message text, count bigint, version bigint, after timestamptz, alone boolean,
        previous text
    )
    ORDER BY schedule_id, fire_time, manual, position
),
locked AS (
    SELECT schedule_id, version, cursor, last_task_id
    FROM schedule_states
    WHERE schedule_id = ANY ($2::text[])
    ORDER BY schedule_id
    FOR UPDATE
),
-- Those of one schedule follow each other without a gap, and their first one what is decided already.
begun AS (
    SELECT schedule_id, min(after) AS after FROM given GROUP BY schedule_id
),
kept AS (
    INSERT INTO schedule_fires (schedule_id, fire_time, manual, outcome, at, task_id, message, count)
    SELECT g.schedule_id, g.fire_time, g.manual, g.outcome, g.at, g.task_id, g.message, g.count
    FROM given g
    JOIN locked l ON l.schedule_id = g.schedule_id AND l.version = g.version
    JOIN begun b ON b.schedule_id = g.schedule_id AND coalesce(b.after <= l.cursor, true)
    WHERE NOT g.alone OR g.previous IS NOT DISTINCT FROM l.last_task_id
    ON CONFLICT DO NOTHING
    RETURNING schedule_id, fire_time, manual
),
placed AS (
    SELECT g.* FROM given g JOIN kept USING (schedule_id, fire_time, manual)
),
moved AS (
    UPDATE schedule_states s
    SET cursor = greatest(s.cursor, newest.until), last_task_id = coalesce(newest.task_id, s.last_task_id)
    FROM (
        SELECT schedule_id,
               max(fire_time) FILTER (WHERE NOT manual) AS until,
               (array_agg(task_id ORDER BY position DESC) FILTER (WHERE task_id IS NOT NULL))[1] AS task_id
        FROM placed
        GROUP BY schedule_id
    ) AS newest
    WHERE s.schedule_id = newest.schedule_id
)
SELECT position FROM placed

-- name: set_cursor
UPDATE schedule_states SET cursor = $2 WHERE schedule_id = ANY ($1::text[])

-- name: fires
SELECT schedule_id, fire_time, manual, outcome, at, task_id, message, count
FROM schedule_fires
WHERE schedule_id = $1
  AND ($2::text IS NULL OR outcome = $2)
  AND ($3::timestamptz IS NULL OR (fire_time, manual) < ($3, $4::boolean))
ORDER BY fire_time DESC, manual DESC
LIMIT $5

-- name: prune_old
DELETE FROM schedule_fires
WHERE (schedule_id, fire_time, manual) IN (
    SELECT schedule_id, fire_time, manual FROM schedule_fires WHERE at < $1 ORDER BY at LIMIT $2
)

-- name: prune_many
DELETE FROM schedule_fires
WHERE (schedule_id, fire_time, manual) IN (
    SELECT schedule_id, fire_time, manual FROM schedule_fires ORDER BY at DESC OFFSET $1 LIMIT $2
)
