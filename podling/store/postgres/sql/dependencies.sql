-- name: lock_parents
SELECT task_id FROM live_tasks WHERE task_id = ANY ($1::text[]) ORDER BY task_id FOR SHARE

-- name: ended_parents
SELECT task_id, status FROM ended_tasks WHERE task_id = ANY ($1::text[])

-- name: link
INSERT INTO dependencies (child_id, parent_id, condition, parent_end)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])

-- name: forget
DELETE FROM dependencies WHERE child_id = ANY ($1::text[])

-- name: note_ends
-- Walks the index of each parent's children no further than to the limit. Rows that are locked belong to
-- children that are just let go, or are looked at again later.
WITH ends AS (
    SELECT task_id, status FROM ended_tasks WHERE task_id = ANY ($1::text[])
),
found AS (
    SELECT d.child_id, d.parent_id, ends.status
    FROM ends
    JOIN dependencies d ON d.parent_id = ends.task_id AND d.parent_end IS NULL
    LIMIT $2
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE dependencies d
SET parent_end = found.status
FROM found
WHERE d.child_id = found.child_id AND d.parent_id = found.parent_id
RETURNING d.child_id

-- name: note_ends_for
WITH found AS (
    SELECT d.child_id, d.parent_id, coalesce(ended.status, 'gone') AS parent_end
    FROM dependencies d
    LEFT JOIN LATERAL (
        SELECT e.status FROM ended_tasks e WHERE e.task_id = d.parent_id OFFSET 0
    ) ended ON true
    WHERE d.child_id = ANY ($1::text[])
      AND d.parent_end IS NULL
      AND (ended.status IS NOT NULL OR NOT EXISTS (SELECT FROM live_tasks l WHERE l.task_id = d.parent_id))
    LIMIT $2
    FOR UPDATE OF d SKIP LOCKED
),
noted AS (
    UPDATE dependencies d
    SET parent_end = found.parent_end
    FROM found
    WHERE d.child_id = found.child_id AND d.parent_id = found.parent_id
    RETURNING 1
)
SELECT count(*) AS noted FROM noted

-- name: links
SELECT child_id, condition, parent_end, count(*) AS parents, min(parent_id) AS example
FROM dependencies
WHERE child_id = ANY ($1::text[])
GROUP BY child_id, condition, parent_end

-- name: waiting
SELECT DISTINCT child_id FROM dependencies WHERE child_id > $1 ORDER BY child_id LIMIT $2
