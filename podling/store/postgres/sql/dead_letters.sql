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

-- name: filter
($1::text IS NULL OR reason = $1)
  AND ($2::text IS NULL OR error_code = $2)
  AND ($3::timestamptz IS NULL OR (at, task_id) < ($3, $4::text))

-- name: find
-- Each of these walks one index in the order of its pages, whatever else is on the list.
SELECT task_id, at, queue, reason, error_code
FROM dead_letters
WHERE $1::timestamptz IS NULL OR (at, task_id) < ($1, $2::text)
ORDER BY at DESC, task_id DESC
LIMIT $3

-- name: find_in_queue
SELECT task_id, at, queue, reason, error_code
FROM dead_letters
WHERE queue = $6
  AND
-- include: filter
ORDER BY at DESC, task_id DESC
LIMIT $5

-- name: find_by_error_code
SELECT task_id, at, queue, reason, error_code
FROM dead_letters
WHERE error_code = $2
  AND
-- include: filter
ORDER BY at DESC, task_id DESC
LIMIT $5

-- name: find_by_reason
SELECT task_id, at, queue, reason, error_code
FROM dead_letters
WHERE reason = $1
  AND
-- include: filter
ORDER BY at DESC, task_id DESC
LIMIT $5
