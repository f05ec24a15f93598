-- name: put
INSERT INTO dead_letters (task_id, at, queue, reason, error_code)
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[])
ON CONFLICT (task_id) DO NOTHING

-- name: take
WITH locked AS (
    SELECT task_id FROM dead_letters WHERE task_id = ANY ($1::text[]) ORDER BY task_id FOR UPDATE
)
DELETE FROM dead_letters d USING locked WHERE d.task_id = locked.task_id RETURNING d.task_id

-- name: take_off
WITH locked AS (
    SELECT task_id FROM dead_letters WHERE task_id = ANY ($1::text[]) ORDER BY task_id FOR UPDATE
),
gone AS (
    DELETE FROM dead_letters d USING locked WHERE d.task_id = locked.task_id RETURNING d.task_id
)
INSERT INTO task_events (task_id, type, body)
SELECT told.task_id, told.type, told.body::json
FROM unnest($1::text[], $2::text[], $3::text[]) AS told (task_id, type, body)
JOIN gone USING (task_id)
ORDER BY told.task_id
RETURNING task_id

-- name: find
-- Each of these walks the one index that gives its order, whatever else is on the list: `>=` and `<` together
-- mean one value, in words that leave the planner no other way.
SELECT task_id, at, queue, reason, error_code
FROM dead_letters
WHERE (at, task_id) < (coalesce($1::timestamptz, 'infinity'), coalesce($2::text, ''))
ORDER BY at DESC, task_id DESC
LIMIT $3

-- name: find_in_queue
SELECT task_id, at, queue, reason, error_code
FROM dead_letters
WHERE queue >= $6
  AND (queue, at, task_id) < ($6, coalesce($1::timestamptz, 'infinity'), coalesce($2::text, ''))
  AND ($4::text IS NULL OR reason = $4)
  AND ($5::text IS NULL OR error_code = $5)
ORDER BY queue DESC, at DESC, task_id DESC
LIMIT $3

-- name: find_by_error_code
SELECT task_id, at, queue, reason, error_code
FROM dead_letters
WHERE error_code >= $5
  AND (error_code, at, task_id) < ($5, coalesce($1::timestamptz, 'infinity'), coalesce($2::text, ''))
  AND ($4::text IS NULL OR reason = $4)
ORDER BY error_code DESC, at DESC, task_id DESC
LIMIT $3

-- name: find_by_reason
SELECT task_id, at, queue, reason, error_code
FROM dead_letters
WHERE reason >= $4
  AND (reason, at, task_id) < ($4, coalesce($1::timestamptz, 'infinity'), coalesce($2::text, ''))
ORDER BY reason DESC, at DESC, task_id DESC
LIMIT $3
