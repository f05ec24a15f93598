-- name: add
INSERT INTO workflows (workflow_id, created_at, idempotency_key, body)
VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
RETURNING workflow_id

-- name: owner
SELECT workflow_id FROM workflows WHERE idempotency_key = $1

-- name: load
SELECT body FROM workflows WHERE workflow_id = $1

-- name: by_key
SELECT body FROM workflows WHERE idempotency_key = $1

-- name: find
-- Without their members: there may be a thousand of each.
SELECT workflow_id, body ->> 'name' AS name, created_at
FROM workflows
WHERE (created_at, workflow_id) < (coalesce($1::timestamptz, 'infinity'), coalesce($2::text, ''))
ORDER BY created_at DESC, workflow_id DESC
LIMIT $3

-- name: progress
-- Task by task, or statistics taken while there were few would make it read all of history.
SELECT w.workflow_id, t.status, coalesce(t.error_code = 'DEPENDENCY_UNMET', false) AS skipped, count(*) AS tasks
FROM workflows w
CROSS JOIN LATERAL json_array_elements(w.body -> 'members') AS member
CROSS JOIN LATERAL (
    SELECT a.status, a.error_code FROM all_tasks a WHERE a.task_id = member ->> 'task_id' OFFSET 0
) t
WHERE w.workflow_id = ANY ($1::text[])
GROUP BY 1, 2, 3
